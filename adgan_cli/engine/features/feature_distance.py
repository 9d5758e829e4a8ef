"""Detectors that describe an image by numbers and compare these with a training set's.

Patches, scattering and histograms: nothing is learned but from the training set, in seconds.
"""

from collections.abc import Callable, Mapping
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
from adgan_cli.engine.features.histograms import histograms
from adgan_cli.engine.features.patch_map import patch_map
from adgan_cli.engine.features.patches import (
    PatchDictionary,
    fit_patch_dictionary,
    patch_dictionary_from,
)
from adgan_cli.engine.features.samples import drawn
from adgan_cli.engine.features.scattering import scatter
from adgan_cli.images.shrink import at_most, block_means

MAX_SIDE = 64  # pixels: larger images are shrunk by whole blocks
DICTIONARY = "dictionary."  # before the names of its tensors

Represent = Callable[[np.ndarray], np.ndarray]  # uint8 (S, S, C) -> (D,)


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """How far an image's representation lies from those of a training set."""

    represent: Represent
    distance: NearestNeighbours
    size: int
    channels: int
    dictionary: PatchDictionary | None = None  # that it represents by, if any
    reads_large = False

    def score(self, image: np.ndarray) -> float:
        """Compute the distance of an image, uint8 (S, S, C): at least 0."""
        return self.distance.distance(represented(self.represent, image))

    def reference_distances(self, image: np.ndarray) -> np.ndarray:
        """Compute the distance to each training image kept: uint8 (S, S, C) -> (M,)."""
        return self.distance.distances(represented(self.represent, image))

    def anomaly_map(self, image: np.ndarray) -> np.ndarray | None:
        """Compute where patches are that training images lack: uint8 (S, S, C) -> (s, s), or None.

        Only patches have places.
        """
        if self.dictionary is None:
            return None
        return patch_map(self.dictionary, self.distance, _shrunk(image[None])[0])

    def settings(self) -> dict[str, Any]:
        """Return the shape of its images, as plain JSON."""
        return {"size": self.size, "channels": self.channels}

    def tensors(self) -> dict[str, Tensor]:
        """Return the training set's representations, and the dictionary if there is one."""
        words = self.dictionary.tensors() if self.dictionary else {}
        return {DICTIONARY + name: one for name, one in words.items()} | self.distance.tensors()


def fit_patches(images: np.ndarray, seed: int) -> FeatureDistance:
    """Fit a dictionary of patches and the distance in its terms to images, uint8 (N, S, S, C)."""
    sample = drawn(images, seed)
    dictionary = fit_patch_dictionary(_shrunk(sample), seed)
    return _fit(sample, dictionary.represent, dictionary)


def fit_scattering(images: np.ndarray, seed: int) -> FeatureDistance:
    """Fit the distance of scattering coefficients to images, uint8 (N, S, S, C)."""
    return _fit(drawn(images, seed), scatter)


def fit_histograms(images: np.ndarray, seed: int) -> FeatureDistance:
    """Fit the distance of histograms to images, uint8 (N, S, S, C)."""
    return _fit(drawn(images, seed), histograms)


def patches_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FeatureDistance:
    """Make the detector of patches; KeyError, TypeError or ValueError for what does not fit."""
    words = {name: tensors[DICTIONARY + name] for name in ("offset", "filters")}
    dictionary = patch_dictionary_from(words)
    return _from(settings, tensors, dictionary.represent, dictionary)


def scattering_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FeatureDistance:
    """Make the detector of scattering; KeyError, TypeError or ValueError for what misfits."""
    return _from(settings, tensors, scatter)


def histograms_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FeatureDistance:
    """Make the detector of histograms; KeyError, TypeError or ValueError for what misfits."""
    return _from(settings, tensors, histograms)


@torch.no_grad()
def represented(represent: Represent, image: np.ndarray) -> np.ndarray:
    """Represent an image, uint8 (S, S, C), shrunk to at most MAX_SIDE pixels: (D,)."""
    return represent(_shrunk(image[None])[0])


def _fit(
    images: np.ndarray, represent: Represent, dictionary: PatchDictionary | None = None
) -> FeatureDistance:
    features = np.stack([represented(represent, image) for image in images])  # (N, D)
    size, channels = images.shape[2:]
    return FeatureDistance(represent, fit_nearest_neighbours(features), size, channels, dictionary)


def _from(
    settings: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    represent: Represent,
    dictionary: PatchDictionary | None = None,
) -> FeatureDistance:
    """Make a detector, and see that images of its shape have as many features as it keeps."""
    size, channels = int(settings["size"]), int(settings["channels"])
    if not (1 <= size <= 2**16 and channels in (1, 3)):
        raise ValueError(f"no images have {size} pixels and {channels} channels")
    distance = nearest_neighbours_from(tensors)
    blank = np.zeros((size, size, channels), np.uint8)
    try:
        width = len(represented(represent, blank))
    except RuntimeError as error:
        raise ValueError(f"the dictionary does not fit ({error})") from error
    if width != len(distance.standard.mean):
        raise ValueError(f"{width} features are expected, not {len(distance.standard.mean)}")
    return FeatureDistance(represent, distance, size, channels, dictionary)


def _shrunk(images: np.ndarray) -> np.ndarray:
    """Shrink images by whole blocks to at most MAX_SIDE pixels: (N, S, S, C) -> (N, s, s, C)."""
    return block_means(images, at_most(images.shape[1], MAX_SIDE))
