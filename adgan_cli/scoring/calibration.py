"""What a score means: p-values against images that were not trained on, and where to cut.

Split conformal prediction, as in Bates et al. (2023), Testing for Outliers with Conformal p-values:
the only assumption is that normal images to be scored are drawn like those held out.
"""

from collections.abc import Collection, Sequence

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.text import plural

ENOUGH = 200  # held out; with fewer, p-values are coarse: none is below 1 / (n + 1)
CALIBRATE_REMEDY = "adgan calibrate gives the model scores of ordinary pictures for these settings"


def p_value(score: float, held_out: np.ndarray) -> float:
    """Return (1 + #{held out >= score}) / (n + 1); held_out: (n,), ascending.

    The chance that an image like those held out scores as high: at most u for a share u of them.
    """
    at_least = len(held_out) - int(np.searchsorted(held_out, score, side="left"))
    return (1 + at_least) / (len(held_out) + 1)


def require_p_values(available: bool, fdr: float | None) -> None:
    """Raise ConfigError for a false discovery rate where there are no p-values to hold it."""
    if fdr is not None and not available:
        raise ConfigError(f"--fdr {fdr:g} needs p-values; {CALIBRATE_REMEDY}")


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> np.ndarray:
    """Flag p-values, (n,) bool, so that a share `rate` of those flagged is there by chance.

    Benjamini and Hochberg (1995): all up to the largest p that is at most rate * its rank / n.
    With conformal p-values that share the images held out it holds too: Bates et al., theorem 2.
    """
    # scipy.stats.false_discovery_control divides where this multiplies, and rounds differently at
    # the very bound, where p-values that are multiples of 1 / (n + 1) often lie
    p = np.asarray(p_values, dtype=np.float64)
    ascending = np.sort(p)
    below = ascending <= rate * np.arange(1, len(p) + 1) / max(1, len(p))
    return p <= (ascending[below][-1] if below.any() else -1.0)


def flagged(rows: Collection[ScoreRow], rate: float) -> frozenset[str]:
    """Return the paths of the rows with a p-value that stand out at a false discovery rate."""
    tested = [(row.path, row.p_value) for row in rows if row.p_value is not None]
    flags = benjamini_hochberg([p for _, p in tested], rate)
    return frozenset(path for (path, _), flag in zip(tested, flags, strict=True) if flag)


def flagged_note(paths: Collection[str], rows: Collection[ScoreRow], rate: float) -> str:
    """Write a sentence on how many rows are flagged, `paths`, of those that have a p-value."""
    if not paths:
        return f"No picture is flagged at a false discovery rate of {rate:g}."
    tested = sum(row.p_value is not None for row in rows)
    return (
        f"{plural(len(paths), 'picture')} of {tested:,} flagged; at a false discovery rate of "
        f"{rate:g} about {rate:.0%} of those flagged are ordinary."
    )


def chance_note(shown: Sequence[ScoreRow], rows: Collection[ScoreRow]) -> str | None:
    """Write a sentence on how many of the most anomalous would be there if nothing were wrong."""
    p_values = [row.p_value for row in shown if row.p_value is not None]
    if not p_values:
        return None
    total = sum(row.p_value is not None for row in rows)
    by_chance = expected_by_chance(p_values, total)
    return (
        f"If all {total:,} pictures were ordinary, about {by_chance:.0f} of them would score as "
        f"high as the {len(p_values):,} most anomalous."
    )


def expected_by_chance(p_values: Sequence[float], total: int) -> float:
    """Count how many of `total` normal images would have a p-value as small as the largest here."""
    return total * max(p_values, default=0.0)
