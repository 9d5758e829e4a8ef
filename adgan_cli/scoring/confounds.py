"""Is the ranking fooled? Reconstruction errors tend to follow simple things about a picture."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing
from adgan_cli.images.load import default_workers, open_cache, read_in_order
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.statistics import STATISTICS, image_statistics
from adgan_cli.scoring.rows import ScoreRow

LOOKED_AT = 500  # pictures: a correlation is then good to about 0.05
FEWEST = 20  # below, a correlation says little


def confounds(
    rows: Sequence[ScoreRow],
    listing: Listing,
    rules: Preprocessing,
    *,
    workers: int | None = None,
    place: CacheConfig | None = None,
) -> dict[str, float]:
    """Spearman's rank correlation of the score with each trait and the aspect ratio, in [-1, 1].

    Of at most 500 pictures, from all over the listing; they are read once more, or come from the
    cache. rows: in the order of the listing, as score_inputs gives them. A trait that all pictures
    share is left out, and so are all traits where there are few pictures.
    """
    # rows come in the listing's order; of a million of them no list is made
    count = sum(row.score is not None for row in rows)
    scored = (
        (item, row.score)
        for item, row in zip(listing.items, rows, strict=False)
        if row.score is not None and row.path == item.name
    )
    some = list(islice(scored, 0, None, max(1, -(-count // LOOKED_AT))))
    chosen, score_of = [item for item, _ in some], {item.name: score for item, score in some}
    scores, values = [], []
    with open_cache(place, listing.root, rules, len(chosen)) as cache:
        reading = read_in_order(chosen, rules, workers=workers or default_workers(), cache=cache)
        for item, read in reading:
            if isinstance(read, DecodedImage):  # it may be gone by now
                aspect = np.log(read.width / read.height)
                scores.append(score_of[item.name])
                values.append([*image_statistics(read.pixels), aspect])
    if len(scores) < FEWEST:
        return {}
    table = np.array(values)  # (n, T + 1)
    return {
        name: round(_spearman(np.array(scores, np.float64), column), 3)
        for name, column in zip((*STATISTICS, "aspect ratio"), table.T, strict=True)
        if np.ptp(column) > 0
    }


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1]) if np.ptp(a) > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """(n,) -> the mean place of each among all, equal ones sharing theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    places: np.ndarray = (ends - (counts - 1) / 2)[which]
    return places
