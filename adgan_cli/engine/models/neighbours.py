"""Small copies of training pictures beside the model, to show what comes nearest to an odd one.

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

NEIGHBOURS_FILE = "neighbours.safetensors"
SIDE = 64  # pixels: more cannot be seen at the size they are shown at
MOST = 24 * 2**20  # bytes of pixels: 2,048 pictures in colour at 64 pixels, 8,192 at 32
_PIXELS = "pixels"
_AT_ONCE = 256  # pictures in floating point
_SPARE = 8  # candidates looked at exactly, beyond those asked for


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Some of the pictures that a model was trained on, small."""

    pixels: np.ndarray  # (M, s, s, C) uint8, s at most SIDE
    digest: str  # of the whole training set, as the model's provenance has it


def write_neighbours(folder: Path, pictures: PixelSet) -> None:
    """Keep pictures of the training set in `folder`, from all over it, at most MOST bytes.

    Of files with the same content, the first.
    """
    size, channels = pictures.pixels.shape[-2:]
    side = min(size, SIDE)
    distinct = np.arange(len(pictures))
    if len(pictures.fingerprints):
        distinct = np.sort(np.unique(pictures.fingerprints, return_index=True)[1])
    count = min(len(distinct), MOST // (side * side * channels))
    which = np.zeros(len(pictures), bool)
    which[distinct[np.arange(count) * len(distinct) // count]] = True
    some = pictures.subset(which)
    small = np.empty((count, side, side, channels), np.uint8)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        small[part] = shrunk(some.take(part), side)
    data = save({_PIXELS: small}, metadata("neighbours", {"digest": pictures.digest}))
    with replacing(folder / NEIGHBOURS_FILE) as temporary:
        temporary.write_bytes(data)


def read_neighbours(model_file: Path | None, digest: str) -> Neighbours | None:
    """What lies beside a model's file, if it is of the training set with this digest.

    A file that is missing, damaged or another model's is no error: there is less to show, is all.
    """
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
    whole = pixels.dtype == np.uint8 and pixels.ndim == 4 and len(pixels)
    return Neighbours(pixels, digest) if whole else None


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """The mean of each block: uint8 (N, S, S, C), S a multiple of side -> (N, side, side, C)."""
    number, size, _, channels = pixels.shape
    if size == side:
        return np.ascontiguousarray(pixels)
    factor = size // side
    blocks = pixels.reshape(number, side, factor, side, factor, channels)
    means: np.ndarray = np.rint(blocks.mean(axis=(2, 4), dtype=np.float32))
    return means.astype(np.uint8)


def nearest(
    kept: Neighbours, pixels: np.ndarray, count: int, *, own: Sequence[bool]
) -> list[np.ndarray]:
    """The `count` nearest to each of pixels: uint8 (N, S, S, C) -> N times (count, s, s, C).

    By squared distance, equal ones in the order they are kept in. own: (N,), which of the pictures
    were trained on; their own copy is passed over.
    """
    known = kept.pixels.reshape(len(kept.pixels), -1)  # (M, D)
    asked = shrunk(pixels, kept.pixels.shape[1]).reshape(len(pixels), -1)  # (N, D)
    count = min(count, len(known))
    # |a - q|^2 = |a|^2 - 2 aq + |q|^2 by a matrix product: fast, but right to six digits only
    wanted = asked.astype(np.float32).T / 255  # (D, N)
    rough = np.empty((len(known), len(asked)), np.float32)
    for start in range(0, len(known), _AT_ONCE):
        part = known[start : start + _AT_ONCE].astype(np.float32) / 255
        rough[start : start + _AT_ONCE] = (part * part).sum(1)[:, None] - 2 * part @ wanted
    found = []
    for column, query, trained_on in zip(rough.T, asked, own, strict=True):
        few = np.sort(np.argsort(column, kind="stable")[: count + _SPARE])
        exact = np.square(known[few].astype(np.int64) - query).sum(1)
        order = few[np.argsort(exact, kind="stable")]
        if trained_on:
            order = order[np.sort(exact) > 0]
        found.append(kept.pixels[order[:count]])
    return found
