"""How commands talk: to people on stderr, errors as one line, stopping when asked to."""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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
from typer.core import TyperGroup

from adgan_cli.errors import AdganError, ConfigError
from adgan_cli.processes import is_first_to_report, is_worker

INTERRUPTED = 130  # exit code: stopped by Ctrl-C or SIGTERM, state saved

# of several processes the first alone talks; of their errors all may
stderr = Console(stderr=True, highlight=False, quiet=is_worker())
errors = Console(stderr=True, highlight=False)


class ErrorsAsLines(TyperGroup):
    """Turn errors a user can cause into one line and an exit code; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AdganError as error:
            if is_first_to_report(str(error)):
                status(f"error: {error}", errors)
            raise typer.Exit(error.exit_code) from error


def status(text: str, console: Console = stderr) -> None:
    """One line to a person, whatever characters a file name brings."""
    # soft_wrap: a path that is broken over lines cannot be copied
    console.print(escape_control(text), markup=False, soft_wrap=True, emoji=False)


def escape_control(text: str) -> str:
    """The text on one line that any stream takes: what cannot be printed is escaped."""
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in safe)


def bar(*columns: ProgressColumn | str, quiet: bool = False) -> Progress:
    """A description, a bar and `columns` on a terminal; nothing elsewhere.

    Where it shows nothing (its `disable` says so), callers say sparse lines instead.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        *columns,
        console=stderr,
        disable=quiet or stderr.quiet or not stderr.is_terminal,
    )


@contextmanager
def with_table(shown: Progress, told: Callable[[], RenderableType | None]) -> Iterator[None]:
    """Within the block, what `told` gives stands below the bar, drawn anew four times a second.

    Nothing of it stays on the terminal, and where the bar shows nothing, this does neither.
    """
    if shown.disable:
        yield
        return

    def both() -> Group:
        below = told()
        return Group(shown, *([] if below is None else [below]))

    with Live(get_renderable=both, console=stderr, transient=True, refresh_per_second=4):
        yield


def counting_bar(*columns: ProgressColumn | str, quiet: bool = False) -> Progress:
    """The same for things that are counted: how many of how many, and the time left."""
    left = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
    return bar(MofNCompleteColumn(), *columns, left, quiet=quiet)


@contextmanager
def stop_on_signal(said: str, *, quiet: bool = False) -> Iterator[Callable[[], bool]]:
    """Within the block, Ctrl-C and SIGTERM only make the yielded function true, once.

    The second Ctrl-C ends the command as if this were not here.
    """
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # what was started to ignore a signal (nohup, a shell's background job) goes on ignoring it
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: object) -> None:
        asked.set()
        restore()
        if not quiet:
            status(said)

    for number in before:
        signal.signal(number, stop)
    try:
        yield asked.is_set
    finally:
        restore()


class Stopwatch:
    """Where a command's time goes: seconds by stage, in the order the stages came."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.started = time.perf_counter()

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def add_all(self, seconds: Mapping[str, float]) -> None:
        """Add the stages of something that took its own time."""
        for stage, spent in seconds.items():
            self.add(stage, spent)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def tell(self) -> None:
        """Say the stages, the rest, and the whole, a line each."""
        whole = time.perf_counter() - self.started
        for stage, seconds in [
            *self.seconds.items(),
            ("all else", whole - sum(self.seconds.values())),
            ("together", whole),
        ]:
            status(f"{stage:<22}{seconds:>9.2f} s {seconds / whole:>5.0%}")


def parse_duration(text: str, option: str) -> float | None:
    """`90s`, `30m`, `1h30m` or plain seconds; None for `none`. Raises ConfigError."""
    text = text.strip().lower()
    if text == "none":
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or not match:
        raise ConfigError(f"{option} must be like 90s, 30m, 1h30m or none, got {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def parse_size(text: str, option: str) -> int:
    """`500MB`, `10GB` or plain bytes, as `size` prints them. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|KB|MB|GB|TB)", text.strip().upper())
    if not match:
        raise ConfigError(f"{option} must be like 500MB or 10GB, got {text!r}")
    factor = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[match[2]]
    return int(float(match[1]) * factor)


def duration(seconds: float) -> str:
    """Seconds for people: 8 s, 12 min, 3.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes for people: 52 KB, 37 MB, 1.2 GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"


def plural(count: int, singular: str, plural: str = "") -> str:
    """1 picture, 3,000 pictures."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
