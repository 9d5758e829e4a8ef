"""uint8 and [-1, 1] hold the same images."""

import numpy as np
import pytest
import torch

from adgan_cli.engine.pixels import pixel_tensor, to_model_range, to_uint8
from adgan_cli.images.pixels import PixelSet


def test_every_level_survives_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    x = to_model_range(levels)
    assert (x.shape, x.min().item(), x.max().item()) == ((1, 1, 16, 16), -1.0, 1.0)
    assert (to_uint8(x) == levels.numpy()).all()


def test_channels_move_with_their_pixels():
    pixels = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    pixels[0, 0, 1, 2] = 255  # top right, blue
    assert to_model_range(pixels)[0, 2, 0, 1] == 1.0
    assert (to_uint8(to_model_range(pixels)) == pixels.numpy()).all()


@pytest.mark.parametrize(
    ("max_images", "expected"),
    [(None, range(10)), (10, range(10)), (9, range(0, 10, 2)), (3, [0, 4, 8]), (1, [0])],
)
def test_a_part_of_a_set_comes_from_all_over_it(max_images, expected):
    levels = np.arange(10, dtype=np.uint8)[:, None, None, None]
    images = PixelSet(levels, tuple("abcdefghij"), ())
    assert pixel_tensor(images, max_images).flatten().tolist() == list(expected)
