"""Grids put every picture where it belongs."""

import numpy as np
import pytest
from PIL import Image

from adgan_cli.images.encode import write_grid


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_pictures_are_laid_out_row_by_row(tmp_path, channels, mode):
    pictures = np.stack([np.full((4, 4, channels), 40 * i, np.uint8) for i in range(5)])
    write_grid(tmp_path / "grid.png", pictures, columns=3)
    with Image.open(tmp_path / "grid.png") as grid:
        assert (grid.mode, grid.size) == (mode, (3 * 6 - 2, 2 * 6 - 2))
        sheet = np.asarray(grid.convert("L"))
    corners = [sheet[0, 0], sheet[0, 6], sheet[0, 12], sheet[6, 0], sheet[6, 6]]
    assert corners == [0, 40, 80, 120, 160]
    assert sheet[6, 12] == sheet[0, 4] == 255  # an empty place, and the gap


def test_one_picture_is_a_grid(tmp_path):
    write_grid(tmp_path / "grid.png", np.zeros((1, 4, 4, 3), np.uint8))
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (4, 4)
