"""Keep small copies of training images beside the model, to show those nearest to an odd image.

They are no part of the model: without the file, or with that of another training set, scores are
the same and only the neighbours are not shown. No torch in here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from adgan_cli.atomic import replacing
from adgan_cli.engine.models.header import metadata, read_header
from adgan_cli.errors import ModelFileError
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.shrink import at_most, block_means

NEIGHBOURS_FILE = "neighbours.safetensors"
SIDE = 64  # pixels: more cannot be seen at the size they are shown at
MAX_BYTES = 24 * 2**20  # of pixels: 2,048 images in colour at 64 pixels, 8,192 at 32
_PIXELS = "pixels"
_BATCH = 256  # images in floating point at once
_SPARE = 8  # candidates measured exactly, beyond the `count` nearest


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Some of the images that a model was trained on, small."""

    pixels: np.ndarray  # (M, s, s, C) uint8, s at most SIDE
    digest: str  # of the whole training set, as the model's provenance has it


def write_neighbours(folder: Path, images: PixelSet, references: np.ndarray | None = None) -> None:
    """Keep small copies of some images in `folder`, none twice, MAX_BYTES of them at most.

    references: (M,) indices of those whose features detectors keep, ascending, which are nearest by
    features too; None: images drawn at random, always the same of equal sets.
    """
    size, channels = images.pixels.shape[-2:]
    side = at_most(size, SIDE)
    most = MAX_BYTES // (side * side * channels)
    kept = _drawn(images, most) if references is None else references[:most]
    chosen = np.zeros(len(images), bool)
    chosen[kept] = True
    count = len(kept)
    subset = images.subset(chosen)
    small = np.empty((count, side, side, channels), np.uint8)
    for start in range(0, count, _BATCH):
        batch = slice(start, start + _BATCH)
        small[batch] = block_means(subset.take(batch), side)
    data = save({_PIXELS: small}, metadata("neighbours", {"digest": images.digest}))
    with replacing(folder / NEIGHBOURS_FILE) as temporary:
        temporary.write_bytes(data)


def _drawn(images: PixelSet, most: int) -> np.ndarray:
    """Draw at most so many images with different contents: neighbours in a folder are relatives."""
    distinct = np.arange(len(images))
    if len(images.fingerprints):
        distinct = np.unique(images.fingerprints, return_index=True)[1]
    distinct.sort()
    return np.random.default_rng(0).permutation(distinct)[:most]


def read_neighbours(model_file: Path | None, digest: str) -> Neighbours | None:
    """Read what lies beside a model's file; None if missing, damaged or of other images."""
    if model_file is None or not digest:
        return None
    path = model_file.parent / NEIGHBOURS_FILE
    try:
        header = read_header(path, "neighbours")
        if header.content.get("digest") != digest:
            return None
        pixels = load(path.read_bytes())[_PIXELS]
    except (ModelFileError, SafetensorError, OSError, KeyError, json.JSONDecodeError):
        return None
    is_valid = pixels.dtype == np.uint8 and pixels.ndim == 4 and len(pixels)
    return Neighbours(pixels, digest) if is_valid else None


def nearest(
    kept: Neighbours, pixels: np.ndarray, count: int, *, in_training: Sequence[bool]
) -> list[np.ndarray]:
    """Find the `count` kept images nearest to each image: uint8 (N, S, S, C) -> N (count, s, s, C).

    By squared distance; of equal ones, the one kept first. in_training: (N,), which images were
    trained on: their own copy is passed over.
    """
    candidates = kept.pixels.reshape(len(kept.pixels), -1)  # (M, D)
    queries = block_means(pixels, kept.pixels.shape[1]).reshape(len(pixels), -1)  # (N, D)
    count = min(count, len(candidates))
    rough = _rough_distances(candidates, queries)
    neighbours = []
    for distances, query, trained_on in zip(rough.T, queries, in_training, strict=True):
        closest = np.sort(np.argsort(distances, kind="stable")[: count + _SPARE])
        exact = np.square(candidates[closest].astype(np.int64) - query).sum(1)
        order = np.argsort(exact, kind="stable")
        if trained_on:
            order = order[exact[order] > 0]
        neighbours.append(kept.pixels[closest[order[:count]]])
    return neighbours


def nearest_others(
    kept: Neighbours, distances: np.ndarray, image: np.ndarray, count: int, *, in_training: bool
) -> np.ndarray:
    """Take the `count` kept images at the least distances (M,): uint8 (S, S, C) -> (n, s, s, C).

    in_training: whether the image was trained on: its own copy is passed over.
    """
    order = np.argsort(distances, kind="stable")[: count + _SPARE]
    if in_training:
        own = block_means(image[None], kept.pixels.shape[1])
        order = order[(kept.pixels[order] != own).any(axis=(1, 2, 3))]
    return kept.pixels[order[:count]]


def _rough_distances(candidates: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Compute |c - q|^2 but for |q|^2, uint8 (M, D), (N, D) -> (M, N), right to six digits only."""
    # |c - q|^2 = |c|^2 - 2 cq + |q|^2: a matrix product is fast
    q = queries.astype(np.float32).T / 255  # (D, N)
    rough = np.empty((len(candidates), len(queries)), np.float32)
    for start in range(0, len(candidates), _BATCH):
        c = candidates[start : start + _BATCH].astype(np.float32) / 255
        rough[start : start + _BATCH] = (c * c).sum(1)[:, None] - 2 * c @ q
    return rough
