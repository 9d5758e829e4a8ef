"""Figure 1 of the paper for a picture: what the search made on its way, and how far off that was.

As a PNG of its own, and on a page in the style of the contact sheet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.atomic import replacing
from adgan_cli.reports.explanation import (
    Explanation,
    difference,
    encoded,
    full_scale,
    overlay_heatmap,
)
from adgan_cli.reports.page import require_local_link, rounded, write_page
from adgan_cli.text import escape_surrogates

COLUMNS, ROWS = 8, 8  # steps and starting points shown at most

# of the figure, pixels
_DPI = 160
_CELL, _SPACE = 96, 4
_SIDE = 160  # of the picture, its reconstruction and their difference
_LABEL, _MARGIN = 32, 28
_CHART = 460
_FONT = "DejaVu Sans"  # comes with matplotlib: the same figure on every machine
_NAME = 90  # characters


@dataclass(frozen=True, eq=False)
class SearchTrajectory:
    """A search for one picture, from S starting points over k steps."""

    pixels: np.ndarray  # (H, W, C) uint8, the picture as the model saw it
    made: np.ndarray  # (S, T, H, W, C) uint8, what the T steps shown made of it, see shown_steps
    losses: np.ndarray  # (S, k + 1), of all steps

    @property
    def best(self) -> int:
        """The starting point that came nearest."""
        return int(self.losses[:, -1].argmin())

    @property
    def steps(self) -> list[int]:
        return shown_steps(self.losses.shape[1] - 1)

    @property
    def points(self) -> list[int]:
        """The starting points that are shown: all, or those that came nearest, in their order."""
        return sorted(map(int, np.argsort(self.losses[:, -1], kind="stable")[:ROWS]))


@dataclass(frozen=True)
class Explained:
    """One picture on the page."""

    name: str  # the path, as in a table
    href: str | None  # of the original, relative to the page
    thumbnail: bytes | None
    width: int  # of the original, pixels
    height: int
    score: float
    p_value: float | None
    in_training: bool
    figure: str  # the name of the PNG beside the page
    explanation: Explanation
    course: SearchTrajectory

    def __post_init__(self) -> None:
        require_local_link(self.href)


@dataclass(frozen=True)
class _Point:
    """A row of the table: a starting point, and (picture, loss) for each step shown."""

    number: int  # from 0, as in losses.csv
    best: bool
    line: str  # points of an SVG polyline, all steps
    cells: list[tuple[bytes, float]]


def shown_steps(k: int) -> list[int]:
    """The steps that are shown of 0 to k: all, or evenly spread ones from the first to the last."""
    return sorted({round(k * column / (COLUMNS - 1)) for column in range(COLUMNS)})


def write_course_page(
    path: Path,
    explained: Sequence[Explained],
    *,
    settings: Mapping[str, str],
    failures: Sequence[tuple[str, str]] = (),
    adjusted: str = "",
) -> None:
    """Write the page: pictures in the order given, failures as (name, reason).

    adjusted: for what the scores are, where that was asked for.
    """
    count = len(explained)
    write_page(
        path,
        "course.html",
        title="How the search went for " + ("a picture" if count == 1 else f"{count} pictures"),
        pictures=[(one, _points(one.course), _span(one.course)) for one in explained],
        settings=settings,
        failures=failures,
        adjusted=adjusted,
    )


def write_course_figure(path: Path, name: str, score: float, course: SearchTrajectory) -> None:
    """Draw the picture, what came nearest, what the steps made, and the losses, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points, steps = course.points, course.steps
    step = _CELL + _SPACE
    grid = len(steps) * step, len(points) * step
    left = 3 * _MARGIN + _SIDE
    width = left + grid[0] + _CHART + 3 * _MARGIN
    height = max(grid[1] + _LABEL, 3 * (_SIDE + _LABEL)) + 2 * _MARGIN + _LABEL
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")

    def text(x: float, y: float, words: str, **more: Any) -> None:
        figure.text(
            x / width, 1 - y / height, words, fontsize=7, color="#333333", family=_FONT,
            parse_math=False, **more,
        )  # fmt: skip

    def picture(pixels: np.ndarray, x: float, y: float, side: float) -> None:
        axes = figure.add_axes((x / width, 1 - (y + side) / height, side / width, side / height))
        shown = pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels
        axes.imshow(shown, interpolation="nearest")
        axes.set_axis_off()

    text(_MARGIN, _MARGIN, _drawable(f"{name}: score {rounded(score)}"), va="top")
    top = _MARGIN + _LABEL
    nearest = course.made[course.best, -1]
    apart = difference(course.pixels, nearest)
    heat = overlay_heatmap(course.pixels, apart / full_scale(apart))
    for index, (label, pixels) in enumerate(
        [("picture", course.pixels), ("best reconstruction", nearest), ("difference", heat)]
    ):
        y = top + index * (_SIDE + _LABEL)
        text(_MARGIN, y + _LABEL - 8, label)
        picture(pixels, _MARGIN, y + _LABEL, _SIDE)
    for column, number in enumerate(steps):
        label = "start" if number == 0 else f"step {number}"
        text(left + column * step, top + _LABEL - 8, label)
    for row, point in enumerate(points):
        y = top + _LABEL + row * step
        for column in range(len(steps)):
            picture(course.made[point, column], left + column * step, y, _CELL)
        text(left - 8, y + _CELL / 2, str(point), ha="right", va="center")
    _draw_losses(figure, course, left + grid[0] + 2.5 * _MARGIN, top + _LABEL, width, height)

    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves print_png untyped
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        canvas.print_png(stream, metadata={"Software": None})  # equal searches, equal bytes


def _draw_losses(
    figure: Any, course: SearchTrajectory, x: float, y: float, width: float, height: float
) -> None:
    tall = height - y - 2.5 * _MARGIN
    axes = figure.add_axes((x / width, 2.5 * _MARGIN / height, _CHART / width, tall / height))
    for point, losses in enumerate(course.losses):
        best = point == course.best
        axes.plot(
            losses, color="#17696b" if best else "#b9b9b2", linewidth=1.6 if best else 0.9,
            zorder=3 if best else 2, marker="o", markersize=2,
        )  # fmt: skip
    axes.set_title("loss from each starting point; the best one dark", fontsize=7, loc="left",
                   color="#333333", family=_FONT)  # fmt: skip
    axes.set_xlabel("step", fontsize=7, family=_FONT)
    axes.tick_params(labelsize=6)
    axes.xaxis.get_major_locator().set_params(integer=True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _drawable(text: str) -> str:
    """The text on one line, with a ? for what the figure's font has no sign for."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=_FONT)))
    line = escape_surrogates(text)
    line = line if len(line) <= _NAME else f"…{line[1 - _NAME :]}"
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "?" for c in line)


def _points(course: SearchTrajectory) -> list[_Point]:
    low, high = _span(course)
    width = max(1, course.losses.shape[1] - 1)

    def line(losses: np.ndarray) -> str:
        heights = 100 - 100 * (losses - low) / (high - low or 1.0)
        return " ".join(f"{100 * i / width:.2f},{y:.2f}" for i, y in enumerate(heights))

    return [
        _Point(
            number=point,
            best=point == course.best,
            line=line(course.losses[point]),
            cells=[
                (encoded(course.made[point, column]), float(course.losses[point, step]))
                for column, step in enumerate(course.steps)
            ],
        )
        for point in course.points
    ]


def _span(course: SearchTrajectory) -> tuple[float, float]:
    shown = course.losses[course.points]
    return float(shown.min()), float(shown.max())
