"""Why a picture has its score, as small pictures: what came nearest to it, and where it differs."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

_PNG = 32  # pixels; up to this side nothing is lost to JPEG's blocks of 8
_SIDE = 128  # pixels at most: they are shown about a hundred wide
_PAGE = 4_000_000  # bytes for all explanations of a page
_FULL = 0.995  # of all differences on a page are below the brightest colour
_LEAST = 8  # grey levels; below, the colours would show noise
_DIMMED = 0.45  # of the picture's brightness, under the colours
# from no difference to a full one: black, red, orange, pale yellow; brighter all the way
_STOPS = np.array([0.0, 0.4, 0.75, 1.0])
_COLOURS = np.array([(0, 0, 0), (200, 30, 20), (255, 150, 20), (255, 250, 190)])


@dataclass(frozen=True)
class Explanation:
    """What a card shows beside the picture, as PNG or JPEG."""

    reconstruction: bytes  # the nearest that the search came to
    difference: bytes  # how far that is from the picture, as colours laid on it
    full: int  # grey levels that the brightest colour stands for, or more
    neighbours: tuple[bytes, ...] = ()  # the nearest of the training pictures kept


def explanations(
    pixels: np.ndarray, made: np.ndarray, nearest: Sequence[np.ndarray] = ()
) -> list[Explanation]:
    """Explain pictures that go on one page, so that their colours mean the same.

    pixels and made: (N, S, S, C) uint8, the pictures as the model saw them and their
    reconstructions; nearest: for each of them (n, s, s, C) uint8, or nothing at all.
    """
    if not len(pixels):
        return []
    near: Sequence[Sequence[np.ndarray] | np.ndarray] = (
        nearest if len(nearest) else [()] * len(pixels)
    )
    differences = difference(pixels, made)
    full = full_scale(differences)
    most = _PAGE / len(pixels) / (2 + max(map(len, near)))
    return [
        Explanation(
            reconstruction=encoded(again, most),
            difference=encoded(overlay_heatmap(picture, apart / full), most),
            full=full,
            neighbours=tuple(encoded(one, most) for one in those),
        )
        for picture, again, apart, those in zip(pixels, made, differences, near, strict=True)
    ]


def difference(pixels: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Root mean square over the channels: two (N, S, S, C) uint8 -> (N, S, S), grey levels."""
    apart = pixels.astype(np.float32) - made.astype(np.float32)
    levels: np.ndarray = np.sqrt(np.square(apart).mean(axis=-1))
    return levels


def full_scale(differences: np.ndarray) -> int:
    """The grey levels from which on a difference gets the brightest colour."""
    return max(_LEAST, round(float(np.quantile(differences, _FULL))))


def overlay_heatmap(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture (S, S, C) in dim grey, coloured where heat (S, S) in [0, 1] says."""
    heat = np.clip(heat, 0, 1)[..., None]  # (S, S, 1)
    grey = picture.astype(np.float32).mean(axis=-1, keepdims=True) * _DIMMED
    colour = np.stack([np.interp(heat[..., 0], _STOPS, part) for part in _COLOURS.T], axis=-1)
    mixed: np.ndarray = np.rint((1 - heat) * grey + heat * colour)  # (S, S, 3)
    return mixed.astype(np.uint8)


def encoded(picture: np.ndarray, most: float = math.inf) -> bytes:
    """A picture (S, S, 1 or 3) uint8 as a small file that looks the same.

    most: bytes; what would be larger, such as noise, becomes coarser.
    """
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    if max(image.size) <= _PNG:
        data = _saved(image, "PNG", optimize=True)
    else:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        data = _saved(image, "JPEG", quality=88, subsampling=0)
    if len(data) > most:
        image.thumbnail((_SIDE // 2, _SIDE // 2), Image.Resampling.BOX)
        data = _saved(image, "JPEG", quality=75)
    return data


def _saved(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
