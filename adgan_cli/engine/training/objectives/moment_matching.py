"""An objective without any other network: generated images shall have the moments of real ones."""

import torch
from torch import Tensor, nn

from adgan_cli.engine.losses import GREY_LEVEL
from adgan_cli.engine.training.objectives.kinds import Batch, Reconstructive
from adgan_cli.engine.training.optimizers import dcgan_adam

MMD_SCALES = 0.125, 0.5, 2.0, 8.0, 32.0  # of the kernels' bandwidths, see `mmd`


def mmd() -> Reconstructive:
    """Make generative moment matching, Li et al. (2015), eq. (5) and (7): no critic.

    The generator minimises the square root of the squared maximum mean discrepancy between a batch
    of its images and one of real ones, by a sum of Gaussian kernels. Their bandwidths are, where
    the authors tuned them, fixed multiples of the mean squared distance of the real images:
    narrow ones for detail, wide ones so that an image far from all real ones has a slope too.
    Larger batches (-b 256) estimate it better.
    """
    return Reconstructive(loss=mmd_loss, optimizer=dcgan_adam, distance_name="MMD")


def mmd_loss(generator: nn.Module, auxiliary: nn.Module | None, batch: Batch) -> Tensor:
    """Compute the discrepancy between the real images and as many generated ones: scalar."""
    squared = squared_mmd(batch.real, generator(batch.noise).float())
    return squared.clamp(min=1e-12).sqrt()


def squared_mmd(real: Tensor, fake: Tensor) -> Tensor:
    """Compute the squared MMD, biased as in Li et al. (2015), eq. (5): (N, C, S, S) twice."""
    x, y = real.flatten(1), fake.flatten(1)
    among_real = torch.cdist(x, x).square()
    among_fake = torch.cdist(y, y).square()
    between = torch.cdist(x, y).square()
    # a small batch may hold one image several times over: it then counts as a grey level apart
    unit = among_real.mean().detach().clamp(min=x.shape[1] * GREY_LEVEL**2)

    def kernel(squared: Tensor) -> Tensor:
        return torch.stack([(-squared / (scale * unit)).exp().mean() for scale in MMD_SCALES]).sum()

    return kernel(among_real) + kernel(among_fake) - 2 * kernel(between)
