"""Copies of a generator that move apart: one for every picture and starting point, or picture.

Three ways to hold them, alike from outside: `begin` makes every copy what the generator was,
`generate` maps latent vectors to pictures, and `step` takes the gradient at those pictures, moves
each copy's own weights (line 5 of Algorithm 1) and returns the gradient at the latent vectors.

Letters in the shapes: P pairs of a picture and a starting point, T copies of theta with Q pairs
each (P = T Q, those of a copy side by side), Z latent dimensions, M feature maps, C channels, S
size.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim.adam import adam

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.dcgan import Generator, fold_batch_norm

BETAS = 0.5, 0.999  # of Adam, footnote 5
EPS = 1e-8  # of Adam, its default
BLOCK = 2**18  # weights that move together on a CPU: a megabyte, what a core's cache holds


class GeneratorBank(Protocol):
    """What the search asks of T copies of a generator."""

    def first_pass(self, z0: Tensor) -> Any:
        """What `begin` takes, from z0: (P, Z): the same for every picture, so made only once."""

    def begin(self, first: Any) -> Tensor:
        """Line 1: theta as trained, moments zero; and the pictures at z0, (P, C, S, S)."""

    def generate(self, z: Tensor) -> Tensor:
        """z: (P, Z) -> (P, C, S, S), without a graph; the next call may overwrite it."""

    def step(self, dy: Tensor, pace: float) -> Tensor:
        """Take dL/dy: (P, C, S, S) of the last pictures and return dL/dz: (P, Z); moves theta.

        Both gradients are those at the old theta; a copy that several pairs share takes the sum of
        theirs. pace: what the step size is multiplied with.
        """


def make_bank(
    generator: nn.Module, count: int, sharing: int, config: SearchConfig
) -> GeneratorBank:
    """`count` copies, each for `sharing` pairs, or one generator that stands for all.

    Their weights move as `config` says.
    """
    # a copy: functional_call swaps weights in place, which threads must not do to one module;
    # eval mode, or a score would depend on its batch mates through batch norm
    generator = copy.deepcopy(generator).eval().requires_grad_(False)
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    if type(generator) is Generator:  # a subclass may compute something else
        if config.moves_theta:
            return FusedDCGANBank(generator, count, sharing, config.lr_theta)
        return SharedGenerator(fold_batch_norm(generator), dtype)
    if config.moves_theta:
        return VmapBank(generator, count, sharing, config.lr_theta)
    return SharedGenerator(generator, dtype)


class Adam:
    """Adam's moments for one tensor, and its step (footnote 5)."""

    def __init__(self, weight: Tensor, lr: float) -> None:
        self.lr = lr
        # one behind the other, so that one operation empties both
        self.moments = torch.zeros(2, *weight.shape, device=weight.device)
        self.m, self.v = self.moments
        self.taken = 0

    def restart(self) -> None:
        self.moments.zero_()
        self.taken = 0

    def step(self, weight: Tensor, gradient: Tensor, pace: float = 1.0) -> None:
        """Move `weight`, which must be contiguous: the step reads all as they lie in memory."""
        self.taken += 1
        count = _count(self.taken, weight.device)
        if weight.device.type in ("cpu", "cuda"):
            # what torch.optim's fused Adam calls, without the forty microseconds before it: with
            # several threads they are spent waiting for the interpreter
            torch._fused_adam_(
                [weight], [gradient.contiguous()], [self.m], [self.v], [], [count],
                lr=pace * self.lr, beta1=BETAS[0], beta2=BETAS[1], weight_decay=0.0, eps=EPS,
                amsgrad=False, maximize=False,
            )  # fmt: skip
            return
        adam(
            [weight], [gradient], [self.m], [self.v], [], [count - 1],
            foreach=False, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=pace * self.lr,
            weight_decay=0.0, eps=EPS, maximize=False,
        )  # fmt: skip


@cache
def _count(steps: int, device: torch.device) -> Tensor:
    return torch.tensor(float(steps), device=device)


class SharedGenerator:
    """Any generator whose weights stay: only the latent vectors differ from pair to pair."""

    def __init__(self, generator: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        self.generator, self.dtype = generator.to(dtype), dtype

    def first_pass(self, z0: Tensor) -> Tensor:
        return z0

    def begin(self, first: Tensor) -> Tensor:
        return self.generate(first)

    def generate(self, z: Tensor) -> Tensor:
        with torch.enable_grad():
            self.z = z.detach().requires_grad_()
            self.y: Tensor = self.generator(self.z.to(self.dtype)).float()
        return self.y.detach()

    def step(self, dy: Tensor, pace: float) -> Tensor:
        (dz,) = torch.autograd.grad(self.y, self.z, dy)
        return dz


class VmapBank:
    """Copies of any nn.Module, by torch.func and autograd."""

    def __init__(self, generator: nn.Module, count: int, sharing: int, lr: float) -> None:
        self.count, self.sharing = count, sharing
        self.trained = dict(generator.named_parameters())
        self.theta = {
            name: weight.detach().repeat(count, *[1] * weight.ndim).requires_grad_()
            for name, weight in self.trained.items()
        }
        self.adams = {name: Adam(weight.detach(), lr) for name, weight in self.theta.items()}

        def one(theta: Mapping[str, Tensor], z: Tensor) -> Tensor:
            y: Tensor = functional_call(generator, dict(theta), (z,))
            return y  # (Q, C, S, S)

        self.forward = vmap(one)

    def first_pass(self, z0: Tensor) -> Tensor:
        return z0

    def begin(self, first: Tensor) -> Tensor:
        for name, weight in self.theta.items():
            weight.detach().copy_(self.trained[name])
            self.adams[name].restart()
        return self.generate(first)

    def generate(self, z: Tensor) -> Tensor:
        with torch.enable_grad():
            self.z = z.detach().requires_grad_()
            shared = self.z.unflatten(0, (self.count, self.sharing))
            self.y = self.forward(self.theta, shared).flatten(0, 1)
        return self.y.detach()

    def step(self, dy: Tensor, pace: float) -> Tensor:
        names = list(self.theta)
        wanted = [self.z, *(self.theta[name] for name in names)]
        dz, *gradients = torch.autograd.grad(self.y, wanted, dy)
        for name, gradient in zip(names, gradients, strict=True):
            self.adams[name].step(self.theta[name].detach(), gradient, pace)
        return dz


@dataclass(frozen=True, eq=False)
class Pass:
    """What a forward pass leaves for the gradients; pictures channels last, a list a layer."""

    z: Tensor  # (P, Z)
    scale: list[Tensor]  # (T, 1, 1, 1, M), of batch norm
    h: list[Tensor]  # (T, Q, side, side, M), before batch norm
    a: list[Tensor]  # (T, Q * side * side, M), after batch norm and ReLU
    y: Tensor  # (T, Q, S, S, C)


class FusedDCGANBank:
    """Copies of our own generator: forward pass, gradients and steps written out.

    A layer is a product of two thin matrices, positions of the pictures by feature maps; what costs
    time is moving its weights and moments through memory. So each is touched as seldom as can be,
    and a weight moves as soon as its gradient exists, while that is still in cache. All memory, and
    every view of it, is made once: where pictures are searched for side by side, each call into
    torch is also a chance to wait for the interpreter.

    Pictures are kept channels last. A transposed convolution (4 x 4 taps, stride 2, padding 1)
    is then a product with weights (M, 16 M'), whose taps are added up where they overlap; its
    gradients are products with the same windows, spread out again.
    """

    def __init__(self, generator: Generator, count: int, sharing: int, lr: float) -> None:
        self.count, self.sharing = count, sharing
        config, device = generator.config, generator.first.weight.device
        maps = config.feature_maps()
        norms = [norm for norm in generator.norms if isinstance(norm, nn.BatchNorm2d)]
        told = [(norm.running_mean, norm.running_var, norm.eps) for norm in norms]
        self.mean = torch.cat([mean for mean, _, _ in told if mean is not None])
        self.rate = torch.cat([(var + eps).rsqrt() for _, var, eps in told if var is not None])
        # gamma and beta of all layers, small enough to move together: (2, T, sum of M)
        self.trained_norms = torch.stack(
            [torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms])]
        )[:, None]
        total = sum(maps)
        self.norms = torch.empty(2, count, total, device=device)
        self.norm_gradient = torch.empty_like(self.norms)
        self.norm_adam = Adam(self.norms, lr)
        scaling = torch.empty_like(self.norms)
        self.scale, self.shift = scaling
        scales, shifts, dscales, dshifts = (
            [part[:, None, None, None] for part in both.split(maps, 1)]
            for both in (self.scale, self.shift, *self.norm_gradient)
        )
        largest = max(w.numel() for w in generator.parameters())
        memory = torch.empty(count * largest, device=device)  # for one gradient at a time
        self.first = _Weight(generator.first, count, lr, memory)
        self.h0 = torch.empty(count, sharing, 4, 4, maps[0], device=device)
        self.layers: list[_Layer] = []
        h = self.h0
        for index, up in enumerate(generator.ups):
            weight = _Weight(up, count, lr, memory)
            self.layers.append(
                _Layer(weight, h, scales[index], shifts[index], dscales[index], dshifts[index])
            )
            h = self.layers[-1].out
        self.own = Pass(
            torch.empty(0),
            scales,
            [layer.h for layer in self.layers],
            [layer.a for layer in self.layers],
            torch.empty_like(h, memory_format=torch.contiguous_format),
        )
        self.dy = torch.empty_like(self.own.y)

    def first_pass(self, z0: Tensor) -> Pass:
        self._restart()
        self.generate(z0)
        done = self.done
        scale, h, a = ([t.clone() for t in part] for part in (done.scale, done.h, done.a))
        return Pass(z0, scale, h, a, done.y.clone())

    def begin(self, first: Pass) -> Tensor:
        self._restart()
        self.done = first
        return _channels_first(first.y)

    def generate(self, z: Tensor) -> Tensor:
        gamma, beta = self.norms
        torch.mul(gamma, self.rate, out=self.scale)
        torch.addcmul(beta, self.mean, self.scale, value=-1, out=self.shift)
        torch.bmm(self._by_copy(z), self.first.theta, out=self.h0.flatten(2))
        for layer in self.layers:
            layer.forward()
        y = torch.tanh(self.layers[-1].out, out=self.own.y)
        self.done = replace(self.own, z=z)
        return _channels_first(y)

    def step(self, dy: Tensor, pace: float) -> Tensor:
        done, dy = self.done, self._by_copy(dy.permute(0, 2, 3, 1))
        torch.mul(done.y, done.y, out=self.dy)  # of tanh: 1 - y^2
        dh = torch.addcmul(dy, self.dy, dy, value=-1, out=self.dy)
        for layer, scale, h, a in reversed(
            list(zip(self.layers, done.scale, done.h, done.a, strict=True))
        ):
            dh = layer.backward(dh, scale, h, a, pace)
        dh = dh.flatten(2)  # (T, Q, 16 M)
        dz = torch.bmm(dh, self.first.transposed).flatten(0, 1)
        self.first.move(self._by_copy(done.z).transpose(1, 2), dh, pace)
        dscale, dshift = self.norm_gradient
        dscale.addcmul_(self.mean, dshift, value=-1).mul_(self.rate)  # now of gamma; of beta as is
        self.norm_adam.step(self.norms, self.norm_gradient, pace)
        return dz

    def _by_copy(self, pairs: Tensor) -> Tensor:
        """(P, ...) -> (T, Q, ...)."""
        return pairs.unflatten(0, (self.count, self.sharing))

    def _restart(self) -> None:
        for weight in (self.first, *(layer.weight for layer in self.layers)):
            weight.restart()
        self.norms.copy_(self.trained_norms)
        self.norm_adam.restart()


def _channels_first(y: Tensor) -> Tensor:
    """(T, Q, S, S, C) -> (P, C, S, S), a view."""
    return y.flatten(0, 1).permute(0, 3, 1, 2)


class _Weight:
    """The weights of a transposed convolution as matrices, one a copy."""

    def __init__(self, layer: nn.Module, count: int, lr: float, memory: Tensor) -> None:
        # (M, M', 4, 4) -> (M, 16 M'): taps before channels, so that a window is one run of memory
        self.trained = layer.get_parameter("weight").permute(0, 2, 3, 1).flatten(1)
        self.theta = self.trained.repeat(count, 1, 1)  # (T, M, 16 M')
        self.transposed = self.theta.transpose(1, 2)
        _, maps, taps = self.theta.shape
        # of several copies a block would lie scattered, and a GPU wants all of them at once
        rows = max(1, BLOCK // taps) if count == 1 else maps
        self.blocks = []
        for start in range(0, maps, rows):
            part = slice(start, start + rows)
            theta = self.theta[:, part]
            gradient = memory[: theta.numel()].view(theta.shape)
            self.blocks.append((part, theta, gradient, Adam(theta, lr)))

    def restart(self) -> None:
        self.theta.copy_(self.trained)
        for *_, own in self.blocks:
            own.restart()

    def move(self, a: Tensor, windows: Tensor, pace: float) -> None:
        """Line 5, for the gradient a @ windows: (T, M, positions), (T, positions, 16 M').

        Block by block: a gradient is still in the core's cache when the step reads it.
        """
        for part, theta, gradient, own in self.blocks:
            own.step(theta, torch.bmm(a[:, part], windows, out=gradient), pace)


class _Layer:
    """Batch norm, ReLU and a transposed convolution that doubles the side, of all copies."""

    def __init__(
        self, weight: _Weight, h: Tensor, scale: Tensor, shift: Tensor, dscale: Tensor,
        dshift: Tensor,
    ) -> None:  # fmt: skip
        self.weight, self.h = weight, h
        self.scale, self.shift, self.dscale, self.dshift = scale, shift, dscale, dshift
        count, sharing, side, _, maps = h.shape
        pairs, positions, out = count * sharing, sharing * side**2, weight.theta.shape[2] // 16

        def empty(*shape: int) -> Tensor:
            return torch.empty(count, *shape, device=h.device)

        self.a, self.da = empty(positions, maps), empty(positions, maps)
        self.a_seen, self.da_seen = self.a.view(h.shape), self.da.view(h.shape)
        self.product = torch.empty_like(self.a_seen)
        self.windows = empty(positions, 16 * out)
        # one more row and column on each side, where windows reach beyond the picture
        self.sums = empty(sharing, 2 * side + 2, 2 * side + 2, out)
        self.out = self.sums[:, :, 1:-1, 1:-1]  # (T, Q, 2 side, 2 side, M')
        # a window is 2 x 2 blocks of 2 x 2 pixels, so that four sums of blocks add up all taps
        blocks = self.sums.view(pairs, side + 1, 2, side + 1, 2, out)
        taps = self.windows.view(pairs, side, side, 2, 2, 2, 2, out)  # P, i, j, down, y, right, x
        self.overlaps = [
            (
                blocks[:, down : down + side, :, right : right + side],
                taps[:, :, :, down, :, right].transpose(2, 3),
            )
            for down in (0, 1)
            for right in (0, 1)
        ]
        margin = torch.zeros_like(self.sums)
        self.inside = margin[:, :, 1:-1, 1:-1]
        around = margin.flatten(0, 1).unfold(1, 4, 2).unfold(2, 4, 2)  # P, side, side, M', 4, 4
        self.around = around.permute(0, 1, 2, 4, 5, 3)
        self.spread = self.windows.view(self.around.shape)

    def forward(self) -> None:
        """From h to out."""
        torch.addcmul(self.shift, self.h, self.scale, out=self.a_seen).relu_()
        torch.bmm(self.a, self.weight.theta, out=self.windows)
        self.sums.zero_()
        for blocks, taps in self.overlaps:
            blocks += taps

    def backward(self, dout: Tensor, scale: Tensor, h: Tensor, a: Tensor, pace: float) -> Tensor:
        """From the gradient at out to that at h; moves the weights and notes batch norm's."""
        self.inside.copy_(dout)
        self.spread.copy_(self.around)
        torch.bmm(self.windows, self.weight.transposed, out=self.da)
        self.weight.move(a.transpose(1, 2), self.windows, pace)
        self.da.mul_(a.sign())  # of ReLU: a is never below 0
        torch.sum(self.da_seen, (1, 2, 3), keepdim=True, out=self.dshift)
        torch.mul(self.da_seen, h, out=self.product)
        torch.sum(self.product, (1, 2, 3), keepdim=True, out=self.dscale)
        return self.da_seen.mul_(scale)
