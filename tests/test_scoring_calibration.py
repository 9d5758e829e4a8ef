"""p-values in closed form, valid under exchangeability, and Benjamini-Hochberg by the book."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adgan_cli.errors import ConfigError
from adgan_cli.reports.ranking import rank_rows
from adgan_cli.scoring.calibration import (
    Cut,
    benjamini_hochberg,
    chance_note,
    chosen_cut,
    expected_by_chance,
    fewest_flagged,
    flagged,
    flagged_note,
    flags_in_numbers,
    held_out_needed,
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


def fdr(rate: float) -> Cut:
    return Cut("fdr", rate)


def test_rows_without_a_p_value_are_neither_flagged_nor_counted():
    assert flagged(ROWS, fdr(0.05)) == {"95.png", "96.png", "97.png", "98.png", "99.png"}
    assert flagged(ROWS, fdr(0.01)) == frozenset()
    assert flagged_note(flagged(ROWS, fdr(0.05)), ROWS, fdr(0.05)).startswith("5 pictures of 5")
    assert flagged_note((), ROWS, fdr(0.01)).startswith("No picture is flagged")


def test_a_p_value_is_a_cut_of_its_own():
    cut = Cut("p_value", 0.02)
    assert flagged(ROWS, cut) == {"98.png", "99.png"}
    assert "2 pictures of 5 flagged; at p-values of at most 0.02 about 0 would be" in flagged_note(
        flagged(ROWS, cut), ROWS, cut
    )
    with pytest.raises(ConfigError, match="--p-value must be above 0 and below 1, got 2"):
        Cut("p_value", 2.0)
    with pytest.raises(ConfigError, match="--fdr and --p-value are two cuts"):
        chosen_cut(0.1, 0.1)


def ranked(above: int, tested: int, held_out: int) -> list[ScoreRow]:
    """Rows of which so many score above all that are held out, the others below."""
    least = 1 / (held_out + 1)
    return [ScoreRow(f"{i}.png", 1.0, p_value=least if i < above else 1.0) for i in range(tested)]


def test_where_nothing_could_be_flagged_it_is_said_with_the_number_that_would_do():
    rows = ranked(12, 60, 13)
    assert flagged_note((), rows, fdr(0.05), 13) == (
        "None of 60 pictures could be flagged at a false discovery rate of 0.05: with 13 pictures "
        "held out no p-value is below 1/14. 99 would do for the 12 that score above all of those, "
        "1,199 for a single one: train --holdout keeps more, adgan calibrate takes other ordinary "
        "pictures."
    )
    assert flags_in_numbers((), rows, fdr(0.05), 13) == {
        "rate": 0.05, "flagged": 0, "least_p_value": 1 / 14, "fewest_flagged": None,
        "held_out_needed": 99,
    }  # fmt: skip
    note = flagged_note((), rows, Cut("p_value", 0.01), 13)
    assert "None of 60 pictures could be flagged at p-values of at most 0.01" in note
    assert "below 1/14. 99 held out would do: " in note
    assert flags_in_numbers((), rows, fdr(0.05)) == {"rate": 0.05, "flagged": 0}, "unknown"


def test_where_only_many_together_could_be_flagged_it_is_said():
    note = flagged_note((), ranked(2, 60, 49), fdr(0.05), 49)
    assert "no p-value is below 1/50, so that at least 24 of 60 would have to score above" in note
    assert "599 would do for the 2 that score above all of those, 1,199 for a single one" in note
    plain = flagged_note((), ranked(0, 60, 1999), fdr(0.05), 1999)
    assert plain == "No picture is flagged at a false discovery rate of 0.05.", (
        "one could have been"
    )


def test_what_adgan_holds_out_at_most_is_not_exceeded_by_the_remedy():
    rows = ranked(1, 10_000, 200)
    assert "With the 2,000 that adgan holds out at most, 100 could be: train" in flagged_note(
        (), rows, fdr(0.05), 200
    )
    assert flagged_note((), rows, Cut("p_value", 1e-4), 200).endswith(
        "Nor with the 2,000 that adgan holds out at most."
    )


@given(st.integers(1, 80), st.integers(1, 300), st.floats(0.004, 0.6))
def test_the_numbers_named_are_the_least_that_benjamini_and_hochberg_flag(tested, n, rate):
    fewest = fewest_flagged(fdr(rate), tested, n)
    for above in range(1, tested + 1):
        p_values = [row.p_value for row in ranked(above, tested, n)]
        flags = benjamini_hochberg(p_values, rate)[:above]
        assert flags.all() == flags.any() == (fewest is not None and above >= fewest)
    needed = held_out_needed(fdr(rate), tested)
    assert fewest_flagged(fdr(rate), tested, needed) == 1
    assert needed == 1 or fewest_flagged(fdr(rate), tested, needed - 1) != 1


def test_the_sentence_on_chance_goes_by_the_largest_p_value_shown():
    shown = [row for _, row in rank_rows(ROWS)]
    # seen.png, 99.png and 98.png: p 0.02 is the largest
    note = chance_note(shown[:3], ROWS * 100)
    assert note is not None and "all 500 pictures" in note and "about 10 of them" in note
    assert "the 2 most anomalous" in note
    assert chance_note(shown[:1], ROWS) is None
