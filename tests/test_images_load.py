"""Many pictures: in order, each with its own pixels, in one array."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from adgan_cli.config import ReadConfig
from adgan_cli.errors import ImageError, OutputError
from adgan_cli.images import load
from adgan_cli.images.cache import CacheConfig, PixelCache
from adgan_cli.images.find import Listing, find_inputs
from adgan_cli.images.load import (
    PixelSet,
    default_workers,
    load_pixels,
    read_in_order,
    scan_value_ranges,
)
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.sources import image_ref

GREY = Preprocessing(4, 1)


@pytest.fixture
def found(tmp_path):
    """Twelve 4x4 pictures whose grey level is their number; number 3 and the last are damaged."""
    files = []
    for number in range(12):
        path = tmp_path / f"{number:02}.png"
        Image.new("L", (4, 4), number).save(path)
        if number in (3, 11):
            path.write_bytes(b"damaged")
        files.append(image_ref(path))
    return files


def loaded(found, channels, **options):
    """load_pixels for a list of files, 4 pixels, read the default way."""
    listing = Listing(found[0].source.path, list(found), [], 0)
    return load_pixels(listing, 4, channels, ReadConfig(), workers=2, **options)


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("adgan-read")]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_pictures_come_in_order_each_with_its_own_pixels(found, workers):
    results = list(read_in_order(found, GREY, workers=workers))
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
    real = load.decode_image

    def slow_first(item, rules):
        if item.name == "00.png":
            time.sleep(0.1)
        return real(item, rules)

    monkeypatch.setattr(load, "decode_image", slow_first)
    assert [item for item, _ in read_in_order(found, GREY, workers=3)] == found


def test_only_a_few_pictures_are_read_ahead(found):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield found[0]

    reading = read_in_order(endless(), GREY, workers=2)
    for _ in range(5):
        next(reading)
    assert len(taken) <= 5 + 2 * load._AHEAD
    reading.close()


def test_closing_early_stops_the_threads_after_the_pictures_they_are_on(found, monkeypatch):
    started = []
    closing = threading.Event()
    real = load.decode_image

    def held_up(item, rules):
        started.append(item)
        if len(started) > 1:
            closing.wait(10)
        return real(item, rules)

    monkeypatch.setattr(load, "decode_image", held_up)
    reading = read_in_order(found, GREY, workers=2)
    next(reading)
    threading.Timer(0.1, closing.set).start()
    reading.close()
    assert reading_threads() == []
    assert len(started) <= 3


def test_a_bug_in_a_thread_is_not_swallowed(found, monkeypatch):
    def bug(item, rules):
        raise ZeroDivisionError

    monkeypatch.setattr(load, "decode_image", bug)
    with pytest.raises(ZeroDivisionError):
        list(read_in_order(found, GREY, workers=2))


def test_failures_are_left_out_of_the_pixels_and_named(found):
    done = []
    pictures = loaded(found, 3, on_picture=done.append)
    good = [number for number in range(12) if number not in (3, 11)]
    assert pictures.names == tuple(f"{number:02}.png" for number in good)
    assert pictures.failures == tuple(
        (name, "not a picture Pillow can read") for name in ("03.png", "11.png")
    )
    assert pictures.pixels.shape == (10, 4, 4, 3)
    assert pictures.pixels[:, 0, 0, 0].tolist() == good
    assert done == list(range(1, 13))


def test_grey_pictures_alone_make_one_channel_equal_to_asking_for_it(found, tmp_path):
    Image.new("RGB", (9, 5), (77, 77, 77)).save(tmp_path / "grey-in-rgb.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    found += [image_ref(tmp_path / name) for name in ("grey-in-rgb.jpg", "noise.png")]
    decided, asked = (loaded(found, channels) for channels in (None, 1))
    assert decided.pixels.shape == (12, 4, 4, 1)
    np.testing.assert_array_equal(decided.pixels, asked.pixels)
    assert decided.digest == asked.digest


def test_one_coloured_picture_makes_three_channels(found, tmp_path):
    path = tmp_path / "colour.png"
    Image.new("RGB", (4, 4), (10, 11, 10)).save(path)
    decided = loaded([*found, image_ref(path)], None)
    assert decided.pixels.shape == (11, 4, 4, 3)
    assert decided.pixels[-1, 0, 0].tolist() == [10, 11, 10]


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_nothing_readable_is_an_empty_set(found, channels):
    pictures = loaded([found[3]], channels)
    assert pictures.pixels.shape == (0, 4, 4, channels or 3)
    assert len(pictures) == len(pictures.fingerprints) == 0
    assert len(pictures.digest) == 32


def test_the_array_owns_its_memory_and_no_more(found):
    for channels in (None, 3):
        pixels = loaded(found, channels).pixels
        assert pixels.base is None and pixels.flags.c_contiguous and pixels.flags.writeable


def test_the_digest_tells_pixels_shape_and_order_apart():
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    arrays = [pixels, pixels[::-1], pixels.reshape(1, 4, 4, 2), pixels + np.uint8(1), pixels[:1]]
    sets = [PixelSet(array, ("a", "b")[: len(array)], ()) for array in arrays]
    assert len({pictures.digest for pictures in sets}) == len(sets)
    assert sets[0].digest == PixelSet(pixels.copy(), ("c", "d"), (("e", "f"),)).digest


def test_rows_reorder_a_set_without_changing_what_it_is():
    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4, 1)
    plain = PixelSet(pixels[:2], ("a", "b"), ())
    mapped = PixelSet(pixels[::-1], ("a", "b"), (), rows=np.array([2, 1]))
    np.testing.assert_array_equal(mapped.take(slice(None)), plain.pixels)
    assert mapped.digest == plain.digest


def test_equal_files_have_equal_fingerprints_whatever_they_are_called(found, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "05.png").read_bytes())
    prints = loaded([*found, image_ref(copy)], 1).fingerprints.tolist()
    assert prints[-1] == prints[4] and len(set(prints)) == 10


def save_16_bit(path, *values):
    Image.fromarray(np.array(values, np.uint16).reshape(1, -1)).save(path)


def test_deep_pictures_are_scaled_by_the_range_of_their_set(tmp_path):
    save_16_bit(tmp_path / "a.png", 1000, 3000)
    save_16_bit(tmp_path / "b.png", 2000, 5000)
    Image.new("L", (2, 1), 7).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"damaged")
    listing = find_inputs([tmp_path])
    assert scan_value_ranges(listing.items, workers=2) == (("I;16", 1000, 5000),)
    pictures = load_pixels(listing, 2, 1, ReadConfig("squash"), workers=2)
    # 1 x 2 pixels stretched to 2 x 2: columns stay what they are
    assert pictures.pixels[:, 0, :, 0].tolist() == [[0, 128], [64, 255], [7, 7]]
    assert pictures.ranges == (("I;16", 1000, 5000),)


@pytest.mark.parametrize("value", [0, 300])
def test_a_set_of_one_deep_value_has_no_range(tmp_path, value):
    save_16_bit(tmp_path / "a.png", value, value)
    assert scan_value_ranges(find_inputs([tmp_path]).items, workers=1) == ()


def test_a_second_reading_comes_from_the_cache(found, tmp_path, monkeypatch):
    place = CacheConfig(tmp_path / "cache", 10**9)
    first = loaded(found, None, place=place)
    opened = []
    real = load.decode_image
    monkeypatch.setattr(load, "decode_image", lambda i, r: opened.append(i.name) or real(i, r))
    second = loaded(found, None, place=place)
    assert sorted(opened) == ["03.png", "11.png"]  # what failed is tried again
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.names == second.names and first.failures == second.failures
    assert first.fingerprints.tolist() == second.fingerprints.tolist()


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_a_set_too_large_for_memory_stays_in_the_cache(found, tmp_path, monkeypatch, channels):
    plain = loaded(found, channels)
    monkeypatch.setattr(load, "_MAPPED", 0)
    place = CacheConfig(tmp_path / "cache", 10**9)
    for _ in range(2):
        mapped = loaded(found[::-1], channels, place=place)
        assert mapped.rows is not None and mapped.pixels.base is not None
        np.testing.assert_array_equal(mapped.take(slice(None))[::-1], plain.pixels)


def test_a_cache_that_fails_a_large_set_is_an_error_with_the_remedy(found, tmp_path, monkeypatch):
    def full(cache, item, stamp, picture):
        cache.disabled_reason = "no space left"

    monkeypatch.setattr(load, "_MAPPED", 0)
    monkeypatch.setattr(PixelCache, "put", full)
    with pytest.raises(OutputError, match="no space left.*--no-cache"):
        loaded(found, 1, place=CacheConfig(tmp_path / "cache", 10**9))


def test_a_cache_of_no_use_is_told_and_does_no_harm(found, tmp_path):
    told = []
    (tmp_path / "cache").write_text("a file")
    place = CacheConfig(tmp_path / "cache", 10**9)
    pictures = loaded(found, 1, place=place, on_cache_disabled=told.append)
    assert len(pictures) == 10 and len(told) == 1


def test_default_workers_is_between_one_and_eight():
    assert 1 <= default_workers() <= 8
