"""A sentence when something simple rules the order, and none otherwise."""

import pytest

from adgan_cli.reports.confounds import confound_note


def test_a_sentence_names_what_dominates_and_the_remedy() -> None:
    note = confound_note({"contrast": 0.3, "complexity": 0.81}, adjusted=False)
    assert note is not None and "high complexity" in note and "0.81" in note
    assert "--adjust complexity" in note
    low = confound_note({"brightness": -0.75}, adjusted=True)
    assert low is not None and "low brightness" in low and "--adjust" not in low
    wide = confound_note({"aspect ratio": 0.9}, adjusted=False)
    assert wide is not None and "--adjust" not in wide


@pytest.mark.parametrize("correlations", [{}, {"contrast": 0.69}])
def test_no_sentence_where_nothing_dominates(correlations: dict[str, float]) -> None:
    assert confound_note(correlations, adjusted=False) is None
