"""What an image's patches are like, in the words of a dictionary learned from a training set.

Coates and Ng (2011, 2012): patches of 6 x 6 pixels, each brought to the same brightness and
contrast, whitened, compared with the centres of spherical k-means and added up over the four
quarters of the image. Letters in the shapes: P patches, d = 6 * 6 * C values of a patch, K centres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_PATCHES_SIDE = (
    32  # pixels: larger images are shrunk by whole blocks; the time grows with the square
)
PATCH = 6  # pixels a side
CENTRES = 200
CELLS = 2  # a side, in which responses are added up
THRESHOLD = 0.5  # of a response: alpha of the soft threshold, Coates and Ng (2011)
MAX_PATCHES = 50_000  # that centres are fitted to
ROUNDS = 10  # of k-means: the objective hardly falls after them
CONTRAST = 10.0  # added to a patch's variance, in squares of 1/255: noise is no contrast
WHITENING = 0.1  # added to the variance of whitened directions


@dataclass(frozen=True, eq=False)
class PatchDictionary:
    """How patches are whitened, and the centres that they are compared with; float32."""

    offset: Tensor  # (d,): mean of normalised patches
    filters: Tensor  # (K, d): centres times whitening

    def represent(self, image: np.ndarray) -> np.ndarray:
        """Describe an image, uint8 (S, S, C) -> (D,) float32; D = 2 K CELLS^2.

        Square roots of mean responses, positive ones and negative ones apart.
        """
        response = self.responses(image)  # (K, T, T)
        halves = torch.cat([response, -response])  # (2 K, T, T)
        pooled = F.adaptive_avg_pool2d((halves - THRESHOLD).relu_(), CELLS)
        return pooled.sqrt_().flatten().numpy()

    def responses(self, image: np.ndarray) -> Tensor:
        """Compare every patch of an image with the centres: uint8 (S, S, C) -> (K, T, T)."""
        patches = normalised(all_patches(image))  # (P, d)
        side = image.shape[0] - PATCH + 1
        response = self.filters @ patches.T - self._shift[:, None]  # (K, P)
        return response.view(-1, side, side)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept in a file."""
        return {"offset": self.offset, "filters": self.filters}

    @cached_property
    def _shift(self) -> Tensor:
        return self.filters @ self.offset  # (K,)


def fit_patch_dictionary(images: np.ndarray, seed: int) -> PatchDictionary:
    """Learn centres from patches drawn at random: images uint8 (N, S, S, C)."""
    rng = np.random.default_rng(seed)
    patches = normalised(drawn_patches(images, MAX_PATCHES, rng))  # (P, d)
    offset = patches.mean(0)
    patches -= offset
    values, vectors = torch.linalg.eigh((patches.T @ patches / len(patches)).double())
    whitening = (vectors * (values.clamp(min=0) + WHITENING).rsqrt()) @ vectors.T  # ZCA
    white = patches @ whitening.float()
    centres = spherical_k_means(white, CENTRES, rng)
    return PatchDictionary(offset, (centres @ whitening.float()).contiguous())


def patch_dictionary_from(tensors: Mapping[str, Tensor]) -> PatchDictionary:
    """Make a dictionary from what was kept; KeyError or ValueError for what does not fit."""
    offset, filters = tensors["offset"], tensors["filters"]
    if {offset.dtype, filters.dtype} != {torch.float32}:
        raise ValueError("offset and filters: float32 is expected")
    if offset.ndim != 1 or filters.ndim != 2 or filters.shape[1] != len(offset):
        raise ValueError("filters: a column for each value of a patch is expected")
    return PatchDictionary(offset, filters)


def spherical_k_means(x: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Cluster vectors by the size of their inner products: (P, d) -> centres (count, d).

    Coates and Ng (2012), section 2: each centre, of length 1, becomes the sum of the vectors that
    have the largest product with it, each times that product. One that has none starts anew.
    """
    centres = F.normalize(torch.from_numpy(rng.standard_normal((count, x.shape[1]))).float())
    for _ in range(ROUNDS):
        products = x @ centres.T  # (P, K)
        closest = products.abs().argmax(1, keepdim=True)
        weights = products.gather(1, closest) * x
        sums = centres + torch.zeros_like(centres).index_add_(0, closest[:, 0], weights)
        unused = torch.bincount(closest[:, 0], minlength=count) == 0
        drawn = rng.integers(len(x), size=int(unused.sum()))
        sums[unused] += x[torch.from_numpy(drawn)]
        centres = F.normalize(sums)
    return centres


def all_patches(image: np.ndarray, step: int = 1) -> Tensor:
    """Cut out patches at every `step`-th place: uint8 (S, S, C) -> (P, d) float32, row by row."""
    x = torch.from_numpy(np.ascontiguousarray(image)).float().movedim(-1, 0)[None]  # (1, C, S, S)
    return F.unfold(x, PATCH, stride=step)[0].T


def drawn_patches(images: np.ndarray, count: int, rng: np.random.Generator) -> Tensor:
    """Draw P = `count` patches from anywhere in images, uint8 (N, S, S, C): (P, d) float32."""
    which = rng.integers(len(images), size=count)
    top, left = rng.integers(images.shape[1] - PATCH + 1, size=(2, count))
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))
    drawn = windows[which, top, left]  # (P, C, PATCH, PATCH)
    return torch.from_numpy(drawn.reshape(count, -1).astype(np.float32))


def normalised(patches: Tensor) -> Tensor:
    """Bring patches, (P, d) in 0 to 255, to the same brightness and contrast."""
    centred = patches - patches.mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    return centred * (variance + CONTRAST).rsqrt()
