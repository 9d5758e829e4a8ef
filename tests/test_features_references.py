"""Whose distances to training images count, and whose map of what is unusual is shown."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.features.references import anomaly_map, reference_distances

IMAGE, LARGE = np.zeros((4, 4, 1), np.uint8), np.ones((8, 8, 1), np.uint8)


@dataclass(frozen=True)
class Blind:
    """A detector that keeps nothing and sees no places."""

    reads_large: bool = False

    def score(self, image: np.ndarray) -> float:
        return float(image.sum())

    def settings(self) -> dict[str, Any]:
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


@dataclass(frozen=True)
class Seeing(Blind):
    """A detector that does; its distances are given, and its map is the image."""

    distances: tuple[float, ...] | None = ()

    def reference_distances(self, image: np.ndarray) -> np.ndarray | None:
        return None if self.distances is None else np.array(self.distances)

    def anomaly_map(self, image: np.ndarray) -> np.ndarray:
        return image[..., 0].astype(float)


def features(**detectors: Blind) -> FeatureModel:
    scales = {name: Scale(0.0, 1.0, 1.0, 0.9) for name in detectors}
    return FeatureModel(detectors, scales, large_size=8)


def test_distances_of_several_detectors_count_alike_whatever_their_scale():
    near_first, near_last = (1.0, 2.0, 3.0), (9000.0, 6000.0, 3000.0)
    both = features(a=Seeing(distances=near_first), b=Seeing(distances=near_last), c=Blind())
    distances = reference_distances(both, IMAGE, None, 3)
    assert distances is not None and np.allclose(distances, 2.0)
    unlike = replace(both, scales={**both.scales, "b": Scale(0.0, 1.0, 0.0, 0.5)})
    distances = reference_distances(unlike, IMAGE, None, 3)
    assert distances is not None and np.allclose(distances, (0.5, 1.0, 1.5)), "b has no weight"


def test_only_detectors_that_keep_the_same_images_count():
    mixed = features(a=Seeing(distances=(1.0, 3.0)), b=Seeing(distances=(1.0, 2.0, 3.0)))
    distances = reference_distances(mixed, IMAGE, None, 2)
    assert distances is not None and np.allclose(distances, (0.5, 1.5))
    for none in (features(a=Blind()), features(a=Seeing(distances=None)), mixed):
        assert reference_distances(none, IMAGE, None, 5) is None


def test_a_pretrained_network_speaks_alone_and_sees_large_images():
    network = Seeing(reads_large=True, distances=(5.0, 15.0))
    both = features(a=Seeing(distances=(3.0, 1.0)), pretrained=network)
    distances = reference_distances(both, IMAGE, LARGE, 2)
    assert distances is not None and np.allclose(distances, (0.5, 1.5))
    places = anomaly_map(both, IMAGE, LARGE)
    assert places is not None and places.shape == (8, 8)
    # a large image that could not be read is passed over
    distances, places = reference_distances(both, IMAGE, None, 2), anomaly_map(both, IMAGE, None)
    assert distances is not None and np.allclose(distances, (1.5, 0.5))
    assert places is not None and places.shape == (4, 4)
    assert anomaly_map(features(a=Blind()), IMAGE, None) is None


def test_the_map_of_a_detector_that_counts_comes_first():
    network = Seeing(reads_large=True)
    both = features(a=Blind(), b=Seeing(), pretrained=network)
    silent = replace(both, scales={**both.scales, "pretrained": Scale(0.0, 1.0, 0.0, 0.5)})
    places = anomaly_map(silent, IMAGE, LARGE)
    assert places is not None and places.shape == (4, 4)
    alone = replace(silent, detectors={"a": Blind(), "pretrained": network})
    places = anomaly_map(alone, IMAGE, LARGE)
    assert places is not None and places.shape == (8, 8)
