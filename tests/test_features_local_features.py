"""A coreset covers what it is chosen of, and a place unlike all stored is far from them."""

import numpy as np
import pytest

from adgan_cli.engine.features import local_features
from adgan_cli.engine.features.local_features import (
    CandidateSample,
    coreset,
    fit_local_features,
    local_features_from,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_a_coreset_takes_the_farthest_point_again_and_again():
    points = np.array([[0.0], [1.0], [10.0], [4.0], [0.0]], np.float32)
    assert coreset(points, 3).tolist() == [0, 2, 3]
    assert coreset(points, 9).tolist() == [0, 2, 3, 1]  # the last is stored already
    assert coreset(points, 2, start=3).tolist() == [3, 2]


def test_a_coreset_covers_better_than_chance():
    points = normal(400, 3)
    chosen = coreset(points, 30)
    radius = [
        np.linalg.norm(points[:, None] - stored[None], axis=2).min(1).max()
        for stored in (points[chosen], points[:30])
    ]
    assert radius[0] < 0.7 * radius[1]


def test_distances_are_those_to_the_nearest_place():
    candidates = normal(50, 8)
    fitted = fit_local_features(candidates, seed=0)
    seen = normal(3, 4, 8, seed=1)
    standard = (seen - candidates.mean(0)) / candidates.std(0)
    expected = np.linalg.norm(standard[:, :, None] - fitted.places, axis=3).min(2)
    np.testing.assert_allclose(fitted.distances(seen), expected, rtol=1e-3)
    assert fitted.distances(candidates[None]).max() < 0.05  # all are stored, in 16 bits


def test_what_is_stored_comes_back_as_it_was():
    fitted = fit_local_features(normal(50, 8), seed=0)
    loaded = local_features_from(fitted.arrays())
    seen = normal(2, 2, 8, seed=3)
    assert np.array_equal(loaded.distances(seen), fitted.distances(seen))
    for other in (fitted.places[0], fitted.places[:, 1:], fitted.places[:0]):
        with pytest.raises(ValueError):
            local_features_from(fitted.arrays() | {"places": other})


def test_equal_places_have_finite_distances():
    fitted = fit_local_features(np.ones((20, 4), np.float32), seed=0)
    assert fitted.places.shape == (1, 4)
    assert fitted.distances(np.zeros((2, 2, 4), np.float32)).tolist() == [[2, 2], [2, 2]]


def test_places_are_drawn_from_all_images_alike(monkeypatch):
    monkeypatch.setattr(local_features, "MAX_CANDIDATES", 100)
    sample = CandidateSample(seed=0)
    for image in range(40):
        sample.add(np.full((1, 5, 5, 2), image, np.float32))
    drawn = sample.candidates[:, 0]
    assert len(drawn) == 100 and (np.diff(drawn) >= 0).all()
    assert len(set(drawn)) > 30 and 15 < drawn.mean() < 25
