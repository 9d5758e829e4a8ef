"""Classical methods of Table 1 on principal components: KDE, OC-SVM, isolation forest, GMM.

Each comes in two versions. `tuned` is the paper's: the number of components, and OC-SVM's gamma,
are those with the best AUC on the labelled hold-out (section 4.2). The other looks
at no label: as many components as keep 95% of the variance. scikit-learn does the fitting.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adgan_cli.evaluation.features import Features, alexnet_features, pixel_features
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.evaluation.task import Cell, Method, MethodResult, NotApplicableError, Task

BANDWIDTHS = tuple(2.0 ** (k / 2) for k in range(9))  # section 4.2: 2^0, 2^(1/2) ... 2^4
GAMMAS = tuple(2.0**k for k in range(-7, 0))  # section 4.2
NU = 0.1  # ours, the paper is silent; Ruff et al., 2018, take 0.01 and 0.1
COMPONENTS = range(2, 21)  # section 4.2
FOLDS = 10  # section 4.2
_BLOCK = 250  # points at a time in a KDE; a block and its distances stay in the cache


Fit = Callable[..., MethodResult]  # kde, ocsvm, iforest or gmm


def tuned(fit: Fit) -> Method:
    """Let the labels of the hold-out choose, as the paper does."""
    return lambda cell: fit(cell.task, tuned=True)


def free(fit: Fit) -> Method:
    """Let no label choose."""
    return lambda cell: fit(cell.task, tuned=False)


def on_alexnet(fit: Fit) -> Method:
    """Let the labels choose, on AlexNet's features instead of pixels."""

    def method(cell: Cell) -> MethodResult:
        device = torch.device(cell.settings.device)
        features = alexnet_features(cell.task, cell.settings.alexnet_weights, device=device)
        return fit(cell.task, features=features)

    return method


@dataclass(frozen=True)
class Candidate:
    """One fitted model among those a hold-out may choose from."""

    dimension: int
    score: Callable[[np.ndarray], np.ndarray]  # (N, dimension) -> (N,), larger = more anomalous
    settings: Mapping[str, Any]


def kde(task: Task, *, features: Features | None = None, tuned: bool = True) -> MethodResult:
    """Score by a Gaussian kernel density, its bandwidth by ten-fold cross-validated likelihood."""
    features = features or pixel_features(task)

    def candidates() -> Iterator[Candidate]:
        for d in _dimensions(features, tuned):
            train = features.train[:, :d]
            h = _bandwidth(train, task.seed)
            yield Candidate(d, _density(train, h), {"bandwidth": BANDWIDTHS[h]})

    return _result(task, features, candidates(), tuned)


def ocsvm(task: Task, *, features: Features | None = None, tuned: bool = True) -> MethodResult:
    """Score by a one-class SVM, Gaussian kernel; without labels gamma is scikit-learn's "scale"."""
    from sklearn.svm import OneClassSVM

    features = features or pixel_features(task)

    def candidates() -> Iterator[Candidate]:
        for d in _dimensions(features, tuned):
            train = features.train[:, :d]
            for gamma in GAMMAS if tuned else (1.0 / (d * train.var()),):
                model = OneClassSVM(gamma=gamma, nu=NU, cache_size=500).fit(train)
                settings = {"gamma": float(gamma), "nu": NU}
                yield Candidate(d, _negative(model.score_samples), settings)

    return _result(task, features, candidates(), tuned)


def iforest(task: Task, *, features: Features | None = None, tuned: bool = True) -> MethodResult:
    """Score by scikit-learn's isolation forest: "largely stable" to its settings (section 4.2)."""
    from sklearn.ensemble import IsolationForest

    features = features or pixel_features(task)

    def candidates() -> Iterator[Candidate]:
        for d in _dimensions(features, tuned):
            model = IsolationForest(random_state=task.seed).fit(features.train[:, :d])
            settings = {"trees": model.n_estimators, "samples": int(model.max_samples_)}
            yield Candidate(d, _negative(model.score_samples), settings)

    return _result(task, features, candidates(), tuned)


def gmm(task: Task, *, features: Features | None = None, tuned: bool = True) -> MethodResult:
    """Score by a Gaussian mixture of full covariances, as many components as BIC prefers."""
    features = features or pixel_features(task)

    # a covariance of full rank takes d + 1 pictures, and there are two components or more
    possible = [d for d in features.dimensions if 2 * (d + 1) <= len(features.train)]
    if not possible:
        raise NotApplicableError(f"needs more than {len(features.train)} training pictures")
    if not tuned:
        possible = [max(d for d in possible if d <= features.label_free_dimension)]

    def candidates() -> Iterator[Candidate]:
        for d in possible:
            model = _mixture(features.train[:, :d], task.seed)
            settings = {"components": model.n_components, "converged": bool(model.converged_)}
            yield Candidate(d, _negative(model.score_samples), settings)

    return _result(task, features, candidates(), tuned)


def log_densities(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Compute the log KDE of x: (N, D) around centres: (K, D), a row a bandwidth: (9, N).

    The sum over all centres, for all bandwidths from one table of distances: KernelDensity with
    one leaf. With its tree, which here prunes nothing, low densities drown in the rounding of the
    tree's bounds (scikit-learn issues 7492 and 25799): half the test pictures of an MNIST digit.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    widths = np.array(BANDWIDTHS)[:, None]
    logs = np.empty((len(BANDWIDTHS), len(x)))
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        squared = euclidean_distances(x[block], centres, squared=True)  # (B, K)
        nearest = squared.min(1)  # taken out, so that no sum underflows
        kernel = np.exp((nearest[:, None] - squared) / (2 * BANDWIDTHS[-1] ** 2))
        for row in range(len(BANDWIDTHS) - 1, -1, -1):  # from the widest
            logs[row, block] = np.log(kernel.sum(1)) - nearest / (2 * BANDWIDTHS[row] ** 2)
            kernel *= kernel  # h / sqrt(2), the next: twice the exponent
    volume = x.shape[1] * np.log(widths * np.sqrt(2 * np.pi)) + np.log(len(centres))
    return logs - volume  # type: ignore[no-any-return]


def _bandwidth(train: np.ndarray, seed: int) -> int:
    """Choose the index in BANDWIDTHS that makes the left-out tenths likeliest."""
    from sklearn.model_selection import KFold

    total = np.zeros(len(BANDWIDTHS))
    folds = KFold(min(FOLDS, len(train)), shuffle=True, random_state=seed)
    for rest, left_out in folds.split(train):
        total += log_densities(train[left_out], train[rest]).sum(1)
    return int(total.argmax())


def _density(train: np.ndarray, row: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: -log_densities(x, train)[row]


def _mixture(train: np.ndarray, seed: int) -> Any:
    """Fit the GaussianMixture of least BIC among those whose covariances can have full rank."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    pictures, dimensions = train.shape
    counts = [k for k in COMPONENTS if k * (dimensions + 1) <= pictures]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the settings
        models = [GaussianMixture(k, random_state=seed).fit(train) for k in counts]
    return min(models, key=lambda model: model.bic(train))


def _negative(score: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Negate scikit-learn's scores, which are larger for normal."""
    return lambda x: -score(x)


def _dimensions(features: Features, tuned: bool) -> tuple[int, ...]:
    return features.dimensions if tuned else (features.label_free_dimension,)


def _result(
    task: Task, features: Features, candidates: Iterator[Candidate], tuned: bool
) -> MethodResult:
    """Score the test images by the candidate that the hold-out prefers, or by the only one."""
    if tuned:
        best, chosen_by = _best_on_holdout(task, features, candidates)
    else:
        (best,), chosen_by = candidates, {}
    scores = best.score(features.test[:, : best.dimension])
    settings = {
        "dimensions": best.dimension,
        **best.settings,
        "train_pictures": len(features.train),
        "tuned_with_labels": tuned,
        **chosen_by,
    }
    return MethodResult(scores.astype(np.float64), settings)


def _best_on_holdout(
    task: Task, features: Features, candidates: Iterator[Candidate]
) -> tuple[Candidate, dict[str, Any]]:
    """Find the first candidate of the greatest AUC on the hold-out, and that AUC."""
    labels = task.holdout_labels
    if len(labels) == 0:
        raise NotApplicableError("needs 1,000 test items left over; use a smaller --n-test")
    if labels.all() or not labels.any():
        raise NotApplicableError("the hold-out needs normal and anomalous pictures")
    best, greatest = None, -1.0
    for candidate in candidates:
        auc = roc_auc(labels, candidate.score(features.holdout[:, : candidate.dimension]))
        if auc > greatest:
            best, greatest = candidate, auc
    assert best is not None
    return best, {"holdout_auc": greatest, "holdout_pictures": len(labels)}
