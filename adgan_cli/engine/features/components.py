"""How badly an image is put together from the principal components of a training set."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adgan_cli.engine.features.samples import drawn
from adgan_cli.images.shrink import at_most, shrunk

COMPONENTS = 128
LEAST_IMAGES = 4  # for each component: fewer would be learned by heart
MAX_SIDE = 64  # pixels: larger images are shrunk by whole blocks
GREY_LEVEL = 1.0  # between neighbouring values of 8 bits


@dataclass(frozen=True, eq=False)
class Components:
    """The mean image of a training set and the directions in which its images differ most."""

    size: int
    channels: int
    mean: Tensor  # (D,) float32, D = s * s * C, s the side after shrinking
    components: Tensor  # (R, D) float16, orthonormal rows
    reads_large = False

    def score(self, image: np.ndarray) -> float:
        """Divide the squared error of reconstruction by the image's squared deviation.

        image: uint8 (S, S, C) -> at least 0; 1 is about what a plain image of the right colour
        would get, whatever the contrast. An image flatter than one grey level everywhere counts as
        having that much contrast.
        """
        x = shrunk(image[None], MAX_SIDE)[0].astype(np.float32)  # (s, s, C)
        centred = x.ravel() - self.mean.numpy()
        left = centred - (self._components @ centred) @ self._components
        squares = np.square(x - x.mean(axis=(0, 1))).sum(dtype=np.float64)
        contrast = max(float(squares), x.size * GREY_LEVEL**2)
        return float(np.square(left).sum(dtype=np.float64)) / contrast

    def settings(self) -> dict[str, Any]:
        """Return the shape of its images, as plain JSON."""
        return {"size": self.size, "channels": self.channels}

    def tensors(self) -> dict[str, Tensor]:
        """Return the mean image and the components."""
        return {"mean": self.mean, "components": self.components}

    @cached_property
    def _components(self) -> np.ndarray:
        return self.components.numpy().astype(np.float32)


def fit_components(images: np.ndarray, seed: int) -> Components:
    """Find the components of images, uint8 (N, S, S, C); of more than MAX_STORED, some are drawn.

    At most COMPONENTS, and one for LEAST_IMAGES images each (Halko et al., 2011).
    """
    from sklearn.utils.extmath import randomized_svd  # seconds, which scoring does without

    sample = shrunk(drawn(images, seed), MAX_SIDE)
    x = sample.reshape(len(sample), -1).astype(np.float32)  # (N, D)
    mean = x.mean(axis=0)
    x -= mean
    count = max(1, min(COMPONENTS, len(x) // LEAST_IMAGES))
    rows = randomized_svd(x, count, random_state=seed % 2**32)[2]
    return Components(
        images.shape[1],
        images.shape[3],
        torch.from_numpy(mean),
        # laid out as a file gives it back: products of other layouts round differently
        torch.from_numpy(np.ascontiguousarray(rows, np.float16)),
    )


def components_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Components:
    """Make the detector that has these; KeyError, TypeError or ValueError for what misfits."""
    size, channels = int(settings["size"]), int(settings["channels"])
    mean, components = tensors["mean"], tensors["components"]
    width = at_most(size, MAX_SIDE) ** 2 * channels
    if mean.dtype != torch.float32 or mean.shape != (width,):
        raise ValueError(f"mean: {width} numbers of float32 are expected")
    if components.dtype != torch.float16 or components.ndim != 2 or components.shape[1] != width:
        raise ValueError(f"components: rows of {width} numbers of float16 are expected")
    return Components(size, channels, mean, components)
