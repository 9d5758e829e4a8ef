"""Typer. One module a command: options, one library call, and what to print of it."""

from importlib import import_module
from typing import Any, NamedTuple

import typer

from adgan_cli import __version__
from adgan_cli.cli.console import ErrorsAsLines, HelpfulCommand, output


class CommandEntry(NamedTuple):
    """A command as `adgan --help` lists it, and where it is."""

    module: str  # in this package
    function: str  # or a Typer of its own
    summary: str


COMMANDS = {
    "train": CommandEntry("train", "train", "Learn what a folder of pictures looks like."),
    "score": CommandEntry("score", "score", "Write a score for each picture."),
    "rank": CommandEntry("rank", "rank", "Sort pictures, and show the oddest as a page."),
    "calibrate": CommandEntry(
        "calibrate", "calibrate", "Make p-values possible for other searches."
    ),
    "explain": CommandEntry("explain", "explain", "Show the search for a picture, step by step."),
    "evaluate": CommandEntry("evaluate", "evaluate", "Measure methods on labelled pictures."),
    "scan": CommandEntry("scan", "scan", "Count what is in a folder, before training."),
    "info": CommandEntry("info", "info", "Print a model's settings and its training."),
    "import": CommandEntry("import_", "import_", "Make a model of a generator from elsewhere."),
    "cache": CommandEntry("cache", "cache_app", "Show or clear the cache of decoded pictures."),
}


class LazyCommands(ErrorsAsLines):
    """Load a command when it is called: listing them all takes a third less time without them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(name), rest


def load_command(name: str | None) -> Any:
    """Import the module of a command of COMMANDS, and build the command."""
    assert name is not None
    entry = COMMANDS[name]
    function = getattr(import_module(f"adgan_cli.cli.{entry.module}"), entry.function)
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)
    alone = typer.Typer(rich_markup_mode="rich", add_completion=False)
    alone.command(name, cls=HelpfulCommand)(function)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="adgan",
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # tensors would fill the screen
    rich_markup_mode="rich",  # which draws the panels; errors stay lines, see ErrorsAsLines
    help="Find the pictures in a folder that do not belong there, without labels.",
    epilog="First `adgan train FOLDER`, then `adgan rank FOLDER`. Nothing leaves this machine.",
)
for command_name, listed in COMMANDS.items():
    app.command(command_name, short_help=listed.summary)(lambda: None)


def _print_version(wanted: bool) -> None:
    if wanted:
        output(f"adgan {__version__}")
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
