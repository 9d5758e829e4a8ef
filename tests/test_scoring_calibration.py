"""p-values in closed form, valid under exchangeability, and Benjamini-Hochberg by the book."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adgan_cli.reports.ranking import rank_rows
from adgan_cli.scoring.calibration import (
    benjamini_hochberg,
    chance_note,
    expected_by_chance,
    flagged,
    flagged_note,
    p_value,
)
from adgan_cli.scoring.rows import ScoreRow

HELD_OUT = np.array([1.0, 2.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "score, expected",
    [(0.5, 1.0), (1.0, 1.0), (1.5, 0.8), (2.0, 0.8), (2.5, 0.4), (3.0, 0.4), (3.1, 0.2)],
)
def test_p_is_one_more_than_those_at_least_as_high_in_n_and_one(score, expected):
    assert p_value(score, HELD_OUT) == pytest.approx(expected)


def test_p_values_of_normal_images_are_never_too_small():
    # P(p <= u) <= u over images held out and scored: the promise of a conformal p-value
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(2000):
        held_out = np.sort(rng.lognormal(size=19))
        p_values.append(p_value(rng.lognormal(), held_out))
    for level in (0.05, 0.1, 0.25, 0.5):
        share = float(np.mean(np.array(p_values) <= level + 1e-12))
        assert share <= level + 4 * np.sqrt(level * (1 - level) / 2000)
        assert share >= level - 4 * np.sqrt(level * (1 - level) / 2000), "nor needlessly large"


def test_benjamini_and_hochberg_s_own_example():
    # their section 3: fifteen p-values of a trial; at 0.05 four hypotheses are rejected
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
         0.4262, 0.5719, 0.6528, 0.7590, 1.0000]  # fmt: skip
    assert benjamini_hochberg(p, 0.05).tolist() == [True] * 4 + [False] * 11


def test_a_p_value_above_its_own_line_is_flagged_with_a_later_one_below():
    assert benjamini_hochberg([0.04, 0.045], 0.05).tolist() == [True, True]


def test_nothing_is_flagged_among_nothing():
    assert benjamini_hochberg([], 0.05).tolist() == []
    assert benjamini_hochberg([0.9, 0.8], 0.05).tolist() == [False, False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 0.5))
def test_what_is_flagged_has_the_smallest_p_values(p, rate):
    flagged = benjamini_hochberg(p, rate)
    if flagged.any() and not flagged.all():
        assert np.array(p)[flagged].max() < np.array(p)[~flagged].min()


def test_chance_brings_as_many_as_the_largest_p_value_says():
    assert expected_by_chance([0.01, 0.02], 800) == pytest.approx(16)
    assert expected_by_chance([], 800) == 0


ROWS = [ScoreRow(f"{i}.png", float(i), p_value=(100 - i) / 100) for i in range(95, 100)] + [
    ScoreRow("seen.png", 999.0, in_training=True)
]


def test_rows_without_a_p_value_are_neither_flagged_nor_counted():
    assert flagged(ROWS, 0.05) == {"95.png", "96.png", "97.png", "98.png", "99.png"}
    assert flagged(ROWS, 0.01) == frozenset()
    assert flagged_note(flagged(ROWS, 0.05), ROWS, 0.05).startswith("5 pictures of 5 flagged")
    assert flagged_note((), ROWS, 0.01).startswith("No picture is flagged")


def test_the_sentence_on_chance_goes_by_the_largest_p_value_shown():
    shown = [row for _, row in rank_rows(ROWS)]
    # seen.png, 99.png and 98.png: p 0.02 is the largest
    note = chance_note(shown[:3], ROWS * 100)
    assert note is not None and "all 500 pictures" in note and "about 10 of them" in note
    assert "the 2 most anomalous" in note
    assert chance_note(shown[:1], ROWS) is None
