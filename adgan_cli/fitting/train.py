"""What `adgan train` does, as one function for people who write Python."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from adgan_cli.config import (
    FeatureConfig,
    ModelConfig,
    ReadConfig,
    SearchConfig,
    TrainConfig,
    to_dict,
)
from adgan_cli.engine.device import pick_device
from adgan_cli.engine.features.backbone import load_backbone
from adgan_cli.engine.features.backbone_source import parse_backbone_source
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.trainer import StepMetrics
from adgan_cli.errors import ConfigError
from adgan_cli.fitting.data import large_reader, load_training_images
from adgan_cli.fitting.feature_run import train_features
from adgan_cli.fitting.run import TrainingRun
from adgan_cli.fitting.settings import TrainingSettings, resumed_settings
from adgan_cli.fitting.stages import StageCallbacks
from adgan_cli.images.find import list_inputs
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection
from adgan_cli.locks import owning
from adgan_cli.stopping import ShouldStop


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
    features: FeatureConfig | None = FeatureConfig(),  # noqa: B008  frozen
    backbone: str | None = None,
    download: bool = False,
    gan: bool = True,
    max_time: float | None = None,
    stop: ShouldStop | None = None,
    on_step: Callable[[StepMetrics], None] | None = None,
) -> Model:
    """Learn what the images in a folder (or several) look like; with `out`, keep a directory.

    What is not given is as `adgan train` has it. search: the model's own settings of the search.
    features: what is learned beside the generator, None: nothing; backbone: a pretrained network
    that joins in, as --features names it, which timm may fetch if `download`; gan: train a
    generator. max_time: seconds of the call, which its parts share; stop: asked after every step.
    resume: go on exactly where the run in `out` stopped, with the settings it had; only iters and
    encoder_iters may differ.

    Raises NoImagesError for a folder without one, DivergedError, ConfigError, OutputError; and
    InterruptedError where features without a generator were stopped before their end.
    """
    started, out = time.monotonic(), None if out is None else Path(out)
    settings = TrainingSettings(
        model_config, train_config, reading, search, features, gan=gan, max_time=max_time
    )
    with nullcontext() if out is None else owning(out):
        if resume and out is None:
            raise ConfigError("resume needs the directory of the run, out")
        if resume and out is not None and gan:
            given = {**to_dict(model_config), **to_dict(train_config), **to_dict(reading)}
            given |= {} if precision == "auto" else {"precision": precision}
            settings = resumed_settings(out, settings, given)
        listing = list_inputs([paths] if isinstance(paths, str | Path) else paths, selection)
        reader = Reader(settings.preprocessing())
        images = load_training_images(listing, reader)
        if backbone is not None:
            network = load_backbone(
                parse_backbone_source(backbone), download=download, device=pick_device(device)
            )
            large = large_reader(listing, reader, images, network.config.side)
            settings = settings.with_backbone(network, large)
        settings = settings.after(time.monotonic() - started)
        if not gan:
            callbacks = StageCallbacks(should_stop=stop)
            model = train_features(
                images, settings, out=out, resume=resume, device=device, callbacks=callbacks
            )
            if model is None:
                raise InterruptedError("stopped before the features were learned")
            return model
        if resume and out is not None:
            run = TrainingRun.resume(out, images, settings, device=device)
        else:
            run = TrainingRun.start(images, settings, out=out, device=device, precision=precision)
        run.fit_features(stop)
        for metrics in run.steps(stop):
            if on_step:
                on_step(metrics)
        return run.finish(stop)
