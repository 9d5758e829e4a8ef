"""Detectors' scores are joined by weights, and are those of an image alone on any machine."""

import numpy as np
from feature_models import fake_features, noise
from threadpoolctl import threadpool_limits

from adgan_cli.engine.features.components import fit_components
from adgan_cli.engine.features.ensemble import (
    MAX_Z,
    FeatureModel,
    Scale,
    joined_z_scores,
    score_images,
)


def test_a_product_divided_among_cores_does_not_change_a_score():
    pixels = noise(6, size=64, channels=3)
    detectors = {"components": fit_components(noise(40, seed=1, size=64, channels=3), 0)}
    scores = {}
    for cores in (1, 2, 3):
        with threadpool_limits(cores, user_api="blas"):
            scores[cores] = score_images(detectors, pixels)["components"].tolist()
    assert scores[1] == scores[2] == scores[3]


def test_scores_of_several_at_once_are_those_of_each_alone():
    model, pixels = fake_features(), noise(7)
    alone = np.concatenate([model.z_scores(pixels[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(model.z_scores(pixels), alone)
    together = np.concatenate([model.joined(alone[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(model.joined(alone), together)


def test_to_be_very_ordinary_in_one_respect_does_not_outweigh_a_defect():
    ordinary, hidden, plain = [[0.0, 0.0], [-MAX_Z, 6.0], [0.0, 6.0]]
    joined = joined_z_scores(np.array([ordinary, hidden, plain]), [0.5, 0.5])
    np.testing.assert_allclose(joined, [np.log(2), 3 + 0.5 * np.log1p(np.exp(-6)), 3.3478113])
    assert joined[0] < joined[1] < joined[2]


def test_scores_without_spread_or_of_nothing_are_numbers():
    z = Scale(mean=0.0, deviation=0.0, weight=1, evidence=0.5).z_scores(np.array([0.0, 1.0, 9.0]))
    assert z.tolist() == [-MAX_Z, 0.0, MAX_Z]


def test_a_detector_that_is_missing_is_neither_asked_nor_counted():
    features = fake_features(missing={"brightness": "it is not here"})
    assert features.names == ("contrast",) and features.weights == {"contrast": 1.0}
    z = features.z_scores(noise(3))
    assert z.shape == (3, 1)
    np.testing.assert_array_equal(z[:, 0], fake_features().z_scores(noise(3))[:, 1])
    assert FeatureModel({}, {}).weights == {}
