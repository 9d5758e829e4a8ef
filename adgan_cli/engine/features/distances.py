"""Distances of one feature vector from those of a training set, which are standardised first.

Two of them: to the nearest neighbours, which asks whether an image like this one was there, and
Mahalanobis', which asks whether features go together as they used to. Letters in the shapes: N
vectors fitted to, D features, M vectors kept, R components kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 5
MAX_RANK = 512  # components kept at most
SPARE = 8  # candidates measured exactly, beyond the nearest by a rounded distance
LEAST_SHARE = 0.1  # of the typical deviation: features that hardly vary are not blown up
MAX_DEVIATIONS = 100.0  # of a standardised feature: squares and float16 stay finite
SMALLEST = 1e-6  # variance of standardised features: nothing is divided by zero


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

    def distance(self, features: np.ndarray) -> float:
        """Average the distances to min(NEIGHBOURS, M) vectors: (D,) -> a number of at least 0."""
        query = self.standard.apply(features)  # (D,)
        count = min(NEIGHBOURS, len(self._references))
        # |r - q|^2 = |r|^2 - 2 rq + |q|^2: a matrix product is fast, and rounds
        rough = self._squares - 2 * (self._references @ query)  # (M,)
        candidates = min(count + SPARE, len(rough))
        closest = np.argpartition(rough, candidates - 1)[:candidates]
        exact = np.square(self._references[np.sort(closest)] - query).sum(axis=1)
        return float(np.sqrt(np.sort(exact)[:count]).mean())

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


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """The Mahalanobis distance from the mean, with Ledoit and Wolf's (2004) shrunk covariance.

    Its largest principal components are kept, and the variance of the others is their mean: for
    those beyond the rank of the training set it is the same for all.
    """

    standard: Standard
    components: Tensor  # (R, D) float16, orthonormal rows
    variances: Tensor  # (R + 1,) float32, shrunk; the last: in every direction left

    def distance(self, features: np.ndarray) -> float:
        """Compute the distance of features (D,): at least 0, about sqrt(D) for ordinary ones."""
        deviations = self.standard.apply(features)  # (D,)
        along = self._components @ deviations  # (R,)
        left = deviations - along @ self._components  # (D,)
        variances = self.variances.numpy()
        inside = (np.square(along) / variances[:-1]).sum(dtype=np.float64)
        outside = np.square(left).sum(dtype=np.float64) / variances[-1]
        return float(np.sqrt(inside + outside))

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept in a file."""
        return {
            "mean": self.standard.mean,
            "deviation": self.standard.deviation,
            "components": self.components,
            "variances": self.variances,
        }

    @cached_property
    def _components(self) -> np.ndarray:
        return self.components.numpy().astype(np.float32)  # (R, D)


def fit_mahalanobis(
    features: np.ndarray, groups: Sequence[int] = (), *, rank: int = MAX_RANK
) -> Mahalanobis:
    """Fit the distance to the features of a training set, (N, D); groups: see fit_standard.

    The time it takes grows with the square of the smaller of N and D.
    """
    standard = fit_standard(features, groups)
    x = standard.apply(features).astype(np.float64)  # (N, D)
    x -= x.mean(axis=0)
    count, width = x.shape
    if count < width:
        inner = x @ x.T / count  # (N, N), of the same eigenvalues as the covariance
        values, vectors = np.linalg.eigh(inner)
        directions = vectors.T @ x  # (N, D), each as long as sqrt(N * its eigenvalue)
    else:
        values, vectors = np.linalg.eigh(x.T @ x / count)
        directions = vectors.T
    values, directions = values[::-1], directions[::-1]
    usable = values > SMALLEST * max(float(values[0]), SMALLEST)
    kept = min(rank, int(usable.sum()))
    components = directions[:kept] / np.linalg.norm(directions[:kept], axis=1, keepdims=True)
    shrinkage = ledoit_wolf_shrinkage(x)
    total = float(values[usable].sum())
    shrunk = (1 - shrinkage) * values[:kept] + shrinkage * total / width
    left = (1 - shrinkage) * (total - float(values[:kept].sum())) / max(width - kept, 1)
    variances = np.append(shrunk, left + shrinkage * total / width)
    variances = np.maximum(variances, SMALLEST).astype(np.float32)
    kept_components = np.ascontiguousarray(components, np.float16)  # as a file gives them back
    return Mahalanobis(standard, torch.from_numpy(kept_components), torch.from_numpy(variances))


def ledoit_wolf_shrinkage(x: np.ndarray) -> float:
    """Compute how far to shrink the covariance of centred vectors, (N, D) -> a share in [0, 1].

    Ledoit and Wolf (2004), section 3.3: b^2 / d^2. In terms of inner products of the vectors where
    they are fewer than features, so that no (D, D) matrix is needed.
    """
    count, width = x.shape
    squared_norms = np.square(x).sum(axis=1)  # (N,)
    mean_variance = squared_norms.sum() / (count * width)  # m
    inner = x @ x.T if count < width else x.T @ x
    squared_covariance = np.square(inner).sum() / count**2  # |S|^2, Frobenius
    dispersion = squared_covariance / width - mean_variance**2  # d^2
    error = (np.square(squared_norms).sum() / count - squared_covariance) / (count * width)  # b^2
    if dispersion <= 0 or error <= 0:
        return 0.0
    return float(min(error, dispersion) / dispersion)


def mahalanobis_from(tensors: Mapping[str, Tensor]) -> Mahalanobis:
    """Make it from what was kept; KeyError or ValueError for what does not fit."""
    standard = _standard_from(tensors)
    components, variances = tensors["components"], tensors["variances"]
    if components.dtype != torch.float16 or components.ndim != 2:
        raise ValueError("components: a matrix of float16 is expected")
    if components.shape[1] != len(standard.mean):
        raise ValueError("components: a column for each feature is expected")
    if variances.dtype != torch.float32 or variances.shape != (len(components) + 1,):
        raise ValueError("variances: one for each component and one more are expected")
    return Mahalanobis(standard, components, variances)


def _standard_from(tensors: Mapping[str, Tensor]) -> Standard:
    mean, deviation = tensors["mean"], tensors["deviation"]
    if mean.dtype != torch.float32 or mean.ndim != 1 or not len(mean):
        raise ValueError("mean: a vector of float32 is expected")
    if deviation.dtype != torch.float32 or deviation.shape != mean.shape:
        raise ValueError("deviation: a float32 for each feature is expected")
    return Standard(mean, deviation)
