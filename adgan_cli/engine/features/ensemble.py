"""The joined score of several detectors: standardised logarithms, above the ordinary, weighed.

Neither the scale nor the spread of one detector drowns the others, and one that cannot tell altered
copies of images from the images themselves has no weight (see weights.py).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from adgan_cli.engine.device import single_threaded_torch
from adgan_cli.engine.features.detector import TINY, ComparesFeatures, Detector

_Item = TypeVar("_Item")
_Measured = TypeVar("_Measured")

MIN_DEVIATION = 1e-6  # of log scores: identical images have none, and nothing is divided by zero
MAX_Z = 1e3  # beyond it, standard deviations say no more


@dataclass(frozen=True)
class Scale:
    """How the log scores of ordinary images lie that a detector was not fitted to."""

    mean: float
    deviation: float
    weight: float  # in the joined score; the weights of all detectors add up to 1
    evidence: float  # AUC of altered copies against the images themselves; 0.5: tells nothing
    prior: float = 1.0  # factor of the evidence above 0.5, known before any image

    def z_scores(self, scores: np.ndarray) -> np.ndarray:
        """Standardise the logarithms of scores: (N,) -> (N,) float64."""
        z: np.ndarray = (log(scores) - self.mean) / max(self.deviation, MIN_DEVIATION)
        return np.clip(z, -MAX_Z, MAX_Z)


@dataclass(frozen=True, eq=False)
class FeatureModel:
    """Detectors fitted to one training set, and how their scores are joined."""

    detectors: Mapping[str, Detector]
    scales: Mapping[str, Scale]  # of the same names
    large_size: int | None = None  # side at which images are read for the backbone, if any
    missing: Mapping[str, str] = field(default_factory=dict)  # detectors without a network, and why

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the detectors that can be used, in the order of all tables."""
        return tuple(name for name in self.detectors if name not in self.missing)

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the detectors that can be used: they add up to 1."""
        weights = {name: self.scales[name].weight for name in self.names}
        total = sum(weights.values())
        if not total:  # those that count are missing
            return {name: 1 / len(weights) for name in weights}
        return {name: weight / total for name, weight in weights.items()}

    @property
    def side_read(self) -> int | None:
        """The side at which images have to be read a second time; None where once is enough."""
        reads_large = any(self.detectors[name].reads_large for name in self.names)
        return self.large_size if reads_large else None

    def z_scores(self, pixels: np.ndarray, large: np.ndarray | None = None) -> np.ndarray:
        """Standardise the scores of N images by each of K detectors: (N, K) float64.

        pixels: uint8 (N, S, S, C); large: the same images (N, L, L, C) at `large_size`, where it
        is not None.
        """
        usable = {name: self.detectors[name] for name in self.names}
        scores = score_images(usable, pixels, large)
        return np.stack([self.scales[name].z_scores(scores[name]) for name in self.names], axis=1)

    def joined(self, z_scores: np.ndarray) -> np.ndarray:
        """Join standardised scores into one: (N, K) -> (N,) float64."""
        return joined_z_scores(z_scores, list(self.weights.values()))


def score_images(
    detectors: Mapping[str, Detector], pixels: np.ndarray, large: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Score each image by each detector, as many side by side as there are cores: (N,) each."""

    def measure(index: int) -> list[Any]:
        """Compute each detector's score of an image, or the features that scores come from."""
        values: list[Any] = []
        for one in detectors.values():
            image = large[index] if one.reads_large and large is not None else pixels[index]
            if isinstance(one, ComparesFeatures):
                values.append(one.features(image))
            else:
                values.append(one.score(image))
        return values

    if not len(pixels):
        return {name: np.zeros(0) for name in detectors}
    columns = zip(*side_by_side(measure, range(len(pixels))), strict=True)
    return {
        name: one.compare(np.stack(values))
        if isinstance(one, ComparesFeatures)
        else np.array(values, np.float64)
        for (name, one), values in zip(detectors.items(), columns, strict=True)
    }


def side_by_side(measure: Callable[[_Item], _Measured], items: Iterable[_Item]) -> list[_Measured]:
    """Measure each item on one core, as many at once as there are cores; results in their order.

    What torch or BLAS divides among cores would be another sum on each number of them.
    """
    workers = min(torch.get_num_threads(), os.cpu_count() or 1)
    with (
        single_threaded_torch(),
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers) as pool,
    ):
        return list(pool.map(measure, items))


def joined_z_scores(z_scores: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Add up weighted log(1 + exp(z)), (N, K) -> (N,), each row as if it were alone.

    That is about z where a part finds an image unusual, and about 0 where it finds it ordinary: one
    part that finds it very ordinary does not outweigh another that sees a defect.
    """
    # one by one: a matrix product may round differently with company
    total = np.zeros(len(z_scores))
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        for weight, z in zip(weights, z_scores.T, strict=True):
            total += weight * np.logaddexp(0, z)
    return total


def log(scores: np.ndarray) -> np.ndarray:
    """Take logarithms of scores that are at least 0; those of none are finite."""
    logarithms: np.ndarray = np.log(np.maximum(scores, TINY))
    return logarithms
