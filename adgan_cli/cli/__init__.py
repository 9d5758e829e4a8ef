"""Typer. One module a command: options -> config -> one library call -> what to say."""

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
    rich_markup_mode=None,
    help="Find the pictures in a folder that do not belong there, without labels.",
    epilog="First `adgan train FOLDER`, then `adgan rank FOLDER`. Nothing leaves this machine.",
)
app.command()(train)
app.command()(score)
app.command()(rank)
app.command()(calibrate)
app.command()(explain)
app.command()(evaluate)
app.command()(scan)
app.command()(info)
app.command("import")(import_)
app.add_typer(cache_app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"adgan {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Find the pictures in a folder that do not belong there, without labels."""
