"""The AUC is the chance that an anomalous picture scores higher than a normal one."""

from statistics import NormalDist

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.metrics import (
    auc_interval,
    average_precision,
    fpr_at_tpr,
    roc_auc,
    roc_curve,
)

LABELS = [False, False, True, True]
PERFECT, REVERSED, CONSTANT = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0] * 4
ALL = [roc_auc, roc_curve, average_precision, fpr_at_tpr, auc_interval]


def simulated(normal: int, anomalous: int, seed: int = 0, *, shift: float = 1.0):
    """Labels and scores of two normal distributions of variance 1, `shift` apart."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([False, True], [normal, anomalous])
    return labels, rng.normal(size=normal + anomalous) + shift * labels


def tied(count: int = 300, seed: int = 0):
    """Labels and scores of which many are equal."""
    labels, scores = simulated(count // 3, count - count // 3, seed)
    return labels, scores.round(1)


@pytest.mark.parametrize(
    ("scores", "auc", "fpr"), [(PERFECT, 1.0, 0.0), (REVERSED, 0.0, 1.0), (CONSTANT, 0.5, 1.0)]
)
def test_perfect_reversed_and_constant_scores(scores, auc, fpr):
    assert roc_auc(LABELS, scores) == auc and fpr_at_tpr(LABELS, scores) == fpr
    fprs, tprs = roc_curve(LABELS, scores)
    assert (fprs[0], tprs[0], fprs[-1], tprs[-1]) == (0, 0, 1, 1)
    assert sklearn_metrics.auc(fprs, tprs) == auc


def test_auc_counts_pairs_and_half_of_ties():
    # pairs (anomalous, normal): 3>1, 3>2, 2>1, 2=2
    assert roc_auc([False, False, True, True], [1.0, 2.0, 3.0, 2.0]) == 3.5 / 4


def test_auc_is_the_share_of_pairs_in_order():
    labels, scores = tied()
    above = scores[labels][:, None] - scores[~labels]
    assert roc_auc(labels, scores) == pytest.approx(((above > 0) + (above == 0) / 2).mean())


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_both_kinds_are_needed(metric, labels):
    with pytest.raises(ConfigError, match="anomalous and normal"):
        metric(labels, [1.0] * len(labels))


def test_the_refusal_says_what_it_cannot_give():
    with pytest.raises(ConfigError, match="AUC"):
        roc_auc([True], [1.0])


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_never_ranked(metric, wrong):
    with pytest.raises(ValueError, match="finite"):
        metric(LABELS, [1.0, wrong, 2.0, 3.0])


@pytest.mark.parametrize("metric", ALL)
def test_every_picture_needs_its_score(metric):
    with pytest.raises(ValueError, match="each picture"):
        metric(LABELS, [1.0, 2.0, 3.0])


def test_the_area_under_the_curve_is_the_auc():
    labels, scores = tied()
    fpr, tpr = roc_curve(labels, scores)
    assert sklearn_metrics.auc(fpr, tpr) == pytest.approx(roc_auc(labels, scores), abs=1e-12)
    assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= 0).all()


def test_average_precision_of_a_ranking_worked_by_hand():
    # from the top: anomalous (1 of 1), normal, anomalous (2 of 3)
    assert average_precision([True, False, True], [3.0, 2.0, 1.0]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(LABELS, PERFECT) == 1.0
    assert average_precision([False, False, False, True], CONSTANT) == 0.25


def test_false_positives_are_counted_where_the_rate_is_first_reached():
    # anomalous: 0.5, 2.5, 4.5, 6.5; for half of them the threshold is 4.5, which flags 5 only
    labels = [False] * 5 + [True] * 4
    scores = [1.0, 2.0, 3.0, 4.0, 5.0, 0.5, 2.5, 4.5, 6.5]
    assert fpr_at_tpr(labels, scores, tpr=0.5) == 1 / 5
    assert fpr_at_tpr(labels, scores, tpr=0.51) == 3 / 5
    assert fpr_at_tpr(labels, scores, tpr=1.0) == 1.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tpr", [0.01, 0.5, 0.95, 1.0])
def test_false_positives_agree_with_every_threshold_of_scikit_learn(seed, tpr):
    labels, scores = tied(seed=seed)
    fprs, tprs, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert fpr_at_tpr(labels, scores, tpr) == fprs[tprs >= tpr].min()


def test_a_rate_that_is_met_exactly_is_met():
    labels = [False] * 100 + [True] * 100
    scores = [float(score) for score in [*range(100), *range(100)]]
    assert 0.07 * 100 > 7
    assert fpr_at_tpr(labels, scores, tpr=0.07) == 0.07


def test_the_interval_is_that_of_auc_after_auc_of_drawn_pictures():
    labels, scores = tied(120)
    rng = np.random.default_rng(5)
    normal, anomalous = scores[~labels], scores[labels]
    aucs = []
    for _ in range(60):
        normals = normal[rng.integers(len(normal), size=len(normal))]
        anomalies = anomalous[rng.integers(len(anomalous), size=len(anomalous))]
        truth = np.repeat([False, True], [len(normals), len(anomalies)])
        aucs.append(roc_auc(truth, np.concatenate([normals, anomalies])))
    expected = np.quantile(aucs, [0.1, 0.9])
    # the same draws: values in sorted order are drawn by the same indices
    got = auc_interval(labels, scores, seed=5, resamples=60, level=0.8)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_the_interval_holds_the_true_auc_about_95_times_in_100():
    true = NormalDist().cdf(1 / 2**0.5)  # of two normal distributions a standard deviation apart
    held = 0
    for seed in range(300):
        low, high = auc_interval(*simulated(50, 80, seed), seed=seed, resamples=300)
        held += low <= true <= high
    assert 0.915 <= held / 300 <= 0.98


def test_the_interval_depends_on_the_seed_alone():
    labels, scores = simulated(40, 60)
    first = auc_interval(labels, scores, seed=1)
    assert auc_interval(labels, scores, seed=1) == first
    assert auc_interval(labels, scores, seed=2) != first


def test_the_interval_widens_with_fewer_pictures_and_a_higher_level():
    def width(count: int, level: float = 0.95) -> float:
        low, high = auc_interval(*simulated(count, count), level=level)
        return high - low

    assert width(50) > 2 * width(500) > 4 * width(5000)
    assert width(50, level=0.99) > width(50) > width(50, level=0.5)


def test_the_interval_of_perfect_and_constant_scores_is_a_point():
    assert auc_interval(LABELS, PERFECT) == (1.0, 1.0)
    assert auc_interval(LABELS, CONSTANT) == (0.5, 0.5)
