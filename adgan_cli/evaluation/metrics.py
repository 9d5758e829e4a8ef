"""How well scores tell anomalous from normal, section 4.3: larger score = more anomalous."""

from collections.abc import Sequence

import numpy as np

from adgan_cli.errors import ConfigError


def roc_auc(labels: Sequence[bool], scores: Sequence[float]) -> float:
    """Area under the ROC curve, anomalies positive: in [0, 1], 0.5 for guessing, ties count half.

    It is the chance that an anomalous picture scores higher than a normal one. labels: (N,), true
    for anomalous; scores: (N,). Raises ConfigError when one of the two kinds is missing.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.asarray(labels, dtype=bool)
    if truth.all() or not truth.any():
        raise ConfigError("an AUC needs anomalous and normal pictures, and one kind is missing")
    return float(roc_auc_score(truth, np.asarray(scores, dtype=float)))
