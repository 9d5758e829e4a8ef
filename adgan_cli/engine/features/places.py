"""How unlike any place of a training set the oddest places of an image are: small defects.

Patches as they are, brightness and contrast included, against patches of the training set, in the
spirit of PatchCore (Roth et al., 2022) and of Li et al. (2021, section 3), but learned from the
folder alone. What a whole image's description averages away is seen here.

Letters in the shapes: P places, d = 8 * 8 * C values of a patch, D components, M stored patches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adgan_cli.engine.features.samples import drawn
from adgan_cli.images.shrink import at_most, block_means

PATCH = 8  # pixels a side
STRIDE = 2  # pixels between two places
MAX_SIDE = 64  # pixels: larger images are shrunk by whole blocks
MAX_PLACES = 4_000  # stored
DIMENSIONS = 32  # principal components of patches, not whitened: what is faint stays faint
ODDEST = 0.03  # share of an image's places that its score is the mean of


@dataclass(frozen=True, eq=False)
class Places:
    """Patches from all over a training set, in their principal components."""

    size: int
    channels: int
    mean: Tensor  # (d,) float32
    components: Tensor  # (d, D) float32, orthonormal columns
    stored: Tensor  # (M, D) float16
    reads_large = False

    def score(self, image: np.ndarray) -> float:
        """Average the distances of an image's oddest places, uint8 (S, S, C): at least 0."""
        distances = self.distances(image).flatten()
        count = math.ceil(ODDEST * len(distances))
        return float(distances.topk(count).values.mean())

    @torch.no_grad()
    def distances(self, image: np.ndarray) -> Tensor:
        """Compute how far each place is from the nearest stored: uint8 (S, S, C) -> (T, T)."""
        places = (patches(shrunk(image[None]))[0] - self.mean) @ self.components  # (P, D)
        squares = places.square().sum(1, keepdim=True) - 2 * places @ self._stored.T
        least = (squares + self._squares).amin(1).clamp(min=0)
        side = math.isqrt(len(least))
        return least.sqrt().view(side, side)

    def settings(self) -> dict[str, Any]:
        """Return the shape of its images, as plain JSON."""
        return {"size": self.size, "channels": self.channels}

    def tensors(self) -> dict[str, Tensor]:
        """Return the stored patches, and how they were made."""
        return {"mean": self.mean, "components": self.components, "stored": self.stored}

    @cached_property
    def _stored(self) -> Tensor:
        return self.stored.float()

    @cached_property
    def _squares(self) -> Tensor:
        return self._stored.square().sum(1)


@torch.no_grad()
def fit_places(images: np.ndarray, seed: int) -> Places:
    """Store patches drawn from all over images, uint8 (N, S, S, C)."""
    rng = np.random.default_rng(seed)
    sample = shrunk(drawn(images, seed))
    share = math.ceil(MAX_PLACES / len(sample))
    chosen = []
    for image in sample:
        of_image = patches(image[None])[0]
        chosen.append(of_image[torch.from_numpy(rng.permutation(len(of_image))[:share])])
    places = torch.cat(chosen)
    mean = places.mean(0)
    covariance = (places - mean).T.double() @ (places - mean).double()
    components = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :DIMENSIONS]
    components = components.float().contiguous()
    kept = places[torch.from_numpy(rng.permutation(len(places))[:MAX_PLACES])]
    stored = ((kept - mean) @ components).half()
    return Places(images.shape[1], images.shape[3], mean, components, stored)


def places_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Places:
    """Make the detector that has these; KeyError, TypeError or ValueError for what misfits."""
    size, channels = int(settings["size"]), int(settings["channels"])
    mean, components, stored = (tensors[name] for name in ("mean", "components", "stored"))
    width = PATCH * PATCH * channels
    if {mean.dtype, components.dtype} != {torch.float32} or stored.dtype != torch.float16:
        raise ValueError("mean and components: float32, and stored: float16 are expected")
    if mean.shape != (width,) or components.shape[:1] != (width,) or components.ndim != 2:
        raise ValueError(f"patches of {width} values are expected")
    if stored.ndim != 2 or not len(stored) or stored.shape[1] != components.shape[1]:
        raise ValueError("stored: a column for each component is expected")
    if at_most(size, MAX_SIDE) < PATCH:
        raise ValueError(f"no images have {size} pixels")
    return Places(size, channels, mean, components, stored)


def patches(images: np.ndarray) -> Tensor:
    """Cut out the patch at every second place: uint8 (N, s, s, C) -> (N, P, d) in [0, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(images)).float().movedim(-1, 1) / 255
    return F.unfold(x, PATCH, stride=STRIDE).mT


def shrunk(images: np.ndarray) -> np.ndarray:
    """Shrink images to at most MAX_SIDE pixels: uint8 (N, S, S, C) -> (N, s, s, C)."""
    return block_means(images, at_most(images.shape[1], MAX_SIDE))
