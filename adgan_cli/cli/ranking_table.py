"""What rank prints: the first of the ranking, notes, counts, and where the page is."""

from pathlib import Path
from typing import TYPE_CHECKING

from adgan_cli.cli.console import escape_control, status, stderr
from adgan_cli.errors import NoImagesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adgan_cli.reports.ranking import RankedRow
    from adgan_cli.reports.report import Report

TABLE = 10  # rows in the terminal


def print_ranking(report: "Report", notes: list[str], out: Path, *, quiet: bool) -> None:
    """Print the first of the ranking, the notes, the counts and the page."""
    from adgan_cli.reports.page import PAGE_FILE
    from adgan_cli.reports.report import RANKING_FILE

    scored = sum(row.score is not None for row in report.rows)
    failed = len(report.rows) - scored
    if not scored:
        table = out / RANKING_FILE
        raise NoImagesError(f"no usable picture: all {failed} failed; the reasons are in {table}")
    if quiet:
        return
    _print_table(report.ranked[:TABLE], report.info.model.get("weights", {}))
    for note in notes:
        status(note)
    status(f"{len(report.rows):,} found, {scored:,} scored, {failed:,} failed")
    status(f"{out / PAGE_FILE}")


def _print_table(ranked: "list[RankedRow]", weights: "Mapping[str, float]") -> None:
    """Print ranks, scores, p-values and the parts of scores that say most, where there are such."""
    from rich.table import Table
    from rich.text import Text

    from adgan_cli.reports.ranking import leading_part
    from adgan_cli.scoring.labels import detector_label

    rows = [(rank, row) for rank, row in ranked if rank is not None and row.score is not None]
    columns = {
        "rank": [str(rank) for rank, _ in rows],
        "score": [f"{row.score:.4g}" for _, row in rows],
        "p": ["" if row.p_value is None else f"{row.p_value:.2g}" for _, row in rows],
        "mostly": [leading_part(row.z_scores, weights) for _, row in rows],
    }
    columns["mostly"] = [name and detector_label(name).short for name in columns["mostly"]]
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name == "mostly" else "right", no_wrap=True)
    table.add_column("picture", overflow="fold")
    for index, (_, row) in enumerate(rows):
        cells = [cells[index] for cells in columns.values()]
        table.add_row(*cells, Text(escape_control(row.path)))
    stderr.print(table)
