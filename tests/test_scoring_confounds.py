"""Rank correlations with simple statistics, and a sentence when one of them rules."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from adgan_cli.images.find import list_inputs
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.confounds import confound_note, confounds
from adgan_cli.scoring.rows import ScoreRow

READER = Reader(Preprocessing(16, 1))


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """Thirty plain images, each brighter than the one before; the last is twice as wide."""
    for index in range(30):
        size = (32, 16) if index == 29 else (16, 16)
        Image.new("L", size, 8 * index).save(tmp_path / f"{index:02}.png")
    return tmp_path


def rows(score: Callable[[int], float]) -> list[ScoreRow]:
    return [ScoreRow(f"{index:02}.png", score(index)) for index in range(30)]


def test_an_order_that_follows_brightness_is_noticed(greys):
    correlations = confounds(rows(lambda i: float(i**3)), list_inputs([greys]), READER)
    assert correlations["brightness"] == 1
    assert "contrast" not in correlations, "all of them have none"
    assert confounds(rows(lambda i: -float(i)), list_inputs([greys]), READER)["brightness"] == -1


def test_few_images_and_lost_ones_have_no_correlation(greys):
    listing = list_inputs([greys])
    assert confounds(rows(float)[:19], listing, READER) == {}
    for path in greys.iterdir():
        path.unlink()
    assert confounds(rows(float), listing, READER) == {}


def test_a_sentence_names_what_dominates_and_the_remedy():
    note = confound_note({"contrast": 0.3, "complexity": 0.81}, adjusted=False)
    assert note is not None and "high complexity" in note and "0.81" in note
    assert "--adjust complexity" in note
    low = confound_note({"brightness": -0.75}, adjusted=True)
    assert low is not None and "low brightness" in low and "--adjust" not in low
    wide = confound_note({"aspect ratio": 0.9}, adjusted=False)
    assert wide is not None and "--adjust" not in wide


@pytest.mark.parametrize("correlations", [{}, {"contrast": 0.69}])
def test_no_sentence_where_nothing_dominates(correlations):
    assert confound_note(correlations, adjusted=False) is None


def test_correlations_are_spearmans_where_values_are_equal_too(greys):
    from scipy.stats import spearmanr

    correlations = confounds(rows(lambda i: float(i // 4 % 5)), list_inputs([greys]), READER)
    brightness = [8.0 * index for index in range(30)]
    expected = spearmanr([index // 4 % 5 for index in range(30)], brightness).statistic
    assert correlations["brightness"] == round(expected, 3)
