"""Histograms of colours and of oriented gradients in the cells of a grid over an image.

Dalal and Triggs (2005) for the gradients; colours as Swain and Ballard (1991), in opponent axes.
"""

import numpy as np

CELLS = 4  # a side
ANGLES = 9  # bins of directions, opposite ones alike
LEVELS = 8  # bins of luminance and of each opponent colour
CONTRAST = 3.0  # of opponent colours before they are counted: strong ones are rare
LEAST = 4.0  # added to the mean gradient of a cell, grey levels: noise is no direction


def histograms(image: np.ndarray) -> np.ndarray:
    """Describe an image, uint8 (S, S, C) -> (D,) float32.

    Square roots of shares, so that distances are Hellinger's; D = CELLS^2 (ANGLES + A LEVELS),
    A = 3 axes of colour, or 1 of grey.
    """
    x = image.astype(np.float32)
    return np.concatenate([_gradients(x), _colours(x)])


def histogram_groups(channels: int) -> tuple[int, ...]:
    """Count the features of gradients, luminance and colours, in the order of `histograms`."""
    parts = (1,) if channels == 1 else (1, channels - 1)
    return CELLS**2 * ANGLES, *(CELLS**2 * LEVELS * part for part in parts)


def _gradients(x: np.ndarray) -> np.ndarray:
    """Share out the gradients' lengths in each cell over directions: (S, S, C) -> (D,).

    At each place that of the channel where it is longest; between two bins in proportion.
    """
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    lengths = np.hypot(down, across)
    steepest = lengths.argmax(axis=2)[..., None]
    length, y, x = (
        np.take_along_axis(one, steepest, axis=2)[..., 0] for one in (lengths, down, across)
    )
    position = np.arctan2(y, x) / np.pi * ANGLES  # opposite directions are ANGLES apart
    lower = np.floor(position)
    upper_share = position - lower
    first = lower.astype(np.int64) % ANGLES
    sums = _sums(first, length * (1 - upper_share), ANGLES)
    sums += _sums((first + 1) % ANGLES, length * upper_share, ANGLES)
    area = x.size / CELLS**2
    shares = sums / (sums.sum(axis=1, keepdims=True) + LEAST * area)
    return np.sqrt(shares).astype(np.float32).ravel()


def _colours(x: np.ndarray) -> np.ndarray:
    """Count the levels of luminance and opponent colours in each cell: (S, S, C) -> (D,)."""
    if x.shape[2] == 1:
        axes = [x[..., 0]]
    else:
        red, green, blue = np.moveaxis(x, 2, 0)
        opponents = (red - green) / 2, (red + green - 2 * blue) / 4
        axes = [(red + green + blue) / 3, *(127.5 + one * CONTRAST for one in opponents)]
    area = axes[0].size / CELLS**2
    counts = [
        _sums((one * LEVELS / 256).astype(np.int64).clip(0, LEVELS - 1), np.ones_like(one), LEVELS)
        for one in axes
    ]
    return np.sqrt(np.stack(counts) / area).astype(np.float32).ravel()


def _sums(bins: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Add up weights by bin in each cell: two (S, S) -> (CELLS^2, count)."""
    cell = np.arange(bins.shape[0]) * CELLS // bins.shape[0]
    cells = cell[:, None] * CELLS + cell
    index = cells * count + bins
    return np.bincount(index.ravel(), weights.ravel(), CELLS**2 * count).reshape(-1, count)
