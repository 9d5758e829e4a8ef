"""What a score means: p-values against pictures that were not trained on, and where to cut.

Split conformal prediction, as in Bates et al. (2023), Testing for Outliers with Conformal p-values:
the only assumption is that normal pictures to be scored are drawn like those held out.
"""

from collections.abc import Collection, Sequence

import numpy as np

from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.text import plural

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


def flagged(rows: Collection[ScoreRow], rate: float) -> frozenset[str]:
    """The paths of rows that stand out at a false discovery rate, among those with a p-value."""
    known = [(row.path, row.p_value) for row in rows if row.p_value is not None]
    chosen = benjamini_hochberg([p for _, p in known], rate)
    return frozenset(path for (path, _), out in zip(known, chosen, strict=True) if out)


def flagged_note(found: Collection[str], rows: Collection[ScoreRow], rate: float) -> str:
    """A sentence that says how many are flagged, and where none can be, why."""
    p = [row.p_value for row in rows if row.p_value is not None]
    if found:
        return (
            f"{plural(len(found), 'picture')} of {len(p):,} flagged; at a false discovery rate of "
            f"{rate:g} about {rate:.0%} of those flagged are ordinary."
        )
    return f"No picture is flagged at a false discovery rate of {rate:g}."


def chance_note(shown: Sequence[ScoreRow], rows: Collection[ScoreRow]) -> str | None:
    """A sentence on how many of the most anomalous would be there if nothing were wrong."""
    places = [row.p_value for row in shown if row.p_value is not None]
    total = sum(row.p_value is not None for row in rows)
    if not places:
        return None
    by_chance = expected_by_chance(places, total)
    return (
        f"If all {total:,} pictures were ordinary, about {by_chance:.0f} of them would score as "
        f"high as the {len(places):,} most anomalous."
    )


def expected_by_chance(p_values: Sequence[float], total: int) -> float:
    """How many of `total` normal pictures would have a p-value as small as the largest of these."""
    return total * max(p_values, default=0.0)
