"""What each kind of file becomes, and the reason each kind of damage gets."""

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from adgan_cli.errors import ImageError
from adgan_cli.images import read
from adgan_cli.images.read import read_image, read_picture, read_thumbnail

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
FUZZ = settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def colours(width: int = 16, height: int = 16) -> Image.Image:
    """A smooth picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    red, green = x * 255 // max(1, width - 1), y * 255 // max(1, height - 1)
    return Image.fromarray(np.stack([red, green, (red + green) // 3], -1).astype(np.uint8))


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def test_a_colour_picture_of_the_right_size_is_read_unchanged(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", colours()), 16, 3)
    assert (picture.width, picture.height, picture.mode) == (16, 16, "RGB")
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, np.asarray(colours()))


def test_one_channel_is_the_luma_and_says_so(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", colours()), 16, 1)
    assert picture.mode == "RGB>L"
    np.testing.assert_array_equal(picture.pixels[..., 0], np.asarray(colours().convert("L")))


def test_grey_read_for_three_channels_has_three_equal_ones(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", Image.fromarray(RAMP)), 16, 3)
    assert picture.mode == "L"
    np.testing.assert_array_equal(picture.pixels, np.stack([RAMP] * 3, -1))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_files_keep_their_256_levels(tmp_path, name):
    deep = RAMP.astype(np.uint16) * 257
    if name == "a.pgm":  # Pillow before 11 reads such files but does not write them
        (tmp_path / name).write_bytes(b"P5 16 16 65535\n" + deep.astype(">u2").tobytes())
    else:
        save(tmp_path / name, Image.fromarray(deep))
    picture = read_picture(tmp_path / name, 16, 1)
    np.testing.assert_array_equal(picture.pixels[..., 0], RAMP)
    assert picture.mode.endswith("[0..65535]")


def test_16_bit_values_are_scaled_by_the_full_range_and_rounded(tmp_path):
    values = np.array([[0, 128], [129, 4095]], np.uint16)
    pixels = read_image(save(tmp_path / "a.tif", Image.fromarray(values)), 2, 1)
    assert pixels[..., 0].tolist() == [[0, 0], [1, 16]]


def test_big_endian_16_bit_tiff_reads_like_little_endian(tmp_path):
    tags = [(256, 3, 16), (257, 3, 16), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 200)]
    tags += [(277, 3, 1), (278, 3, 16), (279, 4, 512)]
    ifd = struct.pack(">H", len(tags))
    for tag, kind, value in tags:
        ifd += struct.pack(">HHI", tag, kind, 1)
        ifd += struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
    pixels = (RAMP.astype(">u2") * 257).astype(">u2").tobytes()
    whole = (b"MM\0*" + struct.pack(">I", 8) + ifd + b"\0" * 4).ljust(200, b"\0") + pixels
    (tmp_path / "a.tif").write_bytes(whole)
    picture = read_picture(tmp_path / "a.tif", 16, 1)
    np.testing.assert_array_equal(picture.pixels[..., 0], RAMP)
    assert picture.mode == "I;16B[0..65535]"


@pytest.mark.parametrize(
    ("values", "expected", "mode"),
    [
        ([[0, 65535], [257, 514]], [[0, 255], [1, 2]], "I[0..65535]"),
        ([[-32768, 32767], [0, -1]], [[0, 255], [128, 127]], "I[-32768..32767]"),
        ([[0, 2**31 - 1], [2**30, 70000]], [[0, 255], [128, 0]], "I[0..2147483647]"),
        ([[-(2**31), 2**31 - 1], [0, 0]], [[0, 255], [128, 128]], "I[-2147483648..2147483647]"),
    ],
)
def test_32_bit_integers_take_the_first_range_that_holds_them(tmp_path, values, expected, mode):
    path = save(tmp_path / "a.tif", Image.fromarray(np.array(values, np.int32)))
    picture = read_picture(path, 2, 1)
    assert (picture.pixels[..., 0].tolist(), picture.mode) == (expected, mode)


@pytest.mark.parametrize(
    ("values", "expected", "mode"),
    [
        ([[0, 1], [0.5, 0.25]], [[0, 255], [128, 64]], "F[0..1]"),
        ([[0, 255], [1, 2]], [[0, 255], [1, 2]], "F[0..255]"),
        ([[-1, 3], [1, 0]], [[0, 255], [128, 64]], "F[-1..3]"),
        ([[7e9, 7e9], [7e9, 7e9]], [[0, 0], [0, 0]], "F[7000000000..7000000000]"),
        ([[np.nan, 1], [np.inf, -np.inf]], [[0, 255], [0, 0]], "F[0..1]"),
        ([[-3e38, 3e38], [0, 0]], [[0, 255], [128, 128]], None),
    ],
)
def test_floats_take_the_first_range_that_holds_them(tmp_path, values, expected, mode):
    path = save(tmp_path / "a.tif", Image.fromarray(np.array(values, np.float32)))
    picture = read_picture(path, 2, 1)
    assert picture.pixels[..., 0].tolist() == expected
    assert mode in (None, picture.mode)


def test_a_fits_frame_is_refused_with_the_remedy_rather_than_read_wrongly(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T".ljust(2880))
    with pytest.raises(ImageError, match="^FITS frame: convert it to 16-bit TIFF or PNG first$"):
        read_image(tmp_path / "a.fits", 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_applied(tmp_path, name, orientation):
    options = {"quality": 95} if name[-1] == "g" else {}
    stored = colours(40, 24)
    path = save(tmp_path / name, stored, exif=exif(orientation), **options)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    picture = read_picture(path, 24, 3)
    assert (picture.width, picture.height) == upright.size
    left, top = (upright.width - 24) // 2, (upright.height - 24) // 2
    expected = np.asarray(upright.crop((left, top, left + 24, top + 24)), int)
    assert np.abs(picture.pixels - expected).max() <= 2
    assert picture.mode == ("RGB" if orientation == 1 else f"RGB+exif{orientation}")
    with Image.open(io.BytesIO(read_thumbnail(path, 40))) as thumbnail:
        assert thumbnail.size == upright.size


@pytest.mark.parametrize("data", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\xff"])
def test_broken_exif_does_not_lose_the_picture(tmp_path, data):
    for name in ("a.jpg", "a.png", "a.webp"):
        picture = read_picture(save(tmp_path / name, colours(), exif=data), 16, 3)
        assert picture.mode == "RGB"


def transparent(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """A 2x1 picture: left pixel red or dark and fully transparent, right pixel black, opaque."""
    if mode in ("RGBA", "LA", "PA"):
        both = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
        both.putpixel((0, 0), (200, 0, 0, 0))
        return both.convert(mode), {}
    image = Image.new(mode, (2, 1), 0)
    if mode == "RGB":
        image.putpixel((0, 0), (200, 0, 0))
        return image, {"transparency": (200, 0, 0)}
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 1)
    return image, {"transparency": bytes([255, 0]) if mode == "P" else 1}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "P", "1", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_pixel_is_white(tmp_path, mode, channels):
    image, options = transparent(mode)
    picture = read_picture(
        save(tmp_path / "a.png", image.resize((4, 2), 0), **options), 2, channels
    )
    assert "+white" in picture.mode
    # the central square of (white white black black) is (white black)
    expected = [[[255] * channels, [0] * channels]] * 2
    assert picture.pixels.tolist() == expected


def test_half_transparent_black_is_mid_grey(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGBA", (2, 2), (0, 0, 0, 128)))
    picture = read_picture(path, 2, 3)
    assert picture.mode == "RGBA+white"
    assert set(picture.pixels.ravel()) == {127}


def test_palette_with_one_transparent_colour_is_on_white(tmp_path):
    image, _ = transparent("P")
    picture = read_picture(save(tmp_path / "a.gif", image, transparency=1), 1, 3)
    assert picture.mode == "P+white"
    assert picture.pixels.ravel().tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("a.png", "1", "1"),
        ("a.gif", "P", "P"),
        ("a.tif", "CMYK", "CMYK>RGB"),
        ("a.jpg", "CMYK", "CMYK>RGB"),
        ("a.tif", "LAB", "LAB>RGB"),
        ("a.bmp", "RGB", "RGB"),
        ("a.webp", "RGB", "RGB"),
        ("a.tga", "RGB", "RGB"),
        ("a.jp2", "RGB", "RGB"),
    ],
)
def test_other_modes_and_formats_keep_the_picture(tmp_path, name, mode, said):
    if mode == "LAB":
        plain = colours()
        image = ImageCms.profileToProfile(
            plain, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        image = colours().convert(mode)
        plain = image.convert("RGB")
    picture = read_picture(save(tmp_path / name, image), 16, 3)
    assert picture.mode == said
    assert np.abs(picture.pixels - np.asarray(plain, int)).mean() < 8


def test_cmyk_is_converted_by_its_profile_when_that_works(tmp_path, monkeypatch):
    # no CMYK profile is free to ship: stand in for littleCMS at its edge
    seen = []

    def convert(image, source, target, outputMode):
        seen.append((image.mode, source, outputMode))
        return Image.new("RGB", image.size, (1, 2, 3))

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", lambda file: file.read())
    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    path = save(tmp_path / "a.jpg", colours().convert("CMYK"), icc_profile=b"a profile")
    picture = read_picture(path, 4, 3)
    assert picture.mode == "CMYK+icc>RGB"
    assert seen == [("CMYK", b"a profile", "RGB")]
    assert picture.pixels[0, 0].tolist() == [1, 2, 3]
    assert read_picture(path, 4, 1).mode == "CMYK+icc>RGB>L"


@pytest.mark.parametrize("profile", [b"garbage", "sRGB"])
def test_a_profile_that_does_not_fit_is_left_out(tmp_path, profile):
    if profile == "sRGB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "a.jpg", colours().convert("CMYK"), icc_profile=profile)
    assert read_picture(path, 4, 3).mode == "CMYK>RGB"


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_the_first_frame_is_read_and_the_count_is_said(tmp_path, name):
    frames = [Image.new("RGB", (4, 4), (level, level, level)) for level in (250, 120, 10)]
    lossless = {"lossless": True} if name == "a.webp" else {}
    path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **lossless)
    picture = read_picture(path, 4, 3)
    assert np.abs(picture.pixels.astype(int) - 250).max() <= 2
    assert "+frame1of3" in picture.mode


def test_the_notes_come_in_the_documented_order(tmp_path):
    image, options = transparent("I;16")
    path = save(tmp_path / "a.png", image, exif=exif(6), **options)
    assert read_picture(path, 1, 1).mode == "I;16[0..65535]+exif6+white"


def test_the_central_square_is_kept(tmp_path):
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (10, 0, 20, 10))
    assert set(read_image(save(tmp_path / "a.png", wide), 10, 1).ravel()) == {255}
    assert set(read_image(save(tmp_path / "b.png", wide.rotate(90, expand=True)), 5).ravel()) == {
        255
    }


def test_shrinking_averages_instead_of_picking_pixels(tmp_path):
    board = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    pixels = read_image(save(tmp_path / "a.png", board), 8, 1).astype(int)
    assert np.abs(pixels - 127).max() <= 8


@pytest.mark.parametrize("shape", [(20000, 3), (3, 20000)])
def test_a_strip_is_read_without_becoming_huge(tmp_path, shape):
    path = save(tmp_path / "a.png", Image.new("RGB", shape, "red"))
    picture = read_picture(path, 8, 3)
    assert (picture.width, picture.height) == shape
    assert picture.pixels.shape == (8, 8, 3)
    with Image.open(io.BytesIO(read_thumbnail(path, 100))) as thumbnail:
        assert sorted(thumbnail.size) == [1, 100]


def test_a_single_pixel_fills_the_square(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (1, 1), (9, 8, 7)))
    assert np.unique(read_image(path, 8).reshape(-1, 3), axis=0).tolist() == [[9, 8, 7]]


def test_a_large_jpeg_is_scaled_by_the_decoder_and_keeps_its_size_and_quality(tmp_path):
    large = colours(1024, 768)
    path = save(tmp_path / "a.jpg", large, quality=95, exif=exif(8))
    picture = read_picture(path, 32, 3)
    assert (picture.width, picture.height) == (768, 1024)
    upright = large.crop((128, 0, 896, 768)).transpose(Image.Transpose.ROTATE_90)
    expected = np.asarray(upright.resize((32, 32), Image.Resampling.BICUBIC), int)
    assert np.abs(picture.pixels - expected).max() <= 4


def test_a_thumbnail_is_a_small_rgb_jpeg_and_never_enlarged(tmp_path):
    path = save(tmp_path / "a.png", Image.new("LA", (300, 100), (0, 0)))
    with Image.open(io.BytesIO(read_thumbnail(path, 60))) as thumbnail:
        assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("JPEG", "RGB", (60, 20))
        assert thumbnail.getpixel((0, 0)) == (255, 255, 255)
    with Image.open(io.BytesIO(read_thumbnail(path, 1000))) as thumbnail:
        assert thumbnail.size == (300, 100)


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def noise(side: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.gif", "a.bmp", "a.webp", "a.jp2"])
@pytest.mark.parametrize("keep", [0.01, 0.6])
def test_a_truncated_file_is_refused_by_everything(tmp_path, name, keep):
    path = cut(save(tmp_path / name, noise()), keep)
    for call in (lambda: read_image(path, 16), lambda: read_thumbnail(path, 16)):
        with pytest.raises(ImageError, match="^(truncated or damaged: .|not a picture)") as caught:
            call()
        assert caught.value.__cause__ is not None
        assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)


def test_each_fault_has_its_plain_reason(tmp_path, monkeypatch):
    def reason(path: Path) -> str:
        with pytest.raises(ImageError) as caught:
            read_image(path, 8)
        return str(caught.value)

    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello, this is no picture at all\n" * 9)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "empty.png") == "empty file"
    assert reason(tmp_path / "text.jpg") == "not a picture Pillow can read"
    assert reason(tmp_path / "folder.jpg") == "a folder, not a file"
    assert reason(tmp_path / "link.png") == "broken link"
    assert reason(tmp_path / "pipe.png") == "not a regular file"
    assert reason(tmp_path / "gone.png") == "vanished"
    assert reason(tmp_path / "gone.png" / "below") == "vanished"
    assert "HEIC" in reason(tmp_path / "phone.heic") or "damaged" in reason(tmp_path / "phone.heic")

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refuse)
    assert reason(tmp_path / "empty.png") == "permission denied"


def test_an_eps_file_never_starts_an_interpreter(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ImageError, match="^not a picture Pillow can read$"):
        read_image(tmp_path / "a.jpg", 8)


def huge_png(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))
    return path


def test_a_decompression_bomb_is_refused_unopened(tmp_path):
    path = huge_png(tmp_path / "bomb.png", 100_000, 100_000)
    with pytest.raises(ImageError, match="^larger than 179 megapixels: suspected decompression"):
        read_image(path, 8)


def test_a_large_picture_below_the_limit_gives_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    read_image(save(tmp_path / "a.png", colours()), 8)
    assert Image.MAX_IMAGE_PIXELS == 200


def test_pillow_still_warns_everybody_else(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", colours())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    read_image(path, 8)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(path)


def test_warnings_of_other_threads_pass_while_one_reads(tmp_path, monkeypatch):
    caught = []

    def elsewhere():
        try:
            warnings.warn_explicit("from elsewhere", UserWarning, "x.py", 1, module="PIL.Image")
        except UserWarning as warning:
            caught.append(str(warning))

    with read._quiet():
        warnings.warn_explicit("from here", UserWarning, "x.py", 1, module="PIL.Image")
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
    assert caught == ["from elsewhere"]


def test_thumbnail_of_a_tiny_picture_is_exact(tmp_path):
    path, picture = tmp_path / "tiny.png", Image.effect_noise((28, 28), 90).convert("RGB")
    picture.save(path)
    with Image.open(io.BytesIO(read_thumbnail(path, 320))) as thumbnail:
        assert thumbnail.format == "PNG"
        assert thumbnail.tobytes() == picture.tobytes()


def reads_or_refuses(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for call in (lambda: read_picture(path, 8, 3).pixels.shape, lambda: read_thumbnail(path, 8)):
        try:
            assert call() in ((8, 8, 3),) or call()[:2] in (b"\xff\xd8", b"\x89P")
        except ImageError as error:
            assert str(error) and "\n" not in str(error)


HEADERS = [
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"\xff\xd8\xff\xe1\0\x30Exif\0\0MM\0*",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"BM\x40\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x04\0\0\0\x04\0\0\0",
    b"P6 4 4 255\n",
    b"P5 2 2 65535\n",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\0\0\0\x1cftypavif",
    b"\0\0\1\0\1\0",
    b"8BPS\0\1\0\0\0\0\0\0\0\3",
    b"DDS \x7c\0\0\0",
    b"qoif\0\0\0\4\0\0\0\4\3\0",
    b"\x0a\5\1\x08",
    b"\1\xda\0\1\0\3\0\4\0\4\0\3",
    b"SIMPLE  =                    T",
    b"icns\0\0\0\x40",
]


@FUZZ
@given(header=st.sampled_from(HEADERS), rest=st.binary(max_size=300))
def test_random_bytes_after_a_valid_header_read_or_are_refused(tmp_path, header, rest):
    reads_or_refuses(tmp_path / "x.png", header + rest)


def whole_files() -> list[bytes]:
    files = []
    for format, mode in [
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("PNG", "P"),
        ("PNG", "I;16"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("TIFF", "F"),
        ("WEBP", "RGB"),
        ("BMP", "RGB"),
        ("PPM", "RGB"),
    ]:
        image = colours(8, 8).convert("L" if mode == "I;16" else mode)
        image = Image.fromarray(np.asarray(image).astype(np.uint16)) if mode == "I;16" else image
        file = io.BytesIO()
        options = {"exif": exif(6)} if format in ("JPEG", "PNG", "TIFF", "WEBP") else {}
        image.save(file, format, **options)
        files.append(file.getvalue())
    return files


@FUZZ
@given(
    whole=st.sampled_from(whole_files()),
    changes=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_files_with_changed_bytes_read_or_are_refused(tmp_path, whole, changes):
    data = bytearray(whole)
    for place, value in changes:
        data[place % len(data)] = value
    reads_or_refuses(tmp_path / "x.png", bytes(data))
