"""From a folder of pictures to a trained model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.device import pick_device, pick_precision
from adgan_cli.engine.model_file import Model
from adgan_cli.engine.training import TrainState, TrainStep, new_state, parameter_count, run
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.images.find import find_inputs
from adgan_cli.images.load import PixelSet, default_workers, load_pixels
from adgan_cli.pipeline.model_directory import placed, train_into, trained_model


@dataclass(frozen=True)
class Estimate:
    """What training will take, told before it starts."""

    seconds_per_step: float  # measured
    memory: int  # bytes, counted


def train(
    folder: str | Path,
    model_config: ModelConfig = ModelConfig(),  # noqa: B008  frozen
    train_config: TrainConfig = TrainConfig(),  # noqa: B008  frozen
    *,
    out: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    on_step: Callable[[TrainStep], None] | None = None,
) -> Model:
    """Learn what the pictures below `folder` look like; with `out`, keep a model directory.

    Raises NoImagesError for a folder without one, DivergedError, ConfigError, OutputError.
    """
    pictures = load_training_pictures(folder, model_config.size, model_config.channels)
    where = pick_device(device)
    state = new_state(
        model_config, train_config, device=where, precision=pick_precision(precision, where)
    )
    if out is not None:
        return train_into(Path(out), state, pictures, on_step=on_step)
    run(state, placed(pictures, where), on_step=on_step)
    return trained_model(state, pictures)


def load_training_pictures(
    folder: str | Path,
    size: int,
    channels: int | None,
    *,
    workers: int | None = None,
    on_found: Callable[[int], None] | None = None,
    on_picture: Callable[[int], None] | None = None,
) -> PixelSet:
    """Decode the pictures below `folder` once; channels None takes 1 if all are grey, else 3.

    Raises NoImagesError when there is none to learn from, naming what was there instead.
    """
    unreadable: list[tuple[str, str]] = []
    folder = Path(folder)
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; give the folder that holds the pictures")
    _, found = find_inputs([folder], on_error=lambda path, why: unreadable.append((str(path), why)))
    if on_found:
        on_found(len(found))
    pictures = load_pixels(
        found, size, channels, workers=workers or default_workers(), on_picture=on_picture
    )
    pictures = replace(pictures, failures=(*unreadable, *pictures.failures))
    if not pictures.names:
        raise NoImagesError(_nothing_usable(folder, pictures))
    return pictures


def estimate(state: TrainState, pictures: PixelSet) -> Estimate:
    """Time two generator steps on throw-away networks; count what training holds in memory."""
    past_warm_up = 25  # of wgan, with its hundred critic steps each
    trial = new_state(
        state.model_config,
        replace(state.train_config, iters=past_warm_up + 3),
        device=state.device,
        precision=state.precision,
    )
    trial.step = past_warm_up
    seconds: list[float] = []
    run(trial, placed(pictures, state.device), on_step=lambda told: seconds.append(told.seconds))
    # an accelerator reports only the last of the three, the first of them slow
    per_step = (seconds[-1] - seconds[0]) / 2 if len(seconds) > 1 else seconds[-1] / 3
    weights = parameter_count(state.generator) * 5 + parameter_count(state.critic) * 4
    model = state.model_config
    activations = 12 * state.train_config.batch_size * model.size**2 * model.width
    return Estimate(per_step, pictures.pixels.nbytes + 4 * (weights + activations))


def _nothing_usable(folder: Path, pictures: PixelSet) -> str:
    if not pictures.failures:
        return f"no pictures in {folder}; give a folder that holds some"
    name, reason = pictures.failures[0]
    return (
        f"no usable picture in {folder}: all {len(pictures.failures)} failed, "
        f"the first is {name}: {reason}"
    )
