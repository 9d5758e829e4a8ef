"""One class against the rest, section 4.3: what a method is given and what it answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Task:
    """Learn what is normal from `train`, then score `test`.

    The hold-out is for what the paper itself chose by labels: methods that look at it are marked
    as tuned with labels. It shares no picture with `test`.
    """

    train: np.ndarray  # (N, S, S, C) uint8, the normal class alone
    test: np.ndarray  # (M, S, S, C) uint8, normal and anomalous
    holdout: np.ndarray  # (H, S, S, C) uint8; H is 0 where nothing was left over
    holdout_labels: np.ndarray  # (H,) bool, true for anomalous
    seed: int


@dataclass(frozen=True, eq=False)
class MethodResult:
    """The scores of a task's test pictures, larger = more anomalous, and how they came about."""

    scores: np.ndarray  # (M,) float64
    settings: Mapping[str, Any] = field(default_factory=dict)  # what was chosen, plain JSON


class NotApplicableError(Exception):
    """A method cannot do this task; the message says why. Its row says so, the others run."""
