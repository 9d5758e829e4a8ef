"""The options of adgan train that say what is trained and how."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adgan_cli.cli.options import OUTPUT, Device, TrainingPrecision, ValueRangeOption, given_ranges
from adgan_cli.cli.parse import parse_count, parse_duration
from adgan_cli.cli.signature import Fields, Overrides, Shown, field_option, option
from adgan_cli.config import (
    FEATURES,
    TRAINING,
    Config,
    FeatureConfig,
    ModelConfig,
    ReadConfig,
    TrainConfig,
)
from adgan_cli.errors import ConfigError
from adgan_cli.presets import ADAPTED, PRESETS, PresetName

if TYPE_CHECKING:
    import torch

    from adgan_cli.engine.features.backbone import Backbone
    from adgan_cli.fitting.settings import TrainingSettings

AUTO_ITERS, AUTO_PATIENCE = 1_000_000, 0.4  # of --iters auto
ITERS = field_option(TrainConfig, "iters", note="With auto, until images held out get no better.")
CHANNELS = field_option(ModelConfig, "channels", note="With auto, 1 if all images are grey.")


@dataclass(frozen=True)
class TrainingOptions:
    """What is trained and how; what is not given is the preset's."""

    preset: Annotated[
        PresetName,
        typer.Option(
            help="Set of defaults; those shown below are of `default`, and options given win."
        ),
    ] = "default"
    iters: Annotated[str | None, ITERS, Shown(str(TrainConfig.iters))] = None
    max_time: Annotated[
        str | None,
        option(
            TRAINING,
            "Time of the whole command, as 90s, 30m or 2h, or none. It decides on --size, --width "
            "and --batch-size where they are not given.",
        ),
        Shown(PRESETS["default"].max_time),
    ] = None
    training: Annotated[Overrides[TrainConfig], Fields(TrainConfig(), without=("iters",))] = (
        Overrides({})
    )
    model: Annotated[Overrides[ModelConfig], Fields(ModelConfig(), without=("channels",))] = (
        Overrides({})
    )
    channels: Annotated[Literal["auto", "1", "3"], CHANNELS] = "auto"
    gan: Annotated[
        bool,
        option(TRAINING, "Train a generator, which can show what was expected.", "--gan/--no-gan"),
    ] = True
    features: Annotated[
        str | None,
        option(
            FEATURES,
            "Also compare by a pretrained network of timm: its NAME, its weights' FILE, or "
            "NAME=FILE. With none, no features are learned at all.",
            metavar="NAME|FILE|none",
        ),
    ] = None
    download: Annotated[
        bool, option(FEATURES, "Let timm fetch the weights of --features NAME.", "--download")
    ] = False
    feature_settings: Annotated[
        Overrides[FeatureConfig], Fields(FeatureConfig(), without=("backbone",))
    ] = Overrides({})
    reading: Annotated[Overrides[ReadConfig], Fields(ReadConfig())] = Overrides({})
    value_range: ValueRangeOption = None
    save_every: Annotated[
        str, option(OUTPUT, "Time between checkpoints and samples; none: only at the end.")
    ] = "2m"
    keep_critic: Annotated[
        bool,
        option(
            OUTPUT,
            "Save the critic with the model, which --loss critic-features needs.",
            "--keep-critic",
        ),
    ] = False
    device: Device = "auto"
    precision: TrainingPrecision = "auto"

    def given(self) -> dict[str, Any]:
        """Return the settings that the command line insists on."""
        given = {**_parse_iters(self.iters), **self.training.given}
        given |= {**self.model.given, **self.reading.given, **self.feature_settings.given}
        return given if self.channels == "auto" else {**given, "channels": int(self.channels)}

    def fixed(self) -> Collection[str]:
        """Name the settings that the machine does not choose: all those of a paper's protocol."""
        return ADAPTED if PRESETS[self.preset].is_protocol else self.given()

    def load_backbone(self, device: "torch.device") -> "Backbone | None":
        """Load the pretrained network that --features names, if any."""
        if self.features in (None, "none"):
            return None
        from adgan_cli.engine.features.backbone import load_backbone
        from adgan_cli.engine.features.backbone_source import parse_backbone_source

        source = parse_backbone_source(self.features)
        return load_backbone(source, download=self.download, device=device)

    def settings(self) -> "TrainingSettings":
        """Return what a new run is to do."""
        preset, given = PRESETS[self.preset], self.given()
        model = _subset(ModelConfig, given).over(preset.model)
        train = _subset(TrainConfig, given).over(preset.train)
        reading = _subset(ReadConfig, given).over(ReadConfig())
        features, gan = self._features(preset.features), self.gan and preset.gan
        if not gan and features is None:
            raise ConfigError("--no-gan and no features leave nothing to learn; leave out one")
        max_time = parse_duration(self.max_time or preset.max_time, "--max-time")
        save_every = parse_duration(self.save_every, "--save-every")
        from adgan_cli.fitting.settings import TrainingSettings

        return TrainingSettings(
            model,
            train,
            reading,
            preset.search,
            features,
            gan=gan,
            max_time=max_time,
            save_every=save_every,
            keep_critic=self.keep_critic,
            ranges=given_ranges(self.value_range),
        )

    def _features(self, preset: FeatureConfig | None) -> FeatureConfig | None:
        """Return what is learned beside the generator; nothing where neither asks for it."""
        if self.features == "none" or (preset is None and self.features is None):
            return None
        return self.feature_settings.over(preset or FeatureConfig())


def _subset(config: type[Config], given: Mapping[str, Any]) -> Overrides[Config]:
    """Take the settings of one config class from those of several."""
    return Overrides({name: given[name] for name in Fields().of(config) if name in given})


def _parse_iters(text: str | None) -> dict[str, Any]:
    """Return the settings that --iters names: so many steps, or as many as help."""
    if text is None:
        return {}
    iters = parse_count(text, "--iters", "auto")
    if iters is None:
        return {"iters": AUTO_ITERS, "patience": AUTO_PATIENCE}
    return {"iters": iters}
