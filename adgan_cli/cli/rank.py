"""adgan rank: the same scores, sorted, as a contact sheet that can be looked at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.atomic import writing
from adgan_cli.cli import scoring
from adgan_cli.cli.console import INTERRUPTED, counted, readable, say, stderr, stop_on_signal
from adgan_cli.cli.options import DEFAULT_MODEL, OUTPUT, Device, ModelPath, Quiet, Verbose, Workers
from adgan_cli.config import flag, to_dict
from adgan_cli.errors import ConfigError, NoImagesError

if TYPE_CHECKING:
    from adgan_cli.pipeline.rank import Source
    from adgan_cli.results.ranking import RankedRow
    from adgan_cli.results.scores import ScoreRow

PARTIAL_FILE = "scores.partial.csv"
TABLE = 10  # rows in the terminal


def rank(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Folders, pictures, or a mix.", show_default=False)
    ] = None,
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
    verbose: Verbose = False,
) -> None:
    """Sort pictures by how little they belong, and show the ends as a page.

    Writes ranking.csv, index.html, figure.png and summary.json. With --from, PATHS says where the
    pictures are. Example: adgan rank ./val --top 30
    """
    from adgan_cli.pipeline import rank as pipeline

    given = {
        "n_seed": n_seed, "k": k, "lr_z": lr_z, "lr_theta": lr_theta, "loss": loss, "seed": seed,
    }  # fmt: skip
    if from_scores is not None:
        rows, source = _read(from_scores, paths, given)
        pipeline.prepare_report(out)
    elif paths:
        rows, source = _score(paths, model, out, given, batch_size, device, workers, quiet, verbose)
    else:
        raise ConfigError("give PATHS to score, or --from scores.csv to draw again")
    ranked = pipeline.write_report(
        out, rows, source, top=top, bottom=top if bottom is None else bottom
    )
    if from_scores is None or from_scores.absolute() == (out / PARTIAL_FILE).absolute():
        (out / PARTIAL_FILE).unlink(missing_ok=True)  # all of it stands in ranking.csv now
    scored = sum(row.score is not None for row in rows)
    failed = len(rows) - scored
    if not scored:
        table = out / pipeline.RANKING_FILE
        raise NoImagesError(f"no usable picture: all {failed} failed; the reasons are in {table}")
    if not quiet:
        _print_table(ranked)
        say(f"{len(rows):,} found, {scored:,} scored, {failed:,} failed")
        say(f"{out / pipeline.PAGE_FILE}")


def _read(
    scores: Path, paths: list[Path] | None, given: dict[str, Any]
) -> tuple[list["ScoreRow"], "Source"]:
    from adgan_cli.images.find import find_inputs
    from adgan_cli.pipeline.rank import read_source
    from adgan_cli.results.scores import read_scores

    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--from draws scores that are there; leave out {flag(name)}")
    rows = read_scores(scores)
    if not any(row.score is not None for row in rows):
        raise ConfigError(f"--from {scores} holds no scored picture")
    return rows, read_source(scores, find_inputs(paths)[0] if paths else None)


def _score(
    paths: list[Path],
    model: Path,
    out: Path,
    given: dict[str, Any],
    batch_size: int | None,
    device: str,
    workers: int | None,
    quiet: bool,
    verbose: bool,
) -> tuple[list["ScoreRow"], "Source"]:
    from adgan_cli.pipeline.rank import Source, described, prepare_report
    from adgan_cli.pipeline.score import list_inputs, score_inputs
    from adgan_cli.results.scores import row_writer

    inputs = list_inputs(paths)
    loaded = scoring.open_model(model, device, verbose=verbose)
    config = scoring.search_config(loaded, **given)
    prepare_report(out, inputs.found)
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

        scored = score_inputs(loaded, inputs, config, workers=workers, batch_size=batch_size)
        scoring.follow(scored, inputs.count, keep=keep, should_stop=asked, quiet=quiet)
    if len(rows) < inputs.count:
        say(
            f"stopped after {len(rows):,} of {counted(inputs.count, 'picture')}; "
            f"to see what is there: adgan rank {inputs.root} --from {partial} -o {out}"
        )
        raise typer.Exit(INTERRUPTED)
    return rows, Source(inputs.root, described(loaded), to_dict(config))


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
