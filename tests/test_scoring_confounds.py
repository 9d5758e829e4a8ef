"""Rank correlations with simple things, and a sentence when one of them rules."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adgan_cli.images.find import list_inputs
from adgan_cli.images.read import Preprocessing
from adgan_cli.scoring.confounds import _spearman, confounds
from adgan_cli.scoring.rows import ScoreRow

RULES = Preprocessing(16, 1)


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """Thirty plain pictures, each brighter than the one before; the last is twice as wide."""
    for index in range(30):
        size = (32, 16) if index == 29 else (16, 16)
        Image.new("L", size, 8 * index).save(tmp_path / f"{index:02}.png")
    return tmp_path


def rows(score: Callable[[int], float]) -> list[ScoreRow]:
    return [ScoreRow(f"{index:02}.png", score(index)) for index in range(30)]


def test_an_order_that_follows_brightness_is_found_out(greys: Path) -> None:
    found = confounds(rows(lambda i: float(i**3)), list_inputs([greys]), RULES)
    assert found["brightness"] == 1
    assert "contrast" not in found, "all of them have none"
    assert confounds(rows(lambda i: -float(i)), list_inputs([greys]), RULES)["brightness"] == -1


def test_few_pictures_and_lost_ones_tell_nothing(greys: Path) -> None:
    listing = list_inputs([greys])
    assert confounds(rows(float)[:19], listing, RULES) == {}
    for path in greys.iterdir():
        path.unlink()
    assert confounds(rows(float), listing, RULES) == {}


def test_ties_share_their_places() -> None:
    a, b = np.array([1.0, 2, 2, 3]), np.array([10.0, 20, 20, 30])
    assert _spearman(a, b) == pytest.approx(1)
    # by hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert _spearman(a, np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
