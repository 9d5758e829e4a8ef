"""Every value of a deep file arrives, and layouts that Pillow takes for others are read rightly."""

import io

import numpy as np
import pytest
from image_samples import chunk, png, tiff
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from adgan_cli.errors import ImageError
from adgan_cli.images import decode as module
from adgan_cli.images.decode import decode, exif_orientation, may_be_deep
from adgan_cli.images.depth import Deep
from adgan_cli.images.open_image import open_image

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 2**16, (9, 11, 4)).astype(np.uint16)  # (H, W, 4)
UNSIGNED = RANDOM.integers(0, 2**32, (7, 5)).astype(np.uint32)
ORDERS = pytest.mark.parametrize("order", "<>")
COMPRESSIONS = pytest.mark.parametrize("compression", [1, 5, 8], ids=["raw", "lzw", "deflate"])


@pytest.fixture
def deep(tmp_path):
    """deep(content): what a file of that content holds beyond 8 bits."""

    def read(content: bytes) -> Deep:
        (tmp_path / "a").write_bytes(content)
        with open_image(tmp_path / "a") as source, source.identify() as identified:
            assert may_be_deep(identified.image)
            found = decode(identified).deep
        assert found is not None
        return found

    return read


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("colour", "bands", "stored", "kind"),
    [
        (0, [0], "I;16", "I;16"),
        (4, [0, 1], "LA;16", "I;16"),
        (2, [0, 1, 2], "RGB;16", "RGB;16"),
        (6, [0, 1, 2, 3], "RGBA;16", "RGB;16"),
    ],
)
def test_a_16_bit_png_gives_all_its_bits(deep, interlaced, colour, bands, stored, kind):
    values = COLOURS[..., bands]
    found = deep(png(values, colour, interlaced=interlaced))
    assert (found.stored, found.kind) == (stored, kind)
    assert (found.type_range, found.upper_byte_only) == ((0, 65535), False)
    np.testing.assert_array_equal(found.values, values[..., 0] if colour == 0 else values)


@ORDERS
@COMPRESSIONS
@pytest.mark.parametrize(
    ("bands", "tags", "stored"),
    [(3, {}, "RGB;16"), (4, {338: (2,)}, "RGBA;16"), (4, {338: (0,)}, "RGB;16")],
)
def test_a_16_bit_tiff_gives_all_its_bits(deep, order, compression, bands, tags, stored):
    content = tiff(COLOURS[..., :bands], 2, order=order, compression=compression, tags=tags)
    found = deep(content)
    assert (found.stored, found.upper_byte_only) == (stored, False)
    np.testing.assert_array_equal(found.values, COLOURS[..., : len(stored) - 3])


@ORDERS
@COMPRESSIONS
def test_colours_multiplied_by_alpha_are_divided_by_it(deep, order, compression):
    alpha = COLOURS[..., 3:].astype(float) / 65535
    multiplied = COLOURS.copy()
    multiplied[..., :3] = np.rint(COLOURS[..., :3] * alpha)
    found = deep(tiff(multiplied, 2, order=order, compression=compression, tags={338: (1,)}))
    assert found.stored == "RGBA;16"
    error = np.abs(found.values.astype(int) - COLOURS)
    assert (error <= np.ceil(0.5 / np.maximum(alpha, 1e-5)) + 1).all()  # half a step of the product


@ORDERS
@pytest.mark.parametrize(("compression", "step"), [(1, 1), (8, 257)], ids=["raw", "deflate"])
def test_planes_of_16_bits_are_not_taken_for_8_unless_compressed_and_say_so(
    deep, order, compression, step
):
    found = deep(tiff(COLOURS[..., :3], 2, order=order, compression=compression, planes=True))
    assert (found.stored, found.upper_byte_only) == ("RGB;16", step == 257)
    expected = COLOURS[..., :3] if step == 1 else COLOURS[..., :3] // 256 * 257
    np.testing.assert_array_equal(found.values, expected)


def test_planes_that_would_become_noise_are_refused(deep):
    with pytest.raises(ImageError, match="^16-bit (RGBA|CMYK) TIFF with a plane a colour: inter"):
        deep(tiff(COLOURS, 2, planes=True, tags={338: (2,)}))


@pytest.mark.parametrize(
    ("content", "upper"),
    [
        (png(COLOURS[..., :3], 2), COLOURS[..., :3] // 256),
        (tiff(COLOURS, 2, compression=8, tags={338: (2,)}), COLOURS // 256),
    ],
)
def test_a_pillow_without_the_raw_mode_gives_8_bits_and_says_so(deep, monkeypatch, content, upper):
    monkeypatch.setattr(module, "_OTHER_ORDER", dict.fromkeys("LBN", "?"))
    found = deep(content)
    assert found.upper_byte_only
    np.testing.assert_array_equal(found.values, upper * 257)


@ORDERS
@COMPRESSIONS
@pytest.mark.parametrize("kind", ["i2", "i4", "f4"])
def test_numbers_keep_their_sign_and_byte_order(deep, order, compression, kind):
    values = RANDOM.integers(-(2**15), 2**15, (7, 5)).astype(kind) * (1 if kind == "i2" else 1024)
    found = deep(tiff(values, 1, order=order, compression=compression))
    assert (found.stored, found.type_range) == ("F" if kind == "f4" else "I", None)
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize(
    ("values", "options", "stored", "type_range"),
    [
        *((UNSIGNED, {"compression": number}, "I", None) for number in (1, 5, 8)),
        (RANDOM.integers(-128, 128, (7, 5)).astype("i1"), {}, "I", (-128, 127)),
        (RANDOM.integers(0, 2**12, (7, 6)).astype("u2"), {"bits": 12}, "I;16", (0, 4095)),
    ],
    ids="32-raw 32-lzw 32-deflate 8-signed 12".split(),
)
def test_integers_of_other_types_keep_their_values_and_range(
    deep, values, options, stored, type_range
):
    found = deep(tiff(values, 1, **options))
    assert (found.stored, found.type_range) == (stored, type_range)
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize("most", [256, 4095, 65534, 65535])
@pytest.mark.parametrize("letter", [b"P5", b"P6"])
def test_netpbm_gives_all_its_bits_and_their_range(deep, most, letter):
    values = RANDOM.integers(0, most + 1, (7, 5, 3)).astype(np.uint16)
    values = values if letter == b"P6" else values[..., 0]
    content = b"%s\n# a comment\n5 7\n%d\n" % (letter, most) + values.astype(">u2").tobytes()
    found = deep(content)
    assert (found.stored, found.type_range) == ("RGB;16" if letter == b"P6" else "I;16", (0, most))
    np.testing.assert_array_equal(found.values, values)
    with pytest.raises(ImageError, match="^truncated or damaged: image file is truncated"):
        deep(content[:-1])


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_white_may_be_zero(deep, kind):
    values = RANDOM.integers(0, 2**16, (7, 5)).astype(kind)
    assert deep(tiff(values, 0)).inverted
    assert not deep(tiff(values, 1)).inverted


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("f4", "-9999", -9999),
        ("f4", "-3.4028234663852886e+38", -3.4028234663852886e38),
        ("f4", " nan ", None),
        ("f4", "none", None),
        ("u2", "0", 0),
        ("i4", "-2147483648", -(2**31)),
    ],
)
def test_what_gdal_declares_no_data_is_read(deep, kind, text, expected):
    buffer = io.BytesIO()
    tags = ImageFileDirectory_v2()
    tags[42113], tags.tagtype[42113] = text, TiffTags.ASCII
    image = Image.fromarray(np.arange(64).reshape(8, 8).astype(kind))
    image.save(buffer, "TIFF", tiffinfo=tags)
    assert deep(buffer.getvalue()).no_data == expected


@pytest.mark.parametrize(("photometric", "expected"), [(1, True), (0, False)])
def test_gaps_of_8_bits_are_told_from_their_neighbours(tmp_path, photometric, expected):
    tags = ImageFileDirectory_v2()
    tags[42113], tags.tagtype[42113] = "255", TiffTags.ASCII
    tags[262] = photometric
    for values, has_gaps in (([0, 255], expected), ([0, 254], False)):
        image = Image.fromarray(np.array([values], np.uint8))
        image.save(tmp_path / "a.tif", tiffinfo=tags)
        with open_image(tmp_path / "a.tif") as source, source.identify() as identified:
            assert not may_be_deep(identified.image)  # no part of any range
            found = decode(identified).deep
        assert (found is not None) == has_gaps
        assert found is None or (found.kind, found.no_data) == ("L", 255)


@ORDERS
def test_cmyk_of_16_bits_is_read_with_8(tmp_path, order):
    (tmp_path / "a").write_bytes(tiff(COLOURS, 5, order=order))
    try:
        with open_image(tmp_path / "a") as source, source.identify() as identified:
            assert not may_be_deep(identified.image)
            decoded = decode(identified)
            np.testing.assert_array_equal(np.asarray(decoded.image), COLOURS // 256)
    except ImageError:  # Pillow before 11 knows one byte order only
        assert order == ">"


def test_subsampled_colours_without_compression_are_refused(tmp_path):
    content = tiff(np.zeros((4, 4, 3), np.uint8), 6, tags={530: (2, 2)})
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ImageError, match="^uncompressed YCbCr TIFF that Pillow cannot read"):
        with open_image(tmp_path / "a") as source, source.identify() as identified:
            decode(identified)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("height", "plain"), [(9, True), (10, False), (30_000, False)], ids="whole more many".split()
)
def test_strips_that_end_before_the_picture_leave_nothing_black(
    tmp_path, planes, kind, height, plain
):
    content = tiff(COLOURS[..., :3].astype(kind), 2, planes=planes, tags={257: (height,)})
    (tmp_path / "a").write_bytes(content)
    message = ""
    try:
        with open_image(tmp_path / "a") as source, source.identify() as identified:
            decode(identified)
    except ImageError as error:
        message = str(error)
    assert message == ("" if plain else "truncated or damaged: its strips do not cover the picture")


@pytest.mark.parametrize("bits", [2, 4])
def test_the_transparent_grey_of_few_bits_is_the_one_stored(tmp_path, bits):
    values = np.arange(2**bits, dtype=np.uint8)[None]
    key = chunk(b"tRNS", bytes([0, 2]))
    (tmp_path / "a").write_bytes(png(values, 0, bits=bits, chunks=key))
    with open_image(tmp_path / "a") as source, source.identify() as identified:
        decoded = decode(identified)
        assert decoded.deep is None
        alpha = np.asarray(decoded.image.convert("RGBA"))[0, :, 3]
    assert alpha.tolist() == [0 if value == 2 else 255 for value in range(2**bits)]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_pages_are_counted_after_the_first_is_decoded(tmp_path, compression):
    pages = [Image.new("RGB", (30, 40), (level, 0, 0)) for level in range(5)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
    with open_image(path) as source, source.identify() as identified:
        decode(identified)
        assert identified.image.n_frames == 5


def test_a_jpeg_is_scaled_down_no_further_than_wanted(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (1000, 800)).save(buffer, "JPEG")
    (tmp_path / "a").write_bytes(buffer.getvalue())
    for wanted, size in (((250, 200), (250, 200)), ((251, 200), (500, 400)), (None, (1000, 800))):
        with open_image(tmp_path / "a") as source, source.identify() as identified:
            decoded = decode(identified, wanted)
        assert (decoded.image.size, decoded.size) == (size, (1000, 800))


@pytest.mark.parametrize("value", [0, 9, 77, "6", 6.5])
def test_an_orientation_that_is_none_leaves_the_picture(value):
    image = Image.new("L", (3, 2))
    image.getexif()[274] = value
    assert exif_orientation(image) == 1
