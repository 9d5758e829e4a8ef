"""adgan rank: the same scores, sorted, as a contact sheet that can be looked at."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.atomic import writing
from adgan_cli.cli import scoring
from adgan_cli.cli.console import (
    INTERRUPTED,
    Stopwatch,
    bar,
    counting_bar,
    escape_control,
    plural,
    status,
    stderr,
    stop_on_signal,
)
from adgan_cli.cli.options import (
    DEFAULT_LIMIT,
    DEFAULT_MODEL,
    OUTPUT,
    CacheDir,
    CacheLimit,
    Device,
    Exclude,
    FilesFrom,
    FollowLinks,
    Include,
    ModelPath,
    NoCache,
    Paths,
    Quiet,
    Recursive,
    Verbose,
    Workers,
    cache_config,
    selection,
)
from adgan_cli.config import SearchConfig, flag
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.processes import is_worker, join

if TYPE_CHECKING:
    from adgan_cli.engine.models.model import Model
    from adgan_cli.engine.training.trainer import StepMetrics
    from adgan_cli.images.cache import CacheConfig
    from adgan_cli.images.find import Listing
    from adgan_cli.images.reader import Reader
    from adgan_cli.reports.explanation import Explanation
    from adgan_cli.reports.ranking import RankedRow
    from adgan_cli.reports.report import Report, ReportInfo
    from adgan_cli.scoring.rows import ScoreRow

PARTIAL_FILE = "scores.partial.csv"
CROSS_FIT_FOLDER = "cross-fit"
TABLE = 10  # rows in the terminal


def rank(
    paths: Paths = None,
    model: ModelPath = DEFAULT_MODEL,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where the report goes.", rich_help_panel=OUTPUT)
    ] = Path("adgan-report"),
    top: Annotated[
        int, typer.Option(min=1, help="Most anomalous to show.", rich_help_panel=OUTPUT)
    ] = 30,
    bottom: Annotated[
        int | None,
        typer.Option(
            min=0, help="Least anomalous to show; default: --top.", rich_help_panel=OUTPUT
        ),
    ] = None,
    from_scores: Annotated[
        Path | None,
        typer.Option("--from", help="Draw again from this scores.csv, without scoring."),
    ] = None,
    explain: Annotated[
        bool | None,
        typer.Option(
            "--explain/--no-explain",
            help="Show the reconstruction, where it differs, and the nearest training pictures; "
            "default: yes, but with --from, which then needs the model, no.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            help="Flag pictures so that about this share of them is ordinary, such as 0.05.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    cross_fit: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Rank the training folder itself: train this many models like MODEL, each "
            "without a part of it, and score the part. Takes that many trainings.",
        ),
    ] = None,
    resume: scoring.Resume = False,
    preset: scoring.Preset = None,
    n_seed: scoring.NSeed = None,
    init: scoring.Init = None,
    k: scoring.K = None,
    reduce: scoring.Reduce = None,
    lr_z: scoring.LrZ = None,
    lr_decay: scoring.LrDecay = None,
    z_radius: scoring.ZRadius = None,
    lr_theta: scoring.LrTheta = None,
    theta: scoring.Theta = None,
    precision: scoring.Precision = None,
    loss: scoring.Loss = None,
    seed: scoring.Seed = None,
    adjust: scoring.Adjust = None,
    batch_size: scoring.BatchSize = None,
    recursive: Recursive = True,
    include: Include = None,
    exclude: Exclude = None,
    files_from: FilesFrom = None,
    follow_links: FollowLinks = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    cache_limit: CacheLimit = DEFAULT_LIMIT,
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sort pictures by how little they belong, and show the ends as a page.

    Writes ranking.csv, index.html, figure.png and summary.json. With --from, PATHS says where the
    pictures are. Example: adgan rank ./val --top 30
    """
    from adgan_cli.reports import report
    from adgan_cli.reports.page import PAGE_FILE

    given = {
        "n_seed": n_seed, "init": init, "k": k, "reduce": reduce, "lr_z": lr_z,
        "lr_decay": lr_decay, "z_radius": z_radius, "lr_theta": lr_theta, "theta": theta,
        "precision": precision, "loss": loss, "seed": seed, "adjust": adjust,
    }  # fmt: skip
    options = report.ReportOptions(top, bottom, fdr)
    place, watch = cache_config(cache_dir, no_cache, cache_limit), Stopwatch()
    loaded = None
    if from_scores is not None:
        if is_worker():
            raise typer.Exit()  # there is nothing to share
        if resume or cross_fit:
            other = "--resume" if resume else "--cross-fit"
            raise ConfigError(f"--from draws scores that are there; leave out {other}")
        rows, info = _read(from_scores, paths, {"preset": preset, **given})
        if explain:
            from adgan_cli.images.reader import Reader
            from adgan_cli.reports.rank import read_search

            loaded = scoring.open_model(model, device, verbose=verbose)
            config = read_search(info, loaded, from_scores)
            reader = Reader(loaded.preprocessing(), workers, place)
        report.prepare_report(out)
    elif paths or files_from:
        from adgan_cli.images.reader import Reader
        from adgan_cli.reports.rank import JOURNAL_FOLDER, report_info
        from adgan_cli.scoring.calibration import require_p_values
        from adgan_cli.scoring.run import ScoringRun

        chosen = selection(recursive, include, exclude, follow_links)
        with watch("finding pictures"):
            listing = scoring.find(paths, files_from, chosen, quiet=quiet)
        with watch("loading the model"):
            loaded = scoring.open_model(model, device, verbose=verbose)
        config = scoring.search_config(loaded, preset, **given)
        reader = Reader(loaded.preprocessing(), workers, place)
        if cross_fit and is_worker():
            raise typer.Exit()  # there is nothing to share
        if cross_fit and resume:
            raise ConfigError("--cross-fit goes on by itself; leave out --resume")
        if not cross_fit:  # those models calibrate themselves
            run = ScoringRun(
                loaded,
                listing,
                config,
                reader=replace(reader, on_cache_disabled=scoring.cache_off(quiet)),
                batch_size=batch_size,
                journal=out / JOURNAL_FOLDER,
                resume=resume,
                processes=join(),
            )
            require_p_values(run.held_out is not None, fdr)
        report.prepare_report(out, listing.items)
        if cross_fit:
            explain = False  # what the model came to that has seen a picture says little about it
            rows = _cross_fitted(
                loaded, listing, config, cross_fit, out, workers, place, watch, quiet
            )
        else:
            scoring.score_share(run, quiet=quiet)
            rows = _follow(run.rows(), listing, out, quiet)
            watch.add_all(run.seconds)
        with watch("what the order follows"):
            info = report_info(loaded, listing, rows, config, reader=reader, cross_fit=cross_fit)
        del listing  # of a million pictures: memory for the report
    else:
        raise ConfigError("give PATHS to score, or --from scores.csv to draw again")
    ranking = report.make_report(rows, info, options)
    explanations = {}
    if loaded is not None and explain is not False:
        with watch("explaining"):
            explanations = _explain(
                loaded, ranking, config, reader=reader, batch_size=batch_size, quiet=quiet
            )
    with watch("writing the report"):
        report.write_report(out, ranking, explanations)
    if from_scores is None or from_scores.absolute() == (out / PARTIAL_FILE).absolute():
        (out / PARTIAL_FILE).unlink(missing_ok=True)  # all of it stands in ranking.csv now
    scored = sum(row.score is not None for row in rows)
    failed = len(rows) - scored
    if not scored:
        table = out / report.RANKING_FILE
        raise NoImagesError(f"no usable picture: all {failed} failed; the reasons are in {table}")
    if not quiet:
        _print_table(ranking.ranked)
        if from_scores is not None and explain is None:
            status("drawn without explanations; --explain searches for them again, with the model")
        for note in ranking.notes:
            status(note)
        status(f"{len(rows):,} found, {scored:,} scored, {failed:,} failed")
        status(f"{out / PAGE_FILE}")
    if verbose:
        watch.tell()


def _read(
    scores: Path, paths: list[Path] | None, given: dict[str, Any]
) -> tuple[list["ScoreRow"], "ReportInfo"]:
    from adgan_cli.images.find import find_inputs
    from adgan_cli.reports.report import read_report_info
    from adgan_cli.scoring.rows import read_scores

    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--from draws scores that are there; leave out {flag(name)}")
    rows = read_scores(scores)
    if not any(row.score is not None for row in rows):
        raise ConfigError(f"--from {scores} holds no scored picture")
    return rows, read_report_info(scores, find_inputs(paths).root if paths else None)


def _explain(
    model: "Model",
    report: "Report",
    config: SearchConfig,
    *,
    reader: "Reader",
    batch_size: int | None,
    quiet: bool,
) -> dict[str, "Explanation"]:
    """Search again for what is shown, under a bar; Ctrl-C ends that, not the report."""
    from adgan_cli.reports.explanation import Reconstruction, explain, reconstruct

    found: list[Reconstruction] = []
    with (
        stop_on_signal("leaving out the other explanations...", quiet=quiet) as asked,
        counting_bar(quiet=quiet) as shown_bar,
    ):
        task = shown_bar.add_task("explaining", total=len(report.shown))
        for reconstruction in reconstruct(
            model, report.shown, report.info.root, config, reader=reader, batch_size=batch_size
        ):
            found.append(reconstruction)
            shown_bar.advance(task)
            if asked():
                break
        return explain(model, found)


def _cross_fitted(
    model: "Model",
    listing: "Listing",
    config: SearchConfig,
    parts: int,
    out: Path,
    workers: int | None,
    place: "CacheConfig | None",
    watch: Stopwatch,
    quiet: bool,
) -> list["ScoreRow"]:
    """The rows of models that have not seen their pictures, under a bar."""
    from adgan_cli.fitting.cross_fit import CrossFitCallbacks, cross_fit

    steps = (model.provenance.get("training") or {}).get("iters", 0)
    if not quiet:
        status(
            f"training {parts} models of {steps:,} steps in {out / CROSS_FIT_FOLDER}, each without "
            "a part of the pictures; stopped, the same command goes on"
        )
    with (
        stop_on_signal("stopping: saving the model, a moment...", quiet=quiet) as asked,
        bar("{task.fields[told]}", quiet=quiet) as shown,
        watch("training and searching"),
    ):
        task, scored = shown.add_task(f"1/{parts}", total=1.0, told="reading pictures"), 0

        def stepped(part: int, step: "StepMetrics") -> None:
            done = (part - 1 + step.step / max(1, steps)) / parts
            told = f"training: step {step.step:,}"
            shown.update(task, completed=done, description=f"{part}/{parts}", told=told)

        def searched(part: int, row: "ScoreRow") -> None:
            nonlocal scored
            scored += 1
            told = f"scored {scored:,} of {plural(listing.count, 'picture')}"
            shown.update(task, completed=part / parts, description=f"{part}/{parts}", told=told)

        rows = cross_fit(
            listing, model, config, parts, out / CROSS_FIT_FOLDER,
            told=CrossFitCallbacks(stepped, searched, asked), workers=workers, place=place,
        )  # fmt: skip
    if rows is None:
        status("stopped; the same command goes on from there")
        raise typer.Exit(INTERRUPTED)
    return rows


def _follow(
    scores: Iterator["ScoreRow"], listing: "Listing", out: Path, quiet: bool
) -> list["ScoreRow"]:
    """Collect the rows under a bar, each of them also in a table that survives a kill."""
    from adgan_cli.scoring.rows import row_writer

    rows: list[ScoreRow] = []
    partial = out / PARTIAL_FILE
    with (
        writing(partial),
        open(partial, "w", encoding="utf-8", newline="") as stream,
        stop_on_signal("stopping...", quiet=quiet) as asked,
    ):
        write = row_writer(stream)

        def keep(row: "ScoreRow") -> None:
            write(row)
            rows.append(row)

        scoring.follow(scores, listing.count, keep=keep, should_stop=asked, quiet=quiet)
    if len(rows) < listing.count:
        status(
            f"stopped after {len(rows):,} of {plural(listing.count, 'picture')}; --resume goes "
            f"on; to see what is there: adgan rank {listing.root} --from {partial} -o {out}"
        )
        raise typer.Exit(INTERRUPTED)
    return rows


def _print_table(ranked: list["RankedRow"]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    known = any(row.p_value is not None for _, row in ranked[:TABLE])
    if known:
        table.add_column("p", justify="right")
    table.add_column("picture", overflow="fold")
    for place, row in ranked[:TABLE]:
        if place is not None and row.score is not None:
            p = [] if not known else ["" if row.p_value is None else f"{row.p_value:.2g}"]
            table.add_row(str(place), f"{row.score:.4g}", *p, Text(escape_control(row.path)))
    stderr.print(table)
