"""Upright, cut, resized and padded, whatever the shape and the way it was stored."""

import io

import numpy as np
import pytest
from PIL import Image

from adgan_cli.images.transform import (
    crop,
    decoder_size,
    displayed_size,
    pad_to_square,
    resize,
    turn_upright,
    window,
)

# EXIF 2.32, tag 274: where row 0 and column 0 of the stored picture belong when it is upright
SIDES = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip


def stored_for_array(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The same as stored_for, quickly: the inverse of what upright does."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return np.asarray(turn_upright(Image.fromarray(pixels), inverse))


def stored_for(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores upright pixels (H, W, C) when it notes this orientation."""
    row_side, column_side = SIDES[orientation]
    swapped = row_side in ("left", "right")
    height, width = pixels.shape[:2]
    stored = np.zeros((width, height, 3) if swapped else pixels.shape, np.uint8)
    for y, x in np.ndindex(stored.shape[:2]):
        corner = {row_side: y, column_side: x}
        top = corner["top"] if "top" in corner else height - 1 - corner["bottom"]
        left = corner["left"] if "left" in corner else width - 1 - corner["right"]
        stored[y, x] = pixels[top, left]
    return stored


@pytest.mark.parametrize("number", SIDES)
def test_every_orientation_is_undone_as_exif_says(number):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3)).astype(np.uint8)
    stored = Image.fromarray(stored_for(pixels, number))
    np.testing.assert_array_equal(np.asarray(turn_upright(stored, number)), pixels)
    assert displayed_size(stored.size, number) == (8, 5)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((30, 10), (10, 0, 20, 10)),
        ((10, 31), (0, 10, 10, 20)),
        ((5, 4), (0, 0, 4, 4)),
        ((7, 7), (0, 0, 7, 7)),
        ((1, 5000), (0, 2499, 1, 2500)),
    ],
)
def test_the_central_square_is_kept_by_crop_only(size, box):
    left, top, right, bottom = box
    image = Image.new("L", size)
    image.paste(255, box)
    middle, inner = crop(image, window(size, size, "crop"))
    assert middle.size == (right - left, bottom - top)
    assert inner == (0, 0, *middle.size)
    assert middle.getextrema() == (255, 255)
    for fit in ("pad", "squash", "within"):
        whole, inner = crop(image, window(size, size, fit))
        assert (whole.size, inner) == (size, (0, 0, *size))


@pytest.mark.parametrize(
    ("size", "decoded", "fit", "number", "box"),
    [
        ((4000, 3000), (500, 375), "crop", 1, (62.5, 0, 437.5, 375)),
        ((4000, 3000), (500, 375), "crop", 3, (62.5, 0, 437.5, 375)),
        # 4001 pixels are 500.125 eighths; the decoder gives 501, the last of them mostly invented
        ((4001, 3000), (501, 375), "crop", 1, (62.5, 0, 437.5, 375)),
        ((4001, 3000), (501, 375), "crop", 2, (63.375, 0, 438.375, 375)),
        ((4001, 3000), (501, 375), "squash", 1, (0, 0, 500.125, 375)),
        ((4001, 3000), (501, 375), "squash", 3, (0.875, 0, 501, 375)),
        ((3000, 4001), (375, 501), "pad", 6, (0, 0, 375, 500.125)),
        ((3000, 4001), (375, 501), "pad", 8, (0, 0.875, 375, 501)),
        ((11, 9), (6, 5), "squash", 7, (0.5, 0.5, 6, 5)),
    ],
)
def test_in_what_a_decoder_scaled_down_the_window_lies_between_pixels(
    size, decoded, fit, number, box
):
    assert window(size, decoded, fit, number) == box
    whole, inner = crop(Image.new("L", decoded), box)
    assert (inner[2] - inner[0], inner[3] - inner[1]) == (box[2] - box[0], box[3] - box[1])
    assert 0 <= inner[0] < 1 and 0 <= inner[1] < 1
    assert inner[2] <= whole.width < inner[2] + 1 and inner[3] <= whole.height < inner[3] + 1


@pytest.mark.parametrize("number", SIDES)
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_gradient_stays_in_place_however_the_decoder_scaled_and_turned_it(number, fit):
    # a gradient of a level a pixel over odd sides: half a pixel of the decoder's is four levels
    width, height = 1003, 801
    level = np.clip(np.arange(width) - (width - 256) / 2, 0, 255)
    ramp = level[None, :, None].repeat(height, 0).repeat(3, 2)
    exact = Image.fromarray(ramp.round().astype(np.uint8))
    stored = stored_for_array(np.asarray(exact), number)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=100, subsampling=0)
    found = []
    for scale in (1, 8):
        image = Image.open(buffer)
        if scale > 1:
            image.draft(None, (image.width // scale, image.height // scale))
        image = turn_upright(image, number)
        part, box = crop(image, window((width, height), image.size, fit, number))
        found.append(np.asarray(resize(part, box, 20, fit, (width, height)), float))
    steep = (found[0] > 40) & (found[0] < 215)
    assert steep.sum() > 100
    assert abs((found[0] - found[1])[steep].mean()) < 1


@pytest.mark.parametrize(
    ("size", "fit", "side", "expected"),
    [
        ((40, 20), "pad", 10, (10, 5)),
        ((20, 40), "pad", 10, (5, 10)),
        ((4, 2), "pad", 10, (10, 5)),
        ((1, 5000), "pad", 10, (1, 10)),
        ((5000, 1), "pad", 10, (10, 1)),
        ((40, 20), "squash", 10, (10, 10)),
        ((1, 5000), "squash", 10, (10, 10)),
        ((20, 20), "crop", 10, (10, 10)),
        ((40, 20), "within", 10, (10, 5)),
        ((4, 2), "within", 10, (4, 2)),
        ((20000, 3), "within", 100, (100, 1)),
    ],
)
def test_each_fit_has_its_size(size, fit, side, expected):
    image = Image.new("L", size)
    assert resize(image, (0, 0, *size), side, fit, size).size == expected


def test_the_proportion_is_that_of_the_whole_picture():
    drafted = Image.new("L", (126, 1))  # an eighth of 1001 x 2, rounded up
    box = window((1001, 2), drafted.size, "pad")
    assert resize(drafted, box, 1001, "pad", (1001, 2)).size == (1001, 2)


def test_bars_are_even_and_the_odd_row_is_below():
    found = np.asarray(pad_to_square(Image.new("RGB", (6, 3), (1, 2, 3)), 6, (9, 8, 7)))
    assert found[:, 0].tolist() == [[9, 8, 7]] + [[1, 2, 3]] * 3 + [[9, 8, 7]] * 2
    assert (found == found[:, :1]).all()


def test_bars_of_a_grey_picture_have_the_luma_of_the_colour():
    found = np.asarray(pad_to_square(Image.new("L", (2, 6), 5), 6, (255, 0, 0)))
    assert found[0].tolist() == [76, 76, 5, 5, 76, 76]  # 0.299 x 255


def test_shrinking_averages_instead_of_picking_pixels():
    board = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    for fit in ("crop", "pad", "squash"):
        small = resize(board, (0, 0, 64, 64), 8, fit, board.size)
        assert np.abs(np.asarray(small, int) - 127).max() <= 8


@pytest.mark.parametrize(
    ("size", "side", "fit", "expected"),
    [
        ((4000, 3000), 64, "crop", (500, 375)),
        ((4000, 3000), 256, "crop", (1000, 750)),  # 3000 / 512 is more than 4 and less than 8
        ((4000, 3000), 256, "squash", (1000, 750)),
        ((4000, 3000), 250, "pad", (500, 375)),  # 4000 / 500 is 8
        ((4000, 3000), 250, "crop", (1000, 750)),
        ((3000, 4000), 250, "pad", (375, 500)),
        ((4000, 10), 64, "crop", (4000, 10)),
        ((4000, 10), 64, "pad", (500, 1)),
        ((100, 100), 64, "pad", (100, 100)),
    ],
)
def test_the_decoder_is_asked_for_twice_the_size_of_the_fit(size, side, fit, expected):
    assert decoder_size(size, side, fit) == expected
