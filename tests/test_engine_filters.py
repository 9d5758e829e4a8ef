"""A product with band matrices is the convolution that it stands for."""

import pytest
import torch
import torch.nn.functional as F

from adgan_cli.engine.filters import band_matrix, filtered


@pytest.mark.parametrize("leading", [(), (2,), (3, 2, 3)])
def test_filtered_images_are_those_of_a_convolution(leading):
    rng = torch.Generator().manual_seed(0)
    row, images = torch.rand(5, generator=rng), torch.rand(*leading, 12, 12, generator=rng)
    window = torch.outer(row, row)[None, None]
    expected = F.conv2d(images.reshape(-1, 1, 12, 12), window).reshape(*leading, 8, 8)
    torch.testing.assert_close(filtered(images, band_matrix(row, 12)), expected)


def test_images_side_by_side_in_other_strides_are_filtered_alike():
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    band = band_matrix(torch.tensor([1.0, 2.0, 1.0]), 12)
    last = images.to(memory_format=torch.channels_last)
    assert torch.equal(filtered(last, band), filtered(images, band))
