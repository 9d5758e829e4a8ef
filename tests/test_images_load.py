"""Many pictures: in order, each with its own pixels, in one array."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from adgan_cli.errors import ImageError
from adgan_cli.images import load
from adgan_cli.images.find import Found
from adgan_cli.images.load import PixelSet, default_workers, load_pixels, read_in_order
from adgan_cli.images.read import Picture


@pytest.fixture
def found(tmp_path):
    """Twelve 4x4 pictures whose grey level is their number; number 3 and the last are damaged."""
    files = []
    for number in range(12):
        path = tmp_path / f"{number:02}.png"
        Image.new("L", (4, 4), number).save(path)
        if number in (3, 11):
            path.write_bytes(b"damaged")
        files.append(Found(path, path.name))
    return files


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("adgan-read")]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_pictures_come_in_order_each_with_its_own_pixels(found, workers):
    results = list(read_in_order(found, 4, 1, workers=workers))
    assert [item for item, _ in results] == found
    for number, (_, result) in enumerate(results):
        if number in (3, 11):
            assert isinstance(result, ImageError)
            assert str(result) == "not a picture Pillow can read"
        else:
            assert isinstance(result, Picture)
            assert set(result.pixels.ravel()) == {number}
    assert reading_threads() == []


def test_order_holds_when_the_first_picture_is_the_slowest(found, monkeypatch):
    real = load.read_picture

    def slow_first(path, size, channels):
        if path.name == "00.png":
            time.sleep(0.1)
        return real(path, size, channels)

    monkeypatch.setattr(load, "read_picture", slow_first)
    assert [item for item, _ in read_in_order(found, 4, 1, workers=3)] == found


def test_only_a_few_pictures_are_read_ahead(found):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield found[0]

    reading = read_in_order(endless(), 4, 1, workers=2)
    for _ in range(5):
        next(reading)
    assert len(taken) <= 5 + 2 * load._AHEAD
    reading.close()


def test_closing_early_stops_the_threads_after_the_pictures_they_are_on(found, monkeypatch):
    started = []
    closing = threading.Event()
    real = load.read_picture

    def held_up(path, size, channels):
        started.append(path)
        if len(started) > 1:
            closing.wait(10)
        return real(path, size, channels)

    monkeypatch.setattr(load, "read_picture", held_up)
    reading = read_in_order(found, 4, 1, workers=2)
    next(reading)
    threading.Timer(0.1, closing.set).start()
    reading.close()
    assert reading_threads() == []
    assert len(started) <= 3


def test_a_bug_in_a_thread_is_not_swallowed(found, monkeypatch):
    def bug(path, size, channels):
        raise ZeroDivisionError

    monkeypatch.setattr(load, "read_picture", bug)
    with pytest.raises(ZeroDivisionError):
        list(read_in_order(found, 4, 1, workers=2))


def test_failures_are_left_out_of_the_pixels_and_named(found):
    done = []
    loaded = load_pixels(found, 4, 3, workers=2, on_picture=done.append)
    good = [number for number in range(12) if number not in (3, 11)]
    assert loaded.names == tuple(f"{number:02}.png" for number in good)
    assert loaded.failures == tuple(
        (name, "not a picture Pillow can read") for name in ("03.png", "11.png")
    )
    assert loaded.pixels.shape == (10, 4, 4, 3)
    assert loaded.pixels[:, 0, 0, 0].tolist() == good
    assert done == list(range(1, 13))


def test_grey_pictures_alone_make_one_channel_equal_to_asking_for_it(found, tmp_path):
    Image.new("RGB", (9, 5), (77, 77, 77)).save(tmp_path / "grey-in-rgb.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    found += [Found(tmp_path / name, name) for name in ("grey-in-rgb.jpg", "noise.png")]
    decided, asked = (load_pixels(found, 4, channels, workers=2) for channels in (None, 1))
    assert decided.pixels.shape == (12, 4, 4, 1)
    np.testing.assert_array_equal(decided.pixels, asked.pixels)
    assert decided.digest() == asked.digest()


def test_one_coloured_picture_makes_three_channels(found, tmp_path):
    path = tmp_path / "colour.png"
    Image.new("RGB", (4, 4), (10, 11, 10)).save(path)
    decided = load_pixels([*found, Found(path, "colour.png")], 4, None, workers=2)
    assert decided.pixels.shape == (11, 4, 4, 3)
    assert decided.pixels[-1, 0, 0].tolist() == [10, 11, 10]


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_nothing_readable_is_an_empty_set(found, channels):
    loaded = load_pixels([found[3]], 4, channels, workers=1)
    assert loaded.pixels.shape == (0, 4, 4, channels or 3)
    assert loaded.names == ()
    assert len(loaded.digest()) == 32


def test_the_array_owns_its_memory_and_no_more(found):
    for channels in (None, 3):
        pixels = load_pixels(found, 4, channels, workers=2).pixels
        assert pixels.base is None and pixels.flags.c_contiguous and pixels.flags.writeable


def test_the_digest_tells_pixels_shape_and_order_apart():
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    sets = [pixels, pixels[::-1], pixels.reshape(1, 4, 4, 2), pixels + np.uint8(1), pixels[:1]]
    digests = [PixelSet(array, (), ()).digest() for array in sets]
    assert len(set(digests)) == len(sets)
    assert digests[0] == PixelSet(pixels.copy(), ("other",), (("a", "b"),)).digest()


def test_default_workers_is_between_one_and_eight():
    assert 1 <= default_workers() <= 8
