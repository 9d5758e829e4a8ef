"""Tell whether there is anything to learn from a set of images: not if they are all alike."""

import numpy as np

from adgan_cli.images.pixels import PixelSet
from adgan_cli.text import plural

_BATCH = 1024  # images at a time: a set may be larger than memory


def one_coloured(pixels: np.ndarray) -> np.ndarray:
    """Tell which images are of one colour: (..., S, S, C) -> (...) bool."""
    alike: np.ndarray = (pixels == pixels[..., :1, :1, :]).all((-3, -2, -1))
    return alike


def lack_of_variety(images: PixelSet) -> str | None:
    """Say that a set has no variety, what was read and what to do about it; None where it has.

    It has none if all its images are fully transparent, or each of one colour, or all the same.
    """
    all_one_coloured, all_same = True, len(images) > 1
    first = images.take(slice(0, 1))
    for start in range(0, len(images), _BATCH):
        part = images.take(slice(start, start + _BATCH))  # (n, S, S, C)
        all_one_coloured = all_one_coloured and bool(one_coloured(part).all())
        all_same = all_same and bool((part == first).all())
        if not (all_one_coloured or all_same):
            return None
    count = plural(len(images), "picture")
    if len(images.clear) and images.clear.all():
        return f"all of {count} are fully transparent; --alpha drop reads the colours underneath"
    if all_one_coloured and images.ranges:
        values = ", ".join(f"{kind} values {low:g}..{high:g}" for kind, low, high in images.ranges)
        return f"all of {count} are of one colour, read with {values}; --range gives others"
    if all_one_coloured:
        return f"all of {count} are of one colour as they were read; adgan scan shows what is there"
    return f"all of {count} are the same as they were read; adgan scan shows what is there"
