"""Algorithm 1 of the paper written literally: loops, deep copies, torch.optim.Adam.

Slow and plain on purpose: what engine/search computes in batches must equal this.
"""

import copy

import torch
from torch import Tensor, nn


def algorithm_1(
    generator: nn.Module,
    x: Tensor,
    z0: Tensor,
    *,
    k: int,
    lr_z: float = 0.25,
    lr_theta: float = 5e-5,
    loss=lambda y, x: (y - x).square().sum(),
) -> Tensor:
    """Losses after k steps, (N, n_seed), of pictures x: (N, C, S, S) from points z0: (n_seed, Z).

    The score of line 8 is the mean over dimension 1.
    """
    final = torch.empty(len(x), len(z0))
    for i in range(len(x)):
        for j in range(len(z0)):
            g = copy.deepcopy(generator).eval().requires_grad_(lr_theta > 0)  # line 1
            z = z0[j : j + 1].clone().requires_grad_()
            groups = [{"params": [z], "lr": lr_z}]
            if lr_theta > 0:
                groups.append({"params": list(g.parameters()), "lr": lr_theta})
            adam = torch.optim.Adam(groups, betas=(0.5, 0.999))  # footnote 5
            for _ in range(k):  # line 3
                adam.zero_grad()
                loss(g(z), x[i : i + 1]).backward()  # both gradients at the old (z, theta)
                adam.step()  # lines 4 and 5
            with torch.no_grad():
                final[i, j] = loss(g(z), x[i : i + 1])  # line 8
    return final


def algorithm_1_per_image(
    generator: nn.Module,
    x: Tensor,
    z0: Tensor,
    *,
    k: int,
    lr_z: float = 0.25,
    lr_theta: float = 5e-5,
    decay: float = 1.0,
) -> Tensor:
    """The same where the points of a picture share one theta, and both rates fall by `decay`."""
    final = torch.empty(len(x), len(z0))
    for i in range(len(x)):
        g = copy.deepcopy(generator).eval().requires_grad_()
        z = z0.clone().requires_grad_()
        groups = [{"params": [z], "lr": lr_z}, {"params": list(g.parameters()), "lr": lr_theta}]
        adam = torch.optim.Adam(groups, betas=(0.5, 0.999))
        falling = torch.optim.lr_scheduler.ExponentialLR(adam, decay)
        for _ in range(k):
            adam.zero_grad()
            (g(z) - x[i]).square().sum().backward()
            adam.step()
            falling.step()
        with torch.no_grad():
            final[i] = (g(z) - x[i]).square().flatten(1).sum(1)
    return final
