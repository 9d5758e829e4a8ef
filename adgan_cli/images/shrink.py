"""Shrink images by whole blocks: what is compared at a glance needs no more pixels. No torch."""

import numpy as np
from PIL import Image

from adgan_cli.images.encode import from_pixels


def block_means(pixels: np.ndarray, side: int) -> np.ndarray:
    """Shrink images by whole blocks: uint8 (N, S, S, C) -> (N, side, side, C).

    What is left over at the right and at the bottom, where S is no multiple of `side`, is cut off.
    """
    count, size, _, channels = pixels.shape
    if size == side:
        return np.ascontiguousarray(pixels)
    factor = size // side
    whole = pixels[:, : side * factor, : side * factor]
    blocks = whole.reshape(count, side, factor, side, factor, channels)
    means: np.ndarray = np.rint(blocks.mean(axis=(2, 4), dtype=np.float32))
    return means.astype(np.uint8)


def at_most(size: int, most: int) -> int:
    """Compute the side that whole blocks shrink `size` to, the largest that is at most `most`."""
    return size // -(-size // most)


def shrunk(pixels: np.ndarray, most: int) -> np.ndarray:
    """Shrink images by whole blocks to at most `most` pixels: (N, S, S, C) -> (N, s, s, C)."""
    return block_means(pixels, at_most(pixels.shape[1], most))


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Shrink images to any side, each pixel the mean of its area: (N, L, L, C) -> (N, s, s, C)."""
    small = [from_pixels(one).resize((side, side), Image.Resampling.BOX) for one in pixels]
    return np.stack([np.asarray(image).reshape(side, side, -1) for image in small])
