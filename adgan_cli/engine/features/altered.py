"""Copies of images with something wrong in them: what a detector can tell, seen without labels.

Each kind changes another thing: a piece, a line, a spot, the order of parts, colours, detail.
Pasted pieces and thin scars are those of CutPaste (Li et al., 2021), here to judge by and not to
train on.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

Alter = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

_SHIFTS = 40, 100  # grey levels between a scratch or a spot and what is below it
# luminance and two differences of colours (YIQ)
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def altered_copies(images: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Alter each image in every way there is: (N, S, S, C) uint8 -> the same for each kind.

    Grey images have no other hue. Pieces are pasted from another of the images, and in a set of one
    from the image itself.
    """
    order = rng.permutation(len(images))
    others = np.empty_like(order)
    others[order] = np.roll(order, 1)
    copies = {}
    for kind, alter in ALTERATIONS.items():
        if kind != "hue" or images.shape[3] == 3:
            pairs = zip(images, images[others], strict=True)
            altered = [alter(image, other, rng) for image, other in pairs]
            copies[kind] = np.array(altered, np.uint8).reshape(images.shape)
    return copies


def drawn_copies(
    images: np.ndarray, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw n images, uint8 (N, S, S, C), at most so many, and alter them.

    -> their indices (n,), ascending, and copies (n, S, S, C) for each kind.
    """
    chosen = np.sort(rng.permutation(len(images))[:most])
    return chosen, altered_copies(images[chosen], rng)


def _pasted(image: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay a rectangle of another image over a place of this one, a fifth to a half wide."""
    side = len(image)
    height, width = np.maximum(2, (rng.uniform(0.2, 0.5, 2) * side).astype(int))
    (to_y, from_y), (to_x, from_x) = (rng.integers(side - n + 1, size=2) for n in (height, width))
    altered = image.copy()
    piece = other[from_y : from_y + height, from_x : from_x + width]
    altered[to_y : to_y + height, to_x : to_x + width] = piece
    return altered


def _scratched(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a straight line, lighter or darker, a quarter to six tenths of the side long."""
    side = len(image)
    y, x = np.mgrid[:side, :side] - (rng.uniform(0.3, 0.7, 2) * side)[:, None, None]
    angle, half = rng.uniform(0, math.pi), rng.uniform(0.125, 0.3) * side
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle)
    across -= x * math.sin(angle)
    distance = np.hypot(np.maximum(np.abs(along) - half, 0), across)
    half_width = max(0.5, rng.uniform(0.01, 0.02) * side)
    return _shifted(image, np.clip(half_width + 0.5 - distance, 0, 1), rng)


def _stained(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken or lighten a round spot without an edge, an eighth to a quarter of the side wide."""
    side = len(image)
    y, x = np.mgrid[:side, :side] - (rng.uniform(0.2, 0.8, 2) * side)[:, None, None]
    radius_y, radius_x = rng.uniform(0.06, 0.125, 2) * side
    return _shifted(image, np.exp(-np.square((y / radius_y) ** 2 + (x / radius_x) ** 2)), rng)


def _incomplete(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the image's mean colour in the place of a rectangle, a tenth to a quarter wide."""
    side = len(image)
    height, width = np.maximum(2, (rng.uniform(0.1, 0.25, 2) * side).astype(int))
    top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
    altered = image.copy()
    altered[top : top + height, left : left + width] = np.rint(image.mean((0, 1)))
    return altered


def _quartered(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put each quarter of the image in the place of another."""
    return _shuffled(image, 2, rng)


def _shuffled_cells(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put each of 4 x 4 cells in the place of another."""
    return _shuffled(image, 4, rng)


def _recoloured(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn the hue of an RGB image by a sixth of a circle or more; luminance stays."""
    angle = rng.uniform(math.pi / 3, 5 * math.pi / 3)
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return _to_uint8(image @ (np.linalg.inv(_YIQ) @ turn @ _YIQ).T)


def _blurred(image: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian of a fortieth to a twentieth of the side, a pixel at least."""
    deviation = max(1.0, rng.uniform(0.025, 0.05) * len(image))
    offsets = np.arange(-math.ceil(2 * deviation), math.ceil(2 * deviation) + 1)
    kernel = np.exp(-0.5 * (offsets / deviation) ** 2)
    kernel /= kernel.sum()
    places = np.arange(len(image))[:, None] + offsets  # (S, taps)
    places = np.clip(places, 0, len(image) - 1)
    rows = np.einsum("itxc,t->ixc", image[places], kernel)
    return _to_uint8(np.einsum("yjtc,t->yjc", rows[:, places], kernel))


# the names of the kinds, as evidence is listed
ALTERATIONS: Mapping[str, Alter] = {
    "pasted": _pasted,
    "scratch": _scratched,
    "stain": _stained,
    "missing": _incomplete,
    "quarters": _quartered,
    "cells": _shuffled_cells,
    "hue": _recoloured,
    "blur": _blurred,
}


def _shuffled(image: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Shift the parts x parts cells along a random cycle, so that none stays where it was."""
    cell, channels = len(image) // parts, image.shape[2]
    grid = (parts, cell, parts, cell, channels)
    cells = image.reshape(grid).swapaxes(1, 2).reshape(parts * parts, cell, cell, channels)
    cycle = rng.permutation(parts * parts)
    moved = np.empty_like(cells)
    moved[cycle] = cells[np.roll(cycle, 1)]
    moved = moved.reshape(parts, parts, cell, cell, channels).swapaxes(1, 2)
    return moved.reshape(image.shape)


def _shifted(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lighten or darken where the mask, (S, S) in [0, 1], is: away from the nearer end of grey."""
    shift = rng.uniform(*_SHIFTS) * rng.choice([-1, 1])
    mean = (image * mask[:, :, None]).sum() / (mask.sum() * image.shape[2])
    if not 0 <= mean + shift <= 255:
        shift = -shift
    return _to_uint8(image + shift * mask[:, :, None])


def _to_uint8(values: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clipped
