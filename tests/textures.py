"""Images of stripes for the tests of features, some of them with their stripes turned."""

import numpy as np


def stripes(
    count: int, *, side: int = 16, channels: int = 3, turned: bool = False, seed: int = 0
) -> np.ndarray:
    """Draw upright stripes, or level ones, with noise: uint8 (N, S, S, C)."""
    rng = np.random.default_rng(seed)
    shift, length = rng.uniform(0, 6, (2, count, 1, 1, 1))
    wave = np.sin((np.arange(side)[:, None] + shift) * 2 * np.pi / (4 + length / 6))
    images = 128 + 60 * (wave.swapaxes(1, 2) if turned else wave)
    images = images + rng.normal(0, 5, (count, side, side, channels))
    return images.clip(0, 255).astype(np.uint8)
