"""Bring values deeper than 8 bits to 8, by a stated rule: which value becomes black, which white.

The training set's own range if there is one. Else the range of the type; 32-bit integers and
floats have none that images keep to, so theirs is the first of a few that holds all the values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Ranges = tuple[tuple[str, float, float], ...]  # (kind, black, white), sorted by kind

_INTEGER_RANGES = (
    (0, 2**16 - 1),
    (-(2**15), 2**15 - 1),
    (0, 2**31 - 1),
    (0, 2**32 - 1),
    (-(2**31), 2**31 - 1),
)
_FLOAT_RANGES = ((0, 1), (0, 255))
_BATCH = 2**18  # values at a time: the sums need doubles, 8 times the room of an image


@dataclass(frozen=True, eq=False)
class Deep:
    """The pixels of an image deeper than 8 bits."""

    values: np.ndarray  # (H, W) or (H, W, C): numbers as stored, not premultiplied
    stored: str  # I;16, LA;16, RGB;16, RGBA;16, I or F
    type_range: tuple[int, int] | None = (0, 2**16 - 1)  # range of the type; None: it has none
    inverted: bool = False  # the least value is white
    upper_byte_only: bool = False  # only the upper 8 bits of 16 could be had

    @property
    def kind(self) -> str:
        """Name the kind; images of one kind share a range: I;16, RGB;16, I or F."""
        return {"LA;16": "I;16", "RGBA;16": "RGB;16"}.get(self.stored, self.stored)


def finite_range(deep: Deep) -> tuple[float, float] | None:
    """Find the least and greatest colour value; None where no value is finite."""
    values = _colours(deep)
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def to_eight_bits(deep: Deep, image: Image.Image, ranges: Ranges = ()) -> tuple[Image.Image, str]:
    """Scale to 8 bits; values outside the range are clipped, no number (NaN) is black.

    image: what was decoded, for its transparent colour and its profile. Returns mode L, LA, RGB
    or RGBA and the notes for the mode column: `[black..white]`, `+clip`, `+high8`.
    """
    least, greatest = finite_range(deep) or (0.0, 0.0)
    low, high = _choose_range(deep, ranges, least, greatest)
    black, white = (high, low) if deep.inverted else (low, high)
    notes = f"[{black:.10g}..{white:.10g}]"
    infinite = deep.kind == "F" and bool(np.isinf(deep.values).any())
    if not low <= least <= greatest <= high or infinite:
        notes += "+clip"
    if deep.upper_byte_only:
        notes += "+high8"
    with np.errstate(invalid="ignore"):  # some of the numbers that are none complain
        levels = _levels(_colours(deep), black, white)
    eight = Image.fromarray(_with_alpha(deep, levels, image.info.get("transparency")))
    eight.info["icc_profile"] = image.info.get("icc_profile")
    return eight, notes


def _colours(deep: Deep) -> np.ndarray:
    """Leave alpha out: (H, W) or (H, W, 3)."""
    if deep.stored == "LA;16":
        return deep.values[..., 0]
    return deep.values[..., :3] if deep.stored == "RGBA;16" else deep.values


def _choose_range(deep: Deep, ranges: Ranges, least: float, greatest: float) -> tuple[float, float]:
    for kind, low, high in ranges:
        if kind == deep.kind:
            return low, high
    if deep.type_range is not None:
        return deep.type_range
    usual: Sequence[tuple[float, float]] = _INTEGER_RANGES if deep.kind == "I" else _FLOAT_RANGES
    holding = (ends for ends in usual if ends[0] <= least and greatest <= ends[1])
    return next(holding, (least, greatest))


def _levels(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map black..white to 0..255, rounded; same shape, uint8."""
    if values.dtype == np.uint16:  # a table: exact, and far faster
        table = _ramp(np.arange(2**16, dtype=np.float64), black, white)
        return table.take(values)
    levels = np.empty(values.shape, np.uint8)
    step = max(1, _BATCH // values.shape[1])
    for top in range(0, len(values), step):
        rows = values[top : top + step].astype(np.float64)
        levels[top : top + step] = _ramp(rows, black, white)
    return levels


def _ramp(values: np.ndarray, black: float, white: float) -> np.ndarray:
    if black == white:
        levels = np.where(values > black, 255.0, 0.0)
    else:
        inside = np.clip(values, min(black, white), max(black, white))
        levels = (inside - black) * (255 / (white - black))
    rounded: np.ndarray = np.rint(np.nan_to_num(levels, copy=False)).astype(np.uint8)
    return rounded


def _with_alpha(deep: Deep, levels: np.ndarray, transparent: object) -> np.ndarray:
    """Append the alpha channel, or one for the transparent colour: (H, W[, C]) uint8."""
    if deep.stored in ("LA;16", "RGBA;16"):
        alpha = _levels(deep.values[..., -1], 0, 2**16 - 1)
    elif deep.stored == "I;16" and isinstance(transparent, int):
        alpha = np.where(deep.values == transparent, 0, 255).astype(np.uint8)
    elif deep.stored == "RGB;16" and isinstance(transparent, tuple) and len(transparent) == 3:
        colour = [(value >> 8) * 257 if deep.upper_byte_only else value for value in transparent]
        alpha = np.where((deep.values == colour).all(-1), 0, 255).astype(np.uint8)
    else:
        return levels
    return np.concatenate([np.atleast_3d(levels), alpha[..., None]], -1)


def ranges_dict(ranges: Ranges) -> dict[str, list[float]]:
    """Write ranges as plain JSON: {kind: [black, white]}; `ranges_from` reads it back."""
    return {kind: [low, high] for kind, low, high in ranges}


def ranges_from(values: Mapping[str, Any]) -> Ranges:
    """Read what `ranges_dict` gave. Raises ValueError or TypeError for anything else."""
    ranges = tuple((kind, float(low), float(high)) for kind, (low, high) in sorted(values.items()))
    if not all(math.isfinite(high - low) and low < high for _, low, high in ranges):
        raise ValueError(f"ranges must be [black, white] with black below white, got {values}")
    return ranges
