"""uint8 and [-1, 1] are the same pictures."""

import torch

from adgan_cli.engine.pixels import to_model_range, to_uint8


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
