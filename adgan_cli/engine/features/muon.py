"""Muon, an optimizer of convolutions: a step is the momentum made orthogonal (Jordan et al., 2024).

All directions of a weight move equally far, not those most that had the largest gradients. The
norms of weights are fixed, as batch norm makes them meaningless; so the rate is relative to them.
"""

import torch
from torch import Tensor

MOMENTUM = 0.9
ITERATIONS = 3  # of Newton and Schulz: singular values need not be exactly 1
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # theirs: steepest at 0, within 0.3 of 1 after five


@torch.no_grad()
def muon_step(weight: Tensor, gradient: Tensor, momentum: Tensor, rate: float) -> None:
    """Move a weight (O, ...) against its gradient; `weight` and `momentum` change in place.

    rate: the step's norm as a share of the weight's, which is sqrt(O) after the step but for it.
    """
    momentum.lerp_(gradient, 1 - MOMENTUM)
    ahead = gradient.lerp(momentum, MOMENTUM)  # as Nesterov's
    step = orthogonal(ahead.reshape(len(ahead), -1))  # (O, I)
    rows, columns = step.shape
    weight.mul_(rows**0.5 / weight.norm().clamp(min=1e-12))
    weight.add_(step.view(weight.shape), alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Bring the singular values of a matrix (O, I) near 1 by Newton and Schulz's iteration."""
    a, b, c = _COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    is_tall = len(x) > x.shape[1]
    x = x.T if is_tall else x
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x
