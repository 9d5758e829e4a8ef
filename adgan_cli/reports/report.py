"""Rows in, a report out: ranking.csv, the contact sheet, the figure, summary.json.

No torch in here: an earlier table is drawn again within a second.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adgan_cli.atomic import begins_with
from adgan_cli.config import ReadConfig
from adgan_cli.errors import ConfigError, OutputError
from adgan_cli.images.depth import ranges_from
from adgan_cli.images.find import locator
from adgan_cli.images.refs import ImageRef
from adgan_cli.reports.contact_sheet import Card, write_contact_sheet
from adgan_cli.reports.explanation import Explanation
from adgan_cli.reports.figure import write_figure
from adgan_cli.reports.page import PAGE_FILE, Preview, format_settings, read_preview, relative_path
from adgan_cli.reports.ranking import RankedRow, rank_rows, write_ranking, write_summary
from adgan_cli.scoring.calibration import (
    CALIBRATE_REMEDY,
    Cut,
    chance_note,
    flagged,
    flagged_note,
    flags_in_numbers,
    require_p_values,
)
from adgan_cli.scoring.confounds import confound_note
from adgan_cli.scoring.rows import Counts, ScoreRow, count_rows
from adgan_cli.text import unescape

RANKING_FILE, FIGURE_FILE, SUMMARY_FILE = "ranking.csv", "figure.png", "summary.json"
MAX_HELD_OUT = 200  # scores of held-out images that summary.json keeps, to draw them again
Previews = Mapping[str, Preview]  # by path
_PAGE_BYTES = 6_000_000  # for thumbnails: a page has to open at once, and go into a mail


@dataclass(frozen=True)
class ReportInfo:
    """Where rows came from; goes into summary.json and onto the page."""

    root: Path  # their paths are relative to it
    model: Mapping[str, Any] = field(default_factory=dict)  # file and digest
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the search
    held_out: Sequence[float] = ()  # scores of images held out of training, see subsample
    held_out_images: int = 0  # how many there were
    confounds: Mapping[str, float] = field(default_factory=dict)  # see scoring/confounds


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows of a ranking."""

    top: int = 30  # most anomalous images
    bottom: int | None = None  # least anomalous images; None: as many as top
    cut: Cut | None = None  # flag images beyond it


@dataclass(frozen=True, eq=False)
class Report:
    """A ranking, the ends of it that are shown, and the notes on it."""

    info: ReportInfo
    rows: Sequence[ScoreRow]  # in the order they came
    ranked: list[RankedRow]
    most: list[RankedRow]  # shown, the most anomalous first
    least: list[RankedRow]  # shown, the least anomalous first
    cut: Cut | None  # beyond which rows are flagged
    flagged: frozenset[str] | None  # paths; None without a cut
    notes: list[str]  # sentences for people, to be read first

    @property
    def counts(self) -> Counts:
        """The number of images: ranked, and failed."""
        return count_rows(self.rows, found=len(self.rows))

    @property
    def shown(self) -> list[ScoreRow]:
        """The rows that get a card."""
        return [entry.row for entry in (*self.most, *self.least)]


@dataclass(frozen=True)
class OutputFolder:
    """The files that a command writes into a folder of its own."""

    command: str
    files: tuple[str, ...]
    mark: str  # the one that is written first
    begins: str  # how that one does


REPORT_FOLDER = OutputFolder(
    "rank",
    files=(PAGE_FILE, RANKING_FILE, FIGURE_FILE, SUMMARY_FILE),
    mark=RANKING_FILE,
    begins="rank,path,score,",
)


def prepare_folder(
    out: Path, items: Iterable[ImageRef] = (), folder: OutputFolder = REPORT_FOLDER
) -> None:
    """Make the folder `out`; refuse one that holds such files of another command or person.

    One that holds some of the images is refused too: figure.png would be one of them next time.
    Raises ConfigError or OutputError before any work is done.
    """
    if out.is_file():
        raise ConfigError(f"-o {out} is a file; give a folder for the report")
    files = (item.file for item in items)
    if any(os.path.abspath(file.parent) == os.path.abspath(out) for file in files if file):
        raise ConfigError(
            f"-o {out} holds pictures to {folder.command}; choose another folder for the report"
        )
    existing = [name for name in folder.files if (out / name).exists()]
    if existing and not begins_with(out / folder.mark, folder.begins):
        raise ConfigError(
            f"{out / existing[0]} is not from adgan {folder.command}; choose another -o"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {out}: {error.strerror}; choose another -o") from error
    if not os.access(out, os.W_OK):
        raise OutputError(f"cannot write to {out}: permission denied; choose another -o")


def make_report(
    rows: Sequence[ScoreRow], info: ReportInfo, options: ReportOptions | None = None
) -> Report:
    """Rank rows, choose what is shown and flagged, and note what p-values and correlations say."""
    options = options or ReportOptions()
    has_p_values = any(row.p_value is not None for row in rows)
    require_p_values(has_p_values, options.cut)
    ranked = rank_rows(rows)
    most, least = top_and_bottom(ranked, options)
    adjusted = info.settings.get("adjust", "none") != "none"
    notes = [confound_note(info.confounds, adjusted=adjusted)]
    flags = None
    if options.cut is not None:
        flags = flagged(rows, options.cut)
        notes.append(flagged_note(flags, rows, options.cut, info.held_out_images))
    notes.append(chance_note([entry.row for entry in ranked[: options.top]], rows))
    if ranked and ranked[0].rank is not None:
        if all(row.in_training or row.score is None for row in rows):
            notes.append(
                "The model was trained on all of these pictures, which makes them look more "
                "ordinary than they are: rank --cross-fit 5 ranks them by models that have not "
                "seen them."
            )
        elif not has_p_values and info.model:
            notes.append(f"There are no p-values: {CALIBRATE_REMEDY}.")
    return Report(
        info=info,
        rows=rows,
        ranked=ranked,
        most=most,
        least=least,
        cut=options.cut,
        flagged=flags,
        notes=[note for note in notes if note],
    )


def top_and_bottom(
    ranked: Sequence[RankedRow], options: ReportOptions
) -> tuple[list[RankedRow], list[RankedRow]]:
    """Choose the most and the least anomalous, the utmost first, none of them twice."""
    scored = [entry for entry in ranked if entry.rank is not None]
    most, rest = scored[: options.top], scored[options.top :]
    bottom = options.top if options.bottom is None else options.bottom
    return most, rest[::-1][:bottom]


def write_report(
    out: Path, report: Report, explanations: Mapping[str, Explanation] = MappingProxyType({})
) -> None:
    """Write the four files of a report; explanations stand beside the images of these paths."""
    write_report_page(out, report, write_tables(out, report), explanations)


def write_tables(out: Path, report: Report) -> Previews:
    """Write all of a report but the page, and return the previews of what is shown, by path.

    That needs no explanations: it can be done while those are made.
    """
    # ranking and summary first: they mark the folder as ours, should the rest not be written
    write_ranking(out / RANKING_FILE, report.ranked, report.flagged)
    _write_summary(out, report)
    previews = _read_previews(out, report)
    thumbnails = [
        [one for entry in entries if (one := previews[entry.row.path].thumbnail)]
        for entries in (report.most, report.least)
    ]
    if thumbnails[0]:
        write_figure(out / FIGURE_FILE, *thumbnails)
    else:  # none to show: a figure of other images must not stay
        (out / FIGURE_FILE).unlink(missing_ok=True)
    return previews


def write_report_page(
    out: Path, report: Report, previews: Previews, explanations: Mapping[str, Explanation]
) -> None:
    """Write the contact sheet; previews: of what is shown, from write_tables."""
    info, rows = report.info, report.rows
    most, least = (
        [_card(report, entry, previews, explanations) for entry in entries]
        for entries in (report.most, report.least)
    )
    write_contact_sheet(
        out / PAGE_FILE,
        title=f"What does not belong in {info.root.resolve().name or info.root}",
        most=most,
        least=least,
        counts=report.counts,
        settings=format_settings({**info.model, **info.settings}),
        failures=[(row.path, row.error) for row in rows if row.error],
        scores=[row.score for _, row in report.ranked if row.score is not None],
        held_out=info.held_out,
        held_out_images=info.held_out_images,
        notes=report.notes,
        report=_identity(info),
    )


def read_report_info(scores: Path, root: Path | None = None) -> ReportInfo:
    """Read where an earlier table's rows came from; root: where their images are, if it moved."""
    try:
        info = _parse_summary(scores.parent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        info = ReportInfo(scores.parent)  # no summary, or not one of ours: the table stands alone
    return info if root is None else replace(info, root=root)


def subsample(scores: Sequence[float]) -> list[float]:
    """Take at most MAX_HELD_OUT of ascending scores, evenly spread: enough to draw them."""
    count = len(scores)
    if count <= MAX_HELD_OUT:
        return [float(score) for score in scores]
    indices = (round(i * (count - 1) / (MAX_HELD_OUT - 1)) for i in range(MAX_HELD_OUT))
    return [float(scores[index]) for index in indices]


def _read_previews(out: Path, report: Report) -> Previews:
    """Read the images that get a card, small."""
    info = report.info
    locate = locator(info.root)
    alpha = str(info.model.get("alpha", ReadConfig.alpha))
    ranges = ranges_from(info.model.get("ranges", {}))
    max_bytes = _PAGE_BYTES // max(1, len(report.shown))
    return {
        row.path: read_preview(
            locate(row.path), out, alpha=alpha, ranges=ranges, max_bytes=max_bytes
        )
        for row in report.shown
    }


def _card(
    report: Report, entry: RankedRow, previews: Previews, explanations: Mapping[str, Explanation]
) -> Card:
    """Fill the card of an image as the model saw it, small."""
    rank, row = entry
    assert rank is not None and row.score is not None
    weights = report.info.model.get("weights", {})  # a detector that counts for nothing has no say
    thumbnail, href = previews[row.path]
    return Card(
        rank,
        row.score,
        row.path,
        href,
        thumbnail,
        width=row.width or 0,
        height=row.height or 0,
        p_value=row.p_value,
        in_training=bool(row.in_training),
        flagged=row.path in (report.flagged or ()),
        explanation=explanations.get(row.path),
        z_scores={name: z for name, z in row.z_scores.items() if weights.get(name, 1) != 0},
    )


def _identity(info: ReportInfo) -> str:
    """Identify what was ranked by what, so that a page drawn again keeps the marks of the first."""
    about = repr(
        (os.path.realpath(info.root), info.model.get("model"), sorted(info.settings.items()))
    )
    return blake2b(about.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _write_summary(out: Path, report: Report) -> None:
    info = report.info
    cuts: dict[str, dict[str, object]] = {}
    if report.cut is not None and report.flagged is not None:
        cuts[report.cut.kind] = flags_in_numbers(
            report.flagged, report.rows, report.cut, info.held_out_images
        )
    write_summary(
        out / SUMMARY_FILE,
        report.rows,
        found=len(report.rows),
        root=relative_path(info.root, out),
        model=info.model,
        settings=info.settings,
        held_out=info.held_out,
        held_out_images=info.held_out_images,
        notes=report.notes,
        confounds=info.confounds,
        cuts=cuts,
    )


def _parse_summary(folder: Path) -> ReportInfo:
    """Read the summary.json in `folder`; raise one of many errors if it is not as we write it."""
    summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    info = ReportInfo(
        Path(os.path.normpath(folder / unescape(summary["root"]))),
        summary["model"],
        summary["settings"],
        [float(score) for score in summary.get("held_out", [])],
        int(summary.get("held_out_pictures", 0)),
        {str(name): float(value) for name, value in summary.get("confounds", {}).items()},
    )
    are_settings = isinstance(info.model, dict) and isinstance(info.settings, dict)
    weights = info.model.get("weights", {})
    are_settings = are_settings and all(math.isfinite(weight) for weight in weights.values())
    if not are_settings or not all(map(math.isfinite, [*info.held_out, *info.confounds.values()])):
        raise TypeError("not what write_summary writes")
    # what is drawn with later must be valid too
    ReadConfig(alpha=info.model.get("alpha", ReadConfig.alpha))
    ranges_from(info.model.get("ranges", {}))
    return info
