"""Is the ranking fooled? Reconstruction errors tend to follow simple statistics of an image."""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from adgan_cli.images.find import Listing
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader
from adgan_cli.images.statistics import STATISTICS, image_statistics
from adgan_cli.scoring.rows import ScoreRow

MAX_IMAGES = 500  # a correlation is then good to about 0.05
MIN_IMAGES = 20  # below, a correlation says little
DOMINANT = 0.7  # of a rank correlation: from here on half of the order's variance goes with it


def confounds(rows: Sequence[ScoreRow], listing: Listing, reader: Reader) -> dict[str, float]:
    """Correlate the score with each image statistic and the aspect ratio: Spearman's, in [-1, 1].

    At most 500 images, drawn at random, are read for it, once more or from the cache.
    rows: in the order of the listing, as ScoringRun gives them. A statistic that is the same for
    all images is left out, and so are all where there are few images.
    """
    count = sum(row.score is not None for row in rows)
    scored = (  # of a million rows no list is made
        (item, row.score)
        for item, row in zip(listing.items, rows, strict=False)
        if row.score is not None and row.path == item.name
    )
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(0).permutation(count)[:MAX_IMAGES]] = True
    sample = list(compress(scored, chosen))
    score_of = {item.name: score for item, score in sample}
    items = [item for item, _ in sample]
    scores, statistics = [], []
    for item, image in reader.read(items, listing.root, expected=len(items)):
        if isinstance(image, DecodedImage):  # it may be gone by now
            scores.append(score_of[item.name])
            aspect_ratio = np.log(image.width / image.height)
            statistics.append([*image_statistics(image.pixels), aspect_ratio])
    if len(scores) < MIN_IMAGES:
        return {}
    names, columns = (*STATISTICS, "aspect ratio"), np.array(statistics).T  # (T + 1, n)
    return {
        name: round(_rank_correlation(np.array(scores, np.float64), column), 3)
        for name, column in zip(names, columns, strict=True)
        if np.ptp(column) > 0
    }


def confound_note(correlations: Mapping[str, float], *, adjusted: bool) -> str | None:
    """Write a sentence about the statistic that the order follows, if one dominates."""
    name = max(correlations, key=lambda name: abs(correlations[name]), default=None)
    if name is None or abs(correlations[name]) < DOMINANT:
        return None
    direction = "high" if correlations[name] > 0 else "low"
    # of what --adjust takes out only the aspect ratio can be left
    remedy = "" if adjusted or name == "aspect ratio" else "; --adjust complexity takes that out"
    return (
        f"The order mostly follows {direction} {name} (rank correlation {correlations[name]:.2f})"
        f"{remedy}."
    )


def _rank_correlation(scores: np.ndarray, column: np.ndarray) -> float:
    """Compute Spearman's correlation; scipy.stats, which has it, takes a second to import."""
    if np.ptp(scores) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(scores), _ranks(column))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank values from 1; equal ones share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[index]
    return ranks
