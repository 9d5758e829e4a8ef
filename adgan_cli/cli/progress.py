"""Live progress: a bar on a terminal, a line a minute elsewhere."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import typer

from adgan_cli.cli.console import INTERRUPTED, Reporter, format_duration, status
from adgan_cli.processes import join
from adgan_cli.text import format_number, plural

if TYPE_CHECKING:
    from rich.progress import Progress

    from adgan_cli.engine.training.trainer import StepMetrics
    from adgan_cli.fitting.run import TrainingRun
    from adgan_cli.fitting.stages import StageProgress
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
        speed = f"{format_number(done / (now - self.started))} images/s"
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

    def features(self, fold: int, progress: "StageProgress") -> None:
        text = f"{progress.stage} {progress.done:,} of {progress.total:,}"
        self._show(fold, (fold - 1) / self.folds, text)

    def scored(self, fold: int, row: object) -> None:
        self.n_scored += 1
        text = f"scored {self.n_scored:,} of {plural(self.images, 'picture')}"
        self._show(fold, fold / self.folds, text)

    def _show(self, fold: int, done: float, text: str) -> None:
        label = f"{fold}/{self.folds}"
        self.bar.update(self.task, completed=done, description=label, text=text)


class FeatureProgressBar:
    """Show which detector is fitted, and how far it is."""

    def __init__(self, bar: "Progress", reporter: Reporter) -> None:
        self.bar, self.reporter = bar, reporter
        self.task = bar.add_task("features", total=None, text="")
        self.started = self.last_line = time.monotonic()

    def __call__(self, progress: "StageProgress") -> None:
        from adgan_cli.fitting.stages import FEWER

        if progress.stage == FEWER:
            self.reporter.info(
                f"features: compared with {progress.done:,} drawn from "
                f"{plural(progress.total, 'picture')}, as the time is short"
            )
            return
        now = time.monotonic()
        text = f"{progress.stage} {progress.done:,} of {progress.total:,}"
        self.bar.update(self.task, completed=progress.done, total=max(1, progress.total), text=text)
        if self.bar.disable and now - self.last_line >= LINE_EVERY:
            self.last_line = now
            self.reporter.info(f"features: {text}")


class TrainingProgress:
    """Show the steps, their speed, what is measured of them, and the time left."""

    def __init__(self, bar: "Progress", run: "TrainingRun", reporter: Reporter) -> None:
        from adgan_cli.engine.training.objectives import objective

        config = run.state.train_config
        self.bar, self.reporter, self.notes = bar, reporter, run.state.notes
        plan = run.plan() if run.processes.is_main else None
        self.first, self.limit = run.state.step, None if plan is None else plan.generator
        self.goal = None if config.patience else config.iters
        self.distance_name = objective(config).distance_name
        self.distance: float | None = None  # averaged over some 20 steps
        self.held_out = ""  # the last that was measured
        self.task = bar.add_task(f"step {self.first:,}", total=1.0, text="starting")
        self.stage = ""
        self.started = self.last_line = time.monotonic()

    def step(self, metrics: "StepMetrics") -> None:
        self._show_notes()
        now = time.monotonic()
        seconds = now - self.started
        before = metrics.distance if self.distance is None else self.distance
        self.distance = before + 0.05 * (metrics.distance - before)
        if metrics.held_out is not None:
            self.held_out = f", {metrics.held_out:.3g} held out"
        speed = f"{metrics.images / seconds:,.0f} images/s"
        text = f"{speed}  {self.distance_name} {self.distance:.3g}{self.held_out}"
        if done := self._share_done(metrics.step, seconds):
            text += f"  {format_duration(max(0.0, seconds * (1 - done) / done))} left"
        step = f"step {metrics.step:,}"
        self.bar.update(self.task, completed=min(done, 1.0), description=step, text=text)
        if self.bar.disable and now - self.last_line >= LINE_EVERY:
            self.last_line = now
            self.reporter.info(f"{step}  {text}")

    def finish(self, progress: "StageProgress") -> None:
        """Show the encoder's steps, then how many images held out are scored."""
        self._show_notes()
        if progress.stage != self.stage:
            self.stage = progress.stage
            self.task = self.bar.add_task(progress.stage, total=progress.total, text="")
        text = "scores for p-values"
        if progress.loss is not None:
            text = f"step {progress.done:,}  loss {progress.loss:.3g}"
        self.bar.update(self.task, completed=progress.done, text=text)

    def _show_notes(self) -> None:
        while self.notes:
            self.reporter.info(f"note: {self.notes.pop(0)}")

    def _share_done(self, step: int, seconds: float) -> float:
        by_steps = (step - self.first) / max(1, self.goal - self.first) if self.goal else 0.0
        by_time = seconds / self.limit if self.limit else 0.0
        return max(by_steps, by_time)
