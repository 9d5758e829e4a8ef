"""Where an image has patches unlike those of a training set: small defects, scratches and stains.

The detector of Reed and Yu (1990), by patches instead of the bands of a spectrum: a Gaussian is
fitted to patches of the training set, and how far a patch lies from it is its Mahalanobis distance.
Letters in the shapes: d = 6 * 6 * C values of a patch, (T, T) places, s side after shrinking.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adgan_cli.engine.features.patches import PATCH, all_patches, drawn_patches
from adgan_cli.engine.features.samples import drawn
from adgan_cli.images.shrink import at_most, shrunk

MAX_SIDE = 64  # pixels: larger images are shrunk by whole blocks
STEP = 2  # pixels between patches
MAX_PATCHES = 20_000  # that the Gaussian is fitted to
LEAST_SHARE = 0.01  # of the mean variance, added to that of each direction
ROUNDING = 1 / 12  # variance of what is lost by rounding to grey levels: none is below it
TOP_SHARE = 0.01  # of the places, the most unusual, whose mean is the score


@dataclass(frozen=True, eq=False)
class LocalPatches:
    """A Gaussian of the patches of a training set."""

    size: int
    channels: int
    mean: Tensor  # (d,) float32
    whitening: Tensor  # (d, d) float32, inverse square root of the covariance

    @property
    def reads_large(self) -> bool:
        """Whether it takes images at the backbone's size: no."""
        return False

    def score(self, image: np.ndarray) -> float:
        """Average the distances of the most unusual places: uint8 (S, S, C) -> at least 0."""
        distances = self._distances(image).flatten()
        return float(distances.topk(max(1, int(TOP_SHARE * len(distances)))).values.mean())

    def anomaly_map(self, image: np.ndarray) -> np.ndarray:
        """Compute how unusual each pixel's surroundings are: uint8 (S, S, C) -> (S, S) float32.

        About 1 where they are ordinary.
        """
        distances = self._distances(image)[None, None]  # (1, 1, T, T)
        side = at_most(self.size, MAX_SIDE)
        # the midst of a patch is PATCH / 2 pixels from its corner
        border = [PATCH // STEP // 2, side // STEP - distances.shape[-1] - PATCH // STEP // 2] * 2
        whole = F.pad(distances, border, mode="replicate")
        return F.interpolate(whole, image.shape[:2], mode="bilinear")[0, 0].numpy()

    def settings(self) -> dict[str, Any]:
        """Return the shape of its images, as plain JSON."""
        return {"size": self.size, "channels": self.channels}

    def tensors(self) -> dict[str, Tensor]:
        """Return the Gaussian."""
        return {"mean": self.mean, "whitening": self.whitening}

    def _distances(self, image: np.ndarray) -> Tensor:
        """Compute root mean squares of whitened patches: (S, S, C) -> (T, T)."""
        white = (all_patches(shrunk(image[None], MAX_SIDE)[0], STEP) - self.mean) @ self.whitening
        side = (at_most(self.size, MAX_SIDE) - PATCH) // STEP + 1
        return white.square().mean(1).sqrt().view(side, side)


def fit_local(images: np.ndarray, seed: int) -> LocalPatches:
    """Fit a Gaussian to patches drawn at random from images, uint8 (N, S, S, C)."""
    rng = np.random.default_rng(seed)
    patches = drawn_patches(shrunk(drawn(images, seed), MAX_SIDE), MAX_PATCHES, rng)
    mean = patches.mean(0)
    patches -= mean
    values, vectors = torch.linalg.eigh((patches.T @ patches).double() / len(patches))
    least = max(LEAST_SHARE * float(values.mean()), ROUNDING)
    whitening = (vectors * (values.clamp(min=0) + least).rsqrt()) @ vectors.T
    return LocalPatches(images.shape[1], images.shape[3], mean, whitening.float().contiguous())


def local_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LocalPatches:
    """Make the detector that has these; KeyError, TypeError or ValueError for what misfits."""
    size, channels = int(settings["size"]), int(settings["channels"])
    if not (PATCH <= size <= 2**16 and channels in (1, 3)):
        raise ValueError(f"no images have {size} pixels and {channels} channels")
    mean, whitening = tensors["mean"], tensors["whitening"]
    width = PATCH**2 * channels
    if {mean.dtype, whitening.dtype} != {torch.float32}:
        raise ValueError("mean and whitening: float32 is expected")
    if mean.shape != (width,) or whitening.shape != (width, width):
        raise ValueError(f"mean and whitening: {width} numbers a row are expected")
    return LocalPatches(size, channels, mean, whitening)
