"""What a score means: p-values against pictures that were not trained on, and where to cut.

Split conformal prediction, as in Bates et al. (2023), Testing for Outliers with Conformal p-values:
the only assumption is that normal pictures to be scored are drawn like those held out.
"""

from collections.abc import Sequence

import numpy as np

ENOUGH = 200  # held out; with fewer, p-values are coarse: none is below 1 / (n + 1)


def p_value(score: float, held_out: np.ndarray) -> float:
    """(1 + #{held out >= score}) / (n + 1); held_out: (n,), ascending.

    The chance that a picture like those held out scores as high: at most u for a share u of them.
    """
    at_least = len(held_out) - int(np.searchsorted(held_out, score, side="left"))
    return (1 + at_least) / (len(held_out) + 1)


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> np.ndarray:
    """Which p-values to flag, (n,) bool, so that a share `rate` of those is there by chance.

    Benjamini and Hochberg (1995): all up to the largest p that is at most rate * its place / n.
    With conformal p-values that share the pictures held out it holds too: Bates et al., theorem 2.
    """
    p = np.asarray(p_values, dtype=np.float64)
    ascending = np.sort(p)
    fine = ascending <= rate * np.arange(1, len(p) + 1) / len(p) if len(p) else np.array([], bool)
    return p <= (ascending[fine][-1] if fine.any() else -1.0)


def expected_by_chance(p_values: Sequence[float], total: int) -> float:
    """How many of `total` normal pictures would have a p-value as small as the largest of these."""
    return total * max(p_values, default=0.0)
