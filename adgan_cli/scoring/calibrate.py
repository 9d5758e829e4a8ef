"""Scores of images that a model was not trained on, which p-values of other images go by."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from adgan_cli.config import By, SearchConfig
from adgan_cli.engine.features.altered import drawn_copies
from adgan_cli.engine.features.ensemble import Scale
from adgan_cli.engine.features.weights import CHANCE, evidence
from adgan_cli.engine.models.model import Calibration, Model, comparable, what_scores_follow
from adgan_cli.engine.search.precision import as_computed
from adgan_cli.errors import DivergedError, NoImagesError
from adgan_cli.images.find import Listing
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader
from adgan_cli.images.statistics import image_statistics
from adgan_cli.scoring.calibration import MAX_HELD_OUT
from adgan_cli.scoring.joining import fit_error_scale, held_out_table
from adgan_cli.scoring.reading import read_twice
from adgan_cli.scoring.scorer import Measured, Scorer, concatenated, join
from adgan_cli.stopping import ShouldStop, is_stopped

ALTERED_SHARE = 1 / 8  # of the images, that copies altered in 8 ways are searched for too
MAX_ALTERED = 24  # images, as a search takes long
UNKNOWN = Scale(0.0, 1.0, 0.0, CHANCE)  # where nothing is joined yet


@dataclass(frozen=True, eq=False)
class ImagesToScore:
    """N images as a scorer takes them."""

    pixels: np.ndarray  # (N, S, S, C) uint8
    large: np.ndarray | None = None  # (N, L, L, C) uint8, the same for a pretrained network

    @property
    def largest(self) -> np.ndarray:
        """The images as large as there are: (N, L or S, ..., C) uint8."""
        return self.pixels if self.large is None else self.large


@dataclass(frozen=True)
class CalibrationCounts:
    """How many images a calibration used and left out."""

    unseen: int  # used
    in_training: int  # left out: the generator knows them
    copies: int  # left out: exact copies of others, which would count twice
    failed: int


def calibrate(
    model: Model,
    listing: Listing,
    config: SearchConfig | None = None,
    *,
    reader: Reader | None = None,
    on_image: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Model, CalibrationCounts]:
    """Return the model calibrated by the images of a listing that it was not trained on.

    At most 2,000 are used, drawn from the whole listing. config: how to search; the model's own
    settings when None. reader: its threads and its cache are used. on_image(done, total) is called
    as they are scored. Stopped early, the model is returned as it was. Raises NoImagesError where
    no image can be used.
    """
    config = config or model.default_search()
    unseen, counts = _unseen_images(model, listing, config, reader)
    model = with_calibration(model, unseen, config, on_image=on_image, should_stop=should_stop)
    return model, counts


def with_calibration(
    model: Model,
    held_out: ImagesToScore,
    config: SearchConfig | None = None,
    *,
    on_image: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> Model:
    """Return the model with the scores of images that it was not trained on.

    config: how to score; the model's own settings when None. By all of them joined, those by the
    reconstruction and by features come along. Scores for the same settings are replaced, those for
    others stay. on_image(done, total) is called as images, and by all altered copies of some too,
    are scored. Stopped early, the model is returned as it was. Raises DivergedError where a score
    is not a number.
    """
    config = what_scores_follow(config or model.default_search())
    config = as_computed(config, model.device)
    scorer = Scorer(model, config, error_scale=UNKNOWN)
    chosen, altered = np.arange(0), dict[str, np.ndarray]()
    if config.by == "all":
        chosen, altered = copies_to_weigh_by(held_out.pixels, seed=0)
    try:
        measured, errors = _measured(scorer, held_out, altered, on_image, should_stop)
    except _Stopped:
        return model
    _require_numbers(*errors.values(), *([] if measured.errors is None else [measured.errors]))
    error_scale = None
    if measured.z_scores is not None and measured.errors is not None and altered:
        features, earned = model.require_features(), evidence(measured.errors[chosen], errors)
        used = {name: features.scales[name] for name in features.names}
        error_scale = fit_error_scale(used, measured.z_scores, measured.errors, earned)
    statistics = np.stack([image_statistics(image) for image in held_out.pixels])
    ways: tuple[By, ...] = ("reconstruction", "features", "all")
    configs = [replace(config, by=by) for by in ways] if config.by == "all" else [config]
    new = [
        _calibration(model, what_scores_follow(one), measured, error_scale, statistics)
        for one in configs
    ]
    replaced = [comparable(one.search) for one in new]
    others = (one for one in model.calibrations if comparable(one.search) not in replaced)
    # not what its file holds any more
    return replace(model, calibrations=(*others, *new), digest="")


def n_altered(count: int) -> int:
    """Count the images, of so many held out, whose altered copies are searched for too."""
    return min(MAX_ALTERED, math.ceil(ALTERED_SHARE * count))


def copies_to_weigh_by(pixels: np.ndarray, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw the images whose altered copies the reconstruction earns its weight by.

    pixels: uint8 (N, S, S, C) -> indices (n,), and copies (n, S, S, C) for each kind. Few of them,
    as each is searched for.
    """
    return drawn_copies(pixels, n_altered(len(pixels)), np.random.default_rng(seed))


class _Stopped(Exception):
    """A calibration was stopped before its end."""


def _measured(
    scorer: Scorer,
    held_out: ImagesToScore,
    altered: Mapping[str, np.ndarray],
    on_image: Callable[[int, int], None] | None,
    should_stop: ShouldStop | None,
) -> tuple[Measured, dict[str, np.ndarray]]:
    """Measure images, and search for the altered copies of some: their errors by kind."""
    count = len(held_out.pixels)
    total, done = count + sum(map(len, altered.values())), 0

    def batches(images: np.ndarray) -> Iterator[slice]:
        nonlocal done
        for batch in _batches(len(images), scorer.batch_size):
            if is_stopped(should_stop):
                raise _Stopped
            yield batch
            done += batch.stop - batch.start
            if on_image is not None:
                on_image(done, total)

    pixels, large = held_out.pixels, held_out.large
    measured = [
        scorer.measure(pixels[batch], None if large is None else large[batch])
        for batch in batches(pixels)
    ]
    errors = {
        kind: np.concatenate([scorer.errors(copies[batch]) for batch in batches(copies)])
        for kind, copies in altered.items()
    }
    return concatenated(measured), errors


def _calibration(
    model: Model,
    config: SearchConfig,
    measured: Measured,
    error_scale: Scale | None,
    statistics: np.ndarray,
) -> Calibration:
    """Join what was measured of images held out as these settings have it."""
    error_scale = error_scale if config.by == "all" else None
    scored = join(measured, model.features, config, error_scale)
    _require_numbers(scored.scores)
    has_parts = config.by != "reconstruction"
    table = held_out_table(model, scored.z_scores) if has_parts else None
    return Calibration(config, scored.scores, statistics, table, error_scale)


def _require_numbers(*scores: np.ndarray) -> None:
    if not all(np.isfinite(one).all() for one in scores):
        raise DivergedError("scores of pictures held out are not numbers; try a smaller --lr-z")


def score_pixels(model: Model, pixels: np.ndarray, config: SearchConfig) -> np.ndarray:
    """Score pixels, uint8 (N, S, S, C), without adjustment: (N,) float64."""
    scorer = Scorer(model, replace(config, adjust="none"))
    batches = _batches(len(pixels), scorer.batch_size)
    return np.concatenate([scorer(pixels[batch]).scores for batch in batches])


def _batches(count: int, size: int) -> list[slice]:
    """Divide so many images into batches of that size, the last one smaller."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _unseen_images(
    model: Model, listing: Listing, config: SearchConfig, reader: Reader | None
) -> tuple[ImagesToScore, CalibrationCounts]:
    """Read at most 2,000 different images that the model was not trained on, in listing's order.

    Drawn from the whole listing: those that lie side by side are often relatives.
    """
    drawn = np.random.default_rng(0).permutation(len(listing.items))[: 2 * MAX_HELD_OUT]
    items = [listing.items[index] for index in drawn.tolist()]
    unseen: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
    seen: set[bytes] = set()
    in_training, failed, copies = 0, 0, 0
    reading = read_twice(model, config, items, listing.root, expected=len(items), reader=reader)
    for index, (_, image, large) in zip(drawn.tolist(), reading, strict=True):
        if not isinstance(image, DecodedImage):
            failed += 1
        elif model.was_trained_on(image.fingerprint):
            in_training += 1
        elif image.fingerprint in seen:
            copies += 1
        else:
            seen.add(image.fingerprint)
            unseen[index] = image.pixels, large
            if len(unseen) == MAX_HELD_OUT:
                break
    if not unseen:
        raise NoImagesError(
            f"no picture in {listing.root} to calibrate by: {in_training} were trained on, "
            f"{failed} failed; give normal pictures that the model has not seen"
        )
    ordered = [unseen[index] for index in sorted(unseen)]
    large_ones = [large for _, large in ordered if large is not None]
    held_out = ImagesToScore(
        np.stack([pixels for pixels, _ in ordered]), np.stack(large_ones) if large_ones else None
    )
    return held_out, CalibrationCounts(len(ordered), in_training, copies, failed)
