"""The score of an image: by Algorithm 1, by features, or by both joined, less what --adjust takes.

Letters in the shapes: N images, (S, S, C) as the generator sees them, L the backbone's side,
K detectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.features.ensemble import FeatureModel, Scale, joined_z_scores
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.images.statistics import image_statistics
from adgan_cli.scoring.adjust import adjustment
from adgan_cli.scoring.joining import calibrated_error_scale, part_weights

Z_DECIMALS = 4  # of the parts of a score, in rows: what people read, and a table has them all
FEATURES_BATCH = 32  # images between two looks whether to stop, where nothing is searched for


@dataclass(frozen=True, eq=False)
class Measured:
    """What N images are scored by."""

    errors: np.ndarray | None  # (N,) float64, of the search; None by features
    losses: np.ndarray | None  # (N, n_seed, k + 1), that it went through
    z_scores: np.ndarray | None  # (N, K) float64, of the detectors; None by reconstruction


@dataclass(frozen=True, eq=False)
class JoinedScores:
    """The scores of N images, and what they came from."""

    scores: np.ndarray  # (N,) float64
    z_scores: np.ndarray  # (N, M) float64, of what is joined; M is 0 by reconstruction
    losses: np.ndarray | None  # (N, n_seed, k + 1); None where nothing was searched for


class Scorer:
    """Score images with one model and one way to do it, as often as there are some.

    error_scale: how errors of images held out lie, which the reconstruction is standardised by
    where it is joined with features; that of the model's calibration when None. Raises
    ConfigError where the model lacks what the settings ask for.
    """

    def __init__(
        self,
        model: Model,
        config: SearchConfig,
        batch_size: int | None = None,
        *,
        error_scale: Scale | None = None,
    ) -> None:
        self._config, self._search = config, None
        if config.by != "features":
            self._search = Searcher.for_model(model, config, batch_size=batch_size)
        self._features = None if config.by == "reconstruction" else model.require_features()
        self._error_scale = error_scale
        if config.by == "all" and error_scale is None:
            self._error_scale = calibrated_error_scale(model, config)
        self._adjust = adjustment(model, config)
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """How many images are scored at once."""
        if self._search is None:
            return self._batch_size or FEATURES_BATCH
        return self._search.batch_size

    @property
    def eager_reason(self) -> str | None:
        """Why the search is not replayed as one CUDA graph where it could be; see Searcher."""
        return None if self._search is None else self._search.eager_reason

    def errors(self, pixels: np.ndarray) -> np.ndarray:
        """Search for images, uint8 (N, S, S, C), alone: the reconstruction's errors, (N,)."""
        assert self._search is not None
        return self._search(to_model_range(torch.from_numpy(pixels))).score.double().numpy()

    def measure(self, pixels: np.ndarray, large: np.ndarray | None = None) -> Measured:
        """Search for images and compare them, uint8 (N, S, S, C); large: the same (N, L, L, C)."""
        errors = losses = z_scores = None
        if self._search is not None:
            result = self._search(to_model_range(torch.from_numpy(pixels)))
            errors, losses = result.score.double().numpy(), result.trace.numpy()
        if self._features is not None:
            z_scores = self._features.z_scores(pixels, large)
        return Measured(errors, losses, z_scores)

    def __call__(self, pixels: np.ndarray, large: np.ndarray | None = None) -> JoinedScores:
        """Score images, uint8 (N, S, S, C); large: the same (N, L, L, C), where it is needed."""
        measured = self.measure(pixels, large)
        joined = join(measured, self._features, self._config, self._error_scale)
        scores = joined.scores
        if self._adjust is not None:
            scores = self._adjust(scores, np.stack([image_statistics(image) for image in pixels]))
        # no negative zero, which is written with its sign
        z_scores = np.round(joined.z_scores, Z_DECIMALS) + 0.0
        return JoinedScores(scores, z_scores, joined.losses)


def join(
    measured: Measured,
    features: FeatureModel | None,
    config: SearchConfig,
    error_scale: Scale | None,
) -> JoinedScores:
    """Join what was measured of images into one score each, as `config.by` says.

    error_scale: by which the reconstruction is standardised where it is a part.
    """
    if config.by == "reconstruction" or features is None:
        assert measured.errors is not None
        return JoinedScores(measured.errors, np.empty((len(measured.errors), 0)), measured.losses)
    z_scores = measured.z_scores
    assert z_scores is not None
    if config.by == "all":
        assert measured.errors is not None and error_scale is not None
        z_scores = np.column_stack([z_scores, error_scale.z_scores(measured.errors)])
    weights = [*part_weights(features, config, error_scale).values()]
    return JoinedScores(joined_z_scores(z_scores, weights), z_scores, measured.losses)


def concatenated(parts: Sequence[Measured]) -> Measured:
    """Join what was measured of several batches, one or more."""

    def column(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
        present = [array for array in arrays if array is not None]
        return np.concatenate(present) if present else None

    return Measured(
        column([part.errors for part in parts]),
        column([part.losses for part in parts]),
        column([part.z_scores for part in parts]),
    )
