"""A set that is all alike is told from one with something to learn from."""

import numpy as np
import pytest
from PIL import Image

from adgan_cli.images.find import find_inputs
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.images.variety import lack_of_variety, one_coloured

NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def images(*pixels: np.ndarray, **more) -> PixelSet:
    return PixelSet(np.stack(pixels), tuple(map(str, range(len(pixels)))), (), **more)


def flat(*colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


def test_one_colour_is_one_in_every_channel():
    assert one_coloured(flat(1, 2, 3)) and not one_coloured(NOISE)
    spotted = flat(1, 2, 3)
    spotted[7, 7, 2] = 4
    assert not one_coloured(spotted)


@pytest.mark.parametrize(
    ("set_", "expected"),
    [
        (images(flat(1, 2, 3), flat(1, 2, 3)), "all of 2 pictures are of one colour as they were"),
        (images(flat(1, 2, 3), flat(4, 4, 4)), "all of 2 pictures are of one colour as they were"),
        (images(flat(9, 9, 9)), "all of 1 picture are of one colour"),
        (images(NOISE, NOISE, NOISE), "all of 3 pictures are the same as they were read"),
        (
            images(flat(0, 0, 0), ranges=(("I;16", 0, 65535),)),
            "of one colour, read with I;16 values 0..65535; --range gives others",
        ),
    ],
)
def test_a_set_that_is_all_alike_says_so(set_, expected):
    assert expected in lack_of_variety(set_)


def test_a_set_with_something_to_learn_from_says_nothing():
    assert lack_of_variety(images(NOISE)) is None
    assert lack_of_variety(images(NOISE, 255 - NOISE)) is None
    assert lack_of_variety(images(flat(1, 2, 3), NOISE)) is None
    many = images(*[flat(1, 2, 3)] * 2000, NOISE)
    assert lack_of_variety(many) is None
    assert lack_of_variety(many.subset(np.arange(2001) < 2000)) is not None


def test_transparent_pictures_come_with_the_remedy(tmp_path):
    for index in range(3):
        pixels = np.dstack([np.roll(NOISE, index), np.zeros((8, 8, 1), np.uint8)])
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    listing = find_inputs([tmp_path])
    loaded = load_pixels(listing, Reader(Preprocessing(8, 3), 1))
    assert loaded.clear.tolist() == [True] * 3
    expected = "all of 3 pictures are fully transparent; --alpha drop reads the colours underneath"
    assert lack_of_variety(loaded) == expected
    assert lack_of_variety(loaded.subset(np.array([True, False, True]))).startswith("all of 2")
    dropped = load_pixels(listing, Reader(Preprocessing(8, 3, alpha="drop"), 1))
    assert lack_of_variety(dropped) is None
