"""Weights of detectors by what they can tell without a label."""

from dataclasses import replace

import numpy as np
import pytest

from adgan_cli.engine.features.ensemble import Scale
from adgan_cli.engine.features.weights import (
    NETWORK_PRIOR,
    evidence,
    network_priors,
    scales,
    weights,
)


def test_a_network_counts_twice_where_there_are_colours_and_that_of_turns_if_it_tells_most():
    turns, textures = {"transformations": 0.7}, {"patches": 0.6}
    assert network_priors(textures | turns, 3) == {"transformations": NETWORK_PRIOR}
    assert network_priors({"patches": 0.8} | turns, 3) == {}
    assert network_priors(textures | turns | {"pretrained": 0.6}, 3) == {
        "pretrained": NETWORK_PRIOR
    }
    assert network_priors(textures | turns, 1) == network_priors({}, 3) == {}


def test_evidence_is_the_mean_auc_over_the_kinds():
    originals = np.array([1.0, 2.0, 3.0])
    altered = {"above": np.array([4.0, 5.0]), "below": np.array([0.0]), "equal": np.array([2.0])}
    assert evidence(originals, {"above": altered["above"]}) == 1.0
    assert evidence(originals, {"below": altered["below"]}) == 0.0
    assert evidence(originals, altered) == pytest.approx((1.0 + 0.0 + 0.5) / 3)
    assert evidence(originals, {}) == 0.5


def test_evidence_is_the_auc_of_scikit_learn():
    from adgan_cli.evaluation.metrics import roc_auc

    rng = np.random.default_rng(0)
    originals, copies = rng.integers(0, 20, 50).astype(float), rng.integers(5, 25, 30).astype(float)
    labels = np.repeat([False, True], [50, 30])
    expected = roc_auc(labels, np.concatenate([originals, copies]))
    assert evidence(originals, {"all": copies}) == pytest.approx(expected, abs=1e-12)


UNCORRELATED = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])


def weighed(evidences, z_scores=None, priors=()):
    """Weigh parts called a, b, ... by their evidence."""
    names = "abcd"[: len(evidences)]
    scales = {name: Scale(0.0, 1.0, 0.0, one) for name, one in zip(names, evidences, strict=True)}
    for name in priors:
        scales[name] = replace(scales[name], prior=2.0)
    return [*weights(scales, UNCORRELATED if z_scores is None else z_scores).values()]


def test_weights_go_with_the_evidence_above_chance():
    assert weighed([0.6, 0.9]) == pytest.approx([0.2, 0.8])
    assert weighed([0.6, 0.9], priors="a") == pytest.approx([1 / 3, 2 / 3])


def test_parts_that_repeat_each_other_share_a_weight():
    one, other = UNCORRELATED.T
    shares = weighed([0.8, 0.8, 0.8], np.stack([one, one, other], 1))
    # the ridge is as large as the variance: of (1 + 1) w = m and (1 + 1 + 1) w = m
    assert shares == pytest.approx([2 / 7, 2 / 7, 3 / 7])


def test_a_weak_part_that_repeats_a_strong_one_counts_for_nothing():
    z_scores = np.stack([np.arange(9.0), np.arange(9.0) + 1e-3 * np.arange(9.0) ** 2], 1)
    assert weighed([0.9, 0.6], z_scores) == [1.0, 0.0]


def test_a_detector_at_chance_or_below_counts_for_nothing():
    assert weighed([0.8, 0.5]) == pytest.approx([1.0, 0.0])
    assert weighed([0.8, 0.3]) == pytest.approx([1.0, 0.0])


def test_where_no_detector_tells_anything_all_count_alike():
    assert weighed([0.5, 0.3]) == [0.5, 0.5]
    assert weighed([0.1], np.zeros((3, 1))) == [1.0]


def test_scales_standardise_the_logarithms_of_the_validation_scores():
    rng = np.random.default_rng(0)
    validation = {"patches": np.exp(rng.normal(2, 3, 1000)), "scattering": rng.uniform(1, 2, 1000)}
    originals = {name: scores[:50] for name, scores in validation.items()}
    altered = {"scratch": {"patches": originals["patches"] * 1e6, "scattering": np.zeros(50)}}
    fitted = scales(validation, originals, altered, 3)
    assert list(fitted) == ["patches", "scattering"]
    z = fitted["patches"].z_scores(validation["patches"])
    assert abs(z.mean()) < 1e-9 and abs(z.std() - 1) < 1e-9
    assert (fitted["patches"].weight, fitted["scattering"].weight) == (1.0, 0.0)
    assert (fitted["patches"].evidence, fitted["scattering"].evidence) == (1.0, 0.0)


def test_identical_images_give_finite_scales():
    same = {"patches": np.zeros(5)}
    fitted = scales(same, same, {"blur": same}, 3)
    assert np.isfinite(fitted["patches"].z_scores(np.array([0.0, 1.0, 1e300]))).all()
    assert fitted["patches"].evidence == 0.5 and fitted["patches"].weight == 1.0
