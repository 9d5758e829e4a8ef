"""p-values for a model that has none, or for other settings of the search."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adgan_cli.config import SearchConfig
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.errors import DivergedError, NoImagesError
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing
from adgan_cli.images.load import default_workers, open_cache, read_in_order
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.statistics import image_statistics

MAX_HELD_OUT = 2_000  # pictures held out: p-values need no finer steps than 1 in 2,000


@dataclass(frozen=True)
class CalibrationCounts:
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
    place: CacheConfig | None = None,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_cache_disabled: Callable[[str], None] = lambda why: None,
) -> tuple[Model, CalibrationCounts]:
    """The model with the scores of normal pictures that it was not trained on, and which they were.

    At most 2,000 of them, from all over the listing. on_picture: told how many are scored, and of
    how many. Stopped early, the model is returned as it was. Raises NoImagesError where there is
    none to go by.
    """
    stride = max(1, len(listing.items) // MAX_HELD_OUT)
    chosen, rules = listing.items[::stride], model.preprocessing()
    pictures: list[np.ndarray] = []
    trained_on, failed = 0, 0
    with open_cache(place, listing.root, rules, len(chosen)) as cache:
        reading = read_in_order(chosen, rules, workers=workers or default_workers(), cache=cache)
        for _, read in reading:
            if not isinstance(read, DecodedImage):
                failed += 1
            elif model.was_trained_on(read.fingerprint):
                trained_on += 1
            elif len(pictures) < MAX_HELD_OUT:
                pictures.append(read.pixels)
        if cache is not None and cache.disabled_reason:
            on_cache_disabled(cache.disabled_reason)
    if not pictures:
        raise NoImagesError(
            f"no picture in {listing.root} to calibrate by: {trained_on} were trained on, "
            f"{failed} failed; give normal pictures that the model has not seen"
        )
    unseen = torch.from_numpy(np.stack(pictures))
    model = with_calibration(
        model,
        unseen,
        config,
        on_picture=lambda done: on_picture(done, len(unseen)),
        should_stop=should_stop,
    )
    return model, CalibrationCounts(len(unseen), trained_on, failed)


def with_calibration(
    model: Model,
    held_out: Tensor,
    config: SearchConfig | None = None,
    *,
    on_picture: Callable[[int], None] = lambda done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Model:
    """The model with the scores that pictures it was not trained on get, for p-values.

    held_out: uint8 (N, S, S, C). config: of the search; the model's own when None. Scores for the
    same settings are replaced, those for others stay. Stopped early, the model is returned as it
    was. Raises DivergedError where a score is not a number.
    """
    config = replace(config or model.default_search(), adjust="none")
    scores = held_out_search(
        model, held_out, config, on_picture=on_picture, should_stop=should_stop
    )
    if len(scores) < len(held_out):
        return model
    if not np.isfinite(scores).all():
        raise DivergedError("scores of pictures held out are not numbers; try a smaller --lr-z")
    others = (known for known in model.calibrations if known.search != config)
    of = np.stack([image_statistics(picture) for picture in held_out.numpy()])
    return replace(model, calibrations=(*others, Calibration(config, scores, of)))


def held_out_search(
    model: Model,
    pixels: Tensor,
    config: SearchConfig,
    *,
    on_picture: Callable[[int], None] = lambda done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Scores of pixels: uint8 (N, S, S, C) -> (N,) float64, or of those before it was stopped."""
    loss = make_loss(config.loss, model.critic)
    searcher = Searcher(model.generator, config, loss=loss, encoder=model.encoder)
    found: list[Tensor] = []
    for part in torch.split(pixels, searcher.batch_size):
        if should_stop():
            break
        found.append(searcher(to_model_range(part)).score)
        on_picture(sum(map(len, found)))
    return torch.cat(found).double().numpy() if found else np.empty(0)
