"""Put a whole folder in order: ranking.csv and the summary of a run."""

import json
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from adgan_cli.atomic import replacing, write_text
from adgan_cli.scoring.rows import ScoreRow, columns, count_rows, csv_cells, csv_line, detectors_of
from adgan_cli.text import escape_surrogates

LISTED_FAILURES = 100  # summary.json is read by people too; ranking.csv has them all


class RankedRow(NamedTuple):
    """A row and its rank, 1 = most anomalous; no rank for a file without a score."""

    rank: int | None
    row: ScoreRow


def rank_rows(rows: Iterable[ScoreRow]) -> list[RankedRow]:
    """Sort by falling score, equal scores by path; files without a score last, by path."""
    rows = sorted(rows, key=attrgetter("path"))
    scored = [row for row in rows if row.score is not None]
    # by two sorts, the second of which keeps what the first did: a pair for each row takes more
    # memory than the row
    scored.sort(key=attrgetter("score"), reverse=True)
    return [
        *(RankedRow(rank, row) for rank, row in enumerate(scored, start=1)),
        *(RankedRow(None, row) for row in rows if row.score is None),
    ]


def write_ranking(
    path: Path, ranked: Sequence[RankedRow], flagged: Collection[str] | None = None
) -> None:
    """Write ranking.csv; a last column says which paths are `flagged`, where there is a cut."""
    more_columns = [] if flagged is None else ["flagged"]
    detectors = detectors_of(row for _, row in ranked)
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as stream:
            stream.write(csv_line(("rank", *columns(detectors), *more_columns)))
            for rank, row in ranked:  # line by line: a million of them need not be held at once
                cells = ["" if rank is None else str(rank), *csv_cells(row, detectors)]
                if flagged is not None:
                    cells.append("" if row.p_value is None else str(row.path in flagged).lower())
                stream.write(csv_line(cells))


def leading_part(z_scores: Mapping[str, float], weights: Mapping[str, float]) -> str:
    """Name the part that adds most to a joined score; an empty text where none adds anything.

    weights: of the parts; those that are not in it count 1.
    """
    shares = {name: z * weights.get(name, 1.0) for name, z in z_scores.items()}
    name = max(shares, key=lambda name: shares[name], default="")
    return name if name and shares[name] > 0 else ""


def write_summary(
    path: Path,
    rows: Iterable[ScoreRow],
    *,
    found: int,
    root: str,
    model: Mapping[str, object],
    settings: Mapping[str, object],
    held_out: Sequence[float] = (),
    held_out_images: int = 0,
    notes: Sequence[str] = (),
    confounds: Mapping[str, float] | None = None,
    cuts: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> None:
    """Write summary.json: which images were scored, with which model, and what came out.

    found: how many images there were; a row for each, scored or failed, or it is a bug. held_out:
    scores of images held out of training, or as many as show how they are distributed. confounds:
    rank correlations of the score with image statistics. cuts: what `fdr` or `p_value` flags.
    """
    rows = list(rows)
    counts = count_rows(rows, found=found)
    failed = sorted((row for row in rows if row.score is None), key=attrgetter("path"))
    failures = [{"path": row.path, "error": row.error} for row in failed]
    summary = {
        "root": root,
        "found": counts.found,
        "scored": counts.scored,
        "failed": counts.failed,
        "failures": failures[:LISTED_FAILURES],
        "failures_not_listed": max(0, len(failures) - LISTED_FAILURES),
        "scores": _quantiles([row.score for row in rows if row.score is not None]),
        "model": model,
        "settings": settings,
        "held_out": list(held_out),
        "held_out_pictures": held_out_images,
        "notes": list(notes),
        "confounds": dict(confounds or {}),
        "fdr": cuts.get("fdr"),
        "p_value": cuts.get("p_value"),
    }
    text = json.dumps(
        _escape_throughout(summary), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    write_text(path, text + "\n")


def _quantiles(scores: Sequence[float]) -> dict[str, float] | None:
    if not scores:
        return None
    values = {"min": min(scores), "median": statistics.median(scores), "max": max(scores)}
    return {name: float(value) for name, value in values.items()}


def _escape_throughout(value: object) -> object:
    if isinstance(value, Mapping):
        return {
            escape_surrogates(str(key)): _escape_throughout(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_escape_throughout(item) for item in value]
    return escape_surrogates(str(value)) if isinstance(value, str | Path) else value
