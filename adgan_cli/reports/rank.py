"""Pictures in, a report out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adgan_cli.config import SearchConfig, to_dict
from adgan_cli.engine.models.model import Model
from adgan_cli.images.depth import ranges_dict
from adgan_cli.images.find import list_inputs
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection
from adgan_cli.reports.explain import explain as explained
from adgan_cli.reports.ranking import RankedRow, rank_rows
from adgan_cli.reports.report import (
    ReportInfo,
    prepare_report,
    shown,
    subsample,
    with_notes,
    write_report,
)
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.confounds import confounds
from adgan_cli.scoring.run import ScoringRun

JOURNAL_FOLDER = "journal"  # in the report's folder: scores that a later run goes on from


def rank(
    model: Model,
    paths: Sequence[str | Path],
    out: str | Path,
    config: SearchConfig | None = None,
    *,
    selection: Selection = Selection(),  # noqa: B008  frozen
    top: int = 30,
    bottom: int | None = None,
    explain: bool = True,
    fdr: float | None = None,
    resume: bool = False,
) -> list[RankedRow]:
    """Score folders, archives and files and write a report into `out`; returns the ranking.

    config: how to search; the model's own settings when None. explain: show beside the pictures
    what the search came to, which it is done again for. fdr: flag pictures at this false discovery
    rate, which needs a model that knows what pictures it was not trained on score. resume: score
    only what is new or changed since an earlier call, as far as the journal in `out` tells.
    """
    out, listing, config = (
        Path(out),
        list_inputs(paths, selection),
        config or model.default_search(),
    )
    prepare_report(out, listing.items)
    run = ScoringRun(model, listing, config, journal=out / JOURNAL_FOLDER, resume=resume)
    rows = list(run.rows())
    bottom = top if bottom is None else bottom
    most, least = shown(rank_rows(rows), top=top, bottom=bottom)
    few = [entry.row for entry in (*most, *least)] if explain else []
    explanations = explained(model, few, listing.root, config)
    correlations = confounds(rows, listing, Reader(model.preprocessing()))
    source = replace(report_info(model, listing.root, config), confounds=correlations)
    source = with_notes(source, rows, top=top, fdr=fdr)
    return write_report(out, rows, source, top=top, bottom=bottom, explanations=explanations)


def report_info(
    model: Model, root: Path, config: SearchConfig, cross_fit: int | None = None
) -> ReportInfo:
    """What a report says of where its rows came from; cross_fit: of so many models like this."""
    if cross_fit is not None:  # the scores that they held out are of other models than this
        return ReportInfo(root, {**model_summary(model), "cross_fit": cross_fit}, to_dict(config))
    held_out = held_out_scores(model, config)
    scores = [] if held_out is None else held_out.tolist()
    return ReportInfo(root, model_summary(model), to_dict(config), subsample(scores), len(scores))


def model_summary(model: Model) -> dict[str, Any]:
    """What a report says of the model it used."""
    data = model.provenance.get("data") or {}  # a model made in Python need not say
    return {
        "model": model.digest[:12] or "in memory",
        "size": model.config.size,
        "trained_on": f"{data.get('pictures', '?')} pictures",
        **to_dict(model.reading),
        **({"ranges": ranges_dict(model.ranges)} if model.ranges else {}),
    }
