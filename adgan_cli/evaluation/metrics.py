"""How well scores tell anomalous from normal, section 4.3: larger score = more anomalous.

labels: (N,), true for anomalous, which counts as positive; scores: (N,). All of these raise
ConfigError when one of the two kinds is missing, and ValueError for scores that are not finite.
"""

from collections.abc import Sequence

import numpy as np

from adgan_cli.errors import ConfigError

Labels = Sequence[bool] | np.ndarray
Scores = Sequence[float] | np.ndarray


def roc_auc(labels: Labels, scores: Scores) -> float:
    """Compute the area under the ROC curve, anomalies positive: in [0, 1], 0.5 for guessing.

    Ties count half. It is the chance that an anomalous image scores higher than a normal one.
    """
    from sklearn.metrics import roc_auc_score

    truth, values = _checked(labels, scores, "an AUC")
    return float(roc_auc_score(truth, values))


def roc_curve(labels: Labels, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Compute false and true positive rates at every threshold that matters: (0, 0) to (1, 1).

    Points on a straight line between others are left out.
    """
    from sklearn import metrics

    truth, values = _checked(labels, scores, "a ROC curve")
    fpr, tpr, _ = metrics.roc_curve(truth, values)
    return fpr, tpr


def average_precision(labels: Labels, scores: Scores) -> float:
    """Average the precision at each anomalous image's score; guessing gives their share."""
    from sklearn.metrics import average_precision_score

    truth, values = _checked(labels, scores, "an average precision")
    return float(average_precision_score(truth, values))


def fpr_at_tpr(labels: Labels, scores: Scores, tpr: float = 0.95) -> float:
    """Compute the share of normal images flagged where at least `tpr` of the anomalous ones are.

    A threshold flags all images of equal score or none: nothing is interpolated.
    """
    truth, values = _checked(labels, scores, "a false positive rate")
    anomalous = np.sort(values[truth])
    # a hair below the product: 0.07 of 100 are 7 images, 0.07 * 100 is more than 7
    wanted = max(1, int(np.ceil(tpr * len(anomalous) - 1e-9)))
    threshold = anomalous[len(anomalous) - wanted]
    return float((values[~truth] >= threshold).mean())


def auc_interval(
    labels: Labels, scores: Scores, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Compute a percentile bootstrap interval of the AUC: (low, high).

    Normal and anomalous images are drawn anew apart from each other, so that every resample
    has as many of each as the test set. Says how far the AUC depends on the images drawn for
    the test, not on training.
    """
    truth, values = _checked(labels, scores, "an AUC")
    # all that an AUC depends on is how many images have each of the distinct scores
    levels, level_of = np.unique(values, return_inverse=True)
    normal, anomalous = level_of[~truth], level_of[truth]
    rng = np.random.default_rng(seed)

    def drawn(kind: np.ndarray) -> np.ndarray:
        picked = kind[rng.integers(len(kind), size=len(kind))]
        return np.bincount(picked, minlength=len(levels))

    aucs = np.empty(resamples)
    for i in range(resamples):
        normals = drawn(normal)
        beaten = np.cumsum(normals) - normals / 2  # normal images below each level, ties half
        aucs[i] = drawn(anomalous) @ beaten
    aucs /= len(normal) * len(anomalous)
    low, high = np.quantile(aucs, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _checked(labels: Labels, scores: Scores, what: str) -> tuple[np.ndarray, np.ndarray]:
    truth, values = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=float)
    if truth.all() or not truth.any():
        raise ConfigError(f"{what} needs anomalous and normal pictures, and one kind is missing")
    if truth.shape != values.shape or not np.isfinite(values).all():
        raise ValueError(f"{what} needs one finite score for each picture")
    return truth, values
