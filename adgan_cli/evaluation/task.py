"""One class against the rest, section 4.3: what a method is given and what it answers with."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.evaluation.settings import Settings


@dataclass(frozen=True, eq=False)
class Task:
    """Learn what is normal from `train`, then score `test`.

    The hold-out is for what the paper itself chose by labels: methods that look at it are marked
    as tuned with labels. It shares no image with `test`.
    """

    train: np.ndarray  # (N, S, S, C) uint8, the normal class alone
    test: np.ndarray  # (M, S, S, C) uint8, normal and anomalous
    holdout: np.ndarray  # (H, S, S, C) uint8; H is 0 where nothing was left over
    holdout_labels: np.ndarray  # (H,) bool, true for anomalous
    seed: int


@dataclass(frozen=True, eq=False)
class Cell:
    """A task, the settings to do it with and a folder for what is trained for it."""

    task: Task
    folder: Path
    settings: Settings  # seeded for this run
    on_progress: Callable[[str, float], None] | None = None  # what goes on, done in [0, 1]

    def report(self, what: str, done: float) -> None:
        """Tell whoever listens what goes on and how much of it is done, in [0, 1]."""
        if self.on_progress:
            self.on_progress(what, done)

    def report_searched(self, count: int) -> None:
        """Report how many of the test images were searched for."""
        self.report("searching", count / max(1, len(self.task.test)))


@dataclass(frozen=True, eq=False)
class MethodResult:
    """The scores of a task's test images, larger = more anomalous, and how they came about."""

    scores: np.ndarray  # (M,) float64
    settings: Mapping[str, Any] = field(default_factory=dict)  # what was chosen, plain JSON


Method = Callable[[Cell], MethodResult]


class NotApplicableError(Exception):
    """A method cannot do this task; the message says why. Its row says so, the others run."""


def pixels_digest(pixels: np.ndarray) -> str:
    """Digest images and their order, to tell whether what was kept came from them."""
    state = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(pixels).data)
    return state.hexdigest()
