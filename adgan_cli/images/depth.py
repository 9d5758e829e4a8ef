"""Bring values deeper than 8 bits to 8, by a stated rule: which value becomes black, which white.

The training set's own range if there is one (value_ranges.py). Else the range of the type; 32-bit
integers and floats have none that images keep to, so theirs is the first of a few that holds the
values. What is no value is drawn as the low end: what the file declares as no data, what is not
finite, and what is beyond 1e30, as other programs mark the gaps in their grids.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Ranges = tuple[tuple[str, float, float], ...]  # (kind, black, white), sorted by kind

KINDS = ("F", "I", "I;16", "RGB;16")  # of images deeper than 8 bits
_INTEGER_RANGES = (
    (0, 2**16 - 1),
    (-(2**15), 2**15 - 1),
    (0, 2**31 - 1),
    (0, 2**32 - 1),
    (-(2**31), 2**31 - 1),
)
_FLOAT_RANGES = ((0, 1), (0, 255))
_LARGEST = 1e30  # beyond are marks such as -3.4e38, not measurements
_BATCH = 2**18  # values at a time: the sums need doubles, 8 times the room of an image
_SAMPLE = 2**20  # values that quantiles of an image are taken from
_OUTERMOST = 1000  # at each end one of so many values is left out
_FEWEST = 16  # values; of fewer none is left out
_MARGIN = 0.1  # of the range: so far beyond it the outermost values still belong to it


@dataclass(frozen=True, eq=False)
class Deep:
    """The pixels of an image deeper than 8 bits."""

    values: np.ndarray  # (H, W) or (H, W, C): numbers as stored, not premultiplied
    stored: str  # I;16, LA;16, RGB;16, RGBA;16, I or F; L where 8 bits have gaps
    type_range: tuple[int, int] | None = (0, 2**16 - 1)  # range of the type; None: it has none
    inverted: bool = False  # the least value is white
    upper_byte_only: bool = False  # only the upper 8 bits of 16 could be had
    no_data: float | None = None  # the value that the file declares to be none

    @property
    def kind(self) -> str:
        """Name the kind; images of one kind share a range: I;16, RGB;16, I or F."""
        return {"LA;16": "I;16", "RGBA;16": "RGB;16"}.get(self.stored, self.stored)

    def colours(self) -> np.ndarray:
        """Leave alpha out: (H, W) or (H, W, 3)."""
        if self.stored == "LA;16":
            return self.values[..., 0]
        return self.values[..., :3] if self.stored == "RGBA;16" else self.values

    def is_value(self, values: np.ndarray) -> np.ndarray:
        """Tell which of some of the values are such, and no gaps: bool of the same shape."""
        is_value = np.ones(values.shape, bool)
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # some of the numbers that are none complain
                is_value = np.abs(values) <= _LARGEST
        if self.no_data is not None:
            is_value &= values != self.no_data
        return is_value


@dataclass(frozen=True)
class ValueSpan:
    """What values an image has: the least and greatest, and those without the outermost."""

    least: float
    greatest: float
    low: float  # one of a thousand values is below, and at least one
    high: float  # one of a thousand values is above, and at least one

    def near(self) -> tuple[float, float]:
        """Give the range of the values without those outermost ones that are far from the rest."""
        margin = _MARGIN * (self.high - self.low)
        low = self.least if self.least >= self.low - margin else self.low
        high = self.greatest if self.greatest <= self.high + margin else self.high
        return low, high

    def ends(self) -> tuple[float, float]:
        """Give the same; of values that are equal but for a few, that of all: the few are seen."""
        low, high = self.near()
        return (low, high) if low < high else (self.least, self.greatest)


def value_span(deep: Deep) -> ValueSpan | None:
    """Measure the colour values of an image, without alpha; None where there is none."""
    extremes, _ = _extremes(deep)
    return None if extremes is None else _span(deep, extremes)


def _span(deep: Deep, extremes: tuple[float, float]) -> ValueSpan:
    colours = deep.colours()
    step = math.ceil(math.sqrt(max(1, colours.size / _SAMPLE)))
    sample = colours[::step, ::step]
    sample = sample[deep.is_value(sample)]
    out = 0 if sample.size < _FEWEST else math.ceil(sample.size / _OUTERMOST)
    if not sample.size:  # the few values lie between those looked at
        return ValueSpan(*extremes, *extremes)
    ranked = np.partition(sample, [out, sample.size - 1 - out])
    return ValueSpan(*extremes, float(ranked[out]), float(ranked[sample.size - 1 - out]))


def to_eight_bits(deep: Deep, image: Image.Image, ranges: Ranges = ()) -> tuple[Image.Image, str]:
    """Scale to 8 bits; values outside the range are clipped, what is none becomes its low end.

    image: what was decoded, for its transparent colour and its profile. Returns mode L, LA, RGB
    or RGBA and the notes for the mode column: `[black..white]`, `+clip`, `+nodata`, `+high8`.
    """
    extremes, has_gaps = _extremes(deep)
    low, high = _choose_range(deep, ranges, extremes)
    black, white = (high, low) if deep.inverted else (low, high)
    notes = f"[{black:.10g}..{white:.10g}]"
    if extremes is not None and not low <= extremes[0] <= extremes[1] <= high:
        notes += "+clip"
    if has_gaps:
        notes += "+nodata"
    if deep.upper_byte_only:
        notes += "+high8"
    levels = _levels(deep, deep.colours(), black, white)
    eight = Image.fromarray(_with_alpha(deep, levels, image.info.get("transparency")))
    eight.info["icc_profile"] = image.info.get("icc_profile")
    return eight, notes


def _row_batches(values: np.ndarray) -> Iterator[slice]:
    step = max(1, _BATCH // max(1, values[:1].size))
    return (slice(top, top + step) for top in range(0, len(values), step))


def _extremes(deep: Deep) -> tuple[tuple[float, float] | None, bool]:
    """Find the least and greatest colour value, None where there is none; and if there are gaps."""
    colours = deep.colours()
    least, greatest, has_gaps = math.inf, -math.inf, False
    for rows in _row_batches(colours):
        part = colours[rows]
        is_value = deep.is_value(part)
        if not is_value.all():
            has_gaps = True
            part = part[is_value]
        if part.size:
            least, greatest = min(least, float(part.min())), max(greatest, float(part.max()))
    return (None if least > greatest else (least, greatest)), has_gaps


def _choose_range(
    deep: Deep, ranges: Ranges, extremes: tuple[float, float] | None
) -> tuple[float, float]:
    for kind, low, high in ranges:
        if kind == deep.kind:
            return low, high
    if deep.type_range is not None:
        return deep.type_range
    usual: Sequence[tuple[float, float]] = _INTEGER_RANGES if deep.kind == "I" else _FLOAT_RANGES
    least, greatest = (0.0, 0.0) if extremes is None else _span(deep, extremes).ends()
    holding = (ends for ends in usual if ends[0] <= least and greatest <= ends[1])
    return next(holding, (least, greatest))


def _levels(deep: Deep, values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map black..white to 0..255, rounded, and gaps to the lower of the two; same shape, uint8."""
    levels = np.empty(values.shape, np.uint8)
    table = None
    if values.dtype == np.uint16:  # a table: exact, and far faster
        table = _ramp(deep, np.arange(2**16, dtype=np.uint16), black, white)
    for rows in _row_batches(values):
        part = values[rows]
        levels[rows] = _ramp(deep, part, black, white) if table is None else table.take(part)
    return levels


def _ramp(deep: Deep, values: np.ndarray, black: float, white: float) -> np.ndarray:
    low, high = min(black, white), max(black, white)
    inside = np.where(deep.is_value(values), values, low).astype(np.float64)
    if low == high:
        levels = np.where(inside > low, 255.0, 0.0)
    else:
        levels = (np.clip(inside, low, high) - black) * (255 / (white - black))
    return np.rint(levels).astype(np.uint8)


def _with_alpha(deep: Deep, levels: np.ndarray, transparent: object) -> np.ndarray:
    """Append the alpha channel, or one for the transparent colour: (H, W[, C]) uint8."""
    if deep.stored in ("LA;16", "RGBA;16"):
        opacity = Deep(deep.values[..., -1], "I;16")
        alpha = _levels(opacity, opacity.values, 0, 2**16 - 1)
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
    try:
        ranges = tuple(
            (kind, float(low), float(high)) for kind, (low, high) in sorted(values.items())
        )
    except OverflowError as error:  # an integer that no float holds
        raise ValueError("ranges hold a number without end") from error
    if not all(math.isfinite(high - low) and low < high for _, low, high in ranges):
        raise ValueError(f"ranges must be [black, white] with black below white, got {values}")
    return ranges
