"""Typer. One module a command: options, one library call, and what to print of it."""

from collections.abc import Callable

import typer

from adgan_cli import __version__
from adgan_cli.cli.cache import cache_app
from adgan_cli.cli.calibrate import calibrate
from adgan_cli.cli.console import ErrorsAsLines
from adgan_cli.cli.evaluate import evaluate
from adgan_cli.cli.explain import explain
from adgan_cli.cli.import_ import import_
from adgan_cli.cli.info import info
from adgan_cli.cli.rank import rank
from adgan_cli.cli.scan import scan
from adgan_cli.cli.score import score
from adgan_cli.cli.train import train

app = typer.Typer(
    name="adgan",
    cls=ErrorsAsLines,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # tensors would fill the screen
    rich_markup_mode="rich",  # which draws the panels; errors stay lines, see ErrorsAsLines
    help="Find the pictures in a folder that do not belong there, without labels.",
    epilog="First `adgan train FOLDER`, then `adgan rank FOLDER`. Nothing leaves this machine.",
)
COMMANDS: list[tuple[Callable[..., None], str, str]] = [
    (train, "train", "Learn what a folder of pictures looks like."),
    (score, "score", "Write a score for each picture."),
    (rank, "rank", "Sort pictures, and show the oddest as a page."),
    (calibrate, "calibrate", "Make p-values possible for other searches."),
    (explain, "explain", "Show the search for a picture, step by step."),
    (evaluate, "evaluate", "Measure methods on labelled pictures."),
    (scan, "scan", "Count what is in a folder, before training."),
    (info, "info", "Print a model's settings and its training."),
    (import_, "import", "Make a model of a generator from elsewhere."),
]
for function, name, summary in COMMANDS:
    app.command(name, short_help=summary)(function)
app.add_typer(cache_app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adgan {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Find the pictures in a folder that do not belong there, without labels."""
