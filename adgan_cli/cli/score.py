"""adgan score: one row a picture, as they come."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from adgan_cli.atomic import replacing, writing
from adgan_cli.cli import scoring
from adgan_cli.cli.console import INTERRUPTED, Stopwatch, plural, status, stop_on_signal
from adgan_cli.cli.options import (
    DEFAULT_LIMIT,
    DEFAULT_MODEL,
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
from adgan_cli.errors import ConfigError, NoImagesError, OutputError
from adgan_cli.processes import join, rank_from_env

if TYPE_CHECKING:
    from adgan_cli.scoring.rows import TraceWriter
    from adgan_cli.scoring.run import ScoringResult


def score(
    paths: Paths = None,
    model: ModelPath = DEFAULT_MODEL,
    out: Annotated[
        str, typer.Option("-o", "--out", help="File to write; - is standard output.")
    ] = "-",
    format: Annotated[str, typer.Option(help="csv or jsonl.")] = "csv",
    trace: Annotated[
        Path | None,
        typer.Option(help="Also write the loss of every starting point at every step there."),
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
    """Write a row for each picture, in input order: the larger the score, the odder.

    Example: adgan score ./val -o scores.csv
    """
    if format not in ("csv", "jsonl"):
        raise ConfigError(f"--format must be csv or jsonl, got {format}")
    partial = _growing(out)
    journal = Path(f"{out}.journal") if partial and partial != Path(out) else None
    several = rank_from_env()[1] > 1
    if (resume or several) and (journal is None or trace):
        what = "--trace: rows that are kept have none" if journal else "-o - or a pipe; give a file"
        who = "--resume does" if resume else "several processes do"
        raise ConfigError(f"{who} not go with {what}")
    place = cache_config(cache_dir, no_cache, cache_limit)
    chosen = selection(recursive, include, exclude, follow_links)
    from adgan_cli.images.reader import Reader
    from adgan_cli.scoring.rows import row_writer
    from adgan_cli.scoring.run import ScoringRun

    watch = Stopwatch()
    with watch("finding pictures"):
        listing = scoring.find(paths, files_from, chosen, quiet=quiet)
    with watch("loading the model"):
        loaded = scoring.open_model(model, device, verbose=verbose)
    config = scoring.search_config(
        loaded, preset, n_seed=n_seed, init=init, k=k, reduce=reduce, lr_z=lr_z, lr_decay=lr_decay,
        z_radius=z_radius, lr_theta=lr_theta, theta=theta, precision=precision, loss=loss,
        seed=seed, adjust=adjust,
    )  # fmt: skip
    run = ScoringRun(
        loaded,
        listing,
        config,
        reader=Reader(loaded.preprocessing(), workers, place, scoring.cache_off(quiet)),
        batch_size=batch_size,
        journal=journal,
        resume=resume,
        processes=join(),
    )
    scoring.score_share(run, quiet=quiet)
    results = run.results()
    failed = 0
    with (
        _tracing(trace) as traces,
        writing(partial or "to standard output"),
        _open(partial) as stream,
        stop_on_signal("stopping...", quiet=quiet) as asked,
    ):
        write = row_writer(stream, "jsonl" if format == "jsonl" else "csv")

        def keep(result: "ScoringResult") -> None:
            nonlocal failed
            failed += bool(result.row.error)
            write(result.row)
            if traces is not None and result.losses is not None:
                traces(result.row.path, result.losses.tolist())

        done = scoring.follow(results, listing.count, keep=keep, should_stop=asked, quiet=quiet)
    watch.add_all(run.seconds)
    if done < listing.count:
        where = f"; the rows so far are in {partial}, --resume goes on" if partial else ""
        status(f"stopped after {done:,} of {plural(listing.count, 'picture')}{where}")
        raise typer.Exit(INTERRUPTED)
    if partial and partial != Path(out):
        with writing(out):
            os.replace(partial, out)
    if failed == listing.count:
        where = f"into {out}" if partial else "to standard output"
        raise NoImagesError(f"no usable picture: all {failed} failed; the reasons went {where}")
    if not quiet:
        where = f" into {out}" if partial else ""
        status(f"{listing.count:,} found, {done - failed:,} scored, {failed:,} failed{where}")
    if verbose:
        watch.tell()


@contextmanager
def _tracing(path: Path | None) -> "Iterator[TraceWriter | None]":
    """What writes a picture's losses into the table that --trace names; None without it."""
    from adgan_cli.scoring.rows import trace_writer

    if path is None:
        yield None
        return
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as stream:
            yield trace_writer(stream)


def _growing(out: str) -> Path | None:
    """The file that the rows go to until they are complete; None for standard output."""
    if out == "-":
        return None
    path = Path(out)
    if path.is_dir():
        raise ConfigError(f"-o {path} is a folder; give a file for the rows, or - for stdout")
    if path.exists() and not path.is_file():  # /dev/null, a pipe: nothing to replace it with
        return path
    return Path(f"{out}.partial")


def _open(partial: Path | None) -> AbstractContextManager[TextIO]:
    """Standard output as UTF-8 with plain line ends, or a file that grows row by row."""
    if partial is None:
        if sys.stdout is None:
            raise OutputError("standard output is closed; give a file with -o")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        return nullcontext(sys.stdout)  # it is not ours to close
    return open(partial, "w", encoding="utf-8", newline="")
