"""p-values for a model that has none, or for other settings of the search."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.model_file import Model
from adgan_cli.errors import NoImagesError
from adgan_cli.images.cache import CachePlace
from adgan_cli.images.find import Listing
from adgan_cli.images.load import default_workers, opened_cache, read_in_order
from adgan_cli.images.read import Picture
from adgan_cli.pipeline.held_out import MOST, calibrated


@dataclass(frozen=True)
class Used:
    """Which pictures a calibration went by."""

    unseen: int
    in_training: int  # left out: the generator knows them
    failed: int


def calibrate(
    model: Model,
    listing: Listing,
    config: SearchConfig | None = None,
    *,
    workers: int | None = None,
    place: CachePlace | None = None,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_cache_off: Callable[[str], None] = lambda why: None,
) -> tuple[Model, Used]:
    """The model with the scores of normal pictures that it was not trained on, and which they were.

    At most 2,000 of them, from all over the listing. on_picture: told how many are scored, and of
    how many. Stopped early, the model is returned as it was. Raises NoImagesError where there is
    none to go by.
    """
    stride = max(1, len(listing.found) // MOST)
    chosen, rules = listing.found[::stride], model.rules()
    pictures: list[np.ndarray] = []
    trained_on, failed = 0, 0
    with opened_cache(place, listing.root, rules, len(chosen)) as cache:
        reading = read_in_order(chosen, rules, workers=workers or default_workers(), cache=cache)
        for _, read in reading:
            if not isinstance(read, Picture):
                failed += 1
            elif model.has_seen(read.fingerprint):
                trained_on += 1
            elif len(pictures) < MOST:
                pictures.append(read.pixels)
        if cache is not None and cache.off:
            on_cache_off(cache.off)
    if not pictures:
        raise NoImagesError(
            f"no picture in {listing.root} to calibrate by: {trained_on} were trained on, "
            f"{failed} failed; give normal pictures that the model has not seen"
        )
    unseen = torch.from_numpy(np.stack(pictures))
    model = calibrated(
        model,
        unseen,
        config,
        on_picture=lambda done: on_picture(done, len(unseen)),
        should_stop=should_stop,
    )
    return model, Used(len(unseen), trained_on, failed)
