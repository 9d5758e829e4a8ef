"""A set of images becomes one array: all that could be read, in order."""

import numpy as np
import pytest
from container_samples import image_ref, numbered_images
from PIL import Image

from adgan_cli.errors import OutputError
from adgan_cli.images import reader
from adgan_cli.images.cache import CacheConfig, PixelCache
from adgan_cli.images.find import Listing
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader


@pytest.fixture
def found(tmp_path):
    return numbered_images(tmp_path)


def loaded(found, channels, *, on_progress=None, **options):
    """load_pixels for a list of files, 4 pixels, read the default way; channels None: detected."""
    listing = Listing(found[0].container.path, list(found), [], 0)
    reader = Reader(Preprocessing(4, channels or 3), 2, **options)
    return load_pixels(listing, reader, detect_grey=channels is None, on_progress=on_progress)


def test_failures_are_left_out_of_the_pixels_and_named(found):
    done = []
    pictures = loaded(found, 3, on_progress=done.append)
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
    decided, requested = (loaded(found, channels) for channels in (None, 1))
    assert decided.pixels.shape == (12, 4, 4, 1)
    np.testing.assert_array_equal(decided.pixels, requested.pixels)
    assert decided.digest == requested.digest


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


def test_indices_reorder_a_set_without_changing_what_it_is():
    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4, 1)
    plain = PixelSet(pixels[:2], ("a", "b"), ())
    mapped = PixelSet(pixels[::-1], ("a", "b"), (), indices=np.array([2, 1]))
    np.testing.assert_array_equal(mapped.take(slice(None)), plain.pixels)
    assert mapped.digest == plain.digest


def test_equal_files_have_equal_fingerprints_whatever_they_are_called(found, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "05.png").read_bytes())
    prints = loaded([*found, image_ref(copy)], 1).fingerprints.tolist()
    assert prints[-1] == prints[4] and len(set(prints)) == 10


def test_a_second_reading_comes_from_the_cache(found, tmp_path, monkeypatch):
    cache = CacheConfig(tmp_path / "cache", 10**9)
    first = loaded(found, None, cache=cache)
    opened = []
    real = reader.decode_image
    monkeypatch.setattr(reader, "decode_image", lambda i, r: opened.append(i.name) or real(i, r))
    second = loaded(found, None, cache=cache)
    assert sorted(opened) == ["03.png", "11.png"]  # what failed is tried again
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.names == second.names and first.failures == second.failures
    assert first.fingerprints.tolist() == second.fingerprints.tolist()


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_a_set_too_large_for_memory_stays_in_the_cache(found, tmp_path, channels):
    plain = loaded(found, channels)
    cache = CacheConfig(tmp_path / "cache", 10**9, map_above=0)
    for _ in range(2):
        mapped = loaded(found[::-1], channels, cache=cache)
        assert mapped.indices is not None and mapped.pixels.base is not None
        np.testing.assert_array_equal(mapped.take(slice(None))[::-1], plain.pixels)


def test_a_cache_that_fails_a_large_set_is_an_error_with_the_remedy(found, tmp_path, monkeypatch):
    def full(cache, item, stamp, image):
        cache.disabled_reason = "no space left"

    monkeypatch.setattr(PixelCache, "put", full)
    with pytest.raises(OutputError, match="no space left.*--no-cache"):
        loaded(found, 1, cache=CacheConfig(tmp_path / "cache", 10**9, map_above=0))


def test_a_cache_of_no_use_is_told_and_does_no_harm(found, tmp_path):
    reasons = []
    (tmp_path / "cache").write_text("a file")
    cache = CacheConfig(tmp_path / "cache", 10**9)
    pictures = loaded(found, 1, cache=cache, on_cache_disabled=reasons.append)
    assert len(pictures) == 10 and len(reasons) == 1
