"""Copies of a generator that move apart: one for every pair of a picture and a starting point.

Three ways to hold them, alike from outside: `begin` makes every copy what the generator was,
`generate` maps latent vectors to pictures, and `step` takes the gradient at those pictures, moves
each copy's own weights (line 5 of Algorithm 1) and returns the gradient at the latent vectors.

Letters in the shapes: P pairs, Z latent dimensions, M feature maps, C channels, S size.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim.adam import adam

from adgan_cli.engine.networks import Generator

BETAS = 0.5, 0.999  # of Adam, footnote 5
EPS = 1e-8  # of Adam, its default


class Copies(Protocol):
    """What the search asks of P copies of a generator."""

    def first_pass(self, z0: Tensor) -> Any:
        """What `begin` takes, from z0: (P, Z): the same for every picture, so made only once."""

    def begin(self, first: Any) -> Tensor:
        """Line 1: theta as trained, moments zero; and the pictures at z0, (P, C, S, S)."""

    def generate(self, z: Tensor) -> Tensor:
        """z: (P, Z) -> (P, C, S, S), without a graph."""

    def step(self, dy: Tensor) -> Tensor:
        """Take dL/dy: (P, C, S, S) of the last pictures and return dL/dz: (P, Z); moves theta.

        Both gradients are those at the old theta.
        """


def copies_of(generator: nn.Module, count: int, lr: float) -> Copies:
    """`count` copies whose weights move at the rate lr; at 0 all are one and the same."""
    # a copy: functional_call swaps weights in place, which threads must not do to one module;
    # eval mode, or a score would depend on its batch mates through batch norm
    generator = copy.deepcopy(generator).eval().requires_grad_(False)
    if not lr:
        return FixedGenerator(generator)
    if type(generator) is Generator:  # a subclass may compute something else
        return GeneratorCopies(generator, count, lr)
    return ModuleCopies(generator, count, lr)


class Adam:
    """Adam's moments for one tensor of pairs, and its step (footnote 5)."""

    def __init__(self, weight: Tensor, lr: float) -> None:
        self.lr = lr
        self.m, self.v = torch.zeros_like(weight), torch.zeros_like(weight)
        self.count = torch.zeros((), device=weight.device)

    def step(self, weight: Tensor, gradient: Tensor) -> None:
        # contiguous, as the weights are: the fused step reads both as they lie in memory
        adam(
            [weight], [gradient.contiguous()], [self.m], [self.v], [], [self.count],
            fused=weight.device.type in ("cpu", "cuda"), foreach=False,
            amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=self.lr, weight_decay=0.0, eps=EPS,
            maximize=False,
        )  # fmt: skip

    def restart(self) -> None:
        for tensor in (self.m, self.v, self.count):
            tensor.zero_()


class FixedGenerator:
    """Any generator whose weights stay: only the latent vectors differ from pair to pair."""

    def __init__(self, generator: nn.Module) -> None:
        self.generator = generator

    def first_pass(self, z0: Tensor) -> Tensor:
        return z0

    def begin(self, first: Tensor) -> Tensor:
        return self.generate(first)

    def generate(self, z: Tensor) -> Tensor:
        with torch.enable_grad():
            self.z = z.detach().requires_grad_()
            self.y: Tensor = self.generator(self.z)
        return self.y.detach()

    def step(self, dy: Tensor) -> Tensor:
        (dz,) = torch.autograd.grad(self.y, self.z, dy)
        return dz


class ModuleCopies:
    """Copies of any nn.Module, by torch.func and autograd."""

    def __init__(self, generator: nn.Module, count: int, lr: float) -> None:
        self.trained = dict(generator.named_parameters())
        self.theta = {
            name: weight.detach().repeat(count, *[1] * weight.ndim).requires_grad_()
            for name, weight in self.trained.items()
        }
        self.adams = {name: Adam(weight.detach(), lr) for name, weight in self.theta.items()}

        def one(theta: Mapping[str, Tensor], z: Tensor) -> Tensor:
            y: Tensor = functional_call(generator, dict(theta), (z[None],))
            return y[0]

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
            self.y = self.forward(self.theta, self.z)
        return self.y.detach()

    def step(self, dy: Tensor) -> Tensor:
        names = list(self.theta)
        wanted = [self.z, *(self.theta[name] for name in names)]
        dz, *gradients = torch.autograd.grad(self.y, wanted, dy)
        for name, gradient in zip(names, gradients, strict=True):
            self.adams[name].step(self.theta[name].detach(), gradient)
        return dz


@dataclass(frozen=True, eq=False)
class Pass:
    """What a forward pass leaves for the gradients; pictures channels last, L layers."""

    z: Tensor  # (P, Z)
    scale: Tensor  # (P, sum of M), of batch norm
    h: list[Tensor]  # L of (P, side, side, M), before batch norm
    a: list[Tensor]  # L of (P, side * side, M), after batch norm and ReLU
    y: Tensor  # (P, S, S, C)


class GeneratorCopies:
    """Copies of our own generator: forward pass, gradients and steps written out.

    A layer of one pair is a product of two thin matrices, positions of the picture by feature
    maps; what costs time is moving its weights and moments through memory. So each is touched as
    seldom as can be, next to nothing is allocated, and a weight moves as soon as its gradient
    exists, while that is still in cache.

    Pictures are kept channels last. A transposed convolution (4 x 4 taps, stride 2, padding 1)
    is then a product with weights (M, 16 M'), whose taps are added up where they overlap; its
    gradients are products with the same windows, spread out again.
    """

    def __init__(self, generator: Generator, count: int, lr: float) -> None:
        config, device = generator.config, generator.first.weight.device
        self.maps = config.feature_maps()
        layers = [generator.first, *generator.ups]
        # (M, M', 4, 4) -> (M, 16 M'): taps before channels, so that a window is one run of memory
        self.trained = [layer.weight.permute(0, 2, 3, 1).flatten(1) for layer in layers]
        norms = [norm for norm in generator.norms if isinstance(norm, nn.BatchNorm2d)]
        self.trained_norms = torch.stack(
            [torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms])]
        )  # (2, sum of M): gamma and beta of all layers, small enough to move together
        told = [(norm.running_mean, norm.running_var, norm.eps) for norm in norms]
        self.mean = torch.cat([mean for mean, _, _ in told if mean is not None])
        self.rate = torch.cat([(var + eps).rsqrt() for _, var, eps in told if var is not None])

        def empty(*shape: int) -> Tensor:
            return torch.empty(count, *shape, device=device)

        self.theta = [empty(*weight.shape) for weight in self.trained]
        self.adams = [Adam(weight, lr) for weight in self.theta]
        self.norms, self.norm_gradient = (empty(*self.trained_norms.shape) for _ in range(2))
        self.norm_adam = Adam(self.norms, lr)
        memory = torch.empty(max(w.numel() for w in self.theta), device=device)
        # of one layer at a time, all in the same memory
        self.gradients = [memory[: w.numel()].view_as(w) for w in self.theta]

        sides = [4 * 2**layer for layer in range(len(self.maps))]
        outs = [*self.maps[1:], config.channels]
        self.a = [empty(side * side, m) for side, m in zip(sides, self.maps, strict=True)]
        self.da = [torch.empty_like(a) for a in self.a]
        self.windows = [empty(s * s, 16 * out) for s, out in zip(sides, outs, strict=True)]
        first = empty(4, 4, self.maps[0])
        # one more row and column on each side, where windows reach beyond the picture
        self.sums = [empty(2 * s + 2, 2 * s + 2, out) for s, out in zip(sides, outs, strict=True)]
        self.spread = [torch.zeros_like(summed) for summed in self.sums]
        self.h = [first, *(_inside(summed) for summed in self.sums)]

    def first_pass(self, z0: Tensor) -> Pass:
        self._restart()
        self.generate(z0)
        done = self.done
        return Pass(
            z0, done.scale, [h.clone() for h in done.h], [a.clone() for a in done.a], done.y
        )

    def begin(self, first: Pass) -> Tensor:
        self._restart()
        self.done = first
        return _channels_first(first.y)

    def generate(self, z: Tensor) -> Tensor:
        scale = self.norms[:, 0] * self.rate
        shift = torch.addcmul(self.norms[:, 1], self.mean, scale, value=-1)
        scales, shifts = (_by_layer(both, self.maps) for both in (scale, shift))
        torch.bmm(z[:, None], self.theta[0], out=self.h[0].flatten(1)[:, None])
        for layer, a in enumerate(self.a):
            h, seen = self.h[layer], a.view_as(self.h[layer])
            torch.addcmul(shifts[layer], h, scales[layer], out=seen).relu_()
            torch.bmm(a, self.theta[layer + 1], out=self.windows[layer])
            _add_windows(self.windows[layer], self.sums[layer])
        y = self.h[-1].tanh()
        self.done = Pass(z, scale, self.h[:-1], self.a, y)
        return _channels_first(y)

    def step(self, dy: Tensor) -> Tensor:
        done = self.done
        dh = dy.permute(0, 2, 3, 1) * (1 - done.y.square())  # of tanh
        scales = _by_layer(done.scale, self.maps)
        end = sum(self.maps)
        for layer in reversed(range(len(self.maps))):
            h, a, da, windows = done.h[layer], done.a[layer], self.da[layer], self.windows[layer]
            _spread_windows(dh, self.spread[layer], windows)
            torch.bmm(a.transpose(1, 2), windows, out=self.gradients[layer + 1])
            torch.bmm(windows, self.theta[layer + 1].transpose(1, 2), out=da)
            self._move(layer + 1)
            da.mul_(a.sign())  # of ReLU: a is never below 0
            dh = da.view_as(h)
            start = end - self.maps[layer]
            dshift, dscale = da.sum(1), (dh * h).sum((1, 2))
            gamma, beta = self.norm_gradient[:, :, start:end].unbind(1)
            beta.copy_(dshift)
            torch.addcmul(dscale, self.mean[start:end], dshift, value=-1, out=dscale)
            torch.mul(dscale, self.rate[start:end], out=gamma)
            dh.mul_(scales[layer])
            end = start
        dh = dh.flatten(1)[:, None]  # (P, 1, 16 M)
        dz = torch.bmm(dh, self.theta[0].transpose(1, 2))[:, 0]
        torch.mul(done.z[:, :, None], dh, out=self.gradients[0])
        self._move(0)
        self.norm_adam.step(self.norms, self.norm_gradient)
        return dz

    def _restart(self) -> None:
        for weight, trained in zip(self.theta, self.trained, strict=True):
            weight.copy_(trained)
        self.norms.copy_(self.trained_norms)
        for own in (*self.adams, self.norm_adam):
            own.restart()

    def _move(self, layer: int) -> None:
        self.adams[layer].step(self.theta[layer], self.gradients[layer])


def _inside(picture: Tensor) -> Tensor:
    """(P, side + 2, side + 2, M) -> its view without the margin."""
    return picture[:, 1:-1, 1:-1]


def _channels_first(y: Tensor) -> Tensor:
    return y.permute(0, 3, 1, 2).contiguous()


def _by_layer(both: Tensor, maps: list[int]) -> list[Tensor]:
    """(P, sum of M) -> one of (P, 1, 1, M) a layer."""
    return [part[:, None, None] for part in both.split(maps, 1)]


def _add_windows(windows: Tensor, out: Tensor) -> None:
    """Add up what overlaps: (P, side * side, 16 M), windows of 4 x 4 two apart, -> out.

    out: (P, 2 side + 2, 2 side + 2, M), a margin of 1 included. A window is 2 x 2 blocks of 2 x 2
    pixels, so that four sums of pictures in blocks do it.
    """
    pairs, side, maps = len(windows), out.shape[1] // 2 - 1, out.shape[3]
    taps = windows.view(pairs, side, side, 2, 2, 2, 2, maps)  # (P, i, j, down, y, right, x, M)
    blocks = out.zero_().view(pairs, side + 1, 2, side + 1, 2, maps)
    for down in (0, 1):
        for right in (0, 1):
            to = blocks[:, down : down + side, :, right : right + side]
            to += taps[:, :, :, down, :, right].transpose(2, 3)


def _spread_windows(picture: Tensor, margin: Tensor, out: Tensor) -> None:
    """The gradient of _add_windows: (P, 2 side, 2 side, M) -> out: (P, side * side, 16 M).

    margin: (P, 2 side + 2, 2 side + 2, M), zero where it is beyond the picture; overwritten.
    """
    _inside(margin).copy_(picture)
    seen = margin.unfold(1, 4, 2).unfold(2, 4, 2)  # (P, side, side, M, 4, 4), a view
    out.view(*seen.shape[:3], 4, 4, -1).copy_(seen.permute(0, 1, 2, 4, 5, 3))
