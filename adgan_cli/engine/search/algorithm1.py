"""Algorithm 1 of the ADGAN paper, line by line.

    Input: parameters (gamma, gamma_theta, n_seed, k), sample x, GAN generator g_theta, prior p_z,
           reconstruction loss l.
    1  initialize {z_j,0}, j = 1 ... n_seed, ~ p_z  and  {theta_j,0}, j = 1 ... n_seed, = theta
    2  for j = 1, ..., n_seed do
    3      for l = 1, ..., k do
    4          z_j,l <- z_j,l-1 - gamma grad_z_j,l-1 l(g_theta_j,l-1(z_j,l-1), x)
    5          theta_j,l <- theta_j,l-1 - gamma_theta grad_theta_j,l-1 l(g_theta_j,l-1(z_j,l-1), x)
    6      end
    7  end
    8  return (1 / n_seed) sum_j l(g_theta_j,k(z_j,k), x)

Both steps are Adam's (footnote 5), from the gradients at the old z and theta. Where the paper loops
over starting points, and over images, P pairs of an image and a starting point are searched side by
side; none has a part in another's result. execution.py decides which pairs go together.

Letters in the shapes: P pairs, S starting points of an image, Z latent dimensions, (C, H, W) an
image.
"""

import math
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from adgan_cli.config import SearchConfig
from adgan_cli.engine.losses import TargetLoss
from adgan_cli.engine.search.adam import Adam
from adgan_cli.engine.search.generators import FirstForward, GeneratorBank


@dataclass(frozen=True, eq=False)
class PairResult:
    """The search of P pairs."""

    trace: Tensor  # (P, k + 1), the loss at the starting point and after each step
    z: Tensor  # (P, Z), where the search ended
    y: Tensor  # (P, C, H, W), what is generated there


def starting_points(n_seed: int, latent_dim: int, seed: int) -> Tensor:
    """Draw z_0 of line 1, (S, Z), standard normal: the same for every image, device and run."""
    return torch.randn(n_seed, latent_dim, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def search_pairs(
    bank: GeneratorBank,
    z0: Tensor,
    first: FirstForward,
    *,
    config: SearchConfig,
    loss: TargetLoss,
    cancelled: threading.Event | None = None,
) -> PairResult:
    """Run Algorithm 1 for P pairs, line 2 for all of them at once; the caller takes line 8's mean.

    z0: (P, Z), first: a bank's first_forward(z0), loss: against the image x of each pair.
    """
    z = z0.clone()  # line 1
    y = bank.reset(first)  # line 1: every theta as trained; y is g_theta(z)
    adam = Adam(z, config.lr_z)
    lr_scale = 1.0
    trace = []
    for _ in range(config.k):  # line 3
        if cancelled and cancelled.is_set():
            raise RuntimeError("the search was cancelled")
        with torch.enable_grad():
            y = y.detach().contiguous().requires_grad_()  # banks may keep channels last
            losses = loss(y)  # (P,)
            (dy,) = torch.autograd.grad(losses, y, torch.ones_like(losses))
        trace.append(losses.detach())
        dz = bank.backward_and_update(dy, lr_scale)  # line 5; dz is taken at the old theta
        adam.step(z, dz, lr_scale)  # line 4
        if config.z_radius:
            project_to_shell(z, config.z_radius)
        lr_scale *= config.lr_decay
        y = bank.forward(z)
    trace.append(loss(y.contiguous()))  # line 8, before the mean
    # a copy of y, because the bank's next search writes where this one wrote
    return PairResult(torch.stack(trace, 1), z, y.clone(memory_format=torch.contiguous_format))


def project_to_shell(z: Tensor, radius: float) -> None:
    """Scale each z: (P, Z) in place so that | |z| - sqrt(Z) | is at most radius * sqrt(Z).

    Nearly all of the prior lies there, the more so the larger Z; a generator learned nothing else.
    """
    norm = z.norm(dim=1, keepdim=True)
    shell = math.sqrt(z.shape[1])
    nearest = norm.clamp(max(0.0, 1 - radius) * shell, (1 + radius) * shell)
    z.mul_(nearest / norm.clamp(min=torch.finfo(z.dtype).tiny))
