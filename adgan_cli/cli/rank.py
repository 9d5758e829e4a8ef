"""adgan rank: the same scores, sorted, as a contact sheet that can be looked at."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.atomic import writing
from adgan_cli.cli import scoring
from adgan_cli.cli.console import (
    INTERRUPTED,
    Stopwatch,
    counted,
    readable,
    say,
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
    cache_place,
    selection,
)
from adgan_cli.config import flag, to_dict
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.processes import follows

if TYPE_CHECKING:
    from adgan_cli.images.find import Listing
    from adgan_cli.pipeline.report import Source
    from adgan_cli.results.ranking import RankedRow
    from adgan_cli.results.scores import ScoreRow

PARTIAL_FILE, JOURNAL_FOLDER = "scores.partial.csv", "journal"
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
    resume: scoring.Resume = False,
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
    from adgan_cli.pipeline import report

    given = {
        "n_seed": n_seed, "init": init, "k": k, "reduce": reduce, "lr_z": lr_z,
        "lr_decay": lr_decay, "z_radius": z_radius, "lr_theta": lr_theta, "theta": theta,
        "precision": precision, "loss": loss, "seed": seed,
    }  # fmt: skip
    place, watch = cache_place(cache_dir, no_cache, cache_limit), Stopwatch()
    if from_scores is not None:
        if follows():
            raise typer.Exit()  # there is nothing to share
        if resume:
            raise ConfigError("--from draws scores that are there; leave out --resume")
        rows, source = _read(from_scores, paths, given)
        report.prepare_report(out)
    elif paths or files_from:
        from adgan_cli.pipeline.rank import described

        chosen = selection(recursive, include, exclude, follow_links)
        with watch("finding pictures"):
            listing = scoring.find(paths, files_from, chosen, quiet=quiet)
        with watch("loading the model"):
            loaded = scoring.open_model(model, device, verbose=verbose)
        config = scoring.search_config(loaded, **given)
        report.prepare_report(out, listing.found)
        with scoring.scored(
            loaded,
            listing,
            config,
            out / JOURNAL_FOLDER,
            resume=resume,
            quiet=quiet,
            workers=workers,
            batch_size=batch_size,
            place=place,
            on_spent=watch.add,
        ) as scores:
            rows = _follow(scores, listing, out, quiet)
        source = report.Source(listing.root, described(loaded), to_dict(config))
        del listing, scores  # of a million pictures: memory for the report
    else:
        raise ConfigError("give PATHS to score, or --from scores.csv to draw again")
    with watch("writing the report"):
        ranked = report.write_report(
            out, rows, source, top=top, bottom=top if bottom is None else bottom
        )
    if from_scores is None or from_scores.absolute() == (out / PARTIAL_FILE).absolute():
        (out / PARTIAL_FILE).unlink(missing_ok=True)  # all of it stands in ranking.csv now
    scored = sum(row.score is not None for row in rows)
    failed = len(rows) - scored
    if not scored:
        table = out / report.RANKING_FILE
        raise NoImagesError(f"no usable picture: all {failed} failed; the reasons are in {table}")
    if not quiet:
        _print_table(ranked)
        say(f"{len(rows):,} found, {scored:,} scored, {failed:,} failed")
        say(f"{out / report.PAGE_FILE}")
    if verbose:
        watch.tell()


def _read(
    scores: Path, paths: list[Path] | None, given: dict[str, Any]
) -> tuple[list["ScoreRow"], "Source"]:
    from adgan_cli.images.find import find_inputs
    from adgan_cli.pipeline.report import read_source
    from adgan_cli.results.scores import read_scores

    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--from draws scores that are there; leave out {flag(name)}")
    rows = read_scores(scores)
    if not any(row.score is not None for row in rows):
        raise ConfigError(f"--from {scores} holds no scored picture")
    return rows, read_source(scores, find_inputs(paths).root if paths else None)


def _follow(
    scores: Iterator["ScoreRow"], listing: "Listing", out: Path, quiet: bool
) -> list["ScoreRow"]:
    """Collect the rows under a bar, each of them also in a table that survives a kill."""
    from adgan_cli.results.scores import row_writer

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
        say(
            f"stopped after {len(rows):,} of {counted(listing.count, 'picture')}; --resume goes "
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
    table.add_column("picture", overflow="fold")
    for place, row in ranked[:TABLE]:
        if place is not None and row.score is not None:
            table.add_row(str(place), f"{row.score:.4g}", Text(readable(row.path)))
    stderr.print(table)
