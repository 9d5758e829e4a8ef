"""From a folder of pictures to a trained model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adgan_cli.config import ModelConfig, ReadConfig, SearchConfig, TrainConfig
from adgan_cli.engine.device import pick_device, pick_precision
from adgan_cli.engine.models.files import save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import pixel_tensor
from adgan_cli.engine.training.trainer import (
    StepMetrics,
    TrainState,
    new_state,
    parameter_count,
    run,
)
from adgan_cli.errors import NoImagesError
from adgan_cli.fitting.directory import on_training_device, train_into, trained_model, with_encoder
from adgan_cli.fitting.held_out import hold_out, with_verdict
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing, list_inputs
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection
from adgan_cli.scoring.calibrate import with_calibration


@dataclass(frozen=True)
class Estimate:
    """What training will take, told before it starts."""

    seconds_per_step: float  # measured
    memory: int  # bytes, counted


def train(
    paths: str | Path | Sequence[str | Path],
    model_config: ModelConfig = ModelConfig(),  # noqa: B008  frozen
    train_config: TrainConfig = TrainConfig(),  # noqa: B008  frozen
    *,
    out: str | Path | None = None,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  frozen
    selection: Selection = Selection(),  # noqa: B008  frozen
    device: str = "auto",
    precision: str = "auto",
    search: SearchConfig = SearchConfig(),  # noqa: B008  frozen
    on_step: Callable[[StepMetrics], None] | None = None,
) -> Model:
    """Learn what the pictures in a folder (or several) look like; with `out`, keep a directory.

    What is not given is as `adgan train` has it. search: how the model is searched, unless it is
    told otherwise.

    Raises NoImagesError for a folder without one, DivergedError, ConfigError, OutputError.
    """
    several = [paths] if isinstance(paths, str | Path) else paths
    listing = list_inputs(several, selection)
    pictures = load_training_pictures(listing, model_config.size, model_config.channels, reading)
    trained_on, held_out = hold_out(pictures, train_config)
    where = pick_device(device)
    state = new_state(
        model_config, train_config, device=where, precision=pick_precision(precision, where),
        pictures=len(trained_on),
    )  # fmt: skip
    if out is not None:
        model = train_into(
            Path(out), state, trained_on, held_out=held_out, reading=reading, on_step=on_step,
            search=search,
        )  # fmt: skip
    else:
        pixels, rows = on_training_device(trained_on, where)
        run(state, pixels, rows=rows, held_out=pixel_tensor(held_out), on_step=on_step)
        model = trained_model(state, trained_on, reading, search=search)
    model = with_encoder(model, trained_on, train_config.encoder_iters)
    if len(held_out):
        model = with_calibration(model, pixel_tensor(held_out))
    model = with_verdict(model, state, trained_on, held_out)
    return model if out is None else replace(model, digest=save_model(model, out))


def load_training_pictures(
    listing: Listing,
    size: int,
    channels: int | None,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  frozen
    *,
    workers: int | None = None,
    place: CacheConfig | None = None,
    on_picture: Callable[[int], None] | None = None,
    on_cache_disabled: Callable[[str], None] | None = None,
) -> PixelSet:
    """Decode the pictures of `listing` once; channels None takes 1 if all are grey, else 3.

    Raises NoImagesError when there is none to learn from, naming what was there instead.
    """
    preprocessing = Preprocessing(size, channels or 3, reading.fit, reading.alpha)
    reader = Reader(preprocessing, workers, place, on_cache_disabled)
    pictures = load_pixels(listing, reader, detect_grey=channels is None, on_progress=on_picture)
    if not pictures.names:
        name, reason = pictures.failures[0]
        raise NoImagesError(
            f"no usable picture in {listing.root}: all {len(pictures.failures)} failed, "
            f"the first is {name}: {reason}"
        )
    return pictures


def estimate(state: TrainState, pictures: PixelSet) -> Estimate:
    """Time two generator steps on throw-away networks; count what training holds in memory."""
    past_warm_up = 25  # of wgan, with its hundred critic steps each
    trial = new_state(
        state.model_config,
        replace(state.train_config, iters=past_warm_up + 3),
        device=state.device,
        precision=state.precision,
        pictures=len(pictures),
    )
    trial.step = past_warm_up
    seconds: list[float] = []
    pixels, rows = on_training_device(pictures, state.device)
    run(trial, pixels, rows=rows, on_step=lambda told: seconds.append(told.seconds))
    # an accelerator reports only the last of the three, the first of them slow
    per_step = (seconds[-1] - seconds[0]) / 2 if len(seconds) > 1 else seconds[-1] / 3
    weights = parameter_count(state.generator) * 5 + parameter_count(state.critic) * 4
    model = state.model_config
    activations = 12 * state.train_config.batch_size * model.size**2 * model.width
    return Estimate(per_step, pixels.nbytes + 4 * (weights + activations))
