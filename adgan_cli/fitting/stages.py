"""What the stages of a fit report, and how they are asked to stop."""

from collections.abc import Callable
from dataclasses import dataclass

from adgan_cli.stopping import ShouldStop, is_stopped

FEWER = "fewer"  # references are compared with than there are, as the time is short


@dataclass(frozen=True)
class StageProgress:
    """How far a stage beside the training steps has come."""

    stage: str  # a detector's name, weighing, encoder, calibrating, or FEWER
    done: int
    total: int
    loss: float | None = None  # of the encoder


@dataclass(frozen=True)
class StageCallbacks:
    """What the stages report to, and ask whether to go on."""

    on_progress: Callable[[StageProgress], None] | None = None
    should_stop: ShouldStop | None = None
    on_note: Callable[[str], None] | None = None  # a line for the user

    def report(self, stage: str, done: int, total: int, loss: float | None = None) -> None:
        """Report how far a stage has come."""
        if self.on_progress is not None:
            self.on_progress(StageProgress(stage, done, total, loss))

    def stop_requested(self) -> bool:
        """Ask whether to stop."""
        return is_stopped(self.should_stop)
