"""Pictures in, a report out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adgan_cli.config import SearchConfig, to_dict
from adgan_cli.engine.model_file import Model
from adgan_cli.images.depth import ranges_dict
from adgan_cli.images.find import list_inputs
from adgan_cli.images.selection import Selection
from adgan_cli.pipeline.adjust import held_out_scores
from adgan_cli.pipeline.confounds import confounds
from adgan_cli.pipeline.explain import explain as explained
from adgan_cli.pipeline.report import Source, assessed, prepare_report, shown, thin, write_report
from adgan_cli.pipeline.score import score_inputs
from adgan_cli.results.ranking import RankedRow, rank_rows


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
) -> list[RankedRow]:
    """Score folders, archives and files and write a report into `out`; returns the ranking.

    config: how to search; the model's own settings when None. explain: show beside the pictures
    what the search came to, which it is done again for. fdr: flag pictures at this false discovery
    rate, which needs a model that knows what pictures it was not trained on score.
    """
    out, listing, config = Path(out), list_inputs(paths, selection), config or model.usable()
    prepare_report(out, listing.found)
    rows = list(score_inputs(model, listing, config))
    bottom = top if bottom is None else bottom
    most, least = shown(rank_rows(rows), top=top, bottom=bottom)
    few = [entry.row for entry in (*most, *least)] if explain else []
    explanations = explained(model, few, listing.root, config)
    follows = confounds(rows, listing, model.rules())
    source = replace(source_of(model, listing.root, config), confounds=follows)
    source = assessed(source, rows, top=top, fdr=fdr)
    return write_report(out, rows, source, top=top, bottom=bottom, explanations=explanations)


def source_of(
    model: Model, root: Path, config: SearchConfig, cross_fit: int | None = None
) -> Source:
    """What a report says of where its rows came from; cross_fit: of so many models like this."""
    if cross_fit is not None:  # the scores that they held out are of other models than this
        return Source(root, {**described(model), "cross_fit": cross_fit}, to_dict(config))
    held_out = held_out_scores(model, config)
    scores = [] if held_out is None else held_out.tolist()
    return Source(root, described(model), to_dict(config), thin(scores), len(scores))


def described(model: Model) -> dict[str, Any]:
    """What a report says of the model it used."""
    data = model.provenance.get("data") or {}  # a model made in Python need not say
    return {
        "model": model.digest[:12] or "in memory",
        "size": model.config.size,
        "trained_on": f"{data.get('pictures', '?')} pictures",
        **to_dict(model.reading),
        **({"ranges": ranges_dict(model.ranges)} if model.ranges else {}),
    }
