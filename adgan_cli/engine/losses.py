"""Reconstruction losses of the search: the l of Algorithm 1, one value a picture."""

from torch import Tensor


def l2(y: Tensor, x: Tensor) -> Tensor:
    """Squared L2 norm of the difference (section 4.2): (N, C, S, S), same -> (N,), at least 0.

    Summed, not averaged, over pixels and channels: scores are then the paper's, and no picture's
    gradient shrinks with its batch.
    """
    return (y - x).square().flatten(1).sum(1)
