"""Which training images are nearest to an image by features, and where it is unlike all of them.

Letters in the shapes: S size of the image, C channels, M training images that detectors keep.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from adgan_cli.engine.features.detector import TINY
from adgan_cli.engine.features.ensemble import FeatureModel

PRETRAINED = "pretrained"  # where it is there, it knows best what is alike and where it is not


@runtime_checkable
class KeepsReferences(Protocol):
    """A detector that keeps the features of training images, all detectors of the same."""

    def reference_distances(self, image: np.ndarray) -> np.ndarray | None:
        """Compute the distance to each training image kept: uint8 (S, S, C) -> (M,).

        None where it keeps none.
        """


@runtime_checkable
class SeesPlaces(Protocol):
    """A detector that can say where in an image there is something unusual."""

    def anomaly_map(self, image: np.ndarray) -> np.ndarray:
        """Compute how unusual each place is: uint8 (S, S, C) -> (h, w), at least 0."""


def reference_distances(
    model: FeatureModel, image: np.ndarray, large: np.ndarray | None, count: int
) -> np.ndarray | None:
    """Compute how far an image is from each of M = `count` training images kept: (M,).

    By the pretrained network where there is one. Without, by all other detectors that count, each
    distance divided by the mean of its kind, so that none drowns the others. None where no detector
    keeps so many.
    image: uint8 (S, S, C); large: the same at the backbone's size, where there is one.
    """
    by_name, weights = {}, _weights(model)
    for name in model.names:
        detector = model.detectors[name]
        seen = large if detector.reads_large else image
        if isinstance(detector, KeepsReferences) and weights[name] and seen is not None:
            distances = detector.reference_distances(seen)
            if distances is not None and len(distances) == count:
                by_name[name] = distances / max(float(distances.mean()), TINY)
    if PRETRAINED in by_name:
        return by_name[PRETRAINED]
    if not by_name:
        return None
    return sum((weights[name] * distances for name, distances in by_name.items()), np.zeros(count))


def anomaly_map(
    model: FeatureModel, image: np.ndarray, large: np.ndarray | None
) -> np.ndarray | None:
    """Compute how unusual each place of an image is, by one detector: (h, w); None without such.

    By one that counts for the score if there is any, and by the pretrained network before others.
    Arguments as in reference_distances.
    """
    weights = _weights(model)
    for name in sorted(model.names, key=lambda name: (not weights[name], name != PRETRAINED)):
        detector = model.detectors[name]
        seen = large if detector.reads_large else image
        if isinstance(detector, SeesPlaces) and seen is not None:
            return detector.anomaly_map(seen)
    return None


def _weights(model: FeatureModel) -> dict[str, float]:
    return {name: model.scales[name].weight for name in model.names}
