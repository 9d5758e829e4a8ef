"""The AUC is the chance that an anomalous picture scores higher than a normal one."""

import pytest

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.metrics import roc_auc


def test_auc_of_perfect_reversed_and_constant_scores():
    labels = [False, False, True, True]
    assert roc_auc(labels, [1.0, 2.0, 3.0, 4.0]) == 1.0
    assert roc_auc(labels, [4.0, 3.0, 2.0, 1.0]) == 0.0
    assert roc_auc(labels, [1.0, 1.0, 1.0, 1.0]) == 0.5


def test_auc_counts_pairs_and_half_of_ties():
    # pairs (anomalous, normal): 3>1, 3>2, 2>1, 2=2
    assert roc_auc([False, False, True, True], [1.0, 2.0, 3.0, 2.0]) == 3.5 / 4


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_auc_needs_both_kinds(labels):
    with pytest.raises(ConfigError, match="AUC"):
        roc_auc(labels, [1.0] * len(labels))
