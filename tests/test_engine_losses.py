"""Losses have the values their formulas say."""

import torch

from adgan_cli.engine.losses import l2


def test_l2_is_the_sum_of_squares_per_picture():
    x = torch.zeros(2, 3, 4, 4)
    y = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), -1.0)])
    torch.testing.assert_close(l2(y, x), torch.tensor([12.0, 48.0]))
