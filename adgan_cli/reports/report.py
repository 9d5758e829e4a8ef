"""Rows in, a report out: ranking.csv, the contact sheet, the figure, summary.json.

No torch in here: an earlier table is drawn again within a second.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from adgan_cli.config import ReadConfig
from adgan_cli.errors import ConfigError, ImageError, OutputError
from adgan_cli.images.depth import ranges_from
from adgan_cli.images.find import locator
from adgan_cli.images.read import read_thumbnail
from adgan_cli.images.refs import ImageRef
from adgan_cli.reports.contact_sheet import Card, write_contact_sheet
from adgan_cli.reports.explanation import Explanation
from adgan_cli.reports.figure import write_figure
from adgan_cli.reports.page import format_settings
from adgan_cli.reports.ranking import (
    RankedRow,
    most_anomalous,
    rank_rows,
    write_ranking,
    write_summary,
)
from adgan_cli.scoring.calibration import (
    CALIBRATE_REMEDY,
    chance_note,
    flagged,
    flagged_note,
    require_p_values,
)
from adgan_cli.scoring.confounds import confound_note
from adgan_cli.scoring.rows import ScoreRow, count_rows
from adgan_cli.text import unescape

RANKING_FILE, PAGE_FILE = "ranking.csv", "index.html"
FIGURE_FILE, SUMMARY_FILE = "figure.png", "summary.json"
THUMBNAIL = 320  # pixels of the longer side: sharp at 200 on a dense screen
PAGE = 6_000_000  # bytes that thumbnails may take: it has to open at once, and go into a mail
HELD_OUT = 200  # scores of pictures held out that summary.json keeps, to draw them again


@dataclass(frozen=True)
class ReportInfo:
    """Where rows came from; goes into summary.json and onto the page."""

    root: Path  # their paths are relative to it
    model: Mapping[str, Any] = field(default_factory=dict)  # file and digest
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the search
    held_out: Sequence[float] = ()  # what pictures held out of training score, ascending, see thin
    held_out_pictures: int = 0  # how many there were
    confounds: Mapping[str, float] = field(default_factory=dict)  # see scoring/confounds
    fdr: float | None = None  # the false discovery rate at which rows are flagged
    notes: Sequence[str] = ()  # sentences for people, to be read first; see assessed
    flagged: frozenset[str] | None = None  # paths; None where no rate was asked for


def subsample(scores: Sequence[float]) -> list[float]:
    """At most HELD_OUT of ascending scores, evenly spread: enough to draw where they lie."""
    count = len(scores)
    if count <= HELD_OUT:
        return [float(score) for score in scores]
    places = (round(i * (count - 1) / (HELD_OUT - 1)) for i in range(HELD_OUT))
    return [float(scores[place]) for place in places]


def with_notes(
    source: ReportInfo, rows: Sequence[ScoreRow], *, top: int, fdr: float | None
) -> ReportInfo:
    """The source with what p-values and correlations say of these rows: notes, and what to flag.

    Raises ConfigError where a rate is asked for and there is no p-value.
    """
    scored = sum(row.score is not None for row in rows)
    known = any(row.p_value is not None for row in rows)
    require_p_values(known, fdr)
    adjusted = source.settings.get("adjust", "none") != "none"
    notes = [confound_note(source.confounds, adjusted=adjusted)]
    chosen = None
    if fdr is not None:
        chosen = flagged(rows, fdr)
        notes.append(flagged_note(chosen, rows, fdr))
    notes.append(chance_note(most_anomalous(rows, top), rows))
    if scored and all(row.in_training or row.score is None for row in rows):
        notes.append(
            "The model was trained on all of these pictures, which makes them look more ordinary "
            "than they are: rank --cross-fit 5 ranks them by models that have not seen them."
        )
    elif scored and not known and source.model:
        notes.append(f"There are no p-values: {CALIBRATE_REMEDY}.")
    return replace(source, fdr=fdr, notes=tuple(filter(None, notes)), flagged=chosen)


def prepare_report(out: Path, pictures: Iterable[ImageRef] = ()) -> None:
    """Make the report folder; one with an index.html that is not adgan's is refused.

    So is one that holds some of the `pictures`: figure.png would be one of them next time.

    Raises ConfigError or OutputError before any work is done.
    """
    names = (PAGE_FILE, RANKING_FILE, FIGURE_FILE, SUMMARY_FILE)
    prepare_folder(out, pictures, names, mark=RANKING_FILE, begins="rank,path,score,", by="rank")


def prepare_folder(
    out: Path,
    pictures: Iterable[ImageRef],
    names: Sequence[str],
    *,
    mark: str,
    begins: str,
    by: str,
) -> None:
    """prepare_report for a command `by`: it writes `names`, first `mark`, which `begins` so."""
    if out.is_file():
        raise ConfigError(f"-o {out} is a file; give a folder for the report")
    files = (picture.file for picture in pictures)
    if any(os.path.abspath(file.parent) == os.path.abspath(out) for file in files if file):
        raise ConfigError(f"-o {out} holds pictures to {by}; choose another folder for the report")
    taken = [name for name in names if (out / name).exists()]
    if taken and not _is_ours(out / mark, begins):
        raise ConfigError(f"{out / taken[0]} is not from adgan {by}; choose another -o")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {out}: {error.strerror}; choose another -o") from error
    if not os.access(out, os.W_OK):
        raise OutputError(f"cannot write to {out}: permission denied; choose another -o")


def _is_ours(mark: Path, begins: str) -> bool:
    """Tell whether we wrote a report: of its files, this one is written first."""
    try:
        with open(mark, encoding="utf-8") as file:
            return file.readline().startswith(begins)
    except (OSError, UnicodeDecodeError):
        return False


def shown(
    ranked: Sequence[RankedRow], *, top: int, bottom: int
) -> tuple[list[RankedRow], list[RankedRow]]:
    """The `top` most and `bottom` least anomalous, the utmost first, none of them twice."""
    scored = [entry for entry in ranked if entry.rank is not None]
    most = scored[:top]
    return most, scored[len(most) :][::-1][:bottom]


def write_report(
    out: Path,
    rows: Sequence[ScoreRow],
    source: ReportInfo,
    *,
    top: int,
    bottom: int,
    explanations: Mapping[str, Explanation] = MappingProxyType({}),
) -> list[RankedRow]:
    """Sort rows and write the four files of a report into `out`; returns the ranking.

    The `top` most and `bottom` least anomalous pictures are shown. By their paths, explanations say
    what stands beside the pictures.
    """
    ranked = rank_rows(rows)
    most, least = shown(ranked, top=top, bottom=bottom)
    card = _card_maker(source, out, PAGE // max(1, len(most) + len(least)))
    cards = {
        entry.row.path: replace(
            card(entry),
            explanation=explanations.get(entry.row.path),
            flagged=entry.row.path in (source.flagged or ()),
        )
        for entry in (*most, *least)
    }
    counts = count_rows(rows, found=len(rows))
    # ranking and summary first: they mark the folder as ours, should the rest not be written
    write_ranking(out / RANKING_FILE, ranked, source.flagged)
    write_summary(
        out / SUMMARY_FILE,
        rows,
        found=len(rows),
        root=_relative(source.root, out),
        model=source.model,
        settings=source.settings,
        held_out=source.held_out,
        held_out_pictures=source.held_out_pictures,
        notes=source.notes,
        confounds=source.confounds,
        fdr=None
        if source.flagged is None
        else {"rate": source.fdr, "flagged": len(source.flagged)},
    )
    write_contact_sheet(
        out / PAGE_FILE,
        title=f"What does not belong in {source.root.resolve().name or source.root}",
        most=[cards[entry.row.path] for entry in most],
        least=[cards[entry.row.path] for entry in least],
        counts=counts,
        settings=format_settings({**source.model, **source.settings}),
        failures=[(row.path, row.error) for row in rows if row.error],
        scores=[entry.row.score for entry in ranked if entry.row.score is not None],
        held_out=source.held_out,
        held_out_pictures=source.held_out_pictures,
        notes=source.notes,
    )
    drawn = [_thumbnails(part, cards) for part in (most, least)]
    if drawn[0]:
        write_figure(out / FIGURE_FILE, *drawn)
    else:  # none to show: a figure of other pictures must not stay
        (out / FIGURE_FILE).unlink(missing_ok=True)
    return ranked


def read_source(scores: Path, root: Path | None) -> ReportInfo:
    """Where the rows of an earlier scores.csv came from, as far as its summary.json tells.

    root: where their pictures are; beside the table when neither says.
    """
    try:
        summary = json.loads((scores.parent / SUMMARY_FILE).read_text(encoding="utf-8"))
        told = scores.parent / unescape(summary["root"]), summary["model"], summary["settings"]
        if not all(isinstance(part, dict) for part in told[1:]):
            raise TypeError("not what write_summary writes")
        ReadConfig(alpha=told[1].get("alpha", ReadConfig.alpha))
        ranges_from(told[1].get("ranges", {}))
        held_out = [float(score) for score in summary.get("held_out", [])]
        pictures = int(summary.get("held_out_pictures", 0))
        confounds = {str(k): float(v) for k, v in summary.get("confounds", {}).items()}
        if not all(map(math.isfinite, (*held_out, *confounds.values()))):
            raise TypeError("not what write_summary writes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        # no summary, or not one of ours: the table stands alone
        told, held_out, pictures, confounds = (scores.parent, {}, {}), [], 0, {}
    return ReportInfo(
        root or Path(os.path.normpath(told[0])),
        told[1],
        told[2],
        held_out,
        pictures,
        confounds,
    )


def _thumbnails(entries: Sequence[RankedRow], cards: Mapping[str, Card]) -> list[bytes]:
    drawn = (cards[entry.row.path].thumbnail for entry in entries)
    return [thumbnail for thumbnail in drawn if thumbnail]


def _card_maker(source: ReportInfo, out: Path, most_bytes: int) -> Callable[[RankedRow], Card]:
    """A function that draws a row's card: the picture as the model saw it, small."""
    locate = locator(source.root)
    alpha = str(source.model.get("alpha", ReadConfig.alpha))
    ranges = ranges_from(source.model.get("ranges", {}))

    def card(entry: RankedRow) -> Card:
        rank, row = entry
        found = locate(row.path)
        try:
            thumbnail = read_thumbnail(
                found, THUMBNAIL, alpha=alpha, ranges=ranges, most=most_bytes
            )
        except ImageError:  # gone since it was scored: the card says so
            thumbnail = None
        assert rank is not None and row.score is not None
        return Card(
            rank=rank,
            score=row.score,
            name=row.path,
            href=link(found.file, out) if thumbnail and found.file else None,
            thumbnail=thumbnail,
            width=row.width or 0,
            height=row.height or 0,
            p_value=row.p_value,
            in_training=bool(row.in_training),
        )

    return card


def link(path: Path, out: Path) -> str:
    """A file's address on a page in `out`: relative, so that the two can move together."""
    relative = _relative(path, out)
    if os.path.isabs(relative):
        return path.resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _relative(path: Path, start: Path) -> str:
    try:
        return os.path.relpath(path, start)
    except ValueError:  # another drive on Windows
        return str(path.resolve())
