"""What a score means: p-values against images that were not trained on, and where to cut.

Split conformal prediction, as in Bates et al. (2023), Testing for Outliers with Conformal p-values:
the only assumption is that normal images to be scored are drawn like those held out.
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.text import plural

MAX_HELD_OUT = 2_000  # images: p-values need no finer steps than 1 in 2,000
ENOUGH = 200  # held out; with fewer, p-values are coarse: none is below 1 / (n + 1)
CALIBRATE_REMEDY = "adgan calibrate gives the model scores of ordinary pictures for these settings"


@dataclass(frozen=True)
class Cut:
    """Where images begin to be flagged: by a false discovery rate, or by their own p-value."""

    kind: Literal["fdr", "p_value"]
    level: float

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            name = self.option.split()[0]
            raise ConfigError(f"{name} must be above 0 and below 1, got {self.level:g}")

    @property
    def option(self) -> str:
        """What asks for it on the command line."""
        return f"--{self.kind.replace('_', '-')} {self.level:g}"

    @property
    def words(self) -> str:
        """What it is to people, after `flagged`."""
        what = "a false discovery rate of" if self.kind == "fdr" else "p-values of at most"
        return f"at {what} {self.level:g}"

    def bound(self, count: int, tested: int) -> float:
        """Compute the p-value up to which the least `count` of those tested are flagged."""
        return self.level * count / max(1, tested) if self.kind == "fdr" else self.level


def chosen_cut(fdr: float | None, p_value: float | None) -> Cut | None:
    """Return the cut of the two that is given; raise ConfigError for both."""
    if fdr is not None and p_value is not None:
        raise ConfigError("--fdr and --p-value are two cuts; give one of them")
    if fdr is not None:
        return Cut("fdr", fdr)
    return None if p_value is None else Cut("p_value", p_value)


def p_value(score: float, held_out: np.ndarray) -> float:
    """Return (1 + #{held out >= score}) / (n + 1); held_out: (n,), ascending.

    The chance that an image like those held out scores as high: at most u for a share u of them.
    """
    at_least = len(held_out) - int(np.searchsorted(held_out, score, side="left"))
    return (1 + at_least) / (len(held_out) + 1)


def require_p_values(available: bool, cut: Cut | None) -> None:
    """Raise ConfigError for a cut by p-values where there are none."""
    if cut is not None and not available:
        raise ConfigError(f"{cut.option} needs p-values; {CALIBRATE_REMEDY}")


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


def flagged(rows: Collection[ScoreRow], cut: Cut) -> frozenset[str]:
    """Return the paths of the rows with a p-value that are beyond a cut."""
    tested = [(row.path, row.p_value) for row in rows if row.p_value is not None]
    p_values = [p for _, p in tested]
    if cut.kind == "fdr":
        flags = benjamini_hochberg(p_values, cut.level)
    else:
        flags = np.asarray(p_values) <= cut.level
    return frozenset(path for (path, _), flag in zip(tested, flags, strict=True) if flag)


def held_out_needed(cut: Cut, tested: int, count: int = 1) -> int:
    """Count the images to hold out so that `count` of those tested, above them all, are flagged."""
    bound = cut.bound(count, tested)
    needed = max(1, math.ceil(1 / bound) - 1)
    while 1 / (needed + 1) > bound:  # as division rounds
        needed += 1
    return needed


def fewest_flagged(cut: Cut, tested: int, held_out: int) -> int | None:
    """Count how many must score above all held out so that they are flagged; None: all is too few.

    For what is held out sets the least p-value, 1 / (n + 1).
    """
    least = 1 / (held_out + 1)
    counts = range(1, tested + 1)
    index = bisect_left(counts, True, key=lambda count: least <= cut.bound(count, tested))
    return counts[index] if index < tested else None


def flagged_note(
    paths: Collection[str], rows: Collection[ScoreRow], cut: Cut, held_out: int = 0
) -> str:
    """Write a sentence on how many rows are flagged, `paths`, of those that have a p-value.

    held_out: how many images p-values go by, 0 where that is unknown. Where they are too few for
    anything to be flagged it says so, and how many would do.
    """
    tested = [row.p_value for row in rows if row.p_value is not None]
    if paths and cut.kind == "fdr":
        return (
            f"{plural(len(paths), 'picture')} of {len(tested):,} flagged; {cut.words} about "
            f"{cut.level:.0%} of those flagged are ordinary."
        )
    if paths:
        by_chance = cut.level * len(tested)
        return (
            f"{plural(len(paths), 'picture')} of {len(tested):,} flagged; {cut.words} about "
            f"{by_chance:.0f} would be if all were ordinary."
        )
    fewest = fewest_flagged(cut, len(tested), held_out) if held_out else 1
    if fewest == 1:
        return f"No picture is flagged {cut.words}."
    coarse = f"with {plural(held_out, 'picture')} held out no p-value is below 1/{held_out + 1:,}"
    if fewest is None:
        return (
            f"None of {plural(len(tested), 'picture')} could be flagged {cut.words}: {coarse}. "
            f"{_remedy(cut, tested, held_out)}"
        )
    return (
        f"No picture is flagged {cut.words}: {coarse}, so that at least {fewest:,} of "
        f"{len(tested):,} would have to score above them all. {_remedy(cut, tested, held_out)}"
    )


def flags_in_numbers(
    paths: Collection[str], rows: Collection[ScoreRow], cut: Cut, held_out: int = 0
) -> dict[str, object]:
    """Say for programs what flagged_note says for people."""
    tested = [row.p_value for row in rows if row.p_value is not None]
    level = "rate" if cut.kind == "fdr" else "level"
    if not held_out:
        return {level: cut.level, "flagged": len(paths)}
    fewest = fewest_flagged(cut, len(tested), held_out)
    return {
        level: cut.level,
        "flagged": len(paths),
        "least_p_value": 1 / (held_out + 1),
        "fewest_flagged": fewest,
        "held_out_needed": held_out_needed(cut, len(tested), max(1, _above(tested, held_out))),
    }


def _remedy(cut: Cut, tested: Sequence[float], held_out: int) -> str:
    """Say how many to hold out instead."""
    above = _above(tested, held_out)
    one, those = (held_out_needed(cut, len(tested), count) for count in (1, max(1, above)))
    if those > MAX_HELD_OUT:
        fewest = fewest_flagged(cut, len(tested), MAX_HELD_OUT)
        if fewest is None:
            return f"Nor with the {MAX_HELD_OUT:,} that adgan holds out at most."
        enough = f"with the {MAX_HELD_OUT:,} that adgan holds out at most, {fewest:,} could be"
    elif those == one:
        enough = f"{one:,} held out would do"
    else:
        single = f", {one:,} for a single one" if one <= MAX_HELD_OUT else ""
        enough = f"{those:,} would do for the {above:,} that score above all of those{single}"
    enough = enough[0].upper() + enough[1:]
    return f"{enough}: train --holdout keeps more, adgan calibrate takes other ordinary pictures."


def _above(tested: Sequence[float], held_out: int) -> int:
    """Count the p-values of images that score above all those held out."""
    return sum(p * (held_out + 1) < 1.5 for p in tested)


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
