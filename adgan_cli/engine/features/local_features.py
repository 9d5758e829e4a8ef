"""Where an image differs: distances of its local features to the nearest of a training set's.

PatchCore (Roth et al., 2022): places in a map of a pretrained network are compared with a coreset
of those of the training images. It sees small defects wherever they are. Places are not averaged
with those around them as in section 3.1: maps of small images have few, and defects were lost.

Letters in the shapes: N images, (h, w) places, P places to choose from, D features of a place, M
places stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

MAX_PLACES = 2_000  # stored: the coreset
MAX_CANDIDATES = 20_000  # that it is chosen of, drawn from all images alike
PROJECTED = 64  # dimensions in which it is chosen, section 3.2
_LEAST_SHARE = 0.1  # of the mean deviation: features that hardly vary are not blown up


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Places of training images, to compare others with."""

    center: np.ndarray  # (D,) float32
    deviation: np.ndarray  # (D,) float32, above 0
    places: np.ndarray  # (M, D) float32, standardised, rounded to float16

    def distances(self, seen: np.ndarray) -> np.ndarray:
        """Compute each place's distance to the nearest one stored: (h, w, D) -> (h, w)."""
        queries = ((seen - self.center) / self.deviation).reshape(-1, seen.shape[-1])
        squares = self._squares - 2 * queries @ self.places.T
        nearest = squares.min(1) + np.square(queries).sum(1)
        distances: np.ndarray = np.sqrt(np.maximum(nearest, 0)).reshape(seen.shape[:2])
        return distances

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is kept in a file."""
        places = self.places.astype(np.float16)
        return {"center": self.center, "deviation": self.deviation, "places": places}

    @cached_property
    def _squares(self) -> np.ndarray:
        squares: np.ndarray = np.square(self.places).sum(1)
        return squares


def local_features_from(arrays: Mapping[str, np.ndarray]) -> LocalFeatures:
    """Build them of `arrays`; KeyError or ValueError for what does not fit."""
    center, deviation = arrays["center"], arrays["deviation"]
    places = arrays["places"].astype(np.float32)
    fits = places.ndim == 2 and len(places) and center.shape == deviation.shape == places.shape[1:]
    if not fits:
        raise ValueError("places: a row of features each is expected")
    return LocalFeatures(center, deviation, places)


class CandidateSample:
    """Places drawn from all images alike, however many come: (P, D), P at most MAX_CANDIDATES."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._keys = np.zeros(0)
        self.candidates = np.zeros((0, 0), np.float32)

    def add(self, seen: np.ndarray) -> None:
        """Let the places of more images take part: (N, h, w, D)."""
        places = seen.reshape(-1, seen.shape[-1])
        keys = np.concatenate([self._keys, self._rng.random(len(places))])
        if len(self.candidates):
            places = np.concatenate([self.candidates, places])
        least = np.sort(np.argsort(keys, kind="stable")[:MAX_CANDIDATES])
        self._keys, self.candidates = keys[least], places[least]


def fit_local_features(candidates: np.ndarray, seed: int) -> LocalFeatures:
    """Choose the places to store among candidates, (P, D)."""
    center, deviation = candidates.mean(0), candidates.std(0)
    deviation = np.maximum(deviation, _LEAST_SHARE * deviation.mean())
    deviation[deviation == 0] = 1.0
    standard = (candidates - center) / deviation
    rng = np.random.default_rng(seed)
    projection = rng.standard_normal((standard.shape[1], PROJECTED), np.float32)
    chosen = coreset(standard @ projection, MAX_PLACES, start=int(rng.integers(len(standard))))
    places = standard[chosen].astype(np.float16).astype(np.float32)
    return LocalFeatures(center, deviation, places)


def coreset(points: np.ndarray, most: int, *, start: int = 0) -> np.ndarray:
    """Choose points (P, D) so that none is far from a chosen one: indices, in the order chosen.

    Each is the one farthest from those before (Roth et al., 2022, Algorithm 1); the end is reached
    early where all others are equal to chosen ones.
    """
    squares = np.square(points).sum(1)
    left = np.full(len(points), np.inf, points.dtype)  # squared distance to the nearest chosen
    chosen: list[int] = []
    index = start
    while len(chosen) < most and left[index] > 0:
        chosen.append(index)
        distances = squares + squares[index] - 2 * (points @ points[index])
        left = np.minimum(left, np.maximum(distances, 0))
        left[index] = 0
        index = int(left.argmax())
    return np.array(chosen)
