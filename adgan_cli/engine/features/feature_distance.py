"""Detectors that describe an image by numbers and compare these with a training set's.

Patches, scattering and histograms: nothing is learned but from the training set, in seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adgan_cli.engine.features.distances import (
    NearestNeighbours,
    fit_nearest_neighbours,
    nearest_neighbours_from,
)
from adgan_cli.engine.features.histograms import histogram_groups, histograms
from adgan_cli.engine.features.patches import (
    MAX_PATCHES_SIDE,
    PatchDictionary,
    fit_patch_dictionary,
    patch_dictionary_from,
)
from adgan_cli.engine.features.samples import drawn
from adgan_cli.engine.features.scattering import scatter, scattering_groups
from adgan_cli.images.shrink import at_most, shrunk

MAX_SIDE = 64  # pixels: larger images are shrunk by whole blocks
DICTIONARY = "dictionary."  # before the names of its tensors

Represent = Callable[[np.ndarray], np.ndarray]  # uint8 (S, S, C) -> (D,)


@dataclass(frozen=True, eq=False)
class Representation:
    """How an image is described by numbers."""

    represent: Represent
    max_side: int = MAX_SIDE  # pixels: larger images are shrunk by whole blocks
    dictionary: PatchDictionary | None = None  # that it is in terms of, if any

    @torch.no_grad()
    def features(self, image: np.ndarray) -> np.ndarray:
        """Represent an image, uint8 (S, S, C) -> (D,), shrunk where it is larger."""
        return self.represent(shrunk(image[None], self.max_side)[0])


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """How far an image's representation lies from those of a training set."""

    representation: Representation
    distance: NearestNeighbours
    size: int
    channels: int
    reads_large = False

    def score(self, image: np.ndarray) -> float:
        """Compute the distance of an image, uint8 (S, S, C): at least 0."""
        return float(self.compare(self.features(image)[None])[0])

    def features(self, image: np.ndarray) -> np.ndarray:
        """Represent an image: uint8 (S, S, C) -> (D,)."""
        return self.representation.features(image)

    def compare(self, features: np.ndarray) -> np.ndarray:
        """Compute the distances of images from their features: (N, D) -> (N,), at least 0."""
        return self.distance.mean_distances(features)

    def reference_distances(self, image: np.ndarray) -> np.ndarray:
        """Compute the distance to each training image kept: uint8 (S, S, C) -> (M,)."""
        return self.distance.distances(self.features(image))

    @property
    def dictionary(self) -> PatchDictionary | None:
        """The dictionary that patches are described by, if they are."""
        return self.representation.dictionary

    def settings(self) -> dict[str, Any]:
        """Return the shape of its images, as plain JSON."""
        return {"size": self.size, "channels": self.channels}

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept of the training set, and the dictionary if there is one."""
        words = self.dictionary.tensors() if self.dictionary else {}
        return {DICTIONARY + name: one for name, one in words.items()} | self.distance.tensors()


def fit_patches(images: np.ndarray, seed: int) -> FeatureDistance:
    """Fit a dictionary of patches and the distance in its terms to images, uint8 (N, S, S, C)."""
    sample = drawn(images, seed)
    dictionary = fit_patch_dictionary(shrunk(sample, MAX_PATCHES_SIDE), seed)
    return _fitted(sample, _of_patches(dictionary))


def fit_scattering(images: np.ndarray, seed: int) -> FeatureDistance:
    """Fit the distance of scattering to images, uint8 (N, S, S, C)."""
    groups = scattering_groups(images.shape[3])
    return _fitted(drawn(images, seed), Representation(scatter), groups)


def fit_histograms(images: np.ndarray, seed: int) -> FeatureDistance:
    """Fit the distance of histograms to images, uint8 (N, S, S, C)."""
    groups = histogram_groups(images.shape[3])
    return _fitted(drawn(images, seed), Representation(histograms), groups)


def patches_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FeatureDistance:
    """Make the detector of patches; KeyError, TypeError or ValueError for what does not fit."""
    words = {name: tensors[DICTIONARY + name] for name in ("offset", "filters")}
    return _kept(settings, tensors, _of_patches(patch_dictionary_from(words)))


def scattering_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FeatureDistance:
    """Make the detector of scattering; KeyError, TypeError or ValueError for what misfits."""
    return _kept(settings, tensors, Representation(scatter))


def histograms_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FeatureDistance:
    """Make the detector of histograms; KeyError, TypeError or ValueError for what misfits."""
    return _kept(settings, tensors, Representation(histograms))


def _of_patches(dictionary: PatchDictionary) -> Representation:
    return Representation(dictionary.represent, MAX_PATCHES_SIDE, dictionary)


def _fitted(
    images: np.ndarray, representation: Representation, groups: Sequence[int] = ()
) -> FeatureDistance:
    features = np.stack([representation.features(image) for image in images])  # (N, D)
    size, channels = images.shape[2:]
    return FeatureDistance(representation, fit_nearest_neighbours(features, groups), size, channels)


def _kept(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], representation: Representation
) -> FeatureDistance:
    """Make a detector, and see that images of its shape have as many features as it keeps."""
    size, channels = int(settings["size"]), int(settings["channels"])
    if not (1 <= size <= 2**16 and channels in (1, 3)):
        raise ValueError(f"no images have {size} pixels and {channels} channels")
    distance = nearest_neighbours_from(tensors)
    side = at_most(size, representation.max_side)
    try:
        width = len(representation.features(np.zeros((side, side, channels), np.uint8)))
    except RuntimeError as error:
        raise ValueError(f"the representation does not fit ({error})") from error
    if width != len(distance.standard.mean):
        raise ValueError(f"{width} features are expected, not {len(distance.standard.mean)}")
    return FeatureDistance(representation, distance, size, channels)
