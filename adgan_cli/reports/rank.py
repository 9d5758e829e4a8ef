"""Images in, a report out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adgan_cli.config import SearchConfig, from_dict, to_dict
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.search.precision import effective_precision
from adgan_cli.errors import ConfigError
from adgan_cli.images.depth import ranges_dict
from adgan_cli.images.find import Listing, list_inputs
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection
from adgan_cli.locks import owning
from adgan_cli.reports.comparison import compare
from adgan_cli.reports.explanation import explain as explain_images
from adgan_cli.reports.ranking import RankedRow
from adgan_cli.reports.report import (
    ReportInfo,
    ReportOptions,
    make_report,
    prepare_folder,
    subsample,
    write_report,
)
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.calibration import chosen_cut
from adgan_cli.scoring.confounds import confounds
from adgan_cli.scoring.joining import calibrated_error_scale, part_weights
from adgan_cli.scoring.rows import ScoreRow
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
    p_value: float | None = None,
    resume: bool = False,
) -> list[RankedRow]:
    """Score folders, archives and files and write a report into `out`; return the ranking.

    config: how to search; the model's own settings when None. explain: show beside the images what
    the search came to, which it is done again for. fdr: flag images at this false discovery rate;
    p_value: those with at most this p-value; both need a model that has scores of images it was not
    trained on. resume: score only what is new or changed since an earlier call, as far as the
    journal in `out` goes.
    """
    out, options = Path(out), ReportOptions(top, bottom, chosen_cut(fdr, p_value))
    listing = list_inputs(paths, selection)
    config = config or model.default_search()
    with owning(out):
        prepare_folder(out, listing.items)
        run = ScoringRun(model, listing, config, journal=out / JOURNAL_FOLDER, resume=resume)
        rows = list(run.rows())
        report = make_report(rows, report_info(model, listing, rows, config), options)
        shown = report.shown if explain else []
        explanations = explain_images(compare(model, shown, listing.root, config))
        write_report(out, report, explanations)
    return report.ranked


def report_info(
    model: Model,
    listing: Listing,
    rows: Sequence[ScoreRow],
    config: SearchConfig,
    *,
    reader: Reader | None = None,
    cross_fit: int | None = None,
) -> ReportInfo:
    """Describe where rows of a listing came from, and what their order follows.

    cross_fit: the number of models like this one that scored them, each what it was not trained on.
    """
    reader = reader or Reader(model.preprocessing())
    correlations = confounds(rows, listing, reader)
    summary, settings = model_summary(model, config), to_dict(config)
    if cross_fit is not None:  # the scores that they held out are of other models than this
        summary["cross_fit"] = cross_fit
        return ReportInfo(listing.root, summary, settings, confounds=correlations)
    held_out = held_out_scores(model, config)
    scores = [] if held_out is None else held_out.tolist()
    return ReportInfo(
        listing.root, summary, settings, subsample(scores), len(scores), confounds=correlations
    )


def read_search(info: ReportInfo, model: Model, scores: Path) -> SearchConfig:
    """Read the search that the table `scores` came from; ConfigError if it was in another model."""
    if info.model.get("cross_fit"):
        raise ConfigError(
            f"--explain: {scores} was scored by models without the pictures, which are no more; "
            "leave it out"
        )
    digest = info.model.get("model")
    if digest is not None and digest != model.digest[:12]:
        raise ConfigError(
            f"--explain: {scores} was scored with another model ({digest}) than {model.file} "
            f"({model.digest[:12]}); give that with -m, or leave out --explain"
        )
    return from_dict(SearchConfig, {**to_dict(model.search), **info.settings})


def model_summary(model: Model, config: SearchConfig) -> dict[str, Any]:
    """Describe a model for a report, and what the parts of its scores by `config` count for."""
    data = model.provenance.get("data") or {}  # of a model built in Python there need be none
    weights = {}
    if model.features is not None:
        error_scale = calibrated_error_scale(model, config) if config.by == "all" else None
        weights = part_weights(model.features, config, error_scale)
    searched_in = {}
    if config.by != "features":
        precision = effective_precision(config, model.device)
        searched_in = {"searched_in": f"{precision} on {model.device.type}"}
    return {
        "model": model.digest[:12] or "in memory",
        "size": model.config.size,
        "trained_on": f"{data.get('pictures', '?')} pictures",
        **to_dict(model.reading),
        **searched_in,
        **({"ranges": ranges_dict(model.ranges)} if model.ranges else {}),
        **({"weights": {name: round(w, 3) for name, w in weights.items()}} if weights else {}),
    }
