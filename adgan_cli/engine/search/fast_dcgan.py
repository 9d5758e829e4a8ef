"""Copies of our own DCGAN generator with forward pass, gradients and Adam steps written out.

Only speed is gained here, several times that of VmapBank in generators.py, which does the same for
any nn.Module: remove the case from make_bank and nothing else changes.

A layer is a product of two thin matrices, positions of the images by feature maps; what costs time
is moving its weights and moments through memory. So each is touched as seldom as can be, and a
weight moves as soon as its gradient exists, while that is still in cache. All memory, and every
view of it, is allocated once: with one image per thread, each call into torch is also a chance to
wait for the interpreter.

Images are kept channels last. A transposed convolution (4 x 4 taps, stride 2, padding 1) is then a
product with weights (M, 16 M'), whose taps are added up where they overlap; its gradients are
products with the same windows, spread out again.

Letters in the shapes: P pairs of an image and a starting point, T copies of theta with Q pairs each
(P = T Q, the pairs of one copy side by side), Z latent dimensions, M feature maps of a layer and M'
of the next, C channels, S pixels a side.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.search.adam import Adam

CPU_BLOCK = 2**18  # weights that move together on a CPU: a megabyte, what a core's cache holds


@dataclass(frozen=True, eq=False)
class Activations:
    """What a forward pass leaves for the gradients; lists have one entry a layer."""

    z: Tensor  # (P, Z)
    scale: list[Tensor]  # (T, 1, 1, 1, M), of batch norm
    h: list[Tensor]  # (T, Q, side, side, M), before batch norm
    a: list[Tensor]  # (T, Q * side * side, M), after batch norm and ReLU
    y: Tensor  # (T, Q, S, S, C)


class FusedDCGANBank:
    """The GeneratorBank (see generators.py) of adgan's own Generator."""

    def __init__(self, generator: Generator, n_copies: int, pairs_per_copy: int, lr: float) -> None:
        self.n_copies, self.pairs_per_copy = n_copies, pairs_per_copy
        largest = max(weight.numel() for weight in generator.parameters())
        device = generator.device
        scratch = torch.empty(n_copies * largest, device=device)  # for one gradient at a time
        self.norms = _BatchNorms(generator, n_copies, lr)
        self.project = _Weight(generator.first, n_copies, lr, scratch)
        maps = generator.config.feature_maps()
        self.h0 = torch.empty(n_copies, pairs_per_copy, 4, 4, maps[0], device=device)
        self.layers: list[_Layer] = []
        h = self.h0
        for up, norm in zip(generator.ups, self.norms.layers, strict=True):
            self.layers.append(_Layer(_Weight(up, n_copies, lr, scratch), norm, h))
            h = self.layers[-1].out
        self.own = Activations(
            z=torch.empty(0),
            scale=[norm.scale for norm in self.norms.layers],
            h=[layer.h for layer in self.layers],
            a=[layer.a for layer in self.layers],
            y=torch.empty_like(h, memory_format=torch.contiguous_format),
        )
        self.dy = torch.empty_like(self.own.y)

    def first_forward(self, z0: Tensor) -> Activations:
        self._reset_weights()
        self.forward(z0)
        own = self.own
        scale, h, a = ([t.clone() for t in tensors] for tensors in (own.scale, own.h, own.a))
        return Activations(z0, scale, h, a, own.y.clone())

    def reset(self, first: Activations) -> Tensor:
        self._reset_weights()
        self.last = first
        return _channels_first(first.y)

    def forward(self, z: Tensor) -> Tensor:
        self.norms.fold()
        torch.bmm(self._by_copy(z), self.project.theta, out=self.h0.flatten(2))
        for layer in self.layers:
            layer.forward()
        y = torch.tanh(self.layers[-1].out, out=self.own.y)
        self.last = replace(self.own, z=z)
        return _channels_first(y)

    def backward_and_update(self, dy: Tensor, lr_scale: float) -> Tensor:
        last = self.last
        dy = self._by_copy(dy.permute(0, 2, 3, 1))  # (T, Q, S, S, C)
        torch.mul(last.y, last.y, out=self.dy)  # of tanh: 1 - y^2
        dh = torch.addcmul(dy, self.dy, dy, value=-1, out=self.dy)
        for index in reversed(range(len(self.layers))):
            scale, h, a = last.scale[index], last.h[index], last.a[index]
            dh = self.layers[index].backward(dh, scale, h, a, lr_scale)
        dh = dh.flatten(2)  # (T, Q, 16 M)
        dz = torch.bmm(dh, self.project.transposed).flatten(0, 1)
        self.project.update(self._by_copy(last.z).transpose(1, 2), dh, lr_scale)
        self.norms.update(lr_scale)
        return dz

    def _by_copy(self, pairs: Tensor) -> Tensor:
        """Split pairs by their copy: (P, ...) -> (T, Q, ...)."""
        return pairs.unflatten(0, (self.n_copies, self.pairs_per_copy))

    def _reset_weights(self) -> None:
        for weight in (self.project, *(layer.weight for layer in self.layers)):
            weight.reset()
        self.norms.reset()


def _channels_first(y: Tensor) -> Tensor:
    """View (T, Q, S, S, C) as (P, C, S, S)."""
    return y.flatten(0, 1).permute(0, 3, 1, 2)


class _Weight:
    """The weights of a transposed convolution as matrices, one a copy."""

    def __init__(self, layer: nn.Module, n_copies: int, lr: float, scratch: Tensor) -> None:
        # (M, M', 4, 4) -> (M, 16 M'): taps before channels, so that a window is one run of memory
        self.trained = layer.get_parameter("weight").permute(0, 2, 3, 1).flatten(1)
        self.theta = self.trained.repeat(n_copies, 1, 1)  # (T, M, 16 M')
        self.transposed = self.theta.transpose(1, 2)
        _, maps, taps = self.theta.shape
        # of several copies a block would lie scattered, and a GPU is faster with all at once
        rows = max(1, CPU_BLOCK // taps) if n_copies == 1 else maps
        self.blocks = []
        for start in range(0, maps, rows):
            part = slice(start, start + rows)
            theta = self.theta[:, part]
            gradient = scratch[: theta.numel()].view(theta.shape)
            self.blocks.append((part, theta, gradient, Adam(theta, lr)))

    def reset(self) -> None:
        self.theta.copy_(self.trained)
        for *_, adam in self.blocks:
            adam.reset()

    def update(self, a: Tensor, windows: Tensor, lr_scale: float) -> None:
        """Take the step of line 5 for the gradient a @ windows: (T, M, K), (T, K, 16 M').

        Block by block: a gradient is still in the core's cache when the step reads it. K: positions
        of the copy's images.
        """
        for part, theta, gradient, adam in self.blocks:
            adam.step(theta, torch.bmm(a[:, part], windows, out=gradient), lr_scale)


@dataclass(frozen=True, eq=False)
class _LayerNorm:
    """One layer's views of _BatchNorms, each (T, 1, 1, 1, M)."""

    scale: Tensor
    shift: Tensor
    dscale: Tensor
    dshift: Tensor


class _BatchNorms:
    """Batch norm of all layers in eval mode; L below is the sum of their feature maps."""

    def __init__(self, generator: Generator, n_copies: int, lr: float) -> None:
        norms = [norm for norm in generator.norms if isinstance(norm, nn.BatchNorm2d)]
        self.mean = torch.cat([norm.get_buffer("running_mean") for norm in norms])  # (L,)
        self.rate = torch.cat(
            [(n.get_buffer("running_var") + n.eps).rsqrt() for n in norms]
        )  # (L,)
        gamma, beta = (torch.cat([getattr(n, name) for n in norms]) for name in ("weight", "bias"))
        self.trained = torch.stack([gamma, beta])[:, None]  # (2, 1, L)
        self.theta = self.trained.repeat(1, n_copies, 1)  # (2, T, L), gamma and beta
        self.affine = torch.empty_like(self.theta)  # (2, T, L), scale and shift
        self.gradient = torch.empty_like(self.theta)  # (2, T, L)
        self.adam = Adam(self.theta, lr)
        maps = generator.config.feature_maps()
        views = (
            [part[:, None, None, None] for part in tensor.split(maps, 1)]
            for tensor in (*self.affine, *self.gradient)
        )
        self.layers = [_LayerNorm(*layer) for layer in zip(*views, strict=True)]

    def reset(self) -> None:
        self.theta.copy_(self.trained)
        self.adam.reset()

    def fold(self) -> None:
        """Compute scale and shift from gamma and beta."""
        gamma, beta = self.theta
        scale, shift = self.affine
        torch.mul(gamma, self.rate, out=scale)
        torch.addcmul(beta, self.mean, scale, value=-1, out=shift)

    def update(self, lr_scale: float) -> None:
        """Take the step of line 5 for gamma and beta, from the gradients at scale and shift."""
        dscale, dshift = self.gradient
        dscale.addcmul_(self.mean, dshift, value=-1).mul_(self.rate)  # of gamma; of beta as is
        self.adam.step(self.theta, self.gradient, lr_scale)


class _Layer:
    """Batch norm, ReLU and a transposed convolution that doubles the side, of all copies."""

    def __init__(self, weight: _Weight, norm: _LayerNorm, h: Tensor) -> None:
        self.weight, self.norm, self.h = weight, norm, h
        n_copies, pairs_per_copy, side, _, maps = h.shape
        positions = pairs_per_copy * side**2
        out = weight.theta.shape[2] // 16

        def empty(*shape: int) -> Tensor:
            return torch.empty(n_copies, *shape, device=h.device)

        self.a, self.da = empty(positions, maps), empty(positions, maps)
        self.a_like_h, self.da_like_h = self.a.view(h.shape), self.da.view(h.shape)
        self.product = torch.empty_like(self.a_like_h)
        self.windows = empty(positions, 16 * out)
        # one more row and column on each side, where windows reach beyond the image
        self.sums = empty(pairs_per_copy, 2 * side + 2, 2 * side + 2, out)
        self.out = self.sums[:, :, 1:-1, 1:-1]  # (T, Q, 2 side, 2 side, M')
        self.overlaps = self._overlaps(n_copies * pairs_per_copy, side, out)
        margin = torch.zeros_like(self.sums)
        self.inside = margin[:, :, 1:-1, 1:-1]
        around = margin.flatten(0, 1).unfold(1, 4, 2).unfold(2, 4, 2)  # P, side, side, M', 4, 4
        self.around = around.permute(0, 1, 2, 4, 5, 3)
        self.spread = self.windows.view(self.around.shape)

    def _overlaps(self, pairs: int, side: int, out: int) -> list[tuple[Tensor, Tensor]]:
        """List what to add where: views of sums and of windows of equal shapes.

        A window is 2 x 2 blocks of 2 x 2 pixels, so that four sums of blocks add up all taps.
        """
        blocks = self.sums.view(pairs, side + 1, 2, side + 1, 2, out)
        taps = self.windows.view(pairs, side, side, 2, 2, 2, 2, out)  # P, i, j, down, y, right, x
        return [
            (
                blocks[:, down : down + side, :, right : right + side],
                taps[:, :, :, down, :, right].transpose(2, 3),
            )
            for down in (0, 1)
            for right in (0, 1)
        ]

    def forward(self) -> None:
        """Compute out from h."""
        torch.addcmul(self.norm.shift, self.h, self.norm.scale, out=self.a_like_h).relu_()
        torch.bmm(self.a, self.weight.theta, out=self.windows)
        self.sums.zero_()
        for blocks, taps in self.overlaps:
            blocks += taps

    def backward(
        self, dout: Tensor, scale: Tensor, h: Tensor, a: Tensor, lr_scale: float
    ) -> Tensor:
        """Turn the gradient at out into that at h; move the weights, keep batch norm's gradient."""
        self.inside.copy_(dout)
        self.spread.copy_(self.around)
        torch.bmm(self.windows, self.weight.transposed, out=self.da)
        self.weight.update(a.transpose(1, 2), self.windows, lr_scale)
        self.da.mul_(a.sign())  # of ReLU: a is never below 0
        torch.sum(self.da_like_h, (1, 2, 3), keepdim=True, out=self.norm.dshift)
        torch.mul(self.da_like_h, h, out=self.product)
        torch.sum(self.product, (1, 2, 3), keepdim=True, out=self.norm.dscale)
        return self.da_like_h.mul_(scale)
