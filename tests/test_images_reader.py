"""Many images are read in order, each with its own pixels, a few ahead and no thread left over."""

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from container_samples import numbered_images
from PIL import Image

from adgan_cli.errors import ImageError
from adgan_cli.images import reader
from adgan_cli.images.find import find_inputs
from adgan_cli.images.pixels import load_pixels
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.reader import Reader, scan_value_ranges
from adgan_cli.images.refs import ImageRef
from adgan_cli.images.value_ranges import ranges_of

GREY = Preprocessing(4, 1)


@pytest.fixture
def found(tmp_path):
    return numbered_images(tmp_path)


def reading(
    found: Iterable[ImageRef], **options
) -> Iterator[tuple[ImageRef, DecodedImage | ImageError]]:
    return Reader(GREY, **options).read(found, Path("root"), expected=12)


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("adgan-read")]


@pytest.mark.parametrize("workers", [None, 1, 4])
def test_pictures_come_in_order_each_with_its_own_pixels(found, workers):
    results = list(reading(found, workers=workers))
    assert [item for item, _ in results] == found
    for number, (_, result) in enumerate(results):
        if number in (3, 11):
            assert isinstance(result, ImageError)
            assert str(result) == "not a picture Pillow can read"
        else:
            assert isinstance(result, DecodedImage)
            assert set(result.pixels.ravel()) == {number}
    assert reading_threads() == []


def test_order_holds_when_the_first_picture_is_the_slowest(found, monkeypatch):
    real = reader.decode_image

    def slow_first(item, preprocessing):
        if item.name == "00.png":
            time.sleep(0.1)
        return real(item, preprocessing)

    monkeypatch.setattr(reader, "decode_image", slow_first)
    assert [item for item, _ in reading(found, workers=3)] == found


def test_only_a_few_pictures_are_read_ahead(found):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield found[0]

    images = reading(endless(), workers=2)
    for _ in range(5):
        next(images)
    assert len(taken) <= 5 + 2 * 3
    images.close()


def test_closing_early_stops_the_threads_after_the_pictures_they_are_on(found, monkeypatch):
    started = []
    closing = threading.Event()
    real = reader.decode_image

    def held_up(item, preprocessing):
        started.append(item)
        if len(started) > 1:
            closing.wait(10)
        return real(item, preprocessing)

    monkeypatch.setattr(reader, "decode_image", held_up)
    images = reading(found, workers=2)
    next(images)
    threading.Timer(0.5, closing.set).start()
    images.close()
    assert reading_threads() == []
    assert len(started) <= 3


def test_a_bug_in_a_thread_is_not_swallowed(found, monkeypatch):
    def bug(item, preprocessing):
        raise ZeroDivisionError

    monkeypatch.setattr(reader, "decode_image", bug)
    with pytest.raises(ZeroDivisionError):
        list(reading(found, workers=2))


def save_16_bit(path, *values):
    Image.fromarray(np.array(values, np.uint16).reshape(1, -1)).save(path)


def test_deep_pictures_are_scaled_by_the_range_of_their_set(tmp_path):
    save_16_bit(tmp_path / "a.png", 1000, 3000)
    save_16_bit(tmp_path / "b.png", 2000, 5000)
    Image.new("L", (2, 1), 7).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"damaged")
    listing = find_inputs([tmp_path])
    assert ranges_of(scan_value_ranges(listing.items, workers=2)) == (("I;16", 1000, 5000),)
    loaded = load_pixels(listing, Reader(Preprocessing(2, 1, "squash"), 2))
    # 1 x 2 pixels stretched to 2 x 2: columns stay what they are
    assert loaded.pixels[:, 0, :, 0].tolist() == [[0, 128], [64, 255], [7, 7]]
    assert loaded.ranges == ranges_of(loaded.value_ranges) == (("I;16", 1000, 5000),)
    by_hand = Preprocessing(2, 1, "squash", ranges=(("I;16", 0.0, 10_000.0),))
    again = load_pixels(listing, Reader(by_hand, 2))
    assert again.pixels[:2, 0, :, 0].tolist() == [[26, 76], [51, 127]]
    assert (again.ranges, again.value_ranges) == (by_hand.ranges, ())


@pytest.mark.parametrize("value", [0, 300])
def test_a_set_of_one_deep_value_has_no_range(tmp_path, value):
    save_16_bit(tmp_path / "a.png", value, value)
    assert scan_value_ranges(find_inputs([tmp_path]).items, workers=1) == ()


def test_threads_are_one_to_eight_unless_given():
    assert 1 <= Reader(GREY).threads <= 8 and Reader(GREY, 11).threads == 11
