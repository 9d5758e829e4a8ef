"""Objectives by which real images are reconstructed: from an encoder's latents, or learned ones."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adgan_cli.config import ModelConfig
from adgan_cli.engine.losses import laplacian
from adgan_cli.engine.models.dcgan import Encoder
from adgan_cli.engine.training.objectives.kinds import Batch, Reconstructive
from adgan_cli.engine.training.objectives.moment_matching import mmd_loss
from adgan_cli.engine.training.optimizers import adam, dcgan_adam


def vae() -> Reconstructive:
    """Make VAE, Kingma and Welling (2014), eq. (10): the decoder becomes the generator.

    A Gaussian likelihood whose variance is the mean squared error of the batch, which is the most
    likely one (Rybkin et al., 2021, section 3.2): nothing is left to weigh by hand. The distance is
    the negative ELBO but for constants, in nats an image, and may well be below 0.
    """

    def negative_elbo(generator: nn.Module, encoder: nn.Module | None, batch: Batch) -> Tensor:
        assert encoder is not None
        mean, log_var = encoder(batch.real).float().chunk(2, 1)
        y = generator(mean + (0.5 * log_var).exp() * batch.noise).float()
        kl = kl_divergence(mean, log_var).mean()
        n_values = batch.real[0].numel()
        variance = (y - batch.real).square().mean().clamp(min=1e-12)
        return 0.5 * n_values * variance.log() + kl

    return Reconstructive(
        loss=negative_elbo,
        optimizer=dcgan_adam,
        distance_name="-ELBO",
        auxiliary=lambda model, n_images: Encoder(model, 2 * model.latent_dim),
    )


def glo() -> Reconstructive:
    """Make GLO, Bojanowski et al. (2018), eq. (1): a latent vector an image, learned as theta is.

    With their Laplacian loss, which is also the distance. They keep latent vectors in the unit
    ball; ours lie on the sphere of radius sqrt(Z), where the prior that the search draws from has
    nearly all of its mass. Images held out have no latent vectors, so MMD validates on those.
    """

    def reconstruction(generator: nn.Module, latents: nn.Module | None, batch: Batch) -> Tensor:
        assert latents is not None
        return laplacian(batch.real)(generator(latents(batch.indices)).float()).mean()

    return Reconstructive(
        loss=reconstruction,
        optimizer=lambda parameters: adam(parameters, lr=1e-3, betas=(0.5, 0.999)),
        distance_name="Laplacian",
        auxiliary=Latents,
        # a latent vector is seen once an epoch, theta in every step
        auxiliary_optimizer=lambda parameters: adam(parameters, lr=0.05, betas=(0.5, 0.999)),
        validation_loss=mmd_loss,
    )


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Compute KL(N(mean, exp(log_var)) | N(0, 1)), summed over Z: (N, Z) each -> (N,)."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)


class Latents(nn.Module):
    """A latent vector for each image, on the sphere of radius sqrt(Z): (N,) -> (N, Z)."""

    def __init__(self, config: ModelConfig, n_images: int) -> None:
        super().__init__()
        # from a generator of its own: the same start, whatever else draws random numbers
        rng = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(n_images, config.latent_dim, generator=rng))

    def forward(self, indices: Tensor) -> Tensor:
        z = self.table[indices]
        return F.normalize(z) * math.sqrt(z.shape[1])
