"""Simple properties of an image that a reconstruction error tends to follow."""

import numpy as np

from adgan_cli.images.encode import from_pixels, image_bytes

STATISTICS = ("brightness", "contrast", "sharpness", "complexity", "colourfulness")


def image_statistics(pixels: np.ndarray) -> np.ndarray:
    """Measure an image as a model sees it: (S, S, C) uint8 -> (5,) float64, as in STATISTICS.

    brightness: mean of the grey levels, 0 to 255; contrast: their standard deviation; sharpness:
    that of their Laplacian (Pech-Pacheco et al., 2000); complexity: bytes as PNG; colourfulness:
    Hasler and Suesstrunk (2003), eq. (M3). All but the first are logarithms, log(1 + value), since
    their large values are far apart.
    """
    levels = pixels.astype(np.float64)
    grey = levels.mean(2)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    spread = [grey.std(), (around - 4 * inner).std(), png_size(pixels), _colourfulness(levels)]
    return np.array([grey.mean(), *np.log1p(spread)])


def png_size(pixels: np.ndarray) -> int:
    """Count the bytes of the PNG file of one image (S, S, C) uint8, compressed the most."""
    return len(image_bytes(from_pixels(pixels), "PNG", compress_level=9))


def _colourfulness(levels: np.ndarray) -> float:
    if levels.shape[2] == 1:
        return 0.0
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    opponents = red - green, (red + green) / 2 - blue
    deviation = np.hypot(*(o.std() for o in opponents))
    mean = np.hypot(*(o.mean() for o in opponents))
    return float(deviation + 0.3 * mean)
