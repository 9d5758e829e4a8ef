"""Figure 1 of the paper for given images: what the search generates step by step, and its losses.

As a PNG for each image, and on a page in the style of the contact sheet.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adgan_cli.atomic import replacing
from adgan_cli.config import SearchConfig, to_dict
from adgan_cli.engine.losses import TargetLoss, loss_for
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.images.find import Listing
from adgan_cli.images.read import decode_image
from adgan_cli.images.refs import ImageRef
from adgan_cli.reports.comparison import Comparison, SeenImage, nearest_in_training, read_kept
from adgan_cli.reports.explanation import (
    Explanation,
    difference,
    encode,
    explain,
    full_scale,
    overlay_heatmap,
)
from adgan_cli.reports.figure import FONT, TEXT_COLOUR, PixelFigure
from adgan_cli.reports.page import (
    PAGE_FILE,
    format_settings,
    read_preview,
    require_local_link,
    rounded,
    write_page,
)
from adgan_cli.reports.rank import model_summary
from adgan_cli.reports.report import OutputFolder
from adgan_cli.scoring.rows import ScoreRow, trace_writer
from adgan_cli.scoring.run import ScoringRun
from adgan_cli.text import escape_surrogates

LOSSES_FILE, FIGURE_FILE = "losses.csv", "explanation-{}.png"
EXPLANATION_FOLDER = OutputFolder(
    "explain",
    files=(PAGE_FILE, LOSSES_FILE, FIGURE_FILE.format(1)),
    mark=LOSSES_FILE,
    begins="path,point,step,loss",
)
MAX_IMAGES = 50  # a page has to open
MAX_STEPS, MAX_POINTS = 8, 8  # shown of a search

# of the figure, pixels
_CELL, _SPACE = 96, 4
_SIDE = 160  # of the image, its reconstruction and their difference
_LABEL, _MARGIN = 32, 28
_CHART = 460
_MAX_NAME = 90  # characters


@dataclass(frozen=True, eq=False)
class SearchTrajectory:
    """A search for one image, from S starting points over k steps."""

    pixels: np.ndarray  # (H, W, C) uint8, the image as the model saw it
    generated: np.ndarray  # (S, T, H, W, C) uint8, what the T steps shown generated: shown_steps
    losses: np.ndarray  # (S, k + 1), of all steps

    @property
    def best(self) -> int:
        """The starting point that came nearest."""
        return int(self.losses[:, -1].argmin())

    @property
    def reconstruction(self) -> np.ndarray:
        """(H, W, C) uint8, where the search from the best starting point ended."""
        nearest: np.ndarray = self.generated[self.best, -1]
        return nearest

    @property
    def steps(self) -> list[int]:
        """The steps that are shown."""
        return shown_steps(self.losses.shape[1] - 1)

    @property
    def points(self) -> list[int]:
        """The starting points that are shown: all, or those that came nearest, in their order."""
        return sorted(map(int, np.argsort(self.losses[:, -1], kind="stable")[:MAX_POINTS]))

    @property
    def loss_range(self) -> tuple[float, float]:
        """The least and the greatest loss of the points that are shown."""
        shown = self.losses[self.points]
        return float(shown.min()), float(shown.max())


@dataclass(frozen=True)
class ExplainedImage:
    """One image on the page."""

    row: ScoreRow
    href: str | None  # of the original, relative to the page
    thumbnail: bytes | None
    figure: str  # the name of the PNG beside the page
    explanation: Explanation
    trajectory: SearchTrajectory

    def __post_init__(self) -> None:
        require_local_link(self.href)


@dataclass(frozen=True)
class _TableRow:
    """A starting point, and (image, loss) for each step shown."""

    number: int  # from 0, as in losses.csv
    best: bool
    line: str  # points of an SVG polyline, all steps
    cells: list[tuple[bytes, float]]


def write_explanation(
    out: Path,
    model: Model,
    listing: Listing,
    config: SearchConfig | None = None,
    *,
    on_image: Callable[[int], None] | None = None,
) -> list[ScoreRow]:
    """Write losses.csv, a PNG for each image, and index.html into `out`; return a row for each.

    The search is the one that scores: what it does at each step depends on the image alone.
    on_image: is given the number of images that are done.
    """
    config = config or model.default_search()
    rows: list[ScoreRow] = []
    explained: list[ExplainedImage] = []
    items = {item.name: item for item in listing.items}
    for row in ScoringRun(model, listing, config).rows():
        rows.append(row)
        if row.score is not None:
            figure = FIGURE_FILE.format(len(explained) + 1)
            item = items[row.path]
            explained.append(_explained(model, row, item, config, figure=figure, out=out))
        if on_image is not None:
            on_image(len(rows))
    with replacing(out / LOSSES_FILE) as path:  # first: it marks the folder as ours
        with open(path, "w", encoding="utf-8", newline="") as stream:
            write_losses = trace_writer(stream)
            for image in explained:
                write_losses(image.row.path, image.trajectory.losses.tolist())
    for image in explained:
        write_trajectory_figure(out / image.figure, image.row, image.trajectory)
    write_trajectory_page(
        out / PAGE_FILE,
        explained,
        settings=format_settings({**model_summary(model, config), **to_dict(config)}),
        failures=[(row.path, row.error) for row in rows if row.error],
        adjusted=config.adjust if config.adjust != "none" else "",
    )
    for path in out.glob(FIGURE_FILE.format("*")):  # of more images, the last time
        number = re.fullmatch(FIGURE_FILE.format(r"(\d+)"), path.name)
        if number and int(number[1]) > len(explained):
            path.unlink()
    return rows


def search_trajectory(model: Model, pixels: np.ndarray, config: SearchConfig) -> SearchTrajectory:
    """Search for one image, pixels (S, S, C) uint8, and keep what is generated on the way."""
    loss = loss_for(model, config.loss)
    shown, steps = shown_steps(config.k), config.k + 1
    generated: list[np.ndarray] = []
    calls = 0

    def watched_loss(x: Tensor) -> TargetLoss:
        against_x = loss(x)

        def watched(y: Tensor) -> Tensor:
            # the loss sees all that the search generates: of points one by one, or of several at
            # once, but all steps of theirs before the next
            nonlocal calls
            if calls % steps in shown:
                generated.append(to_uint8(y))
            calls += 1
            return against_x(y)

        return watched

    searcher = Searcher(
        model.require_generator(), config, loss=watched_loss, encoder=model.encoder, batch_size=1
    )
    result = searcher(to_model_range(torch.from_numpy(pixels)[None]))
    y = np.stack(generated)  # (groups of points * T, points of a group, S, S, C)
    y = y.reshape(-1, len(shown), *y.shape[1:]).swapaxes(1, 2)  # (groups, of a group, T, ...)
    losses = result.trace[0].double().numpy()
    return SearchTrajectory(pixels, y.reshape(len(losses), *y.shape[2:]), losses)


def shown_steps(k: int) -> list[int]:
    """Choose the steps shown of 0 to k: all, or evenly spread ones from the first to the last."""
    return sorted({round(k * column / (MAX_STEPS - 1)) for column in range(MAX_STEPS)})


def write_trajectory_page(
    path: Path,
    explained: Sequence[ExplainedImage],
    *,
    settings: Mapping[str, str],
    failures: Sequence[tuple[str, str]] = (),
    adjusted: str = "",
) -> None:
    """Write the page: images in order, failures as (name, reason), and how scores are adjusted."""
    count = len(explained)
    write_page(
        path,
        "trajectory.html",
        title="How the search went for " + ("a picture" if count == 1 else f"{count} pictures"),
        images=[(image, _table(image.trajectory)) for image in explained],
        settings=settings,
        failures=failures,
        adjusted=adjusted,
    )


def write_trajectory_figure(path: Path, row: ScoreRow, trajectory: SearchTrajectory) -> None:
    """Draw the image, what came nearest, what the steps generated, and the losses, as a PNG."""
    points, steps = trajectory.points, trajectory.steps
    step = _CELL + _SPACE
    left, top = 3 * _MARGIN + _SIDE, _MARGIN + _LABEL
    chart_left = left + len(steps) * step
    width = chart_left + _CHART + 3 * _MARGIN
    height = max(len(points) * step + _LABEL, 3 * (_SIDE + _LABEL)) + 2 * _MARGIN + _LABEL
    figure = PixelFigure(width, height)
    score = "" if row.score is None else rounded(row.score)
    figure.text(_MARGIN, _MARGIN, _drawable(f"{row.path}: score {score}"), va="top")
    nearest = trajectory.reconstruction
    levels = difference(trajectory.pixels, nearest)
    heat = overlay_heatmap(trajectory.pixels, levels / full_scale(levels))
    for index, (label, pixels) in enumerate(
        [("picture", trajectory.pixels), ("best reconstruction", nearest), ("difference", heat)]
    ):
        y = top + index * (_SIDE + _LABEL)
        figure.text(_MARGIN, y + _LABEL - 8, label)
        figure.image(pixels, _MARGIN, y + _LABEL, _SIDE)
    for column, number in enumerate(steps):
        label = "start" if number == 0 else f"step {number}"
        figure.text(left + column * step, top + _LABEL - 8, label)
    for line, point in enumerate(points):
        y = top + _LABEL + line * step
        for column in range(len(steps)):
            figure.image(trajectory.generated[point, column], left + column * step, y, _CELL)
        figure.text(left - 8, y + _CELL / 2, str(point), ha="right", va="center")
    x, y = chart_left + 2.5 * _MARGIN, top + _LABEL
    _draw_losses(figure.axes(x, y, _CHART, height - y - 2.5 * _MARGIN), trajectory)
    figure.save(path)


def _draw_losses(axes: Any, trajectory: SearchTrajectory) -> None:
    for point, losses in enumerate(trajectory.losses):
        if point == trajectory.best:
            style = {"color": "#17696b", "linewidth": 1.6, "zorder": 3}
        else:
            style = {"color": "#b9b9b2", "linewidth": 0.9, "zorder": 2}
        axes.plot(losses, marker="o", markersize=2, **style)
    title = "loss from each starting point; the best one dark"
    axes.set_title(title, fontsize=7, loc="left", color=TEXT_COLOUR, family=FONT)
    axes.set_xlabel("step", fontsize=7, family=FONT)
    axes.tick_params(labelsize=6)
    axes.xaxis.get_major_locator().set_params(integer=True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _drawable(text: str) -> str:
    """Write the text on one line, with a ? for what the figure's font has no sign for."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=FONT)))
    line = escape_surrogates(text)
    line = line if len(line) <= _MAX_NAME else f"…{line[1 - _MAX_NAME :]}"
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "?" for c in line)


def _table(trajectory: SearchTrajectory) -> list[_TableRow]:
    low, high = trajectory.loss_range
    width = max(1, trajectory.losses.shape[1] - 1)

    def line(losses: np.ndarray) -> str:
        heights = 100 - 100 * (losses - low) / (high - low or 1.0)
        return " ".join(f"{100 * i / width:.2f},{y:.2f}" for i, y in enumerate(heights))

    return [
        _TableRow(
            number=point,
            best=point == trajectory.best,
            line=line(trajectory.losses[point]),
            cells=[
                (encode(trajectory.generated[point, column]), float(trajectory.losses[point, step]))
                for column, step in enumerate(trajectory.steps)
            ],
        )
        for point in trajectory.points
    ]


def _explained(
    model: Model, row: ScoreRow, item: ImageRef, config: SearchConfig, *, figure: str, out: Path
) -> ExplainedImage:
    pixels = decode_image(item, model.preprocessing()).pixels
    to_large = model.large_preprocessing()
    large = None if to_large is None else decode_image(item, to_large).pixels
    trajectory = search_trajectory(model, pixels, config)
    (near,) = nearest_in_training(model, read_kept(model), [SeenImage(row, pixels, large)])
    comparison = Comparison(row, pixels, trajectory.reconstruction, neighbours=near)
    explanation = explain([comparison])[row.path]
    thumbnail, href = read_preview(item, out, alpha=model.reading.alpha, ranges=model.ranges)
    return ExplainedImage(row, href, thumbnail, figure, explanation, trajectory)
