"""Distances of features: those of scikit-learn, finite whatever the training set is."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from adgan_cli.engine.features import distances
from adgan_cli.engine.features.distances import (
    NEIGHBOURS,
    fit_nearest_neighbours,
    fit_standard,
    nearest_neighbours_from,
)


def features(count: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Correlated vectors of various scales."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * rng.uniform(0.5, 20, width)
    return (rng.normal(size=(count, width)) @ mixing + 7).astype(np.float32)


def distance(fitted: distances.NearestNeighbours, query: np.ndarray) -> float:
    return float(fitted.mean_distances(query[None])[0])


def test_the_nearest_neighbours_are_those_of_scikit_learn():
    rows, queries = features(60, 9), features(5, 9, seed=1)
    fitted = fit_nearest_neighbours(rows)
    standard = fitted.standard
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(standard.apply(rows))
    expected = theirs.kneighbors(standard.apply(queries))[0].mean(axis=1)
    assert fitted.mean_distances(queries) == pytest.approx(expected, rel=1e-5)


def test_distances_do_not_depend_on_company_to_the_last_bit():
    rows, queries = features(300, 70), features(40, 70, seed=1)
    fitted = fit_nearest_neighbours(rows)
    together = fitted.mean_distances(queries)
    assert together.tolist() == [distance(fitted, query) for query in queries]


def test_scale_and_offset_of_the_features_change_nothing():
    rows, query = features(50, 6), features(1, 6, seed=1)[0]
    plain = distance(fit_nearest_neighbours(rows), query)
    moved = distance(fit_nearest_neighbours(rows * 1e3 + 5), query * 1e3 + 5)
    assert moved == pytest.approx(plain, rel=0.01)


def test_kinds_of_features_count_alike_however_many_there_are():
    rows, query = features(50, 3), features(1, 3, seed=1)[0]
    # the last feature is there once or four times, at another scale
    often = np.concatenate([rows, *[1e4 * rows[:, 2:]] * 3], axis=1)
    query_often = np.concatenate([query, *[1e4 * query[2:]] * 3])
    once = fit_nearest_neighbours(rows, (2, 1))
    kinds = fit_standard(often, (2, 1, 3))
    z = kinds.apply(query_often)
    assert np.square(z[3:]).sum() == pytest.approx(np.square(z[2]), rel=0.01)
    columns = [0, 1, 3, 4, 5]
    fitted = fit_nearest_neighbours(often[:, columns], (2, 3))
    four_times = distance(fitted, query_often[columns])
    assert distance(once, query) / four_times == pytest.approx(math.sqrt(3 / 5), rel=0.01)


def test_a_feature_that_hardly_varies_is_not_blown_up():
    rows = features(50, 6)
    rows[:, 2] = 1 + 1e-5 * rows[:, 2]
    standard = fit_standard(rows)
    typical = float(np.sqrt(np.mean(np.square(rows.std(axis=0)))))
    assert float(standard.deviation[2]) == pytest.approx(distances.LEAST_SHARE * typical, rel=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_identical_vectors_divide_nothing_by_zero(count):
    row, other = features(2, 6)
    same = fit_nearest_neighbours(np.stack([row] * count))
    assert distance(same, row) == pytest.approx(0, abs=1e-2)
    assert 0.1 < distance(same, other) < np.inf
    few = fit_nearest_neighbours(features(count, 6))
    assert np.isfinite(distance(few, np.full(6, 1e30, np.float32)))
    zeros = np.zeros((count, 6), np.float32)
    assert np.isfinite(distance(fit_nearest_neighbours(zeros), zeros[0]))


def test_what_is_kept_gives_the_same_distance_to_the_last_bit():
    fitted, query = fit_nearest_neighbours(features(40, 9)), features(1, 9, seed=1)[0]
    tensors = {name: one.clone() for name, one in fitted.tensors().items()}
    assert distance(nearest_neighbours_from(tensors), query) == distance(fitted, query)
    for name, tensor in tensors.items():
        with pytest.raises(ValueError, match=f"^{name}: "):
            nearest_neighbours_from(tensors | {name: tensor.double()})
        with pytest.raises(ValueError, match=" expected$"):
            nearest_neighbours_from(tensors | {name: tensor[..., :-1]})
        with pytest.raises(KeyError):
            nearest_neighbours_from({other: one for other, one in tensors.items() if other != name})


def test_vectors_are_kept_in_two_bytes_a_number():
    assert fit_nearest_neighbours(features(40, 9)).references.dtype == torch.float16
