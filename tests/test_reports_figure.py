"""The figure: two groups, cropped squares, nothing global touched."""

import io

import numpy as np
import pytest
from PIL import Image

from adgan_cli.reports.figure import write_figure


def jpeg(colour, size=(8, 8), mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def drawn(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def pixel_tensor(page, colour):
    return np.isclose(page, colour, atol=12).all(-1).sum()


def test_most_anomalous_stand_above_least(tmp_path):
    write_figure(tmp_path / "new" / "f.png", [jpeg((200, 0, 0))] * 5, [jpeg((0, 0, 200))] * 5)
    page = drawn(tmp_path / "new" / "f.png")
    rows = {
        name: np.flatnonzero(np.isclose(page, colour, atol=12).all(-1).any(1))
        for name, colour in [("most", (200, 0, 0)), ("least", (0, 0, 200))]
    }
    assert rows["least"].min() - rows["most"].max() > 40  # pixels, a clear gap
    assert (page[0] == 255).all() and (page[:, -1] == 255).all()


def test_pictures_fill_rows_of_so_many_columns(tmp_path):
    write_figure(tmp_path / "a.png", [jpeg((200, 0, 0))] * 3, [], columns=2)
    write_figure(tmp_path / "b.png", [jpeg((200, 0, 0))] * 3, [], columns=3)
    a, b = drawn(tmp_path / "a.png"), drawn(tmp_path / "b.png")
    assert a.shape[0] > b.shape[0] and a.shape[1] < b.shape[1]
    area = [pixel_tensor(page, (200, 0, 0)) for page in (a, b)]
    assert area[0] == area[1] == 3 * 128 * 128


def test_pictures_are_cropped_to_their_centre(tmp_path):
    wide = Image.new("RGB", (300, 100), (0, 0, 200))
    wide.paste((200, 0, 0), (100, 0, 200, 100))
    buffer = io.BytesIO()
    wide.save(buffer, "JPEG", quality=95, subsampling=0)
    write_figure(tmp_path / "f.png", [buffer.getvalue()], [])
    page = drawn(tmp_path / "f.png")
    assert pixel_tensor(page, (200, 0, 0)) > 0.9 * 128 * 128


@pytest.mark.parametrize("mode, colour", [("L", 90), ("RGB", (1, 2, 3)), ("CMYK", (0, 0, 0, 9))])
def test_one_picture_of_any_kind_is_enough(tmp_path, mode, colour):
    write_figure(tmp_path / "f.png", [jpeg(colour, (1, 9), mode)], [jpeg(colour, (9, 1), mode)])
    assert drawn(tmp_path / "f.png").shape[1] >= 256  # the labels have room


def test_equal_pictures_give_equal_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        write_figure(tmp_path / name, [jpeg((9, 9, 9))], [jpeg((200, 9, 9))])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one picture"):
        write_figure(tmp_path / "f.png", [], [])
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        write_figure(tmp_path / "f.png", [jpeg((0, 0, 0))], [], columns=0)
    assert not list(tmp_path.iterdir())
