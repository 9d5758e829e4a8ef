"""KDE, OC-SVM, isolation forest and GMM: scikit-learn's numbers, chosen as the paper says."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from sklearn.svm import OneClassSVM

from adgan_cli.evaluation.features import Features
from adgan_cli.evaluation.methods.classical import (
    BANDWIDTHS,
    GAMMAS,
    NU,
    gmm,
    iforest,
    kde,
    log_densities,
    ocsvm,
)
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.evaluation.task import MethodResult, NotApplicableError, Task

Method = Callable[..., MethodResult]
METHODS: list[Method] = [kde, ocsvm, iforest, gmm]
NOTHING = np.empty((0, 8, 8, 1), dtype=np.uint8)


def points(count: int, dimensions: int, *, scale: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, (count, dimensions))


def make_features(
    train: np.ndarray, test: np.ndarray, holdout: np.ndarray | None = None, *, kept: float = 0.9
) -> Features:
    width = train.shape[1]
    kept_by = np.linspace(kept / width, kept, width)
    return Features(train, test, test[:0] if holdout is None else holdout, kept_by)


def make_task(labels: np.ndarray | None = None, *, seed: int = 0) -> Task:
    """A task whose features are given apart, so that its pictures do not matter."""
    holdout_labels = np.zeros(0, dtype=bool) if labels is None else labels
    return Task(NOTHING, NOTHING, NOTHING, holdout_labels, seed)


def picture_task(seed: int = 0) -> Task:
    """Discs of light on one side; anomalies have them on the other."""
    rng = np.random.default_rng(0)

    def draw(labels: np.ndarray) -> np.ndarray:
        pictures = rng.integers(0, 60, (len(labels), 8, 8, 1))
        for picture, anomalous in zip(pictures, labels, strict=True):
            picture[:, 4:] += 150 * int(anomalous)
            picture[:, :4] += 150 * int(not anomalous)
        return pictures.astype(np.uint8)

    labels = np.arange(40) % 2 == 1
    return Task(draw(np.zeros(120, dtype=bool)), draw(labels), draw(labels), labels, seed)


def test_densities_are_the_formula():
    x, centres = points(4, 3), points(6, 3, seed=1)
    for row, h in enumerate(BANDWIDTHS):
        distances = np.square(x[:, None] - centres).sum(-1)
        kernel = np.exp(-distances / (2 * h * h)) / (np.sqrt(2 * np.pi) * h) ** 3
        expected = np.log(kernel.mean(1))
        np.testing.assert_allclose(log_densities(x, centres)[row], expected, rtol=1e-10)


@pytest.mark.parametrize("dimensions", [1, 20, 100])
def test_densities_are_scikit_learns_also_far_away(dimensions):
    centres, near = points(300, dimensions), points(300, dimensions, seed=1)
    x = np.concatenate([near, near[:5] + 1000.0])
    ours = log_densities(x, centres)
    for row, h in enumerate(BANDWIDTHS):
        theirs = KernelDensity(bandwidth=h, leaf_size=300).fit(centres).score_samples(x)
        assert theirs[-5:].max() < -1000  # a plain sum of exponentials would be zero
        np.testing.assert_allclose(ours[row], theirs, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 4.0, 9.0])
def test_the_bandwidth_is_grid_searchs(scale):
    train, test = points(90, 4, scale=scale), points(10, 4, seed=1)
    outcome = kde(make_task(), features=make_features(train, test), tuned=False)
    search = GridSearchCV(
        KernelDensity(leaf_size=100),
        {"bandwidth": BANDWIDTHS},
        cv=KFold(10, shuffle=True, random_state=0),
    ).fit(train)
    assert outcome.settings["bandwidth"] == search.best_params_["bandwidth"]
    np.testing.assert_allclose(outcome.scores, -search.score_samples(test), atol=1e-6)


def test_ocsvm_is_scikit_learns():
    train, test = points(80, 20), points(10, 20, seed=1)
    outcome = ocsvm(make_task(), features=make_features(train, test), tuned=False)
    model = OneClassSVM(gamma="scale", nu=NU).fit(train)
    np.testing.assert_allclose(outcome.scores, -model.score_samples(test), rtol=1e-6)


def test_gmm_has_the_least_bic():
    corners = np.array([[0, 0], [30, 0], [0, 30]])
    train = np.concatenate([corner + points(60, 2, scale=1.0, seed=7) for corner in corners])
    outcome = gmm(make_task(), features=make_features(train, train[:5]), tuned=False)
    bics = {k: GaussianMixture(k, random_state=0).fit(train).bic(train) for k in range(2, 8)}
    assert outcome.settings["components"] == min(bics, key=lambda k: bics[k]) == 3
    assert outcome.settings["converged"] is True


def test_gmm_has_no_more_components_than_full_covariances_allow():
    few = make_features(points(70, 30), points(5, 30))  # two times (20 + 1), not three
    assert gmm(make_task(), features=few, tuned=False).settings["components"] in (2, 3)
    fewer = make_features(points(41, 20), points(5, 20))
    with pytest.raises(NotApplicableError, match="more than 41 training pictures"):
        gmm(make_task(), features=fewer, tuned=False)


@pytest.mark.parametrize("method", METHODS)
def test_tuned_takes_the_dimension_that_tells_the_holdout_apart(method):
    # components 21 to 40 show the anomaly; the first 20 and the last 60 hide it
    train, holdout = points(250, 100), points(60, 100, seed=1)
    labels = np.arange(60) % 2 == 1
    holdout[labels, 20:40] *= 4
    train[:, 40:] *= 12
    holdout[:, 40:] *= 12
    features = make_features(train, holdout, holdout)
    outcome = method(make_task(labels), features=features)
    assert outcome.settings["dimensions"] == 40
    assert outcome.settings["tuned_with_labels"] is True
    assert outcome.settings["holdout_auc"] == roc_auc(list(labels), list(outcome.scores)) > 0.9


def test_tuned_gamma_has_the_best_auc_on_the_holdout():
    train, holdout = points(100, 5, scale=3.0), points(50, 5, scale=3.0, seed=1)
    labels = np.arange(50) % 2 == 1
    holdout[labels] *= 1.5
    outcome = ocsvm(make_task(labels), features=make_features(train, holdout, holdout))
    aucs = []
    for gamma in GAMMAS:
        model = OneClassSVM(gamma=gamma, nu=NU).fit(train)
        aucs.append(roc_auc(list(labels), list(-model.score_samples(holdout))))
    assert len(set(aucs)) > 1
    assert outcome.settings["gamma"] == GAMMAS[int(np.argmax(aucs))]


@pytest.mark.parametrize("method", METHODS)
def test_without_tuning_the_holdout_is_not_looked_at(method):
    train, test = points(100, 30), points(20, 30, seed=1)
    features = make_features(train, test, np.full((4, 30), np.nan))
    labels = np.array([True, False, True, False])
    seen = method(make_task(labels), features=features, tuned=False)
    unseen = method(make_task(), features=make_features(train, test), tuned=False)
    np.testing.assert_array_equal(seen.scores, unseen.scores)
    assert seen.settings["tuned_with_labels"] is False
    assert seen.settings["dimensions"] == features.label_free_dimension


@pytest.mark.parametrize("method", METHODS)
def test_tuning_needs_a_holdout_of_both_kinds(method):
    features = make_features(points(100, 20), points(5, 20), points(3, 20))
    with pytest.raises(NotApplicableError, match="smaller --n-test"):
        method(make_task(), features=features)
    with pytest.raises(NotApplicableError, match="normal and anomalous"):
        method(make_task(np.ones(3, dtype=bool)), features=features)


@pytest.mark.parametrize("tuned", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_pictures_in_plain_scores_out(method, tuned):
    task = picture_task()
    outcome = method(task, tuned=tuned)
    assert outcome.scores.shape == (40,) and outcome.scores.dtype == np.float64
    assert roc_auc(list(task.holdout_labels), list(outcome.scores)) == 1.0
    assert json.loads(json.dumps(outcome.settings)) == outcome.settings
    np.testing.assert_array_equal(method(task, tuned=tuned).scores, outcome.scores)


def test_the_seed_decides_what_is_random():
    task = picture_task()
    other = replace(task, seed=1)
    assert not np.array_equal(iforest(task, tuned=False).scores, iforest(other, tuned=False).scores)
