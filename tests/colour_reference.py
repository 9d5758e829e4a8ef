"""Colours by the book: what a profile or a colour space means in levels of sRGB."""

import numpy as np

# RGB to XYZ at D50, by Bruce Lindbloom; Display P3 by Apple's profile
SRGB = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
ADOBE = np.array(
    [
        [0.6097559, 0.2052401, 0.1492240],
        [0.3111242, 0.6256560, 0.0632197],
        [0.0194811, 0.0608902, 0.7448387],
    ]
)
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
D50 = np.array([0.9642, 1.0, 0.8249])
GAMMA = 563  # of Adobe RGB: 2.19921875 in 1/256
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601


def srgb_from_xyz(xyz: np.ndarray) -> np.ndarray:
    """XYZ at D50 to levels of sRGB (IEC 61966-2-1), clipped: (..., 3) to (..., 3)."""
    linear = np.clip(xyz @ np.linalg.inv(SRGB).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * encoded


def srgb_from_primaries(pixels: np.ndarray, primaries: np.ndarray) -> np.ndarray:
    """Levels in a space of these primaries and GAMMA to levels of sRGB: (..., 3) to (..., 3)."""
    return srgb_from_xyz((pixels / 255) ** (GAMMA / 256) @ primaries.T)


def srgb_from_lab(lab: np.ndarray) -> np.ndarray:
    """CIELab at D50 to levels of sRGB: (..., 3) to (..., 3)."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    return srgb_from_xyz(D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)))


def composite(pixels: np.ndarray, alpha: np.ndarray, colour=(255, 255, 255)) -> np.ndarray:
    """Porter and Duff's `over`: (H, W[, 3]) with alpha 0 to 255 on a colour, as (H, W, 3)."""
    weight = alpha[..., None] / 255
    pixels = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
    return weight * pixels + (1 - weight) * np.array(colour)
