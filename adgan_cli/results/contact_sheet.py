"""index.html: the most and the least anomalous pictures on one page that needs nothing else."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adgan_cli.atomic import write_text
from adgan_cli.results.names import printable
from adgan_cli.results.scores import Counts

if TYPE_CHECKING:
    from jinja2 import Template  # at run time only when a page is made

LISTED_FAILURES = 200  # ranking.csv has them all
_PIXELATED = 64  # pictures up to this size are enlarged without smoothing, to judge their pixels
_BINS = 80
_NAME, _FOLDER = 40, 28  # characters shown of a file's name and of its folder


@dataclass(frozen=True)
class Card:
    """One picture on the sheet."""

    rank: int
    score: float
    name: str  # the path, as in the table
    href: str | None  # relative to the page, percent-encoded
    thumbnail: bytes | None  # JPEG, or PNG for tiny pictures; None shows a placeholder
    width: int  # of the original, pixels
    height: int

    def __post_init__(self) -> None:
        if self.href is not None:
            target = urlsplit(self.href)
            if target.scheme not in ("", "file") or target.netloc:
                raise ValueError(f"href must stay on this computer, got {self.href!r}")


@dataclass(frozen=True)
class _Bar:
    """One bar of the histogram; heights in percent of the drawing."""

    x: float
    width: float
    total: float
    most: float  # the part that is shown among the most anomalous
    least: float


def write_contact_sheet(
    path: Path,
    *,
    title: str,
    most: Sequence[Card],
    least: Sequence[Card],
    counts: Counts,
    settings: Mapping[str, str],
    failures: Sequence[tuple[str, str]],
    scores: Sequence[float],
) -> None:
    """Write the sheet: cards in the order given, failures as (name, reason), all scores."""
    html = _template().render(
        title=title,
        sections=[
            {"id": "most", "heading": "most anomalous", "cards": most},
            {"id": "least", "heading": "least anomalous", "cards": least},
        ],
        counts=counts,
        settings=settings,
        failures=failures[:LISTED_FAILURES],
        failures_not_listed=max(0, len(failures) - LISTED_FAILURES),
        scores=sorted(scores),
        most_from=min((card.score for card in most), default=None),
        least_to=max((card.score for card in least), default=None),
        bars=_histogram(scores, most, least),
        pixelated=_PIXELATED,
    )
    write_text(path, printable(html))  # names that are not UTF-8, wherever they stand


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["rounded"] = _rounded
    environment.filters["data_uri"] = _data_uri
    environment.filters["folder"] = lambda name: _elided(name.rpartition("/")[0], _FOLDER)
    environment.filters["file"] = lambda name: _elided(name.rpartition("/")[2], _NAME)
    environment.filters["words"] = lambda name: re.split("(?<=[_-])", name)
    source = resources.files("adgan_cli.results") / "contact_sheet.html"
    return environment.from_string(source.read_text(encoding="utf-8"))


def _rounded(score: float) -> str:
    """Four significant digits, without an exponent where a person would not write one."""
    text = f"{score:#.4g}".removesuffix(".")
    return f"{float(text):.0f}" if "e+" in text and abs(score) < 1e9 else text


def _data_uri(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _elided(text: str, limit: int) -> str:
    """Cut the middle: both ends of a long file name tell it from its neighbours."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def _histogram(scores: Sequence[float], most: Sequence[Card], least: Sequence[Card]) -> list[_Bar]:
    if not scores:
        return []
    low, high = min(scores), max(scores)
    most_from = min((card.score for card in most), default=float("inf"))
    least_to = max((card.score for card in least), default=float("-inf"))
    counts = [[0, 0, 0] for _ in range(_BINS)]
    for score in scores:
        share = (score - low) / (high - low) if high > low else 0.5
        bin = counts[min(int(share * _BINS), _BINS - 1)]
        bin[0] += 1
        bin[1] += score >= most_from
        bin[2] += score <= least_to and score < most_from
    tallest = max(total for total, _, _ in counts)
    return [
        _Bar(
            x=i * 100 / _BINS,
            width=80 / _BINS,
            total=_height(total, tallest),
            most=_height(total, tallest) * of_most / total,
            least=_height(total, tallest) * of_least / total,
        )
        for i, (total, of_most, of_least) in enumerate(counts)
        if total
    ]


def _height(count: int, tallest: int) -> float:
    return max(3.0, 100 * count / tallest)  # a single outlier must be visible beside thousands
