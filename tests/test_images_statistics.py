"""Statistics are what their names say, in closed form."""

import numpy as np
import pytest

from adgan_cli.images.statistics import STATISTICS, image_statistics


def measured(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, image_statistics(pixels), strict=True))


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (16, 16, 3)).copy()


def test_a_plain_picture_has_brightness_and_nothing_else():
    found = measured(plain(90, 90, 90))
    assert found["brightness"] == 90
    assert found["contrast"] == found["sharpness"] == found["colourfulness"] == 0


def test_half_black_half_white_has_half_the_range_for_contrast():
    pixels = plain(0, 0, 0)
    pixels[:, 8:] = 255
    assert np.expm1(measured(pixels)["contrast"]) == pytest.approx(127.5)


def test_colourfulness_of_pure_red_is_the_mean_part_of_its_formula():
    # eq. (M3): no deviation, means 255 and 127.5 of the opponent axes
    expected = 0.3 * np.hypot(255, 127.5)
    assert np.expm1(measured(plain(255, 0, 0))["colourfulness"]) == pytest.approx(expected)


def test_grey_pictures_of_one_channel_and_of_three_agree_but_for_their_files():
    grey = np.random.default_rng(0).integers(0, 256, (16, 16, 1), np.uint8)
    one, three = measured(grey), measured(np.repeat(grey, 3, 2))
    for name in set(STATISTICS) - {"complexity"}:
        assert one[name] == pytest.approx(three[name]), name


def test_noise_is_sharper_and_more_complex_than_a_ramp():
    ramp = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[:, None], 16, 1)[..., None]
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 1), np.uint8)
    for name in ("sharpness", "complexity"):
        assert measured(noise)[name] > measured(ramp)[name]
