"""Histograms of colours and gradients: shares that add up, directions that are told apart."""

import numpy as np
import pytest
from textures import stripes

from adgan_cli.engine.features.histograms import ANGLES, CELLS, LEVELS, histogram_groups, histograms

GRADIENTS = CELLS**2 * ANGLES


def directions(image: np.ndarray) -> np.ndarray:
    """Shares of the gradients' directions in the cells: (CELLS^2, ANGLES)."""
    return np.square(histograms(image)[:GRADIENTS]).reshape(-1, ANGLES)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 128])
def test_each_colour_axis_of_a_cell_adds_up_to_1(side, channels):
    image = stripes(1, side=side, channels=channels)[0]
    features = histograms(image)
    assert features.dtype == np.float32
    assert features.shape == (CELLS**2 * (ANGLES + channels * LEVELS),)
    assert sum(histogram_groups(channels)) == len(features)
    assert histogram_groups(channels)[0] == GRADIENTS
    shares = np.square(features[GRADIENTS:]).reshape(channels, CELLS**2, LEVELS)
    assert shares.sum(axis=2) == pytest.approx(1, abs=1e-5)


def test_gradients_are_counted_by_their_direction():
    upright, level = stripes(1, side=32)[0], stripes(1, side=32, turned=True)[0]
    assert (directions(upright).argmax(axis=1) == 0).all()
    middle = {ANGLES // 2, (ANGLES + 1) // 2}
    assert {*directions(level).argmax(axis=1)} <= middle


def test_opposite_gradients_are_alike():
    image = stripes(1, side=32)[0]
    assert directions(255 - image) == pytest.approx(directions(image), abs=1e-4)


def test_a_flat_image_has_a_colour_and_no_gradient():
    features = histograms(np.full((16, 16, 3), 77, np.uint8))
    assert not features[:GRADIENTS].any()
    assert {*features[GRADIENTS:]} == {0.0, 1.0}


def test_hues_of_equal_luminance_are_told_apart():
    red, blue = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 90
    a, b = histograms(red)[GRADIENTS:], histograms(blue)[GRADIENTS:]
    luminance = CELLS**2 * LEVELS
    assert (a[:luminance] == b[:luminance]).all()
    assert not np.allclose(a[luminance:], b[luminance:])
