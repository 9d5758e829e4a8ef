"""A trained model: the generator, and all that scoring with it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli.config import ModelConfig, ReadConfig, SearchConfig, comparable_precision
from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.models.dcgan import Critic, Encoder, Generator
from adgan_cli.errors import ConfigError
from adgan_cli.images.depth import Ranges
from adgan_cli.images.read import Preprocessing


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores and statistics of N images that were not trained on, for one SearchConfig.

    Where features have a part in the scores, so have the K standardised scores of detectors, of
    which they are joined, and that of the reconstruction as the last column where it joins in.
    """

    # adjust is none: what is taken out of the scores is learned from these; precision: as computed
    search: SearchConfig
    scores: np.ndarray  # (N,) float64
    statistics: np.ndarray  # (N, T) float64, image_statistics of the same images
    z_scores: np.ndarray | None = None  # (N, K or K + 1) float64; None by reconstruction
    error_scale: Scale | None = None  # of the reconstruction's errors; None but by all


@dataclass(frozen=True)
class Model:
    """A generator, features, or both, with what is needed to score with them."""

    # (N, Z) -> (N, C, S, S) in [-1, 1]; eval mode, no gradients; None where none was trained
    generator: Generator | None
    config: ModelConfig
    search: SearchConfig = SearchConfig()  # its own settings; see default_search
    provenance: Mapping[str, Any] = field(default_factory=dict)  # how it was trained, plain JSON
    digest: str = ""  # SHA-256 of the file it was loaded from
    reading: ReadConfig = ReadConfig()  # how images became squares in training
    ranges: Ranges = ()  # black and white of images deeper than 8 bits, from the training set
    training_fingerprints: np.ndarray | None = None  # (N,) uint64, sorted, of the training images
    critic: Critic | None = None  # that the generator was trained against, where it was kept
    encoder: Encoder | None = None  # an approximate inverse of the generator, if one was trained
    features: FeatureModel | None = None  # what else images are compared by
    calibrations: tuple[Calibration, ...] = ()  # at most one for settings that are comparable
    file: Path | None = None  # it was loaded from or saved to; small copies may lie beside it

    def __post_init__(self) -> None:
        if self.generator is None and self.features is None:
            raise ConfigError("a model needs a generator, features or both")

    @property
    def device(self) -> torch.device:
        """Where the generator is; features alone are compared on the CPU."""
        return torch.device("cpu") if self.generator is None else self.generator.device

    def require_generator(self) -> Generator:
        """Return the generator; ConfigError where none was trained."""
        if self.generator is None:
            raise ConfigError(
                f"{self.file or 'the model'} has no generator (trained with --no-gan): "
                "reconstructions need one; score --by features, or train without --no-gan"
            )
        return self.generator

    def require_features(self) -> FeatureModel:
        """Return the features; ConfigError where there are none that can be used here."""
        name = self.file or "the model"
        if self.features is None:
            raise ConfigError(
                f"{name} has learned no features; score --by reconstruction, or train it anew"
            )
        if not self.features.names:
            reason = next(iter(self.features.missing.values()))
            raise ConfigError(f"{name} has no features that can be used here: {reason}")
        return self.features

    def preprocessing(self) -> Preprocessing:
        """Say how an image has to be read for this model."""
        reading = self.reading
        return Preprocessing(
            self.config.size, self.config.channels, reading.fit, reading.alpha, self.ranges
        )

    def large_preprocessing(self) -> Preprocessing | None:
        """Say how an image has to be read for the features' backbone; None where there is none."""
        side = None if self.features is None else self.features.side_read
        return None if side is None else replace(self.preprocessing(), size=side)

    def default_search(self, search: SearchConfig | None = None) -> SearchConfig:
        """Give the settings that `score` and `rank` start from: its own, or those of a preset.

        From the prior alone where there is no encoder, and by the reconstruction alone where there
        are no features, as long as training has not got there. Its own settings are by features
        alone where there is no generator.
        """
        chosen = search or self.search
        by = chosen.by
        if self.features is None:
            by = "reconstruction"
        elif self.generator is None and search is None:
            by = "features"
        return replace(chosen, by=by, init=chosen.init if self.encoder is not None else "prior")

    def calibration(self, search: SearchConfig) -> Calibration | None:
        """Look up the calibration for these settings, which is without any adjustment."""
        wanted = comparable(search)
        return next((c for c in self.calibrations if comparable(c.search) == wanted), None)

    def was_trained_on(self, fingerprint: bytes) -> bool | None:
        """Say whether a file with this content was trained on; None where the model cannot."""
        if self.training_fingerprints is None:
            return None
        value = np.frombuffer(fingerprint, "<u8")[0]
        index = np.searchsorted(self.training_fingerprints, value)
        return bool(np.any(self.training_fingerprints[index : index + 1] == value))


def what_scores_follow(search: SearchConfig) -> SearchConfig:
    """Return the settings without what has no part in the scores: any search, where by features."""
    if search.by == "features":
        return SearchConfig(by="features")
    return replace(search, adjust="none")


def comparable(search: SearchConfig) -> SearchConfig:
    """Return settings that are equal where scores may be compared with each other's.

    So a model that was calibrated on one machine gives p-values on others.
    """
    plain = what_scores_follow(search)
    return replace(plain, precision=comparable_precision(plain.precision))
