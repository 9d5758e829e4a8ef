"""adgan rank: the same scores, sorted, as a contact sheet that can be looked at."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from adgan_cli.atomic import writing
from adgan_cli.cli.console import INTERRUPTED, Stopwatch, status
from adgan_cli.cli.options import ScoringOptions, note_eager_search, open_model
from adgan_cli.cli.progress import CrossFitProgress, score_share, track
from adgan_cli.cli.rank_actions import ActionOptions
from adgan_cli.cli.ranking_table import print_ranking
from adgan_cli.cli.signature import with_options
from adgan_cli.config import SearchConfig, flag
from adgan_cli.errors import ConfigError, OutputError
from adgan_cli.processes import is_worker
from adgan_cli.text import plural

if TYPE_CHECKING:
    from adgan_cli.engine.models.model import Model
    from adgan_cli.images.reader import Reader
    from adgan_cli.reports.comparison import Comparison
    from adgan_cli.reports.report import Report, ReportInfo
    from adgan_cli.scoring.calibration import Cut
    from adgan_cli.scoring.rows import ScoreRow
    from adgan_cli.scoring.run import ScoringRun

PARTIAL_FILE = "scores.partial.csv"
CROSS_FIT_FOLDER = "cross-fit"
MAX_SHOWN = 1_000_000  # pictures on a page
NO_GENERATOR = (
    "The model has no generator; trained without --no-gan it would also show what it expected in "
    "place of each picture."
)


class Scored(NamedTuple):
    """Rows to draw, and how to search again for those that are explained."""

    rows: "list[ScoreRow]"
    info: "ReportInfo"
    search: "Search | None" = None  # None: nothing is explained


class Search(NamedTuple):
    """The search that scores came from."""

    model: "Model"
    config: SearchConfig
    reader: "Reader"


@with_options
def rank(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write the report to.")] = Path(
        "adgan-report"
    ),
    top: Annotated[
        int, typer.Option(min=1, max=MAX_SHOWN, help="Most anomalous pictures to show.")
    ] = 30,
    bottom: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_SHOWN,
            help="Least anomalous pictures to show; default: as many as --top.",
        ),
    ] = None,
    explain: Annotated[
        bool | None,
        typer.Option(
            "--explain/--no-explain",
            help="Show the reconstruction, where it differs, and the nearest training pictures; "
            "default: yes, but with --from, which then needs the model, no.",
        ),
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            help="Flag pictures so that about this share of them is ordinary, such as 0.05."
        ),
    ] = None,
    p_value: Annotated[
        float | None,
        typer.Option(
            help="Flag pictures of at most this p-value: about this share of ordinary ones, too."
        ),
    ] = None,
    from_scores: Annotated[
        Path | None,
        typer.Option("--from", help="Draw again from this table of scores, without scoring."),
    ] = None,
    cross_fit: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=1_000,
            help="Rank the training folder itself: train this many models like MODEL, each "
            "without a part of it, and score the part. Takes that many trainings.",
        ),
    ] = None,
    actions: ActionOptions,
    scoring: ScoringOptions,
) -> None:
    """Sort pictures by how little they belong, and show the ends as a page.

    Writes ranking.csv, index.html, figure.png and summary.json. With --from, PATHS says where the
    pictures are.

    Example: adgan rank ./val --top 30
    """
    from adgan_cli.reports.report import ReportOptions, make_report
    from adgan_cli.scoring.calibration import chosen_cut

    options = ReportOptions(top, bottom, chosen_cut(fdr, p_value))
    explain = actions.explains(explain, cross_fit=bool(cross_fit))
    scoring.reporter.own(out)
    actions.check(scoring.inputs.expanded, out, scoring.reporter)
    watch = Stopwatch()
    if from_scores is not None:
        if scoring.resume or cross_fit:
            other = "--resume" if scoring.resume else "--cross-fit"
            raise ConfigError(f"--from draws scores that are there; leave out {other}")
        scored = _read(from_scores, out, scoring, explain=bool(explain))
        actions.require_outside([scored.info.root])
    elif not scoring.inputs:
        raise ConfigError("give PATHS to score, or --from scores.csv to draw again")
    elif cross_fit:
        scored = _cross_fit(cross_fit, out, scoring, watch)
    else:
        scored = _score(out, scoring, watch, options.cut)
    report = make_report(scored.rows, scored.info, options)
    search = scored.search if explain is not False else None
    comparisons = _write(out, report, search, scoring, watch)
    if from_scores is None or from_scores.absolute() == (out / PARTIAL_FILE).absolute():
        (out / PARTIAL_FILE).unlink(missing_ok=True)  # all of it stands in ranking.csv now
    notes = report.notes
    if from_scores is not None and explain is None:
        notes = ["drawn without explanations; --explain searches for them again, with the model"]
        notes += report.notes
    elif scored.search and scored.search.model.generator is None:
        notes = [*notes, NO_GENERATOR]
    done, not_done = actions.perform(report, comparisons)
    print_ranking(report, [*notes, *done], out, quiet=scoring.reporter.quiet)
    if not_done:
        raise OutputError(not_done)
    if scoring.reporter.verbose:
        watch.report()


def _read(scores: Path, out: Path, scoring: ScoringOptions, *, explain: bool) -> Scored:
    """Read the rows of a table, and with `explain` the model that they came from."""
    if is_worker():
        raise typer.Exit()  # there is nothing to share
    from adgan_cli.images.find import find_inputs
    from adgan_cli.reports.report import prepare_folder, read_report_info
    from adgan_cli.scoring.rows import read_scores

    preset = [] if scoring.search.preset is None else ["preset"]
    for name in [*preset, *scoring.search.settings.given]:
        raise ConfigError(f"--from draws scores that are there; leave out {flag(name)}")
    rows = read_scores(scores)
    if not any(row.score is not None for row in rows):
        raise ConfigError(f"--from {scores} holds no scored picture")
    paths = scoring.inputs.expanded
    info = read_report_info(scores, find_inputs(paths).root if paths else None)
    search = None
    if explain:
        from adgan_cli.reports.rank import read_search

        model = open_model(scoring.model, scoring.device, scoring.reporter)
        search = Search(model, read_search(info, model, scores), scoring.reader(model))
    prepare_folder(out)
    return Scored(rows, info, search)


def _score(out: Path, scoring: ScoringOptions, watch: Stopwatch, cut: "Cut | None") -> Scored:
    """Score the images, going on from the journal in `out` with --resume."""
    with watch("starting PyTorch"):
        import torch  # noqa: F401  it takes seconds, and they are told
    from adgan_cli.reports.rank import JOURNAL_FOLDER, report_info
    from adgan_cli.reports.report import prepare_folder
    from adgan_cli.scoring.calibration import require_p_values

    run = scoring.start(watch, out / JOURNAL_FOLDER)
    require_p_values(run.held_out is not None, cut)
    prepare_folder(out, run.listing.items)
    score_share(run, scoring.reporter)
    rows = _rows(run, out, scoring)
    watch.add_all(run.seconds)
    note_eager_search(run.eager_reason, scoring.reporter)
    reader = scoring.reader(run.model)
    with watch("what the order follows"):
        info = report_info(run.model, run.listing, rows, run.config, reader=reader)
    return Scored(rows, info, Search(run.model, run.config, reader))


def _rows(run: "ScoringRun", out: Path, scoring: ScoringOptions) -> "list[ScoreRow]":
    """Collect the rows, each of them also in a table that survives a kill."""
    from adgan_cli.scoring.rows import row_writer

    rows: list[ScoreRow] = []
    partial, count = out / PARTIAL_FILE, run.listing.count
    scored = run.rows()
    with (
        writing(partial),
        open(partial, "w", encoding="utf-8", newline="") as stream,
        scoring.reporter.stop_on_signal("stopping...") as stop_requested,
    ):
        write = row_writer(stream, detectors=run.detectors)
        for row in track(scored, count, scoring.reporter):
            write(row)
            rows.append(row)
            if stop_requested():
                break
    if len(rows) < count:
        status(
            f"stopped after {len(rows):,} of {plural(count, 'picture')}; --resume goes on; to see "
            f"what is there: adgan rank {run.listing.root} --from {partial} -o {out}"
        )
        raise typer.Exit(INTERRUPTED)
    return rows


def _cross_fit(folds: int, out: Path, scoring: ScoringOptions, watch: Stopwatch) -> Scored:
    """Score each image by a model that was not trained on it."""
    if is_worker():
        raise typer.Exit()  # there is nothing to share
    if scoring.resume:
        raise ConfigError("--cross-fit goes on by itself; leave out --resume")
    from adgan_cli.fitting.cross_fit import CrossFitCallbacks, cross_fit
    from adgan_cli.reports.rank import report_info
    from adgan_cli.reports.report import prepare_folder

    listing, model = scoring.open(watch)
    reporter, folder = scoring.reporter, out / CROSS_FIT_FOLDER
    config, reader = scoring.search.config(model, reporter), scoring.reader(model)
    prepare_folder(out, listing.items)
    steps = (model.provenance.get("training") or {}).get("iters", 0)
    reporter.info(
        f"training {folds} models of {steps:,} steps in {folder}, each without a part of the "
        "pictures; stopped, the same command goes on"
    )
    with (
        reporter.stop_on_signal("stopping: saving the model, a moment...") as stop_requested,
        reporter.progress_bar("{task.fields[text]}") as bar,
        watch("training and searching"),
    ):
        progress = CrossFitProgress(bar, folds, steps, listing.count)
        callbacks = CrossFitCallbacks(
            progress.step, progress.features, progress.scored, stop_requested
        )
        rows = cross_fit(listing, model, config, folds, folder, callbacks=callbacks, reader=reader)
    if rows is None:
        status("stopped; the same command goes on from there")
        raise typer.Exit(INTERRUPTED)
    with watch("what the order follows"):
        info = report_info(model, listing, rows, config, reader=reader, cross_fit=folds)
    return Scored(rows, info)  # the reconstruction by a model that knows the image says little


def _write(
    out: Path, report: "Report", search: Search | None, scoring: ScoringOptions, watch: Stopwatch
) -> "list[Comparison]":
    """Write the report, its tables while what it shows is explained; search None: nothing is."""
    from adgan_cli.reports.explanation import explain
    from adgan_cli.reports.report import write_report_page, write_tables

    comparisons: list[Comparison] = []
    with ThreadPoolExecutor(1, "adgan-report") as beside:
        tables = beside.submit(write_tables, out, report)
        if search is not None:
            with watch("explaining"):
                comparisons = _compare(report, search, scoring)
        with watch("writing the report"):
            write_report_page(out, report, tables.result(), explain(comparisons))
    return comparisons


def _compare(report: "Report", search: Search, scoring: ScoringOptions) -> "list[Comparison]":
    """Search again for what is shown, under a bar; Ctrl-C ends that, not the report."""
    from adgan_cli.reports.comparison import compare

    model, config, reader = search
    results: list[Comparison] = []
    reporter = scoring.reporter
    with (
        reporter.stop_on_signal("leaving out the other explanations...") as stop_requested,
        reporter.counting_bar() as bar,
    ):
        task = bar.add_task("explaining", total=len(report.shown))
        for result in compare(
            model,
            report.shown,
            report.info.root,
            config,
            reader=reader,
            batch_size=scoring.batch_size,
        ):
            results.append(result)
            bar.advance(task)
            if stop_requested():
                break
        return results
