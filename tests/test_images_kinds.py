"""A table of every kind of file, and the pixels it becomes by the definition of its format."""

import io
import struct
import zlib

import numpy as np
import pytest
from colour_reference import ADOBE, GAMMA, LUMA, composite, srgb_from_lab, srgb_from_primaries
from image_samples import apng, chunk, gif, ink_profile, matrix_profile, png, tiff
from PIL import Image

from adgan_cli.images.read import Preprocessing, decode_image, deep_values, read_thumbnail

GREY = np.array([[0, 40, 80], [120, 160, 200], [220, 240, 255]], np.uint8)
COLOURS = np.stack([GREY, 255 - GREY, GREY.T], -1)  # (3, 3, 3)
ALPHA = np.array([[0, 255, 51], [255, 0, 102], [204, 153, 255]], np.uint8)
INDICES = np.array([[0, 1, 2], [3, 2, 1], [0, 0, 3]], np.uint8)
PALETTE = np.array([[10, 20, 30], [200, 100, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
INKS = np.stack([GREY, GREY.T, 255 - GREY, GREY // 3], -1)  # (3, 3, 4)
DEEP = GREY.astype(np.uint16) * 257
DEEP_COLOURS = COLOURS.astype(np.uint16) * 257
SIGNED = np.array([[-32768, 0, 32767], [-1, 257, 514], [128, -257, 1000]])


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def key(*values: int) -> bytes:
    """The chunk of a PNG that names its transparent colour."""
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def black_inks() -> bytes:
    """A profile in which every ink is black, and paper white."""
    corners = np.full((2, 2, 2, 2, 3), (0, 128, 128), np.uint8)
    corners[0, 0, 0, 0] = 255, 128, 128
    return ink_profile(corners)


PLTE = chunk(b"PLTE", PALETTE.tobytes())
IMAGE = Image.fromarray(COLOURS)
OTHER = Image.fromarray(COLOURS // 2)
TIFF_PALETTE = tuple(int(v) * 257 for v in np.pad(PALETTE, ((0, 252), (0, 0))).T.ravel())
ON_WHITE = composite(COLOURS, ALPHA)
SAME_AS_MIDDLE = (COLOURS == COLOURS[1, 1]).all(-1, keepdims=True)
NEUTRAL = np.stack([GREY / 2.55, 0 * GREY, 0 * GREY], -1)  # CIELab


def white_at(pixels: np.ndarray, value: int) -> np.ndarray:
    return np.where(pixels == value, 255, pixels)


# name: content, expected pixels as (3, 3) or (3, 3, 3), mode, and the largest error if not 0
TABLE = {
    "1 bit": (png(INDICES % 2, 0, bits=1), INDICES % 2 * 255, "1"),
    "1 bit, white is zero": (tiff(INDICES % 2, 0, bits=1), 255 - INDICES % 2 * 255, "1"),
    "1 bit, one transparent": (
        png(INDICES % 2, 0, bits=1, chunks=key(0)),
        np.full((3, 3), 255),
        "1+white",
    ),
    "2 bits": (png(INDICES, 0, bits=2), INDICES * 85, "L"),
    "2 bits, one transparent": (
        png(INDICES, 0, bits=2, chunks=key(1)),
        white_at(INDICES * 85, 85),
        "L+white",
    ),
    "grey": (png(GREY, 0), GREY, "L"),
    "grey, interlaced": (png(GREY, 0, interlaced=True), GREY, "L"),
    "grey, one transparent": (png(GREY, 0, chunks=key(120)), white_at(GREY, 120), "L+white"),
    "grey and alpha": (png(np.dstack([GREY, ALPHA]), 4), composite(GREY, ALPHA), "LA+white", 0.6),
    "palette": (png(INDICES, 3, chunks=PLTE), PALETTE[INDICES], "P"),
    "palette with alphas": (
        png(INDICES, 3, bits=4, chunks=PLTE + chunk(b"tRNS", bytes([255, 51, 0]))),
        composite(PALETTE[INDICES], np.array([255, 51, 0, 255])[INDICES]),
        "P+white",
        0.6,
    ),
    "palette and alpha": (
        tiff(np.dstack([INDICES, ALPHA]), 3, tags={338: (2,), 320: TIFF_PALETTE}),
        composite(PALETTE[INDICES], ALPHA),
        "PA+white",
        0.6,
    ),
    "colours": (png(COLOURS, 2), COLOURS, "RGB"),
    "colours, one transparent": (
        png(COLOURS, 2, chunks=key(*COLOURS[1, 1])),
        np.where(SAME_AS_MIDDLE, 255, COLOURS),
        "RGB+white",
    ),
    "colours and alpha": (png(np.dstack([COLOURS, ALPHA]), 6), ON_WHITE, "RGBA+white", 0.6),
    "colours and alpha, TIFF": (
        tiff(np.dstack([COLOURS, ALPHA]), 2, tags={338: (2,)}),
        ON_WHITE,
        "RGBA+white",
        0.6,
    ),
    "colours multiplied by alpha": (
        tiff(np.dstack([COLOURS // 255 * ALPHA[..., None], ALPHA]), 2, tags={338: (1,)}),
        composite(COLOURS // 255 * 255, ALPHA),
        "RGBA+white",
        0.6,
    ),
    "colours of another space": (
        saved(IMAGE, "PNG", icc_profile=matrix_profile(ADOBE, GAMMA)),
        srgb_from_primaries(COLOURS, ADOBE),
        "RGB+icc",
        1.5,
    ),
    "inks": (tiff(INKS, 5), (255.0 - INKS[..., :3]) * (255 - INKS[..., 3:]) / 255, "CMYK>RGB", 1),
    "inks in JPEG": (
        saved(Image.new("CMYK", (3, 3), (255, 0, 0, 51)), "JPEG", quality=100),
        np.full((3, 3, 3), (0, 204, 204)),
        "CMYK>RGB",
        2,
    ),
    "inks with a profile": (
        saved(
            Image.frombytes("CMYK", (3, 3), (INKS // 255 * 255).tobytes()),
            "TIFF",
            icc_profile=black_inks(),
        ),
        np.where((INKS == 255).any(-1), 0, 255),
        "CMYK+icc>RGB",
        1,
    ),
    "luma and chroma": (
        tiff(np.dstack([GREY, GREY // 255 * 0 + 128, GREY // 255 * 0 + 128]), 6),
        GREY,
        "YCbCr>RGB",
        1,
    ),
    "CIELab": (
        tiff(np.dstack([GREY, 0 * GREY, 0 * GREY]), 8),
        srgb_from_lab(NEUTRAL),
        "LAB>RGB",
        2,
    ),
    "16 bits": (png(DEEP, 0), GREY, "I;16[0..65535]"),
    "16 bits, small end first": (tiff(DEEP, 1), GREY, "I;16[0..65535]"),
    "16 bits, big end first": (tiff(DEEP, 1, order=">"), GREY, "I;16[0..65535]"),
    "16 bits, LZW": (tiff(DEEP, 1, compression=5), GREY, "I;16[0..65535]"),
    "16 bits, white is zero": (tiff(DEEP, 0), 255 - GREY, "I;16[65535..0]"),
    "16 bits, one transparent": (
        png(DEEP, 0, chunks=key(120 * 257)),
        white_at(GREY, 120),
        "I;16[0..65535]+white",
    ),
    "12 bits in PGM": (
        b"P5 3 3 4095\n" + (DEEP // 16).astype(">u2").tobytes(),
        (DEEP // 16) / 4095 * 255,
        "I;16[0..4095]",
        0.5,
    ),
    "16-bit colours in PPM": (
        b"P6 3 3 65535\n" + DEEP_COLOURS.astype(">u2").tobytes(),
        COLOURS,
        "RGB;16[0..65535]",
    ),
    "16 bits in PGM": (b"P5 3 3 65535\n" + DEEP.astype(">u2").tobytes(), GREY, "I;16[0..65535]"),
    "16 bits and alpha": (
        png(np.dstack([GREY, ALPHA]).astype(np.uint16) * 257, 4),
        composite(GREY, ALPHA),
        "LA;16[0..65535]+white",
        0.6,
    ),
    "12 bits": (tiff(DEEP // 16, 1, bits=12), (DEEP // 16) / 4095 * 255, "I;16[0..4095]", 0.5),
    "signed 16 bits": (
        tiff(SIGNED.astype(np.int16), 1),
        (SIGNED + 32768) / 257,
        "I[-32768..32767]",
        0.5,
    ),
    "signed 8 bits": (tiff((GREY.astype(int) - 128).astype(np.int8), 1), GREY, "I[-128..127]"),
    "32-bit integers": (
        tiff(GREY.astype(np.int32) * 2**23, 1),
        GREY * 2.0**23 / (2**31 - 1) * 255,
        "I[0..2147483647]",
        0.5,
    ),
    "unsigned 32 bits": (tiff(GREY.astype(np.uint32) * 0x01010101, 1), GREY, "I[0..4294967295]"),
    "floats": (tiff((GREY / 255).astype(np.float32), 1), GREY, "F[0..1]"),
    "floats, big end first, deflated": (
        tiff((GREY / 255).astype(np.float32), 1, order=">", compression=8),
        GREY,
        "F[0..1]",
    ),
    "16-bit colours": (png(DEEP_COLOURS, 2), COLOURS, "RGB;16[0..65535]"),
    "16-bit colours, one transparent": (
        png(DEEP_COLOURS // 3, 2, chunks=key(*(DEEP_COLOURS // 3)[1, 1])),
        np.where(SAME_AS_MIDDLE, 255, COLOURS / 3),
        "RGB;16[0..65535]+white",
        0.6,
    ),
    "16-bit colours in planes": (tiff(DEEP_COLOURS, 2, planes=True), COLOURS, "RGB;16[0..65535]"),
    "16-bit colours and alpha": (
        png(np.dstack([COLOURS, ALPHA]).astype(np.uint16) * 257, 6),
        ON_WHITE,
        "RGBA;16[0..65535]+white",
        0.6,
    ),
    "16-bit colours of another space": (
        png(
            DEEP_COLOURS,
            2,
            chunks=chunk(b"iCCP", b"a\0\0" + zlib.compress(matrix_profile(ADOBE, GAMMA))),
        ),
        srgb_from_primaries(COLOURS, ADOBE),
        "RGB;16[0..65535]+icc",
        1.5,
    ),
    "animated GIF": (
        gif([INDICES, 3 - INDICES], PALETTE.tobytes()),
        PALETTE[INDICES],
        "P+frame1of2",
    ),
    "GIF, one transparent": (
        gif([INDICES], PALETTE.tobytes(), 1),
        np.where(INDICES[..., None] == 1, 255, PALETTE[INDICES]),
        "P+white",
    ),
    "animated PNG": (apng([COLOURS, COLOURS // 2, COLOURS]), COLOURS, "RGB+frame1of3"),
    "animated WebP": (
        saved(IMAGE, "WEBP", lossless=True, save_all=True, append_images=[OTHER]),
        COLOURS,
        "RGB+frame1of2",
    ),
    "pages": (
        saved(IMAGE, "TIFF", compression="tiff_lzw", save_all=True, append_images=[OTHER] * 3),
        COLOURS,
        "RGB+frame1of4",
    ),
}
if int(Image.__version__.split(".")[0]) < 11:
    del TABLE["luma and chroma"]  # refused there, as test_images_decode has it


@pytest.fixture
def write(tmp_path):
    """write(content): a file named so that it says nothing."""

    def write(content: bytes):
        (tmp_path / "a").write_bytes(content)
        return tmp_path / "a"

    return write


def in_colour(expected: np.ndarray) -> np.ndarray:
    return (expected if expected.ndim == 3 else np.dstack([expected] * 3)).astype(float)


def test_each_kind_becomes_the_right_pixels(write):
    for kind, (content, expected, mode, *error) in TABLE.items():
        image = decode_image(write(content), Preprocessing(3, 3))
        assert (image.mode, image.width, image.height) == (mode, 3, 3), kind
        assert (image.pixels.dtype, image.pixels.shape) == (np.uint8, (3, 3, 3)), kind
        assert np.abs(image.pixels - in_colour(expected)).max() <= sum(error), kind


def test_one_channel_is_the_luma_of_each_kind(write):
    for kind, (content, expected, mode, *error) in TABLE.items():
        image = decode_image(write(content), Preprocessing(3, 1))
        grey = mode.startswith(("1", "L+", "LA+", "LA;16", "I", "F")) or mode == "L"
        assert image.mode == (mode if grey else mode + ">L"), kind
        assert image.pixels.shape == (3, 3, 1), kind
        difference = image.pixels[..., 0] - in_colour(expected) @ LUMA
        assert np.abs(difference).max() <= sum(error) + 0.51, kind


def test_the_thumbnail_of_each_kind_shows_the_same(write):
    for kind, (content, expected, _, *error) in TABLE.items():
        with Image.open(io.BytesIO(read_thumbnail(write(content), 100))) as thumbnail:
            facts = thumbnail.format, thumbnail.mode, thumbnail.size
            assert facts == ("PNG", "RGB", (3, 3)), kind
            assert np.abs(np.asarray(thumbnail) - in_colour(expected)).max() <= sum(error), kind


def test_each_deep_kind_has_a_range_and_no_other(write):
    for kind, (content, _, mode, *_) in TABLE.items():
        stored, bracket, _ = mode.partition("[")
        found = deep_values(write(content))
        if bracket:
            assert found[0] == {"LA;16": "I;16", "RGBA;16": "RGB;16"}.get(stored, stored), kind
            assert found[1].least < found[1].greatest, kind
        else:
            assert found is None, kind
