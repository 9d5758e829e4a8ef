"""What stands beside an image says where the search failed, and how much."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.files import load_model
from adgan_cli.reports import explanation
from adgan_cli.reports.comparison import Comparison
from adgan_cli.reports.explanation import Explanation, difference, encode, explain, overlay_heatmap
from adgan_cli.reports.rank import rank
from adgan_cli.scoring.rows import ScoreRow

QUICK = replace(PAPER_SEARCH, n_seed=2, k=2)


def opened(data: bytes | None) -> np.ndarray:
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def grey(level, size=16, channels=1):
    return np.full((size, size, channels), level, np.uint8)


def drawn(
    pixels: Sequence[np.ndarray],
    generated: Sequence[np.ndarray | None],
    neighbours: Sequence[np.ndarray | None] | None = None,
    maps: Sequence[np.ndarray | None] | None = None,
) -> list[Explanation]:
    nothing = [None] * len(pixels)
    parts = zip(pixels, generated, maps or nothing, neighbours or nothing, strict=True)
    items = [Comparison(ScoreRow(f"{i}.png", 1.0), *part) for i, part in enumerate(parts)]
    return list(explain(items).values())


def test_difference_is_the_root_of_the_mean_square_over_channels():
    picture, generated = np.zeros((1, 1, 1, 3), np.uint8), np.array([[[[0, 30, 60]]]], np.uint8)
    assert difference(picture, generated).item() == pytest.approx((4500 / 3) ** 0.5)
    assert (difference(generated, picture) == difference(picture, generated)).all(), "uint8 wraps"


def test_colours_are_brightest_where_the_reconstruction_fails():
    picture, generated = grey(200), grey(200)
    generated[4:6, 4:6] = 0
    (one,) = drawn([picture], [generated])
    shown = opened(one.difference)
    assert shown[4, 4].sum() > 600, "pale yellow"
    assert set(np.unique(shown[0])) == {90}, "elsewhere the picture, dim and grey"
    assert (opened(one.reconstruction)[4, 4] == 0).all()


def test_colours_mean_the_same_on_all_cards():
    pictures = np.stack([grey(100), grey(100)])
    generated = np.stack([grey(100), grey(100)])
    generated[0, :8], generated[1, :8] = 40, 80  # three times as far
    first, second = drawn(pictures, generated)
    assert first.full == second.full == 60
    assert opened(first.difference)[0, 0].sum() > 2 * opened(second.difference)[0, 0].sum()


def test_colours_grow_brighter_all_the_way():
    ramp = np.linspace(0, 1, 64)[None]
    levels = overlay_heatmap(np.zeros((1, 64, 1), np.uint8), ramp).astype(int).sum(-1)[0]
    assert (np.diff(levels) >= 0).all() and levels[-1] > 600
    beyond = np.array([[-1.0, 0.0, 1.0, 9.0]])
    levels = overlay_heatmap(np.zeros((1, 4, 1), np.uint8), beyond).astype(int).sum(-1)[0]
    assert levels[0] == levels[1] and levels[2] == levels[3]


def test_a_perfect_reconstruction_shows_no_noise():
    (one,) = drawn([grey(100)], [grey(101)])
    assert opened(one.difference).max() < 90, "one level of 255 is nothing"


def test_each_picture_keeps_its_own_neighbours():
    pictures = np.stack([grey(1), grey(2)])
    near = [np.stack([grey(10, 8), grey(11, 8)]), np.stack([grey(20, 8), grey(21, 8)])]
    levels = [
        [opened(data)[0, 0, 0] for data in one.neighbours]
        for one in drawn(pictures, pictures, near)
    ]
    assert levels == [[10, 11], [20, 21]]
    assert [one.neighbours for one in drawn(pictures, pictures)] == [(), ()]
    assert explain([]) == {}


def test_local_features_are_coloured_where_they_are_strangest():
    pictures, heat = [grey(200), grey(200)], np.ones((2, 4, 4))
    heat[0, 1, 1] = 9.0
    first, second = drawn(pictures, [grey(0), None], maps=[*heat])
    assert first.full is None and first.reconstruction is not None and second.difference is not None
    shown = opened(first.difference)
    assert shown.shape == (16, 16, 3) and shown[5, 5].sum() > 400
    assert set(np.unique(shown[12:])) == {90}, "what is as strange as most has no colour"
    assert set(np.unique(opened(second.difference))) == {90}, "one scale for all"
    (flat,) = drawn(pictures[:1], [None], maps=[np.full((4, 4), 7.0)])
    assert set(np.unique(opened(flat.difference))) == {90}


def test_without_a_reconstruction_or_local_features_neighbours_stand_alone():
    (one,) = drawn([grey(1)], [None], [grey(2, 8)[None]])
    assert one == Explanation(None, None, None, one.neighbours) and len(one.neighbours) == 1


def test_many_explanations_of_noise_still_fit_on_a_page(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (3, 128, 128, 3), np.uint8)
    (one,) = drawn(noise[:1], noise[1:2], [noise])
    assert one.reconstruction is not None and len(one.reconstruction) > 20_000
    monkeypatch.setattr(explanation, "_PAGE_BYTES", 200_000)
    many = drawn(noise, noise[::-1], [noise] * 3)
    shown = [data for one in many for data in (one.reconstruction, one.difference, *one.neighbours)]
    assert sum(len(data) for data in shown if data is not None) < 200_000


@pytest.mark.parametrize(("size", "kind"), [(32, "PNG"), (64, "JPEG")])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_lose_nothing_and_larger_ones_little(size, kind, channels):
    picture = np.random.default_rng(0).integers(0, 255, (size, size, channels), np.uint8)
    with Image.open(io.BytesIO(encode(picture))) as image:
        assert image.format == kind
    assert kind == "JPEG" or (opened(encode(picture)) == picture).all()


@pytest.mark.parametrize("wanted", [True, False])
def test_ranking_from_python_explains_unless_it_should_not(tiny_model, discs, tmp_path, wanted):
    rank(load_model(tiny_model), [discs(3)], tmp_path / "report", QUICK, top=1, explain=wanted)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count('alt="Best reconstruction of') == (2 if wanted else 0)
