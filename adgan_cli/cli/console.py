"""How commands talk: to people on stderr, errors as one line, stopping on request."""

import os
import signal
import sys
import textwrap
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from typer.core import TyperCommand, TyperGroup

from adgan_cli.errors import AdganError, OutputError
from adgan_cli.locks import owning
from adgan_cli.processes import is_first_to_report, is_worker

INTERRUPTED = 130  # exit code: stopped by Ctrl-C, SIGTERM or SIGHUP, state saved
# what asks a command to stop: Ctrl-C, kill, and a terminal that is closed, which Windows' are not
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which typer does not export

# of several processes the main one alone talks; of their errors all may
stderr = Console(stderr=True, highlight=False, quiet=is_worker())
errors = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)

Entered = TypeVar("Entered")
_ending: ContextVar[ExitStack] = ContextVar("_ending")


class HelpfulCommand(TyperCommand):
    """A command whose help is printed, or is one line that says why not."""

    def format_help(self, *args: Any, **extra: Any) -> None:
        with standard_output():
            super().format_help(*args, **extra)


class ErrorsAsLines(TyperGroup):
    """Turn errors a user can cause into one line and an exit code; bugs keep their traceback."""

    def format_help(self, *args: Any, **extra: Any) -> None:
        with standard_output():
            super().format_help(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with errors_as_lines():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with errors_as_lines():
            return super().invoke(ctx)


@contextmanager
def ending_with_it() -> Iterator[None]:
    """End with the block, a command, what `until_the_end` enters in it."""
    with ExitStack() as stack:
        before = _ending.set(stack)
        try:
            yield
        finally:
            _ending.reset(before)


def until_the_end(resource: AbstractContextManager[Entered]) -> Entered:
    """Enter a context that ends with the command, however that ends."""
    return _ending.get().enter_context(resource)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Print an error of the user's as one line, and exit with its code."""
    try:
        yield
    except AdganError as error:
        if is_first_to_report(str(error)):
            status(f"error: {error}", errors)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        status("stopped before it was done")
        raise typer.Exit(INTERRUPTED) from error
    except USAGE_ERROR as error:
        message = error.format_message().replace(": Value error,", ":")
        if message:  # none with the help that a bare `adgan` shows
            hint = f"see {error.ctx.command_path} --help"
            status(f"error: {message.rstrip('.')}; {hint}", errors)
        raise typer.Exit(error.exit_code) from error


def interrupt_on_signals() -> None:
    """Let SIGTERM and SIGHUP do what Ctrl-C does; not one that is ignored, as by nohup."""

    def interrupt(number: int, frame: object) -> None:
        _leave_terminal(number)
        raise KeyboardInterrupt

    for number in STOP_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def _leave_terminal(number: int) -> None:
    """Write to nowhere from now on if the terminal has hung up: it refuses every line."""
    if number == getattr(signal, "SIGHUP", None):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            if os.isatty(descriptor):
                os.dup2(nowhere, descriptor)
        os.close(nowhere)


@contextmanager
def standard_output() -> Iterator[None]:
    """Turn what standard output refuses within the block into an OutputError."""
    try:
        yield
    except BrokenPipeError:  # the reader has had enough: that ends a command quietly
        raise
    except OSError as error:
        sys.stdout = None  # what it still holds would be refused again when the process ends
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def output(text: str) -> None:
    """Print a line of data to standard output."""
    with standard_output():
        typer.echo(text)


@dataclass(frozen=True)
class Reporter:
    """What a command tells people beside warnings and errors, which it always tells."""

    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing but warnings and errors.")
    ] = False

    def info(self, text: str) -> None:
        """Print a line unless --quiet."""
        if not self.quiet:
            status(text)

    def detail(self, text: str) -> None:
        """Print a line if --verbose, which not every command has."""

    def progress_bar(self, *columns: ProgressColumn | str) -> Progress:
        """Show a description, a bar and `columns` on a terminal; nothing elsewhere.

        Where it shows nothing (its `disable` is true), callers print sparse lines instead.
        """
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            *columns,
            console=stderr,
            disable=self.quiet or stderr.quiet or not stderr.is_terminal,
        )

    def counting_bar(self, *columns: ProgressColumn | str) -> Progress:
        """Show the same for things that are counted: how many of how many, and the time left."""
        left = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
        return self.progress_bar(MofNCompleteColumn(), *columns, left)

    @contextmanager
    def stop_on_signal(self, message: str) -> Iterator[Callable[[], bool]]:
        """Let Ctrl-C, SIGTERM and SIGHUP only make the yielded function true in the block, once.

        The second Ctrl-C ends the command as if this were not here.
        """
        stop_requested = threading.Event()
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        # what was started to ignore a signal (nohup, a background job) goes on ignoring it
        before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def stop(number: int, frame: object) -> None:
            stop_requested.set()
            restore()
            _leave_terminal(number)
            self.info(message)

        for number in before:
            signal.signal(number, stop)
        try:
            yield stop_requested.is_set
        finally:
            restore()

    def own(self, folder: Path) -> None:
        """Own an output folder until the command ends, for all processes of this run."""
        if not is_worker():
            note = until_the_end(owning(folder))
            if note:
                self.info(f"note: {note}")


@dataclass(frozen=True)
class VerboseReporter(Reporter):
    """One that can tell more."""

    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Print more, such as the time of each stage.")
    ] = False

    def detail(self, text: str) -> None:
        if self.verbose:
            status(text)


def status(text: str, console: Console = stderr) -> None:
    """Print one line to a person, whatever characters a file name brings."""
    # soft_wrap: a path that is broken over lines cannot be copied
    console.print(wrapped(escape_control(text), console), markup=False, soft_wrap=True, emoji=False)


def wrapped(text: str, console: Console, indent: int = 0) -> str:
    """Break a line between its words where a terminal would break it within one.

    indent: spaces before all but the first.
    """
    if not console.is_terminal or len(text) < console.width:
        return text
    return textwrap.fill(
        text,
        console.width - 1,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        subsequent_indent=" " * indent,
    )


def escape_control(text: str) -> str:
    """Escape what cannot be printed, so that the text is one line on any stream."""
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in safe)


@contextmanager
def with_table(bar: Progress, table: Callable[[], RenderableType | None]) -> Iterator[None]:
    """Show what `table` gives below the bar within the block, drawn anew; nothing if it is off."""
    if bar.disable:
        yield
        return

    def both() -> Group:
        below = table()
        return Group(bar, *([] if below is None else [below]))

    with Live(get_renderable=both, console=stderr, transient=True, refresh_per_second=4):
        yield


class Stopwatch:
    """Measure where a command's time goes: seconds by stage, in the order the stages came."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.started = time.perf_counter()

    def add_all(self, seconds: Mapping[str, float]) -> None:
        """Add the stages of something that measured its own time."""
        for stage, spent in seconds.items():
            self.seconds[stage] += spent

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began

    def report(self) -> None:
        """Print the stages, the rest, and the whole, a line each."""
        whole = time.perf_counter() - self.started
        for stage, seconds in [
            *self.seconds.items(),
            ("all else", whole - sum(self.seconds.values())),
            ("together", whole),
        ]:
            status(f"{stage:<22}{seconds:>9.2f} s {seconds / whole:>5.0%}")


def format_duration(seconds: float) -> str:
    """Write seconds for people: 8 s, 12 min, 3.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
