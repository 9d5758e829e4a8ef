"""The simple things about a picture that a reconstruction error tends to follow."""

import io

import numpy as np
from PIL import Image

STATISTICS = ("brightness", "contrast", "sharpness", "complexity", "colourfulness")


def image_statistics(pixels: np.ndarray) -> np.ndarray:
    """Of a picture as a model sees it, (S, S, C) uint8, in the order of TRAITS: (5,) float64.

    brightness: mean of the grey levels, 0 to 255; contrast: their standard deviation; sharpness:
    that of their Laplacian (Pech-Pacheco et al., 2000); complexity: bytes as PNG; colourfulness:
    Hasler and Suesstrunk (2003), eq. (M3). All but the first are logarithms, log(1 + value), since
    their large values are far apart.
    """
    levels = pixels.astype(np.float64)
    grey = levels.mean(2)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    spread = [grey.std(), (around - 4 * inner).std(), png_bytes(pixels), _colourfulness(levels)]
    return np.array([grey.mean(), *np.log1p(spread)])


def png_bytes(pixels: np.ndarray) -> int:
    """Length of the file of one picture (S, S, C) uint8, C = 1 or 3, compressed the most."""
    file = io.BytesIO()
    levels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    Image.fromarray(levels).save(file, "PNG", compress_level=9)
    return file.tell()


def _colourfulness(levels: np.ndarray) -> float:
    if levels.shape[2] == 1:
        return 0.0
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    opponents = red - green, (red + green) / 2 - blue
    deviation = np.hypot(*(o.std() for o in opponents))
    mean = np.hypot(*(o.mean() for o in opponents))
    return float(deviation + 0.3 * mean)
