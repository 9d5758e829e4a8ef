"""Distances of features: those of scikit-learn, finite whatever the training set is."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage
from sklearn.neighbors import NearestNeighbors

from adgan_cli.engine.features import distances
from adgan_cli.engine.features.distances import (
    NEIGHBOURS,
    fit_mahalanobis,
    fit_nearest_neighbours,
    fit_standard,
    mahalanobis_from,
    nearest_neighbours_from,
)

FITS = [fit_nearest_neighbours, fit_mahalanobis]


def features(count: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Correlated vectors of various scales."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * rng.uniform(0.5, 20, width)
    return (rng.normal(size=(count, width)) @ mixing + 7).astype(np.float32)


def test_the_nearest_neighbours_are_those_of_scikit_learn():
    rows, queries = features(60, 9), features(5, 9, seed=1)
    fitted = fit_nearest_neighbours(rows)
    standard = fitted.standard
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(standard.apply(rows))
    expected = theirs.kneighbors(standard.apply(queries))[0].mean(axis=1)
    assert [fitted.distance(query) for query in queries] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(200, 12), (20, 60)], ids=["many", "fewer than features"])
def test_mahalanobis_is_ledoit_and_wolfs_of_scikit_learn(shape):
    rows, queries = features(*shape), features(5, shape[1], seed=1)
    fitted = fit_mahalanobis(rows)
    z = fitted.standard.apply(rows).astype(np.float64)
    z_queries = fitted.standard.apply(queries) - z.mean(axis=0)
    centred = z - z.mean(axis=0)
    theirs = LedoitWolf(assume_centered=True).fit(centred)
    assert distances.ledoit_wolf_shrinkage(centred) == pytest.approx(
        ledoit_wolf_shrinkage(centred, assume_centered=True)
    )
    expected = np.sqrt(theirs.mahalanobis(z_queries))
    assert [fitted.distance(query) for query in queries] == pytest.approx(expected, rel=1e-2)


def test_what_lies_outside_the_kept_components_still_counts():
    rows = features(200, 30)
    full, short = fit_mahalanobis(rows), fit_mahalanobis(rows, rank=4)
    assert short.components.shape == (4, 30)
    unusual = rows.mean(axis=0) + 40 * full.standard.deviation.numpy() * full._components[-1]
    assert short.distance(unusual) > 2 * max(short.distance(row) for row in rows)
    # the trace of the shrunk covariance is the same
    traces = [v[:-1].sum() + v[-1] * (30 - len(v) + 1) for v in (full.variances, short.variances)]
    assert float(traces[0]) == pytest.approx(float(traces[1]), rel=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_scale_and_offset_of_the_features_change_nothing(fit):
    rows, query = features(50, 6), features(1, 6, seed=1)[0]
    plain = fit(rows).distance(query)
    assert fit(rows * 1e3 + 5).distance(query * 1e3 + 5) == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("fit", FITS)
def test_kinds_of_features_count_alike_however_many_there_are(fit):
    rows, query = features(50, 3), features(1, 3, seed=1)[0]
    # the last feature is there once or four times, at another scale
    often = np.concatenate([rows, *[1e4 * rows[:, 2:]] * 3], axis=1)
    query_often = np.concatenate([query, *[1e4 * query[2:]] * 3])
    once = fit(rows, (2, 1)) if fit is fit_nearest_neighbours else None
    kinds = fit_standard(often, (2, 1, 3))
    z = kinds.apply(query_often)
    assert np.square(z[3:]).sum() == pytest.approx(np.square(z[2]), rel=0.01)
    if once:
        ratio = once.distance(query) / fit(often[:, [0, 1, 3, 4, 5]], (2, 3)).distance(
            query_often[[0, 1, 3, 4, 5]]
        )
        assert ratio == pytest.approx(math.sqrt(3 / 5), rel=0.01)


def test_a_feature_that_hardly_varies_is_not_blown_up():
    rows = features(50, 6)
    rows[:, 2] = 1 + 1e-5 * rows[:, 2]
    standard = fit_standard(rows)
    typical = float(np.sqrt(np.mean(np.square(rows.std(axis=0)))))
    assert float(standard.deviation[2]) == pytest.approx(distances.LEAST_SHARE * typical, rel=1e-3)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_identical_vectors_divide_nothing_by_zero(fit, count):
    row, other = features(2, 6)
    same = fit(np.stack([row] * count))
    assert same.distance(row) == pytest.approx(0, abs=1e-2)
    assert 0.1 < same.distance(other) < np.inf
    assert np.isfinite(fit(features(count, 6)).distance(np.full(6, 1e30, np.float32)))
    assert np.isfinite(fit(np.zeros((count, 6), np.float32)).distance(np.zeros(6, np.float32)))


@pytest.mark.parametrize(
    "fit,load",
    [(fit_nearest_neighbours, nearest_neighbours_from), (fit_mahalanobis, mahalanobis_from)],
)
def test_what_is_kept_gives_the_same_distance_to_the_last_bit(fit, load):
    fitted, query = fit(features(40, 9)), features(1, 9, seed=1)[0]
    tensors = {name: one.clone() for name, one in fitted.tensors().items()}
    assert load(tensors).distance(query) == fitted.distance(query)
    for name, tensor in tensors.items():
        with pytest.raises(ValueError, match=f"^{name}: "):
            load(tensors | {name: tensor.double()})
        with pytest.raises(ValueError, match=" expected$"):
            load(tensors | {name: tensor[..., :-1]})
        with pytest.raises(KeyError):
            load({other: one for other, one in tensors.items() if other != name})


def test_vectors_are_kept_in_two_bytes_a_number():
    assert fit_nearest_neighbours(features(40, 9)).references.dtype == torch.float16
    assert fit_mahalanobis(features(40, 9)).components.dtype == torch.float16
