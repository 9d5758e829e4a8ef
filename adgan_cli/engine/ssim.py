"""Structural similarity to a fixed image, with its gradient written out.

In a search the same x is compared with one y after another: what depends on x alone is computed
once, the three images that are averaged under the window are averaged together, and the gradient
takes a dozen operations where automatic differentiation takes sixty.

Letters in the shapes: P pairs, (C, S, S) an image, (C, T, T) what the window fits into.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from adgan_cli.engine.filters import band_matrix, filtered

SIDE, SIGMA = 11, 1.5  # of its Gaussian window; Wang et al. (2004), section III.B
K = 0.01, 0.03  # K_1 and K_2, same section
C1, C2 = ((k * 2) ** 2 for k in K)  # values in [-1, 1] have the dynamic range 2


def ssim(x: Tensor) -> Callable[[Tensor], Tensor]:
    """Compute 1 - the mean structural similarity of Wang et al. (2004), eq. (13); in [0, 2].

    x: (P or 1, C, S, S) in [-1, 1], y: (P, C, S, S) -> (P,). A Gaussian window of 11 x 11 and sigma
    1.5, wherever it lies inside the image.
    """
    mean = filtered(x, _band(x.shape[-1], x.device, x.dtype))
    target = _Target(
        x=x,
        twice=2 * x,
        squares=x * x + (C1 + C2),
        mean=mean,
        twice_mean=2 * mean,
        squared_mean=mean * mean + C1,
        c1=torch.full((), C1, dtype=x.dtype, device=x.device),
        sum_c=torch.full((), C1 + C2, dtype=x.dtype, device=x.device),
    )

    def loss(y: Tensor) -> Tensor:
        result: Tensor = _StructuralDifference.apply(y, target)
        return result

    return loss


@dataclass(frozen=True, eq=False)
class _Target:
    """What of the comparison depends on x alone."""

    x: Tensor  # (P or 1, C, S, S)
    twice: Tensor  # (P or 1, C, S, S)
    squares: Tensor  # (P or 1, C, S, S), x^2 + c1 + c2
    mean: Tensor  # (P or 1, C, T, T), under the window
    twice_mean: Tensor  # (P or 1, C, T, T)
    squared_mean: Tensor  # (P or 1, C, T, T), mean^2 + c1
    c1: Tensor  # ()
    sum_c: Tensor  # (), c1 + c2


class _StructuralDifference(Function):
    """y: (P, C, S, S) -> 1 - mean of A1 A2 / (B1 B2), (P,).

    With F the mean under the window, m = F(x) and n = F(y): A1 = 2 m n + c1, B1 = m^2 + n^2 + c1,
    A2 = F(2 x y + c1 + c2) - A1 and B2 = F(x^2 + y^2 + c1 + c2) - B1, which are the formula's.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, target: _Target) -> Tensor:
        images = torch.empty(3, *y.shape, dtype=y.dtype, device=y.device)
        images[0].copy_(y)
        torch.addcmul(target.squares, y, y, out=images[1])
        torch.addcmul(target.sum_c, target.twice, y, out=images[2])
        n, b2, a2 = filtered(images, _band(y.shape[-1], y.device, y.dtype)).unbind()
        a1 = torch.addcmul(target.c1, target.twice_mean, n)
        b1 = torch.addcmul(target.squared_mean, n, n)
        a2.sub_(a1)
        b2.sub_(b1)
        denominator = b1 * b2
        similarity = (a1 * a2).div_(denominator)
        ctx.target = target
        ctx.save_for_backward(y, n, a1, a2, b1, b2, denominator, similarity)
        return 1 - similarity.flatten(1).mean(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        y, n, a1, a2, b1, b2, denominator, similarity = ctx.saved_tensors
        # of the similarity, at n and, up to factors that follow, at the two other means
        slopes = torch.empty(3, *n.shape, dtype=n.dtype, device=n.device)
        at_n = (a2 - a1).mul_(ctx.target.mean)
        at_n.addcmul_(similarity, (b2 - b1).mul_(n), value=-1)
        torch.div(at_n, denominator, out=slopes[0])
        torch.div(similarity, b2, out=slopes[1])
        torch.div(a1, denominator, out=slopes[2])
        # the transposed filter takes them back to the pixels
        dy, at_squares, at_products = filtered(slopes, _band(y.shape[-1], y.device, y.dtype).mT)
        dy.addcmul_(y, at_squares, value=-1).addcmul_(ctx.target.x, at_products)
        return dy.mul_((grad * (-2 / n[0].numel()))[:, None, None, None]), None


@cache
def _band(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make the matrix of the Gaussian window for images of this size."""
    at = torch.arange(SIDE, dtype=dtype, device=device) - SIDE // 2
    row = (-at.square() / (2 * SIGMA**2)).exp()
    return band_matrix(row / row.sum(), size)
