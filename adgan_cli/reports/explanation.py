"""Explain scores by small images: where an image is unlike training, and what is most like it.

No torch in here: a page can be drawn without it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from adgan_cli.images.encode import from_pixels, image_bytes

if TYPE_CHECKING:
    from adgan_cli.reports.comparison import Comparison

_LOSSLESS_SIDE = 32  # pixels; up to this side nothing is lost to JPEG's blocks of 8
_MAX_SIDE = 128  # pixels: they are shown about a hundred wide
_PAGE_BYTES = 4_000_000  # for all explanations of a page
_FULL_QUANTILE = 0.995  # of all differences on a page are below the brightest colour
_NO_HEAT_QUANTILE = 0.5  # of local features' maps: places no stranger than most have no colour
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


def explain(comparisons: Iterable["Comparison"]) -> dict[str, Explanation]:
    """Draw what a page shows beside its images, by path, so that colours mean the same on all."""
    items = list(comparisons)
    if not items:
        return {}
    heats, full = _heats(items)
    beside = max(0 if item.neighbours is None else len(item.neighbours) for item in items)
    max_bytes = _PAGE_BYTES / len(items) / (2 + beside)

    def encoded(pixels: np.ndarray) -> bytes:
        return encode(pixels, max_bytes)

    return {
        item.row.path: Explanation(
            None if item.generated is None else encoded(item.generated),
            None if heat is None else encoded(overlay_heatmap(item.pixels, heat)),
            full,
            () if item.neighbours is None else tuple(map(encoded, item.neighbours)),
        )
        for item, heat in zip(items, heats, strict=True)
    }


def draw_maps(comparisons: Sequence["Comparison"]) -> dict[str, np.ndarray]:
    """Draw where images differ, (S, S, 3) uint8 by their paths, as on their page but in full size.

    Those of images that nothing was compared with are left out.
    """
    if not comparisons:
        return {}
    heats, _ = _heats(comparisons)
    return {
        item.row.path: overlay_heatmap(item.pixels, heat)
        for item, heat in zip(comparisons, heats, strict=True)
        if heat is not None
    }


def _heats(items: Sequence["Comparison"]) -> tuple[Sequence[np.ndarray | None], int | None]:
    """Compute the heat of each place, (S, S) in 0 to 1, and the grey levels that are 1.

    By features where all have such a map: then there are no grey levels. Else by pixels, and None
    without a reconstruction.
    """
    maps = [item.anomaly_map for item in items if item.anomaly_map is not None]
    if len(maps) == len(items):
        values = np.concatenate([one.ravel() for one in maps])
        low, high = np.quantile(values, (_NO_HEAT_QUANTILE, _FULL_QUANTILE))
        scale = float(high - low) or 1.0
        return [
            _resized((one - low) / scale, len(item.pixels))
            for item, one in zip(items, maps, strict=True)
        ], None
    differences = [
        None if item.generated is None else difference(item.pixels, item.generated)
        for item in items
    ]
    levels = [one for one in differences if one is not None]
    if not levels:
        return differences, None
    full = full_scale(np.stack(levels))
    return [None if one is None else one / full for one in differences], full


def _resized(heat: np.ndarray, side: int) -> np.ndarray:
    """Bring a map (h, w) to the size of an image: (side, side), at least 0."""
    image = Image.fromarray(np.clip(heat, 0, 1).astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


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
