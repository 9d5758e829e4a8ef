"""Transparency, colour profiles and colour spaces, against their definitions."""

import colorsys
import io
import threading

import numpy as np
import pytest
from colour_reference import ADOBE, DISPLAY_P3, GAMMA, SRGB, srgb_from_lab, srgb_from_primaries
from image_samples import grey_profile, ink_profile, matrix_profile
from PIL import Image, ImageCms

from adgan_cli.images.transform import background_colour, flatten

COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)


def with_profile(pixels: np.ndarray, profile: bytes, mode: str | None = None) -> Image.Image:
    image = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes()) if mode else None
    image = image or Image.fromarray(pixels)
    image.info["icc_profile"] = profile
    return image


def finished(image: Image.Image, alpha: str = "white") -> tuple[np.ndarray, str]:
    """The colours that come out, as integers, and the notes."""
    flat = flatten(image, alpha)
    return np.asarray(flat.finish(flat.image), int), flat.notes


@pytest.mark.parametrize("primaries", [ADOBE, DISPLAY_P3], ids=["adobe", "p3"])
def test_colours_with_other_primaries_become_srgb(primaries):
    found, notes = finished(with_profile(COLOURS, matrix_profile(primaries, GAMMA)))
    expected = srgb_from_primaries(COLOURS, primaries)
    assert notes == "+icc"
    assert np.abs(expected - COLOURS).max() > 20  # it is not nothing
    assert np.abs(found - expected).max() <= 1.5


def test_the_profile_waits_for_the_small_picture():
    flat = flatten(with_profile(COLOURS, matrix_profile(ADOBE, GAMMA)), "white")
    np.testing.assert_array_equal(np.asarray(flat.image), COLOURS)
    assert flat.finish(flat.image.resize((2, 2))).size == (2, 2)


@pytest.mark.parametrize("name", ["sRGB IEC61966-2.1", "c2", ""])
def test_srgb_under_any_name_is_left_alone(name):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile if name else matrix_profile(SRGB, GAMMA, name)
    found, notes = finished(with_profile(COLOURS, profile))
    if name:
        assert notes == ""
        np.testing.assert_array_equal(found, COLOURS)
    else:  # a plain power is not quite the curve of sRGB
        assert notes == "+icc"


def test_a_palette_has_a_profile_too():
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 30, 60])
    image.info["icc_profile"] = matrix_profile(ADOBE, GAMMA)
    found, notes = finished(image)
    expected = srgb_from_primaries(np.array([200, 30, 60]), ADOBE)
    assert notes == "+icc"
    assert np.abs(found - expected).max() <= 1.5


def test_the_profile_does_not_hold_for_the_colour_behind():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, :3] = 200, 30, 60
    pixels[0, :, 3] = 0, 255, 51
    found, notes = finished(with_profile(pixels, matrix_profile(ADOBE, GAMMA)), "#8090a0")
    own = srgb_from_primaries(np.array([200, 30, 60]), ADOBE)
    behind = np.array([0x80, 0x90, 0xA0])
    assert notes == "+#8090a0+icc"
    expected = np.array([behind, own, 0.2 * own + 0.8 * behind])
    assert np.abs(found[0] - expected).max() <= 1.5


def corners() -> np.ndarray:
    """Lab of each full and absent ink, 8 bits: paper white, K black, the colours of the others."""
    lab = np.zeros((2, 2, 2, 2, 3), np.uint8)
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        lightness = 255 - 60 * (cyan + magenta) - 20 * yellow
        tint = (128 - 30 * cyan + 40 * magenta, 128 - 30 * cyan - 10 * magenta + 50 * yellow)
        lab[cyan, magenta, yellow, black] = (0, 128, 128) if black else (lightness, *tint)
    return lab


def test_inks_are_converted_by_their_profile():
    inks = np.array(list(np.ndindex(2, 2, 2, 2)), np.uint8)[None] * 255  # (1, 16, 4)
    found, notes = finished(with_profile(inks, ink_profile(corners()), "CMYK"))
    lab8 = corners().reshape(1, 16, 3).astype(float)
    expected = srgb_from_lab(
        np.stack([lab8[..., 0] / 2.55, *(lab8[..., i] - 128 for i in (1, 2))], -1)
    )
    assert notes == "+icc>RGB"
    assert np.abs(found - expected).max() <= 1.5


def test_half_an_ink_is_half_way_in_lab():
    inks = np.array([[[0, 0, 0, 128]]], np.uint8)
    found, _ = finished(with_profile(inks, ink_profile(corners()), "CMYK"))
    expected = srgb_from_lab(np.array([(255 - 128) / 2.55, 0, 0]))
    assert np.abs(found - expected).max() <= 1.5


@pytest.mark.parametrize(
    "profile", [b"", b"garbage", matrix_profile(ADOBE, GAMMA), ink_profile(corners())[:200]]
)
def test_inks_without_a_profile_that_works_are_converted_plainly(profile):
    inks = np.random.default_rng(1).integers(0, 256, (4, 4, 4)).astype(np.uint8)
    found, notes = finished(with_profile(inks, profile, "CMYK"))
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:]) / 255
    assert notes == ">RGB"
    assert np.abs(found - expected).max() <= 1


ADOBE_PROFILE = matrix_profile(ADOBE, GAMMA)


@pytest.mark.parametrize(
    ("pixels", "profile"),
    [
        *((COLOURS, bad) for bad in (b"garbage", ADOBE_PROFILE[:200], ink_profile(corners()))),
        (COLOURS, grey_profile(256)),
        *((COLOURS[..., 0], profile) for profile in (grey_profile(256), ADOBE_PROFILE)),
    ],
)
def test_a_profile_that_does_not_fit_is_left_out_and_greys_are_left_as_they_are(pixels, profile):
    found, notes = finished(with_profile(pixels, profile))
    assert notes == ""
    np.testing.assert_array_equal(found, pixels)


def test_a_transform_is_made_once_and_for_its_thread_only(monkeypatch):
    builds = []
    build = ImageCms.buildTransform

    def plural(*args):
        builds.append(threading.get_ident())
        return build(*args)

    monkeypatch.setattr(ImageCms, "buildTransform", plural)
    image = with_profile(COLOURS, matrix_profile(ADOBE, GAMMA, "once"))
    expected = finished(image)[0]
    same = []

    def often():
        same.extend((finished(image)[0] == expected).all() for _ in range(20))

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    often()
    assert same == [True] * 100
    assert len(builds) == 5


def test_only_the_latest_profiles_are_kept(monkeypatch):
    builds = []
    build = ImageCms.buildTransform
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *a: builds.append(1) or build(*a))
    for number in [*range(50), 49, 0]:
        finished(with_profile(COLOURS, matrix_profile(ADOBE, 512 + number)))
    assert len(builds) == 51  # the last was still there, the first not


def test_lab_becomes_srgb():
    lab = np.random.default_rng(2).integers(-60, 60, (8, 8, 3))
    lab[..., 0] = np.linspace(5, 250, 64).reshape(8, 8)
    found, notes = finished(Image.frombytes("LAB", (8, 8), lab.astype(np.uint8).tobytes()))
    expected = srgb_from_lab(np.stack([lab[..., 0] / 2.55, lab[..., 1], lab[..., 2]], -1))
    error = np.abs(found - expected)
    assert notes == ">RGB"
    assert error.mean() <= 0.5
    assert error.max() <= 4  # littleCMS works with a grid, and most of these are out of gamut


def test_hsv_becomes_rgb():
    hsv = np.random.default_rng(3).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    found, notes = finished(Image.frombytes("HSV", (8, 8), hsv.tobytes()))
    expected = [[colorsys.hsv_to_rgb(*(pixel / 255)) for pixel in line] for line in hsv]
    assert notes == ">RGB"
    assert np.abs(found - 255 * np.array(expected)).max() <= 5  # 256 hues, 255 steps round


def test_ycbcr_becomes_rgb_by_itu_601():
    y, blue, red = np.random.default_rng(4).integers(0, 256, (3, 8, 8))
    stored = np.stack([y, blue, red], -1).astype(np.uint8)
    found, notes = finished(Image.frombytes("YCbCr", (8, 8), stored.tobytes()))
    green = y - 0.344136 * (blue - 128) - 0.714136 * (red - 128)
    expected = np.stack([y + 1.402 * (red - 128), green, y + 1.772 * (blue - 128)], -1)
    assert notes == ">RGB"
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= 1.5


# mode -> two pixels: 200 over all, its alpha 0, then 51 of 255
THIN = {
    "LA": bytes([200, 0, 200, 51]),
    "RGBA": bytes([200, 100, 0, 0, 200, 100, 0, 51]),
    "La": bytes([0, 0, 40, 51]),  # multiplied by alpha
    "RGBa": bytes([0, 0, 0, 0, 40, 20, 0, 51]),
}


@pytest.mark.parametrize("mode", THIN)
@pytest.mark.parametrize(
    ("alpha", "behind"),
    [("white", (255, 255, 255)), ("black", (0, 0, 0)), ("#8090a0", (0x80, 0x90, 0xA0))],
)
def test_transparency_shows_the_colour_behind(mode, alpha, behind):
    found, notes = finished(Image.frombytes(mode, (2, 1), THIN[mode]), alpha)
    own = np.array([200] * 3 if mode in ("LA", "La") else [200, 100, 0])
    expected = np.array([behind, 0.2 * own + 0.8 * np.array(behind)])
    if found.ndim == 2:  # greys stay grey
        assert mode in ("LA", "La") and len(set(behind)) == 1
        expected = expected[:, 0]
    assert notes == f"+{alpha}"
    assert np.abs(found[0] - expected).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_dropped_transparency_shows_what_it_hid(mode):
    found, notes = finished(Image.frombytes(mode, (2, 1), THIN[mode]), "drop")
    expected = [[200, 200]] if mode == "LA" else [[[200, 100, 0], [200, 100, 0]]]
    assert (found.tolist(), notes) == (expected, "+drop")


@pytest.mark.parametrize("transparency", [1, bytes([255, 0]), bytes([0])])
def test_a_palette_with_transparency_dropped_shows_its_colours(transparency):
    image = Image.frombytes("P", (2, 1), b"\0\1")
    image.putpalette([9, 8, 7, 200, 100, 0])
    image.info["transparency"] = transparency
    found, notes = finished(image, "drop")
    assert (found.tolist(), notes) == ([[[9, 8, 7], [200, 100, 0]]], "+drop")
    assert image.info["transparency"] == transparency


def test_palettes_with_alpha_are_laid_on_the_colour():
    image = Image.frombytes("PA", (2, 1), bytes([1, 0, 1, 255]))
    image.putpalette([9, 8, 7, 200, 100, 0])
    found, notes = finished(image, "black")
    assert (found.tolist(), notes) == ([[[0, 0, 0], [200, 100, 0]]], "+black")


def test_a_fourth_channel_that_is_no_alpha_is_ignored():
    image = Image.frombytes("RGBX", (1, 1), bytes([1, 2, 3, 4]))
    found, notes = finished(image)
    assert (found.tolist(), notes) == ([[[1, 2, 3]]], "")


def test_the_colour_behind_is_the_one_named():
    named = {"white": (255, 255, 255), "black": (0, 0, 0), "drop": (0, 0, 0)}
    named.update({"#8090a0": (128, 144, 160), "#FF0001": (255, 0, 1)})
    assert {alpha: background_colour(alpha) for alpha in named} == named


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_profiles_are_found_in_files(kind):
    buffer = io.BytesIO()
    profile = matrix_profile(ADOBE, GAMMA)
    Image.fromarray(COLOURS).save(buffer, kind, icc_profile=profile)
    with Image.open(buffer) as image:
        assert flatten(image, "white").notes == "+icc"
