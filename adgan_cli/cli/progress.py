"""Live progress: a bar on a terminal, a line a minute elsewhere."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import typer

from adgan_cli.cli.console import INTERRUPTED, Reporter, format_duration, status
from adgan_cli.processes import join
from adgan_cli.text import plural

if TYPE_CHECKING:
    from rich.progress import Progress

    from adgan_cli.engine.training.trainer import StepMetrics
    from adgan_cli.scoring.run import ScoringRun

Row = TypeVar("Row")
LINE_EVERY = 60.0  # seconds between lines where there is no terminal to draw a bar on


def track(rows: Iterable[Row], total: int, reporter: Reporter) -> Iterator[Row]:
    """Yield the rows under a bar that counts them."""
    with reporter.counting_bar("{task.fields[speed]}") as bar:
        progress = ScoringProgress(bar, reporter)
        for done, row in enumerate(rows, start=1):
            yield row
            progress(done, total)


def score_share(run: "ScoringRun", reporter: Reporter) -> None:
    """Score this process's share, if there are several; the main one goes on, the others end."""
    # before signals are only noted: waiting for others, this process has to end at once
    shares = run.score_share()
    with (
        reporter.stop_on_signal("stopping...") as stop_requested,
        reporter.counting_bar("{task.fields[speed]}") as bar,
    ):
        progress = ScoringProgress(bar, reporter)
        for done, total in shares:
            progress(done, total)
            if stop_requested():
                status(f"stopped after {done:,} of {total:,} pictures; --resume goes on")
                raise typer.Exit(INTERRUPTED)
    if not join().is_main:
        raise typer.Exit()


class ScoringProgress:
    """Show how many images of how many are scored, how fast, and the time left."""

    def __init__(self, bar: "Progress", reporter: Reporter) -> None:
        self.bar, self.reporter = bar, reporter
        self.started = self.last_line = time.monotonic()
        self.task = bar.add_task("scoring", total=None, speed="")

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        speed = f"{done / (now - self.started):.2g} images/s"
        self.bar.update(self.task, completed=done, total=total, speed=speed)
        if done and self.bar.disable and now - self.last_line >= LINE_EVERY:
            self.last_line = now
            left = format_duration((total - done) * (now - self.started) / done)
            self.reporter.info(f"{done:,} of {plural(total, 'picture')}, {speed}, {left} left")


class CrossFitProgress:
    """Show which of the models is trained, and how many images are scored."""

    def __init__(self, bar: "Progress", folds: int, steps: int, images: int) -> None:
        self.bar, self.folds, self.steps, self.images = bar, folds, steps, images
        self.n_scored = 0
        self.task = bar.add_task(f"1/{folds}", total=1.0, text="reading pictures")

    def step(self, fold: int, metrics: "StepMetrics") -> None:
        done = (fold - 1 + metrics.step / max(1, self.steps)) / self.folds
        self._show(fold, done, f"training: step {metrics.step:,}")

    def scored(self, fold: int, row: object) -> None:
        self.n_scored += 1
        text = f"scored {self.n_scored:,} of {plural(self.images, 'picture')}"
        self._show(fold, fold / self.folds, text)

    def _show(self, fold: int, done: float, text: str) -> None:
        label = f"{fold}/{self.folds}"
        self.bar.update(self.task, completed=done, description=label, text=text)
