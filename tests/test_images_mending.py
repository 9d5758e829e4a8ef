"""What every viewer shows is a picture here too, and says what was left out of its file."""

import io
import struct
import zlib

import numpy as np
import pytest
from colour_reference import ADOBE, GAMMA
from image_samples import apng, chunk, matrix_profile, png
from PIL import Image, PngImagePlugin

from adgan_cli.errors import ImageError
from adgan_cli.images.mending import mend
from adgan_cli.images.read import DecodedImage, Preprocessing, decode_image

COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
LONG = zlib.compress(b"x" * 2_000_000)
RULES = Preprocessing(16, 3)


@pytest.fixture
def read(tmp_path):
    """read(content): a file of this content as pixels."""

    def read(content: bytes) -> DecodedImage:
        (tmp_path / "a").write_bytes(content)
        return decode_image(tmp_path / "a", RULES)

    return read


def damaged(kind: bytes, data: bytes) -> bytes:
    """A chunk whose checksum is wrong."""
    whole = chunk(kind, data)
    return whole[:-1] + bytes([whole[-1] ^ 1])


def with_end(content: bytes, more: bytes) -> bytes:
    """Put chunks behind the pixels of a PNG."""
    return content[:-12] + more + content[-12:]


@pytest.mark.parametrize(
    ("chunks", "notes"),
    [
        (chunk(b"zTXt", b"a\0\0" + LONG), "-zTXt"),
        (chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG), "-iTXt"),
        (chunk(b"zTXt", b"a\0\1" + LONG[:50]), "-zTXt"),  # packed in no way there is
        (chunk(b"tEXt", b"a\0" + b"x" * 2_000_000), ""),
        (chunk(b"zTXt", b"a\0\0" + LONG[:50]), ""),  # damaged, and Pillow passes over it
        (damaged(b"tEXt", b"a\0b"), "-tEXt"),
        (damaged(b"gAMA", struct.pack(">I", 45455)), "-gAMA"),
        (damaged(b"iCCP", b"a\0\0" + zlib.compress(matrix_profile(ADOBE, GAMMA))), "-iCCP"),
        (damaged(b"tIME", bytes(7)) + damaged(b"prIv", b"1") * 2, "-prIv-tIME"),
    ],
)
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_chunks_that_the_pixels_do_not_need_are_left_out(read, chunks, notes, behind):
    if behind and b"iCCP" in chunks:
        pytest.skip("a profile comes before the pixels")
    content = with_end(png(COLOURS, 2), chunks) if behind else png(COLOURS, 2, chunks=chunks)
    picture = read(content)
    assert picture.mode == "RGB" + notes
    np.testing.assert_array_equal(picture.pixels, COLOURS)


def test_text_of_many_chunks_is_left_out_where_it_is_too_much_together(read, monkeypatch):
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 3000)
    chunks = chunk(b"tEXt", b"a\0" + bytes(1000)) * 4
    assert read(png(COLOURS, 2, chunks=chunks)).mode == "RGB-tEXt"


def test_what_is_right_stays_beside_what_is_left_out(read):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    exif = chunk(b"eXIf", orientation.tobytes().removeprefix(b"Exif\0\0"))
    picture = read(png(COLOURS, 2, chunks=damaged(b"tEXt", b"a\0b") + exif))
    assert picture.mode == "RGB-tEXt+exif6"
    np.testing.assert_array_equal(picture.pixels, np.rot90(COLOURS, -1))


def test_a_large_profile_is_applied_as_a_small_one_is(read):
    small = matrix_profile(ADOBE, GAMMA)
    large = struct.pack(">I", len(small) + 2**21) + small[4:] + bytes(2**21)
    icc = [chunk(b"iCCP", b"a\0\0" + zlib.compress(profile)) for profile in (small, large)]
    expected, picture = (read(png(COLOURS, 2, chunks=one)) for one in icc)
    assert expected.mode == picture.mode == "RGB+icc"
    np.testing.assert_array_equal(picture.pixels, expected.pixels)


def test_a_profile_of_many_megabytes_is_left_out(read):
    chunks = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(5 * 2**20)))
    assert read(png(COLOURS, 2, chunks=chunks)).mode == "RGB-iCCP"


def test_an_animation_with_a_damaged_chunk_is_its_first_image(read):
    content = apng([COLOURS, COLOURS // 2])
    assert read(content).mode == "RGB+frame1of2"
    at = content.index(b"fcTL") + 10
    picture = read(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert picture.mode == "RGB-fcTL"
    np.testing.assert_array_equal(picture.pixels, COLOURS)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_damaged_chunk_that_is_needed_is_the_reason(read, kind):
    content = png(COLOURS[..., 0] % 4, 3, chunks=chunk(b"PLTE", bytes(12)))
    at = content.index(kind) + 6
    with pytest.raises(ImageError, match=f"^damaged: wrong checksum of its {kind.decode()} chunk$"):
        read(content[:at] + b"\7" + content[at + 1 :])


def jpeg(mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).resize((50, 40)).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


JPEGS = pytest.mark.parametrize(
    "whole",
    [jpeg(), jpeg("L"), jpeg("CMYK"), jpeg(progressive=True), jpeg(subsampling=2, quality=30)],
    ids=["colour", "grey", "cmyk", "progressive", "subsampled"],
)


@JPEGS
@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 3000], ids=["cut", "half", "zeros"])
def test_a_jpeg_that_lacks_its_end_alone_is_a_picture(read, whole, tail):
    expected = read(whole)
    picture = read(whole[:-2] + tail)
    stored, *rest = expected.mode.partition(">")
    assert picture.mode == stored + "-EOI" + "".join(rest)
    np.testing.assert_array_equal(picture.pixels, expected.pixels)


@JPEGS
@pytest.mark.parametrize("lost", [6, 12, 100])
def test_a_jpeg_that_lacks_pixels_is_none(read, whole, lost):
    with pytest.raises(ImageError, match="^truncated or damaged: image file is truncated"):
        read(whole[:-lost])


def test_what_follows_the_end_does_no_harm(read):
    assert read(jpeg() + b"the phone's own notes").mode == "RGB"


@pytest.mark.parametrize(
    "content",
    [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\0\0", b"\xff\xd8" + b"\xff" * 99],
)
def test_a_jpeg_without_a_scan_is_left_as_it_is(content):
    stream = io.BytesIO(content)
    assert mend(stream, content).stream is stream


def test_the_file_itself_is_read_where_nothing_is_to_be_left_out():
    for content in (png(COLOURS, 2), jpeg(), b"GIF89a"):
        stream = io.BytesIO(content)
        mended = mend(stream, content[:32])
        assert mended.stream is stream and stream.tell() == 0 and not mended.notes
