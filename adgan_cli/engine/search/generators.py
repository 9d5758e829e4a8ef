"""Banks of generators: the copies of theta that Algorithm 1 moves, one interface for all kinds.

Letters in the shapes: P pairs of an image and a starting point, T copies of theta with Q pairs each
(P = T Q, the pairs of one copy side by side), Z latent dimensions, (C, H, W) an image.
"""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from adgan_cli.config import SearchConfig
from adgan_cli.engine.device import tf32_products
from adgan_cli.engine.models.dcgan import Generator, fold_batch_norm
from adgan_cli.engine.search.adam import Adam
from adgan_cli.engine.search.fast_dcgan import FusedDCGANBank

FirstForward = Any  # what a bank's first_forward returns, for any bank of its kind to start from


class GeneratorBank(Protocol):
    """T copies of a generator's theta that move apart."""

    def first_forward(self, z0: Tensor) -> FirstForward:
        """Run the trained generator at z0: (P, Z).

        Separate from reset because images that share their starting points can share this too.
        """

    def reset(self, first: FirstForward) -> Tensor:
        """Set every copy to the trained theta, moments to zero; return its images (P, C, H, W)."""

    def forward(self, z: Tensor) -> Tensor:
        """Generate images, (P, Z) -> (P, C, H, W), no graph; the next call may overwrite them."""

    def backward_and_update(self, dy: Tensor, lr_scale: float) -> Tensor:
        """Take dL/dy of the last images, (P, C, H, W), move theta and return dL/dz, (P, Z).

        Both gradients are those at the old theta. A copy that several pairs share follows the sum
        of their gradients. lr_scale: factor of the learning rate.
        """


def make_bank(
    generator: nn.Module,
    n_copies: int,
    pairs_per_copy: int,
    config: SearchConfig,
    precision: str = "fp32",
) -> GeneratorBank:
    """Make the fastest bank that can do what `config` asks of this generator.

    precision: fp32, tf32 or bf16, of the products; fp32 where theta moves.
    """
    # a copy: functional_call swaps weights in place, which threads must not do to one module;
    # eval mode, or a score would depend on its batch mates through batch norm
    generator = copy.deepcopy(generator).eval().requires_grad_(False)
    if type(generator) is Generator:  # a subclass may compute something else
        if config.moves_theta:  # without this case VmapBank does the same, several times slower
            return FusedDCGANBank(generator, n_copies, pairs_per_copy, config.lr_theta)
        return SharedGenerator(fold_batch_norm(generator), precision)
    if config.moves_theta:
        return VmapBank(generator, n_copies, pairs_per_copy, config.lr_theta)
    return SharedGenerator(generator, precision)


class SharedGenerator:
    """Any nn.Module with fixed weights: only the latent vectors differ from pair to pair."""

    def __init__(self, generator: nn.Module, precision: str = "fp32") -> None:
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.generator = generator.to(self.dtype)
        # around the network's own products only: the loss's differences of squares need all bits
        self.products = tf32_products if precision == "tf32" else nullcontext

    def first_forward(self, z0: Tensor) -> Tensor:
        return z0

    def reset(self, first: Tensor) -> Tensor:
        self.y = first.new_empty(0)  # the last search's graph goes before this one's takes memory
        return self.forward(first)

    def forward(self, z: Tensor) -> Tensor:
        with torch.enable_grad(), self.products():
            self.z = z.detach().requires_grad_()
            self.y = self.generator(self.z.to(self.dtype)).float()
        return self.y.detach()

    def backward_and_update(self, dy: Tensor, lr_scale: float) -> Tensor:
        with self.products():
            (dz,) = torch.autograd.grad(self.y, self.z, dy)
        return dz


class VmapBank:
    """Copies of any nn.Module, by torch.func.vmap and autograd."""

    def __init__(self, generator: nn.Module, n_copies: int, pairs_per_copy: int, lr: float) -> None:
        self.n_copies, self.pairs_per_copy = n_copies, pairs_per_copy
        self.trained = dict(generator.named_parameters())
        self.theta = {
            name: weight.detach().repeat(n_copies, *[1] * weight.ndim).requires_grad_()
            for name, weight in self.trained.items()
        }
        self.adams = {name: Adam(weight.detach(), lr) for name, weight in self.theta.items()}

        def forward_one(theta: Mapping[str, Tensor], z: Tensor) -> Tensor:
            y: Tensor = functional_call(generator, dict(theta), (z,))
            return y  # (Q, C, H, W)

        self.forward_all = vmap(forward_one)

    def first_forward(self, z0: Tensor) -> Tensor:
        return z0

    def reset(self, first: Tensor) -> Tensor:
        for name, weight in self.theta.items():
            weight.detach().copy_(self.trained[name])
            self.adams[name].reset()
        # or theta's nodes would stay in the graph, and on the stream, of the last search
        self.y = first.new_empty(0)
        return self.forward(first)

    def forward(self, z: Tensor) -> Tensor:
        with torch.enable_grad():
            self.z = z.detach().requires_grad_()
            by_copy = self.z.unflatten(0, (self.n_copies, self.pairs_per_copy))  # (T, Q, Z)
            self.y = self.forward_all(self.theta, by_copy).flatten(0, 1)  # (P, C, H, W)
        return self.y.detach()

    def backward_and_update(self, dy: Tensor, lr_scale: float) -> Tensor:
        dz, *gradients = torch.autograd.grad(self.y, [self.z, *self.theta.values()], dy)
        for (name, weight), gradient in zip(self.theta.items(), gradients, strict=True):
            self.adams[name].step(weight.detach(), gradient, lr_scale)
        return dz
