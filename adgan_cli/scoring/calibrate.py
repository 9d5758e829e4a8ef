"""Scores of images that a model was not trained on, which p-values of other images go by."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import DivergedError, NoImagesError
from adgan_cli.images.find import Listing
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader
from adgan_cli.images.statistics import image_statistics
from adgan_cli.scoring.scorer import Scorer

MAX_HELD_OUT = 2_000  # images: p-values need no finer steps than 1 in 2,000


@dataclass(frozen=True)
class CalibrationCounts:
    """How many images a calibration used and left out."""

    unseen: int  # used
    in_training: int  # left out: the generator knows them
    failed: int


def calibrate(
    model: Model,
    listing: Listing,
    config: SearchConfig | None = None,
    *,
    reader: Reader | None = None,
    on_image: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Model, CalibrationCounts]:
    """Return the model calibrated by the images of a listing that it was not trained on.

    At most 2,000 are used, evenly from the whole listing. config: how to search; the model's own
    settings when None. reader: its threads and its cache are used. on_image(done, total) is called
    as they are scored. Stopped early, the model is returned as it was. Raises NoImagesError where
    no image can be used.
    """
    preprocessing = model.preprocessing()
    reader = (reader or Reader(preprocessing)).with_preprocessing(preprocessing)
    unseen, counts = _unseen_images(model, listing, reader)

    def report(done: int) -> None:
        if on_image is not None:
            on_image(done, counts.unseen)

    model = with_calibration(model, unseen, config, on_image=report, should_stop=should_stop)
    return model, counts


def with_calibration(
    model: Model,
    held_out: Tensor,
    config: SearchConfig | None = None,
    *,
    on_image: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Model:
    """Return the model with the scores of images that it was not trained on.

    held_out: uint8 (N, S, S, C). config: how to search; the model's own settings when None. Scores
    for the same settings are replaced, those for others stay. on_image(done) is called as images
    are scored. Stopped early, the model is returned as it was. Raises DivergedError where a score
    is not a number.
    """
    config = replace(config or model.default_search(), adjust="none")
    scorer = Scorer(model, config)
    batches: list[np.ndarray] = []
    for part in torch.split(held_out, scorer.batch_size):
        if should_stop is not None and should_stop():
            return model
        batches.append(scorer(part.numpy())[0])
        if on_image is not None:
            on_image(sum(map(len, batches)))
    scores = np.concatenate(batches)
    if not np.isfinite(scores).all():
        raise DivergedError("scores of pictures held out are not numbers; try a smaller --lr-z")
    statistics = np.stack([image_statistics(image) for image in held_out.numpy()])
    others = (existing for existing in model.calibrations if existing.search != config)
    calibrations = (*others, Calibration(config, scores, statistics))
    return replace(model, calibrations=calibrations, digest="")  # not what its file holds any more


def score_pixels(model: Model, pixels: Tensor, config: SearchConfig) -> np.ndarray:
    """Score pixels, uint8 (N, S, S, C), without adjustment: (N,) float64."""
    scorer = Scorer(model, replace(config, adjust="none"))
    return np.concatenate(
        [scorer(part.numpy())[0] for part in torch.split(pixels, scorer.batch_size)]
    )


def _unseen_images(
    model: Model, listing: Listing, reader: Reader
) -> tuple[Tensor, CalibrationCounts]:
    """Read at most 2,000 images that the model was not trained on: uint8 (N, S, S, C)."""
    items = listing.items[:: max(1, len(listing.items) // MAX_HELD_OUT)]
    unseen: list[np.ndarray] = []
    in_training, failed = 0, 0
    for _, image in reader.read(items, listing.root, expected=len(items)):
        if not isinstance(image, DecodedImage):
            failed += 1
        elif model.was_trained_on(image.fingerprint):
            in_training += 1
        elif len(unseen) < MAX_HELD_OUT:
            unseen.append(image.pixels)
    if not unseen:
        raise NoImagesError(
            f"no picture in {listing.root} to calibrate by: {in_training} were trained on, "
            f"{failed} failed; give normal pictures that the model has not seen"
        )
    pixels = torch.from_numpy(np.stack(unseen))
    return pixels, CalibrationCounts(len(unseen), in_training, failed)
