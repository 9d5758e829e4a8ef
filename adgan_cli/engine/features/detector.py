"""What every detector can do: score an image alone, and say what it has learned."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

TINY = 1e-12  # below it a score is none: logarithms are taken


class Detector(Protocol):
    """One way to tell an image from those of a training set; frozen once it is fitted."""

    @property
    def reads_large(self) -> bool:
        """Whether `score` takes images at the backbone's size, not at the generator's."""

    def score(self, image: np.ndarray) -> float:
        """Score an image, uint8 (S, S, C): finite, at least 0, larger = more anomalous.

        It depends on the image alone, to the last bit: one at a time, always in the same shapes.
        """

    def settings(self) -> dict[str, Any]:
        """Return what it was fitted with, as plain JSON."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what it has learned, on the CPU, as it is kept in a model's file."""


@runtime_checkable
class ComparesFeatures(Protocol):
    """A detector whose scores come from features, those of many images at once.

    What it compares with is then read from memory once for all of them.
    """

    def features(self, image: np.ndarray) -> np.ndarray:
        """Represent an image alone: uint8 (S, S, C) -> (D,)."""

    def compare(self, features: np.ndarray) -> np.ndarray:
        """Score images by their features, (N, D) -> (N,): each as `score` would score it alone."""
