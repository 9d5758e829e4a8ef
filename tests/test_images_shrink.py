"""Images shrunk by whole blocks."""

import numpy as np

from adgan_cli.images.shrink import at_most, block_means


def test_shrinking_takes_the_mean_of_blocks():
    picture = np.array([[0, 2, 10, 10], [4, 6, 10, 11]], np.uint8).repeat(2, 0)[None, ..., None]
    assert block_means(picture, 2)[0, ..., 0].tolist() == [[1, 10], [5, 10]]


def test_what_fills_no_block_is_cut_off():
    picture = np.arange(25, dtype=np.uint8).reshape(1, 5, 5, 1)
    assert (block_means(picture, 2) == block_means(picture[:, :4, :4], 2)).all()


def test_sides_are_divided_until_they_fit():
    sides = (16, 64, 65, 100, 128, 200, 256)
    assert [at_most(side, 64) for side in sides] == [16, 64, 32, 50, 64, 50, 64]
