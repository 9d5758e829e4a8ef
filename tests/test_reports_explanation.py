"""What stands beside a picture says where the search failed, and how much."""

import io

import numpy as np
import pytest
from PIL import Image

from adgan_cli.reports.explanation import difference, encoded, explanations, overlay_heatmap


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def grey(level, size=16, channels=1):
    return np.full((size, size, channels), level, np.uint8)


def test_difference_is_the_root_of_the_mean_square_over_channels():
    picture, made = np.zeros((1, 1, 1, 3), np.uint8), np.array([[[[0, 30, 60]]]], np.uint8)
    assert difference(picture, made).item() == pytest.approx((4500 / 3) ** 0.5)
    assert (difference(made, picture) == difference(picture, made)).all(), "uint8 wraps"


def test_colours_are_brightest_where_the_reconstruction_fails():
    picture, made = grey(200), grey(200)
    made[4:6, 4:6] = 0
    (told,) = explanations(picture[None], made[None])
    shown = opened(told.difference)
    assert shown[4, 4].sum() > 600, "pale yellow"
    assert set(np.unique(shown[0])) == {90}, "elsewhere the picture, dim and grey"
    assert (opened(told.reconstruction)[4, 4] == 0).all()


def test_colours_mean_the_same_on_all_cards():
    pictures = np.stack([grey(100), grey(100)])
    made = np.stack([grey(100), grey(100)])
    made[0, :8], made[1, :8] = 40, 80  # three times as far
    first, second = explanations(pictures, made)
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
    (told,) = explanations(grey(100)[None], grey(101)[None])
    assert opened(told.difference).max() < 90, "one level of 255 is nothing"


def test_each_picture_keeps_its_own_neighbours():
    pictures = np.stack([grey(1), grey(2)])
    near = [np.stack([grey(10, 8), grey(11, 8)]), np.stack([grey(20, 8), grey(21, 8)])]
    told = explanations(pictures, pictures, near)
    levels = [[opened(data)[0, 0, 0] for data in one.neighbours] for one in told]
    assert levels == [[10, 11], [20, 21]]
    assert [one.neighbours for one in explanations(pictures, pictures)] == [(), ()]
    assert explanations(pictures[:0], pictures[:0]) == []


def test_many_explanations_of_noise_still_fit_on_a_page():
    noise = np.random.default_rng(0).integers(0, 255, (3, 128, 128, 3), np.uint8)
    few = explanations(noise, noise[::-1], [noise] * 3)
    many = explanations(np.repeat(noise, 70, 0), np.repeat(noise, 70, 0), [noise] * 210)
    assert len(few[0].reconstruction) > 20_000
    shown = [data for one in many for data in (one.reconstruction, one.difference, *one.neighbours)]
    assert sum(map(len, shown)) < 4_000_000


@pytest.mark.parametrize(("size", "kind"), [(32, "PNG"), (64, "JPEG")])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_lose_nothing_and_larger_ones_little(size, kind, channels):
    picture = np.random.default_rng(0).integers(0, 255, (size, size, channels), np.uint8)
    with Image.open(io.BytesIO(encoded(picture))) as image:
        assert image.format == kind
    assert kind == "JPEG" or (opened(encoded(picture)) == picture).all()
