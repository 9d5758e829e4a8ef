"""Explain scores by small images: what came nearest to an image, and where it differs from that.

Torch is imported only where the search is done again: a page can be drawn without it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.neighbours import nearest, read_neighbours
from adgan_cli.images.encode import from_pixels, image_bytes
from adgan_cli.images.find import locator
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.rows import ScoreRow

if TYPE_CHECKING:
    from adgan_cli.engine.models.model import Model

NEIGHBOURS = 3  # training images beside each
_LOSSLESS_SIDE = 32  # pixels; up to this side nothing is lost to JPEG's blocks of 8
_MAX_SIDE = 128  # pixels: they are shown about a hundred wide
_PAGE_BYTES = 4_000_000  # for all explanations of a page
_FULL_QUANTILE = 0.995  # of all differences on a page are below the brightest colour
_MIN_FULL = 8  # grey levels; below, the colours would show noise
_DIMMED = 0.45  # of the image's brightness, under the colours
# from no difference to a full one: black, red, orange, pale yellow; brighter all the way
_STOPS = np.array([0.0, 0.4, 0.75, 1.0])
_COLOURS = np.array([(0, 0, 0), (200, 30, 20), (255, 150, 20), (255, 250, 190)])


@dataclass(frozen=True)
class Explanation:
    """What a card shows beside the image, as PNG or JPEG."""

    reconstruction: bytes | None  # the nearest that the search came to; None: no generator
    difference: bytes | None  # where the image is unlike that or training, as colours laid on it
    full: int | None  # grey levels of the brightest colour, or more; None: by features, not pixels
    neighbours: tuple[bytes, ...] = ()  # the nearest of the training images kept


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A scored image as the model saw it, and the nearest that the search came to it."""

    row: ScoreRow
    pixels: np.ndarray  # (S, S, C) uint8
    generated: np.ndarray  # (S, S, C) uint8


def reconstruct(
    model: "Model",
    rows: Iterable[ScoreRow],
    root: Path,
    config: SearchConfig | None = None,
    *,
    reader: Reader | None = None,
    batch_size: int | None = None,
) -> Iterator[Reconstruction]:
    """Search again for the images of some rows, whose paths are relative to `root`.

    By the settings that scored them it comes to the same: a search depends on its image alone. An
    image that can no longer be read is left out. reader: its threads and cache are used.
    """
    import torch

    from adgan_cli.engine.pixels import to_model_range, to_uint8
    from adgan_cli.engine.search.searcher import Searcher

    searcher = Searcher.for_model(model, config or model.default_search(), batch_size=batch_size)
    reader = (reader or Reader(model.preprocessing())).with_preprocessing(model.preprocessing())
    row_of = {row.path: row for row in rows}
    items = list(map(locator(root), row_of))
    images = [
        (row_of[item.name], image.pixels)
        for item, image in reader.read(items, root, expected=len(items))
        if isinstance(image, DecodedImage)
    ]
    for start in range(0, len(images), searcher.batch_size):
        batch = images[start : start + searcher.batch_size]
        x = to_model_range(torch.from_numpy(np.stack([pixels for _, pixels in batch])))
        generated = to_uint8(searcher(x).reconstruction)
        for (row, pixels), image in zip(batch, generated, strict=True):
            yield Reconstruction(row, pixels, image)


def explain(model: "Model", reconstructions: Iterable[Reconstruction]) -> dict[str, Explanation]:
    """Draw what a page shows beside its images, by path; the nearest training images with it."""
    items = list(reconstructions)
    if not items:
        return {}
    pixels = np.stack([item.pixels for item in items])
    generated = np.stack([item.generated for item in items])
    data = model.provenance.get("data") or {}
    kept = read_neighbours(model.file, data.get("digest", ""))
    in_training = [bool(item.row.in_training) for item in items]
    drawn = draw_explanations(
        pixels,
        generated,
        None if kept is None else nearest(kept, pixels, NEIGHBOURS, in_training=in_training),
    )
    return {item.row.path: explanation for item, explanation in zip(items, drawn, strict=True)}


def draw_explanations(
    pixels: np.ndarray, generated: np.ndarray, neighbours: Sequence[np.ndarray] | None = None
) -> list[Explanation]:
    """Draw explanations that go on one page, so that their colours mean the same.

    pixels, generated: (N, S, S, C) uint8, images as the model saw them and their reconstructions;
    neighbours: (n, s, s, C) uint8 for each of them.
    """
    if not len(pixels):
        return []
    if neighbours is None:
        neighbours = [pixels[:0]] * len(pixels)
    differences = difference(pixels, generated)
    full = full_scale(differences)
    max_bytes = _PAGE_BYTES / len(pixels) / (2 + max(map(len, neighbours)))
    return [
        Explanation(
            reconstruction=encode(reconstruction, max_bytes),
            difference=encode(overlay_heatmap(image, levels / full), max_bytes),
            full=full,
            neighbours=tuple(encode(neighbour, max_bytes) for neighbour in others),
        )
        for image, reconstruction, levels, others in zip(
            pixels, generated, differences, neighbours, strict=True
        )
    ]


def difference(pixels: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Take the root mean square over channels: two (..., C) uint8 -> (...), grey levels."""
    apart = pixels.astype(np.float32) - generated.astype(np.float32)
    levels: np.ndarray = np.sqrt(np.square(apart).mean(axis=-1))
    return levels


def full_scale(differences: np.ndarray) -> int:
    """Choose the grey levels from which on a difference gets the brightest colour."""
    return max(_MIN_FULL, round(float(np.quantile(differences, _FULL_QUANTILE))))


def overlay_heatmap(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Dim an image (S, S, C) to grey and colour it where heat (S, S) in [0, 1] says."""
    heat = np.clip(heat, 0, 1)[..., None]  # (S, S, 1)
    grey = image.astype(np.float32).mean(axis=-1, keepdims=True) * _DIMMED
    colour = np.stack([np.interp(heat[..., 0], _STOPS, part) for part in _COLOURS.T], axis=-1)
    mixed: np.ndarray = np.rint((1 - heat) * grey + heat * colour)  # (S, S, 3)
    return mixed.astype(np.uint8)


def encode(pixels: np.ndarray, max_bytes: float = math.inf) -> bytes:
    """Write an image (S, S, 1 or 3) uint8 as a small file; one above max_bytes becomes coarser."""
    image = from_pixels(pixels)
    if max(image.size) <= _LOSSLESS_SIDE:
        data = image_bytes(image, "PNG", optimize=True)
    else:
        image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.BOX)
        data = image_bytes(image, "JPEG", quality=88, subsampling=0)
    if len(data) > max_bytes:
        image.thumbnail((_MAX_SIDE // 2, _MAX_SIDE // 2), Image.Resampling.BOX)
        data = image_bytes(image, "JPEG", quality=75)
    return data
