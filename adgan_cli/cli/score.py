"""adgan score: one row a picture, as they come."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from adgan_cli.atomic import replacing, writing
from adgan_cli.cli.console import INTERRUPTED, Stopwatch, VerboseReporter, status
from adgan_cli.cli.options import ScoringOptions, note_eager_search
from adgan_cli.cli.progress import score_share, track
from adgan_cli.cli.signature import with_options
from adgan_cli.errors import ConfigError, NoImagesError, OutputError
from adgan_cli.processes import rank_from_env
from adgan_cli.text import plural

if TYPE_CHECKING:
    from adgan_cli.scoring.rows import TraceWriter


@with_options
def score(
    *,
    out: Annotated[
        str, typer.Option("-o", "--out", help="File to write; - is standard output.")
    ] = "-",
    format: Annotated[
        Literal["csv", "jsonl", "excel"],
        typer.Option(help="Write a table, a JSON object a line, or a table that Excel opens."),
    ] = "csv",
    trace: Annotated[
        Path | None,
        typer.Option(help="Also write the loss of each starting point at each step to this file."),
    ] = None,
    scoring: ScoringOptions,
) -> None:
    """Write a row for each picture, in input order: the larger the score, the odder.

    Example: adgan score ./val -o scores.csv
    """
    partial = _partial_path(out)
    journal = _journal(out, partial, resume=scoring.resume, trace=trace)
    if journal is not None:  # all that is written has its name from the same file
        scoring.reporter.own(journal)
    from adgan_cli.scoring.rows import row_writer

    watch, reporter = Stopwatch(), scoring.reporter
    run = scoring.start(watch, journal)
    if trace is not None and run.config.by == "features":
        raise ConfigError("--trace: scores --by features have no losses; give --by reconstruction")
    score_share(run, reporter)
    results, count = run.results(), run.listing.count
    done = failed = 0
    with (
        _trace_writer(trace) as write_losses,
        writing(partial or "to standard output"),
        _open(partial) as stream,
        reporter.stop_on_signal("stopping...") as stop_requested,
    ):
        write = row_writer(stream, format, run.detectors)
        for result in track(results, count, reporter):
            write(result.row)
            if write_losses is not None and result.losses is not None:
                write_losses(result.row.path, result.losses.tolist())
            done, failed = done + 1, failed + bool(result.row.error)
            if stop_requested():
                break
    watch.add_all(run.seconds)
    note_eager_search(run.eager_reason, reporter)
    if done < count:
        where = f"; the rows so far are in {partial}, --resume goes on" if partial else ""
        status(f"stopped after {done:,} of {plural(count, 'picture')}{where}")
        raise typer.Exit(INTERRUPTED)
    _finish(out, partial, done, failed, reporter)
    if reporter.verbose:
        watch.report()


def _finish(
    out: str, partial: Path | None, done: int, failed: int, reporter: VerboseReporter
) -> None:
    """Give the rows their name, and say how many there are."""
    if partial and partial != Path(out):
        with writing(out):
            os.replace(partial, out)
    if failed == done:
        where = f"into {out}" if partial else "to standard output"
        raise NoImagesError(f"no usable picture: all {failed} failed; the reasons went {where}")
    where = f" into {out}" if partial else ""
    reporter.info(f"{done:,} found, {done - failed:,} scored, {failed:,} failed{where}")


def _journal(out: str, partial: Path | None, *, resume: bool, trace: Path | None) -> Path | None:
    """Return the folder that keeps scores for --resume, None where no file is written."""
    journal = Path(f"{out}.journal") if partial and partial != Path(out) else None
    if (resume or rank_from_env()[1] > 1) and (journal is None or trace):
        what = "--trace: rows that are kept have none" if journal else "-o - or a pipe; give a file"
        who = "--resume does" if resume else "several processes do"
        raise ConfigError(f"{who} not go with {what}")
    return journal


@contextmanager
def _trace_writer(path: Path | None) -> "Iterator[TraceWriter | None]":
    """Open what writes an image's losses into the table that --trace names; None without it."""
    from adgan_cli.scoring.rows import trace_writer

    if path is None:
        yield None
        return
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as stream:
            yield trace_writer(stream)


def _partial_path(out: str) -> Path | None:
    """Return the file that the rows go to until they are complete; None for standard output."""
    if out == "-":
        return None
    path = Path(out)
    if path.is_dir():
        raise ConfigError(f"-o {path} is a folder; give a file for the rows, or - for stdout")
    if path.exists() and not path.is_file():  # /dev/null, a pipe: nothing to replace it with
        return path
    return Path(f"{out}.partial")


def _open(partial: Path | None) -> AbstractContextManager[TextIO]:
    """Open standard output as UTF-8 with plain line ends, or a file that grows row by row."""
    if partial is None:
        if sys.stdout is None:
            raise OutputError("standard output is closed; give a file with -o")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        return nullcontext(sys.stdout)  # it is not ours to close
    partial.parent.mkdir(parents=True, exist_ok=True)
    return open(partial, "w", encoding="utf-8", newline="")
