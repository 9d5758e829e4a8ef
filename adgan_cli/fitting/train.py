"""What `adgan train` does, as one function for people who write Python."""

from collections.abc import Callable, Sequence
from pathlib import Path

from adgan_cli.config import ModelConfig, ReadConfig, SearchConfig, TrainConfig, to_dict
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.trainer import ShouldStop, StepMetrics
from adgan_cli.errors import ConfigError
from adgan_cli.fitting.data import load_training_images
from adgan_cli.fitting.run import TrainingRun
from adgan_cli.fitting.settings import TrainingSettings, resumed_settings
from adgan_cli.images.find import list_inputs
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection


def train(
    paths: str | Path | Sequence[str | Path],
    model_config: ModelConfig = ModelConfig(),  # noqa: B008  frozen
    train_config: TrainConfig = TrainConfig(),  # noqa: B008  frozen
    *,
    out: str | Path | None = None,
    resume: bool = False,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  frozen
    selection: Selection = Selection(),  # noqa: B008  frozen
    device: str = "auto",
    precision: str = "auto",
    search: SearchConfig = SearchConfig(),  # noqa: B008  frozen
    max_time: float | None = None,
    stop: ShouldStop | None = None,
    on_step: Callable[[StepMetrics], None] | None = None,
) -> Model:
    """Learn what the images in a folder (or several) look like; with `out`, keep a directory.

    What is not given is as `adgan train` has it. search: the model's own settings of the search.
    max_time: seconds, after which the steps end; stop: asked after every step. resume: go on
    exactly where the run in `out` stopped, with the settings it had; only iters and encoder_iters
    may differ.

    Raises NoImagesError for a folder without one, DivergedError, ConfigError, OutputError.
    """
    out = None if out is None else Path(out)
    settings = TrainingSettings(model_config, train_config, reading, search, max_time)
    if resume:
        if out is None:
            raise ConfigError("resume needs the directory of the run, out")
        given = {**to_dict(model_config), **to_dict(train_config), **to_dict(reading)}
        given |= {} if precision == "auto" else {"precision": precision}
        settings = resumed_settings(out, settings, given)
    listing = list_inputs([paths] if isinstance(paths, str | Path) else paths, selection)
    images = load_training_images(listing, Reader(settings.preprocessing()))
    if resume and out is not None:
        run = TrainingRun.resume(out, images, settings, device=device)
    else:
        run = TrainingRun.start(images, settings, out=out, device=device, precision=precision)
    for metrics in run.steps(stop):
        if on_step:
            on_step(metrics)
    return run.finish(stop)
