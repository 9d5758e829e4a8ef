"""Pictures in, for each of them the paper's Fig. 1 out: the search as it went."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adgan_cli.atomic import replacing
from adgan_cli.config import SearchConfig, to_dict
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.errors import ImageError
from adgan_cli.images.find import Listing
from adgan_cli.images.read import decode_image, read_thumbnail
from adgan_cli.images.refs import ImageRef
from adgan_cli.reports.explain import neighbours_of
from adgan_cli.reports.explanation import explanations
from adgan_cli.reports.page import format_settings
from adgan_cli.reports.rank import model_summary
from adgan_cli.reports.report import PAGE_FILE, THUMBNAIL, link, prepare_folder
from adgan_cli.reports.trajectory_page import (
    Explained,
    SearchTrajectory,
    shown_steps,
    write_course_figure,
    write_course_page,
)
from adgan_cli.scoring.rows import ScoreRow, trace_writer
from adgan_cli.scoring.run import ScoringRun

LOSSES_FILE, FIGURE_FILE = "losses.csv", "explanation-{}.png"
MOST = 50  # pictures: a page has to open


def prepare_explanation(out: Path, listing: Listing) -> None:
    """Make the folder; one with an index.html that is not of this command is refused."""
    names = (PAGE_FILE, LOSSES_FILE, FIGURE_FILE.format(1))
    prepare_folder(
        out, listing.items, names, mark=LOSSES_FILE, begins="path,point,step,loss", by="explain"
    )


def write_explanation(
    out: Path,
    model: Model,
    listing: Listing,
    config: SearchConfig | None = None,
    *,
    on_picture: Callable[[int], None] = lambda done: None,
) -> list[ScoreRow]:
    """Write losses.csv, a PNG for each picture, and index.html into `out`; returns a row for each.

    The search is the one that scores: what it does at each step depends on the picture alone.
    """
    config = config or model.default_search()
    rows: list[ScoreRow] = []
    explained: list[Explained] = []
    found = {item.name: item for item in listing.items}
    for done, row in enumerate(ScoringRun(model, listing, config).rows(), start=1):
        rows.append(row)
        if row.score is not None:
            figure = FIGURE_FILE.format(len(explained) + 1)
            explained.append(_explained(model, row, found[row.path], config, figure, out))
        on_picture(done)
    # the losses first: they mark the folder as ours, should the rest not be written
    with (
        replacing(out / LOSSES_FILE) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as stream,
    ):
        write_losses = trace_writer(stream)
        for one in explained:
            write_losses(one.name, one.course.losses.tolist())
    for one in explained:
        write_course_figure(out / one.figure, one.name, one.score, one.course)
    write_course_page(
        out / PAGE_FILE,
        explained,
        settings=format_settings({**model_summary(model), **to_dict(config)}),
        failures=[(row.path, row.error) for row in rows if row.error],
        adjusted=config.adjust if config.adjust != "none" else "",
    )
    for path in out.glob(FIGURE_FILE.format("*")):  # of more pictures, the last time
        number = re.fullmatch(FIGURE_FILE.format(r"(\d+)"), path.name)
        if number and int(number[1]) > len(explained):
            path.unlink()
    return rows


def search_trajectory(model: Model, pixels: np.ndarray, config: SearchConfig) -> SearchTrajectory:
    """The search for one picture, pixels (S, S, C) uint8, with what it makes on its way."""
    loss = make_loss(config.loss, model.critic)
    shown, steps = shown_steps(config.k), config.k + 1
    made: list[np.ndarray] = []
    calls = 0

    def watching(y: Tensor, x: Tensor) -> Tensor:
        # the loss sees all that the search makes: of points one by one, or of several at once, but
        # all steps of theirs before the next
        nonlocal calls
        if calls % steps in shown:
            made.append(to_uint8(y))
        calls += 1
        return loss(y, x)

    searcher = Searcher(model.generator, config, loss=watching, encoder=model.encoder, batch_size=1)
    result = searcher(to_model_range(torch.from_numpy(pixels)[None]))
    y = np.stack(made)  # (points / at once * T, at once, S, S, C)
    y = y.reshape(-1, len(shown), *y.shape[1:]).swapaxes(
        1, 2
    )  # (points / at once, at once, T, ...)
    losses = result.trace[0].double().numpy()
    return SearchTrajectory(pixels, y.reshape(len(losses), *y.shape[2:]), losses)


def _explained(
    model: Model, row: ScoreRow, found: ImageRef, config: SearchConfig, figure: str, out: Path
) -> Explained:
    course = search_trajectory(model, decode_image(found, model.preprocessing()).pixels, config)
    pixels, nearest = course.pixels[None], course.made[course.best, -1][None]
    try:
        thumbnail = read_thumbnail(found, THUMBNAIL, alpha=model.reading.alpha, ranges=model.ranges)
    except ImageError:  # gone since it was scored
        thumbnail = None
    assert row.score is not None
    return Explained(
        name=row.path,
        href=link(found.file, out) if thumbnail and found.file else None,
        thumbnail=thumbnail,
        width=row.width or 0,
        height=row.height or 0,
        score=row.score,
        p_value=row.p_value,
        in_training=bool(row.in_training),
        figure=figure,
        explanation=explanations(
            pixels, nearest, neighbours_of(model, pixels, [bool(row.in_training)])
        )[0],
        course=course,
    )
