"""The scores that need the critic: the discriminator's own (section 4.3) and AnoGAN's.

Letters in the shapes: N images, Z latent dimensions, F features, C channels, S size.
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from adgan_cli.config import to_dict
from adgan_cli.engine.models.dcgan import Critic, Generator
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.evaluation.batches import BATCH, score_in_batches
from adgan_cli.evaluation.methods.gan import critic_of, gan_identity, trained_gan
from adgan_cli.evaluation.settings import AnoganConfig
from adgan_cli.evaluation.task import Cell, MethodResult

Network = TypeVar("Network", bound=nn.Module)


def discriminator(cell: Cell) -> MethodResult:
    """Score by what the critic says of an image (section 4.3)."""
    model = trained_gan(cell)
    scores = discriminator_scores(critic_of(cell, model), cell.task.test)
    return MethodResult(scores, gan_identity(model))


def anogan(cell: Cell) -> MethodResult:
    """Score by AnoGAN (Schlegl et al., 2017), on the cell's own GAN."""
    model, config = trained_gan(cell), cell.settings.anogan
    scores = anogan_scores(
        model.require_generator(),
        critic_of(cell, model),
        cell.task.test,
        config,
        on_progress=cell.report_searched,
    )
    return MethodResult(scores, to_dict(config) | gan_identity(model))


def discriminator_scores(critic: Critic, pixels: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Compute minus the critic's output: pixels (N, S, S, C) uint8 -> (N,).

    Eq. (2) trains the critic to be high on real images, so what is anomalous is low.
    """

    @torch.no_grad()
    def score(x: Tensor) -> Tensor:
        output: Tensor = critic(x)
        return -output

    critic.eval()  # wgan's has batch norm
    device = critic.last.weight.device
    return score_in_batches(pixels, score, device=device, batch_size=batch_size)


def anogan_scores(
    generator: Generator,
    critic: Critic,
    pixels: np.ndarray,
    config: AnoganConfig = AnoganConfig(),  # noqa: B008  frozen
    *,
    batch_size: int = 64,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Compute the loss L(z) of AnoGAN after its search: pixels (N, S, S, C) uint8 -> (N,).

    Only z moves, by Adam, from one starting point that is the same for every image. Latent vectors
    and their moments are separate for each image, and the losses of a batch are summed, so that
    company changes nothing but the order of float32 sums.
    """
    device = generator.device
    z0 = starting_points(1, generator.config.latent_dim, config.seed).to(device)
    generator, critic = _frozen(generator), _frozen(critic)

    def score(x: Tensor) -> Tensor:
        with torch.no_grad():
            features = critic.features(x)  # (N, F)
        z = z0.repeat(len(x), 1).requires_grad_()
        adam = Adam([z], lr=config.lr)
        for _ in range(config.steps):
            loss = anogan_loss(generator, critic, z, x, features, weight=config.weight).sum()
            (z.grad,) = torch.autograd.grad(loss, z)
            adam.step()
        with torch.no_grad():
            return anogan_loss(generator, critic, z, x, features, weight=config.weight)

    return score_in_batches(
        pixels, score, device=device, batch_size=batch_size, on_progress=on_progress
    )


def anogan_loss(
    generator: nn.Module, critic: Critic, z: Tensor, x: Tensor, features: Tensor, *, weight: float
) -> Tensor:
    """Compute (1 - weight) sum |x - G(z)| + weight sum |f(x) - f(G(z))|, z (N, Z) -> (N,).

    x: (N, C, S, S); features: (N, F), f(x). Schlegl et al. (2017), section 2.2.
    """
    y: Tensor = generator(z)
    residual = (x - y).abs().flatten(1).sum(1)
    matching = (features - critic.features(y)).abs().sum(1)
    return (1 - weight) * residual + weight * matching


def _frozen(network: Network) -> Network:
    """Copy a network in eval mode, without gradients, laid out for the fastest convolutions."""
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return frozen
