"""adgan score: one row a picture, as they come."""

import io
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from adgan_cli.cli import scoring
from adgan_cli.cli.console import INTERRUPTED, counted, say, stop_on_signal
from adgan_cli.cli.options import DEFAULT_MODEL, Device, ModelPath, Quiet, Workers
from adgan_cli.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from adgan_cli.results.scores import ScoreRow


def score(
    paths: Annotated[list[Path], typer.Argument(help="Folders, pictures, or a mix.")],
    model: ModelPath = DEFAULT_MODEL,
    out: Annotated[
        str, typer.Option("-o", "--out", help="File to write; - is standard output.")
    ] = "-",
    format: Annotated[str, typer.Option(help="csv or jsonl.")] = "csv",
    n_seed: scoring.NSeed = None,
    k: scoring.K = None,
    lr_z: scoring.LrZ = None,
    lr_theta: scoring.LrTheta = None,
    loss: scoring.Loss = None,
    seed: scoring.Seed = None,
    batch_size: scoring.BatchSize = None,
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Write a row for each picture, in input order: the larger the score, the odder.

    Example: adgan score ./val -o scores.csv
    """
    if format not in ("csv", "jsonl"):
        raise ConfigError(f"--format must be csv or jsonl, got {format}")
    from adgan_cli.pipeline.score import list_inputs, score_inputs
    from adgan_cli.results.scores import row_writer

    inputs = list_inputs(paths)
    loaded = scoring.open_model(model, device)
    config = scoring.search_config(
        loaded, n_seed=n_seed, k=k, lr_z=lr_z, lr_theta=lr_theta, loss=loss, seed=seed
    )
    rows = score_inputs(loaded, inputs, config, workers=workers, batch_size=batch_size)
    partial = None if out == "-" else Path(f"{out}.partial")
    failed = 0
    with _open(partial) as stream, stop_on_signal("stopping...", quiet=quiet) as asked:
        write = row_writer(stream, format)

        def keep(row: "ScoreRow") -> None:
            nonlocal failed
            failed += bool(row.error)
            write(row)

        done = scoring.follow(rows, inputs.count, keep=keep, should_stop=asked, quiet=quiet)
    if done < inputs.count:
        where = f"; the rows so far are in {partial}" if partial else ""
        say(f"stopped after {done:,} of {counted(inputs.count, 'picture')}{where}")
        raise typer.Exit(INTERRUPTED)
    if partial:
        os.replace(partial, out)
    if not quiet:
        where = f" into {out}" if partial else ""
        say(f"{inputs.count:,} found, {done - failed:,} scored, {failed:,} failed{where}")


def _open(partial: Path | None) -> AbstractContextManager[TextIO]:
    """Standard output as UTF-8 with plain line ends, or a file that grows row by row."""
    if partial is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        return nullcontext(sys.stdout)  # it is not ours to close
    try:
        return open(partial, "w", encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"cannot write {partial}: {error.strerror}; choose another -o") from error
