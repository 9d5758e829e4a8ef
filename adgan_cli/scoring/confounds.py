"""Is the ranking fooled? Reconstruction errors tend to follow simple statistics of an image."""

from collections.abc import Mapping, Sequence
from itertools import islice

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

    At most 500 images from all over the listing are read for it, once more or from the cache.
    rows: in the order of the listing, as ScoringRun gives them. A statistic that is the same for
    all images is left out, and so are all where there are few images.
    """
    count = sum(row.score is not None for row in rows)
    scored = (  # of a million rows no list is made
        (item, row.score)
        for item, row in zip(listing.items, rows, strict=False)
        if row.score is not None and row.path == item.name
    )
    sample = list(islice(scored, 0, None, max(1, -(-count // MAX_IMAGES))))
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
    from scipy.stats import spearmanr  # half a second to import

    return float(spearmanr(scores, column).statistic) if np.ptp(scores) > 0 else 0.0
