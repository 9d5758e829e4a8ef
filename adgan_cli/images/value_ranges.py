"""Find which values become black and white in a set of images deeper than 8 bits.

One range for each kind, from the least to the greatest value of the set. At either end one of a
thousand values of an image is left out unless it lies near the others, so that single pixels
(dead ones, marks for no data that are not declared) cannot set it.
"""

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.images.depth import KINDS, Ranges, ValueSpan

ENOUGH_LEVELS = 32  # of 256; a typical picture with fewer shows steps


@dataclass(frozen=True)
class ValueRange:
    """The values that become black and white in one kind of deep images, and what is lost by it."""

    kind: str
    low: float
    high: float
    levels: float  # of 256 that the typical image keeps: the median
    typical: tuple[float, float]  # range that holds most images: quartiles of their ends
    widest: str  # name of the image that takes the range farthest from the typical

    def warning(self) -> str | None:
        """Say that most images keep few levels, which one is the cause and what to do; or None."""
        if self.levels >= ENOUGH_LEVELS:
            return None
        low, high = self.typical
        by_hand = f", or give --range {low:.6g}..{high:.6g}" if low < high else ""
        return (
            f"the typical picture keeps {self.levels:.0f} of 256 levels, as {self.kind} values go"
            f" from {self.low:g} to {self.high:g} with {self.widest}; leave that out{by_hand}"
        )


def ranges_of(measured: Iterable[ValueRange]) -> Ranges:
    """Give the ranges alone, as a preprocessing needs them."""
    return tuple((one.kind, one.low, one.high) for one in measured)


def describe_ranges(ranges: Ranges) -> list[str]:
    """Write ranges for people, kinds that share one together: I;16 from 0 to 4095."""
    kinds: dict[tuple[float, float], list[str]] = {}
    for kind, low, high in ranges:
        kinds.setdefault((low, high), []).append(kind)
    return [f"{', '.join(names)} from {low:g} to {high:g}" for (low, high), names in kinds.items()]


def parse_range(text: str) -> Ranges:
    """Read `LOW..HIGH`, which then holds for every kind. Raises ConfigError for anything else."""
    number = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    match = re.fullmatch(rf"\s*({number})\s*\.\.\s*({number})\s*", text)
    low, high = map(float, match.groups()) if match else (0.0, 0.0)
    if not low < high or max(-low, high) > 1e30:
        raise ConfigError(f"--range must be LOW..HIGH, such as 0..4095 or -1.5..1.5, got {text!r}")
    return tuple((kind, low, high) for kind in KINDS)


def find_ranges(spans: Iterable[tuple[str, str, ValueSpan]]) -> tuple[ValueRange, ...]:
    """Find the range of each kind in the (name, kind, span) of a set's deep images.

    A kind whose images all have one and the same value has none.
    """
    kinds: dict[str, _Spans] = {}
    for name, kind, span in spans:
        kinds.setdefault(kind, _Spans()).add(name, span)
    measured = (kinds[kind].range_of(kind) for kind in sorted(kinds))
    return tuple(one for one in measured if one is not None)


@dataclass(frozen=True)
class _Spans:
    """The spans of one kind: four doubles an image, for a set may have a million."""

    names: list[str] = field(default_factory=list)
    numbers: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, name: str, span: ValueSpan) -> None:
        self.names.append(name)
        self.numbers.extend((span.least, span.greatest, *span.near()))

    def range_of(self, kind: str) -> ValueRange | None:
        least, greatest, lows, highs = np.asarray(self.numbers).reshape(-1, 4).T  # (N,) each
        whole = ValueSpan(least.min(), greatest.max(), lows.min(), highs.max())
        low, high = map(float, whole.ends())
        if not low < high:
            return None
        # of an image of one value but for a few, these few are all there is to see
        is_flat = lows == highs
        lows, highs = np.where(is_flat, least, lows), np.where(is_flat, greatest, highs)
        kept = np.clip(highs, low, high) - np.clip(lows, low, high)
        typical = float(np.quantile(lows, 0.25)), float(np.quantile(highs, 0.75))
        lowest, highest = int(lows.argmin()), int(highs.argmax())
        is_low = typical[0] - lows[lowest] > highs[highest] - typical[1]
        return ValueRange(
            kind,
            low,
            high,
            levels=1 + 255 * float(np.median(kept)) / (high - low),
            typical=typical,
            widest=self.names[lowest if is_low else highest],
        )
