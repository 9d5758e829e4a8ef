"""The distance of a feature vector from the nearest of a training set, standardised first.

Letters in the shapes: N vectors fitted to, D features, M vectors kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 5
SPARE = 8  # candidates measured exactly, beyond the nearest by a rounded distance
LEAST_SHARE = 0.1  # of the typical deviation: features that hardly vary are not blown up
MAX_DEVIATIONS = 100.0  # of a standardised feature: squares and float16 stay finite
SMALLEST = 1e-6  # deviations of values of 1 that are rounding errors


@dataclass(frozen=True, eq=False)
class Standard:
    """Where features lie and how far they spread: tensors (D,) float32."""

    mean: Tensor
    deviation: Tensor  # above 0

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Standardise features: (..., D) -> (..., D) float32, rounded to float16's digits.

        Rounded as the vectors kept are, so that an image kept is at distance 0 from itself.
        """
        z = (features.astype(np.float32) - self.mean.numpy()) / self.deviation.numpy()
        rounded: np.ndarray = np.clip(z, -MAX_DEVIATIONS, MAX_DEVIATIONS).astype(np.float16)
        return rounded.astype(np.float32)


def fit_standard(features: np.ndarray, groups: Sequence[int] = ()) -> Standard:
    """Fit the standardisation to features (N, D).

    groups: how many features tell the same kind of thing, one number after another; the kinds count
    alike, however many features they have. Without it all features are of one kind.

    A feature that varies less than LEAST_SHARE of what those of its kind do on the average (by the
    root of the mean variance) counts as varying that much; where none varies, all vary by 1.
    """
    wide = features.astype(np.float64)
    ends = np.cumsum(groups or [wide.shape[1]])[:-1]
    deviations = [_deviations(group) for group in np.split(wide, ends, axis=1)]
    # on the average over the kinds, the factor is 1
    typical = wide.shape[1] / len(deviations)
    scales = [one * np.sqrt(one.size / typical) for one in deviations]
    return Standard(
        torch.from_numpy(wide.mean(axis=0).astype(np.float32)),
        torch.from_numpy(np.concatenate(scales).astype(np.float32)),
    )


def _deviations(group: np.ndarray) -> np.ndarray:
    """Compute standard deviations that can be divided by: (N, d) float64 -> (d,)."""
    deviation = group.std(axis=0)
    least = LEAST_SHARE * float(np.sqrt(np.mean(np.square(deviation))))
    # an identical set's deviations are rounding errors of its values
    is_constant = least <= SMALLEST * float(np.abs(group).max(initial=0.0))
    return np.maximum(deviation, 1.0 if is_constant else least)


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """The mean Euclidean distance to the nearest of the training set's vectors.

    As Ramaswamy et al. (2000) and Angiulli and Pizzuti (2002) score outliers.
    """

    standard: Standard
    references: Tensor  # (M, D) float16, standardised

    def mean_distances(self, features: np.ndarray) -> np.ndarray:
        """Average the distances to min(NEIGHBOURS, M) vectors: (N, D) -> (N,), at least 0.

        Each is right whatever stands beside it: only candidates are chosen by distances that are
        rounded differently in company.
        """
        queries = self.standard.apply(features)  # (N, D)
        count = min(NEIGHBOURS, len(self._references))
        candidates = min(count + SPARE, len(self._references))
        # |r - q|^2 = |r|^2 - 2 rq + |q|^2: a matrix product is fast, and rounds
        rough = self._squares - 2 * (queries @ self._references.T)  # (N, M)
        closest = np.argpartition(rough, candidates - 1, axis=1)[:, :candidates]
        means = np.empty(len(queries))
        for index, (query, chosen) in enumerate(zip(queries, np.sort(closest), strict=True)):
            exact = np.square(self._references[chosen] - query).sum(axis=1)
            means[index] = np.sqrt(np.sort(exact)[:count]).mean()
        return means

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Compute the distance to every vector kept, right to some digits: (D,) -> (M,)."""
        query = self.standard.apply(features)  # (D,)
        squares = self._squares - 2 * (self._references @ query) + np.square(query).sum()
        result: np.ndarray = np.sqrt(np.maximum(squares, 0))
        return result

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept in a file."""
        return {
            "mean": self.standard.mean,
            "deviation": self.standard.deviation,
            "references": self.references,
        }

    @cached_property
    def _references(self) -> np.ndarray:
        return self.references.numpy().astype(np.float32)  # (M, D)

    @cached_property
    def _squares(self) -> np.ndarray:
        squares: np.ndarray = np.square(self._references).sum(axis=1)
        return squares  # (M,)


def fit_nearest_neighbours(features: np.ndarray, groups: Sequence[int] = ()) -> NearestNeighbours:
    """Keep the vectors of a training set, (N, D); groups: see fit_standard."""
    standard = fit_standard(features, groups)
    kept = standard.apply(features).astype(np.float16)
    return NearestNeighbours(standard, torch.from_numpy(kept))


def nearest_neighbours_from(tensors: Mapping[str, Tensor]) -> NearestNeighbours:
    """Make it from what was kept; KeyError or ValueError for what does not fit."""
    standard = _standard_from(tensors)
    references = tensors["references"]
    if references.dtype != torch.float16 or references.ndim != 2 or not len(references):
        raise ValueError("references: a matrix of float16 with rows is expected")
    if references.shape[1] != len(standard.mean):
        raise ValueError("references: a column for each feature is expected")
    return NearestNeighbours(standard, references)


def _standard_from(tensors: Mapping[str, Tensor]) -> Standard:
    mean, deviation = tensors["mean"], tensors["deviation"]
    if mean.dtype != torch.float32 or mean.ndim != 1 or not len(mean):
        raise ValueError("mean: a vector of float32 is expected")
    if deviation.dtype != torch.float32 or deviation.shape != mean.shape:
        raise ValueError("deviation: a float32 for each feature is expected")
    return Standard(mean, deviation)
