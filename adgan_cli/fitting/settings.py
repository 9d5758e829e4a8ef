"""What a training run is to do, and what one that was begun goes on with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli import __version__
from adgan_cli.config import (
    FeatureConfig,
    ModelConfig,
    ReadConfig,
    SearchConfig,
    TrainConfig,
    flag,
    from_dict,
    to_dict,
)
from adgan_cli.engine.features.backbone import Backbone
from adgan_cli.engine.models.files import read_search_config
from adgan_cli.engine.training.checkpoint import read_checkpoint
from adgan_cli.engine.training.state import TrainState
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.fitting.data import ReadLarge, data_provenance, hold_out
from adgan_cli.images.depth import Ranges, ranges_from
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.read import Preprocessing

SAVE_EVERY = 120.0  # seconds
GOALS = "iters", "encoder_iters"  # what may change when a run is resumed


@dataclass(frozen=True)
class TrainingSettings:
    """What a run is to do, but for its images, its directory and the device."""

    model: ModelConfig = ModelConfig()  # size and channels are those of the images
    train: TrainConfig = TrainConfig()
    reading: ReadConfig = ReadConfig()  # how the images were read, to read others alike
    search: SearchConfig = SearchConfig()  # the model's own
    features: FeatureConfig | None = None  # what is learned beside the generator; None: nothing
    gan: bool = True  # whether there is a generator
    backbone: Backbone | None = None  # pretrained, whose features join in
    read_large: ReadLarge | None = None  # how images are read for it; None: those there are
    max_time: float | None = None  # seconds of this call, up to its last file; None: no limit
    save_every: float | None = SAVE_EVERY  # seconds; None: only at the end
    keep_critic: bool = False  # in the model too, for --loss critic-features
    networks_only: bool = False  # train on all images: none held out, no p-values, no verdict
    ranges: Ranges = ()  # of the values deeper than 8 bits; (): those that the images have

    def with_backbone(self, backbone: Backbone, read_large: ReadLarge) -> "TrainingSettings":
        """Let the features of a pretrained network join in."""
        features = replace(self.features or FeatureConfig(), backbone=backbone.config.name)
        return replace(self, features=features, backbone=backbone, read_large=read_large)

    def after(self, seconds: float) -> "TrainingSettings":
        """Return the settings with so much of the time spent already."""
        left = None if self.max_time is None else max(0.0, self.max_time - seconds)
        return replace(self, max_time=left)

    def split(self, images: PixelSet) -> tuple[PixelSet, PixelSet]:
        """Split images into those to train on and those held out."""
        if self.networks_only:
            return images, images.subset(np.zeros(len(images), bool))
        return hold_out(images, self.train)

    def preprocessing(self) -> Preprocessing:
        """Describe how images have to be read for this run."""
        model, reading = self.model, self.reading
        return Preprocessing(model.size, model.channels, reading.fit, reading.alpha, self.ranges)


def resumed_settings(
    out: Path,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008  frozen
    given: Mapping[str, Any] | None = None,
) -> TrainingSettings:
    """Replace in `settings` what the run in `out` was begun with: configs and the model's search.

    given: settings that the caller insists on, by the names of their fields; all but the goals have
    to be the run's, precision too. Raises ConfigError where one is not, ModelFileError for a
    missing or damaged checkpoint.
    """
    given = given or {}
    saved = read_checkpoint(out)
    try:
        model = from_dict(ModelConfig, saved["model"])
        train = from_dict(TrainConfig, saved["training"])
        values = {"precision": saved["precision"], **to_dict(model), **to_dict(train)}
        step = int(saved["step"])
        reading = from_dict(ReadConfig, saved["data"]["reading"])
        ranges = ranges_from(saved["data"].get("ranges", {}))
        features = _features_from(saved["data"]["features"])
        _ = saved["data"]["pictures"]  # read later on
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"the checkpoint is corrupt ({error}); use --overwrite") from error
    values |= to_dict(reading) | ({} if features is None else to_dict(features))
    _refuse_other_values(given, values, step)
    if settings.ranges and settings.ranges != ranges:
        raise ConfigError(
            "--range differs from that of the run to resume; leave it out, or start anew with "
            "--overwrite"
        )
    goals = {name: given[name] for name in GOALS if name in given}
    return replace(
        settings,
        model=model,
        train=replace(train, **goals),
        reading=reading,
        features=features,
        search=read_search_config(out) or settings.search,
        ranges=ranges,
    )


def _features_from(values: Mapping[str, Any] | None) -> FeatureConfig | None:
    return None if values is None else from_dict(FeatureConfig, values)


def _refuse_other_values(given: Mapping[str, Any], saved: Mapping[str, Any], step: int) -> None:
    if given.get("iters", step) < step:
        raise ConfigError(f"--iters {given['iters']}: {step} steps are done already")
    for name, value in given.items():
        if name not in GOALS and saved.get(name) != value:
            raise ConfigError(
                f"{flag(name)} {value} differs from the {saved.get(name)} of the run to resume; "
                "leave it out, or start anew with --overwrite"
            )


def require_same_images(out: Path, trained_on: PixelSet) -> None:
    """Raise ConfigError where the run in `out` is trained on other images."""
    before, now = read_checkpoint(out)["data"], data_provenance(trained_on)
    if any(before[key] != now[key] for key in ("pictures", "digest")):
        raise ConfigError(
            f"{out} was trained on other pictures ({before['pictures']} then, {now['pictures']} "
            "now, or changed); --resume continues exactly: restore them, or start anew with "
            "--overwrite"
        )


def work_of(state: TrainState, images: PixelSet) -> dict[str, object]:
    """Describe what several processes have to agree on, as plain JSON."""
    return {
        "adgan": __version__,
        "device": state.device.type,
        "precision": state.precision,
        **to_dict(state.model_config),
        **to_dict(state.train_config),
        "steps done": state.step,
        "pictures": images.digest,
    }
