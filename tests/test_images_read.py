"""Rules, geometry, facts and damage: what holds for every kind of file."""

import hashlib
import io
import itertools
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from colour_reference import ADOBE, GAMMA, LUMA, composite
from container_samples import image_ref
from image_samples import chunk, matrix_profile, png, tiff
from PIL import Image

from adgan_cli.errors import ImageError
from adgan_cli.images.archives import TarArchive, ZipArchive
from adgan_cli.images.decode import decode
from adgan_cli.images.open_image import open_image
from adgan_cli.images.read import (
    Preprocessing,
    decode_image,
    deep_values,
    read_image,
    read_thumbnail,
)
from adgan_cli.images.refs import ImageRef

FITS = ("crop", "pad", "squash")


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
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
    path = save(tmp_path / "a.png", colours())
    picture = decode_image(path, Preprocessing(16, 3))
    assert (picture.width, picture.height, picture.mode) == (16, 16, "RGB")
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, np.asarray(colours()))
    np.testing.assert_array_equal(read_image(path, 16), picture.pixels)


def test_pixels_belong_to_the_caller(tmp_path):
    for name, image in (("a.png", colours()), ("b.png", colours().convert("L"))):
        for channels in (1, 3):
            pixels = read_image(save(tmp_path / name, image), 16, channels)
            pixels[:] = 0  # neither read-only nor a view of one channel
            assert pixels.flags.c_contiguous and not pixels.any()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000"])
def test_the_format_is_that_of_the_content(tmp_path, kind):
    colours().save(tmp_path / "a.jpg", kind)
    assert decode_image(tmp_path / "a.jpg", Preprocessing(8, 3)).format == kind


def test_each_format_keeps_the_picture(tmp_path):
    without_loss = "bmp dds dib ico j2k jp2 pcx ppm sgi tga tif webp".split()
    for ending, largest in {**dict.fromkeys(without_loss, 0), "jpg": 4}.items():
        options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
        path = save(tmp_path / f"a.{ending}", colours(), **options.get(ending, {}))
        image = decode_image(path, Preprocessing(16, 3))
        assert image.mode == "RGB", ending
        assert np.abs(image.pixels - np.asarray(colours(), int)).max() <= largest, ending


def test_avif_is_read_where_its_decoder_is_built_in(tmp_path):
    try:
        path = save(tmp_path / "a.avif", colours(), quality=100, subsampling="4:4:4")
    except (KeyError, OSError, ValueError):
        pytest.skip("this Pillow has no AVIF")
    picture = decode_image(path, Preprocessing(16, 3))
    assert (picture.mode, picture.format) == ("RGB", "AVIF")
    assert np.abs(picture.pixels - np.asarray(colours(), int)).max() <= 8


def test_heic_is_read_where_its_decoder_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    path = save(tmp_path / "a.heic", colours(32, 32), quality=100, exif=exif(6))
    picture = decode_image(path, Preprocessing(32, 3))
    assert (picture.format, picture.width) == ("HEIF", 32)
    assert picture.mode.startswith("RGB")


@pytest.mark.parametrize("fit", FITS)
def test_a_turned_copy_gives_the_pixels_of_the_upright_one(tmp_path, fit):
    # numpy's turns, which undo what the camera did
    back = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    sizes = [((40, 24), 24), ((31, 20), 16), ((21, 30), 7), ((1, 9), 8), ((9, 2), 8)]
    for ((width, height), side), orientation in itertools.product(sizes, back):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        stored = Image.fromarray(np.ascontiguousarray(back[orientation](pixels)))
        preprocessing = Preprocessing(side, 3, fit)
        upright = save(tmp_path / "upright.png", Image.fromarray(pixels))
        expected = decode_image(upright, preprocessing)
        for name in ("a.png", "a.tif"):
            path = save(tmp_path / name, stored, exif=exif(orientation))
            found = decode_image(path, preprocessing)
            case = (width, height), orientation, name
            assert found.mode == ("RGB" if orientation == 1 else f"RGB+exif{orientation}"), case
            assert (found.width, found.height) == (width, height), case
            np.testing.assert_array_equal(found.pixels, expected.pixels, str(case))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_orientation_is_applied_in_formats_with_loss(tmp_path, name):
    corner = Image.new("RGB", (64, 32), "black")
    corner.paste("white", (0, 0, 16, 16))  # the stored top left
    for orientation in range(1, 9):
        path = save(tmp_path / name, corner, quality=95, exif=exif(orientation))
        pixels = decode_image(path, Preprocessing(64, 1, "squash")).pixels[..., 0]
        # EXIF 2.32: where row 0 and column 0 are
        bottom, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
        assert pixels[-4 if bottom else 3, -4 if right else 3] > 240
        corners = (int(pixels[y, x]) for y, x in itertools.product((3, -4), repeat=2))
        assert sorted(corners)[-2] < 15
        with Image.open(io.BytesIO(read_thumbnail(path, 64))) as thumbnail:
            assert thumbnail.size == ((64, 32) if orientation < 5 else (32, 64))


@pytest.mark.parametrize("data", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\xff"])
def test_broken_exif_does_not_lose_the_picture(tmp_path, data):
    for name in ("a.jpg", "a.png", "a.webp"):
        picture = decode_image(save(tmp_path / name, colours(), exif=data), Preprocessing(16, 3))
        assert picture.mode == "RGB"


def test_crop_keeps_the_central_square(tmp_path):
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (10, 0, 20, 10))
    assert set(read_image(save(tmp_path / "a.png", wide), 10, 1).ravel()) == {255}
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    assert set(read_image(save(tmp_path / "b.png", tall), 5, 1).ravel()) == {255}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pad_keeps_all_of_it_between_bars_of_the_colour(tmp_path, mode):
    path = save(tmp_path / "a.tif", Image.new("RGB", (8, 4), (10, 10, 10)).convert(mode))
    bars = {"white": [255] * 3, "black": [0] * 3, "drop": [0] * 3, "#8090a0": [128, 144, 160]}
    for alpha, bar in bars.items():
        pixels = read_image(path, 8, fit="pad", alpha=alpha)
        assert pixels[:, 0].tolist() == [bar] * 2 + [[10] * 3] * 4 + [bar] * 2
        assert (pixels == pixels[:, :1]).all()


def test_squash_keeps_all_of_it_out_of_proportion(tmp_path):
    halves = Image.new("L", (64, 4), 0)
    halves.paste(255, (32, 0, 64, 4))
    pixels = read_image(save(tmp_path / "a.png", halves), 4, 1, fit="squash")[..., 0]
    assert np.abs(pixels.astype(int) - [0, 0, 255, 255]).max() <= 20


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_a_strip_of_one_pixel_is_read_by_every_fit(tmp_path, fit, size):
    for name in ("a.png", "a.jpg"):
        path = save(tmp_path / name, Image.new("RGB", size, (90, 90, 90)), quality=100)
        picture = decode_image(path, Preprocessing(16, 3, fit, "black"))
        assert (picture.width, picture.height) == size
        columns = set(np.unique(picture.pixels)) if fit != "pad" or size == (1, 1) else {90}
        assert columns == {90}
        if fit == "pad" and size != (1, 1):
            assert (picture.pixels == 90).any(-1).sum() == 16
            assert (picture.pixels[7 if size[1] == 1 else 0, 7 if size[0] == 1 else 0] == 90).all()
    with Image.open(io.BytesIO(read_thumbnail(path, 100))) as thumbnail:
        assert max(thumbnail.size) == min(100, max(size))


def test_a_strip_does_not_become_huge_on_the_way(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (20000, 3), "red"))
    for fit in FITS:
        assert decode_image(path, Preprocessing(64, 3, fit)).pixels.shape == (64, 64, 3)


def test_transparency_follows_the_preprocessing_and_the_mode_says_which(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 4)).astype(np.uint8)
    path = write(tmp_path / "a", png(pixels, 6))
    behind = {"white": (255, 255, 255), "black": (0, 0, 0), "#8090a0": (128, 144, 160)}
    for alpha, channels in itertools.product([*behind, "drop"], (1, 3)):
        image = decode_image(path, Preprocessing(4, channels, alpha=alpha))
        expected = pixels[..., :3].astype(float)
        if alpha != "drop":
            expected = composite(expected, pixels[..., 3], behind[alpha])
        expected = expected if channels == 3 else (expected @ LUMA)[..., None]
        assert np.abs(image.pixels - expected).max() <= 1, alpha
        assert image.mode == f"RGBA+{alpha}" + (">L" if channels == 1 else "")


def test_the_notes_come_in_the_documented_order(tmp_path):
    pixels = np.full((2, 2, 2), 30_000, np.uint16)
    content = png(pixels, 4, chunks=chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0")))
    rules = Preprocessing(2, 1, alpha="#8090a0", ranges=(("I;16", 0.0, 20_000.0),))
    picture = decode_image(write(tmp_path / "a", content), rules)
    assert picture.mode == "LA;16[0..20000]+clip+exif6+#8090a0>L"


def test_a_stored_range_gives_files_of_12_bits_their_contrast(tmp_path):
    values = np.array([[0, 1000], [2048, 4095]], np.uint16)
    path = write(tmp_path / "a", tiff(values, 1))
    plain = decode_image(path, Preprocessing(2, 1))
    assert (plain.pixels.max(), plain.mode) == (16, "I;16[0..65535]")
    kind, span = deep_values(path)
    ranges = ((kind, span.least, span.greatest),)
    ranged = decode_image(path, Preprocessing(2, 1, ranges=ranges))
    assert ranged.pixels.ravel().tolist() == [0, 62, 128, 255]
    assert ranged.mode == "I;16[0..4095]"
    thumbnail = read_thumbnail(path, 9, ranges=(("I;16", 0.0, 4095.0),))
    assert Image.open(io.BytesIO(thumbnail)).getextrema() == ((0, 255),) * 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(np.array([[5, 4005]], np.uint16), 0), ("I;16", 5, 4005)),
        (png(np.array([[[5, 9], [4005, 65535]]], np.uint16), 4), ("I;16", 5, 4005)),
        (png(np.array([[[5, 9, 7]]], np.uint16), 2), ("RGB;16", 5, 9)),
        (tiff(np.array([[-3, 9]], np.int32), 1, order=">", compression=5), ("I", -3, 9)),
        (tiff(np.array([[0.5, np.nan, np.inf, 3]], np.float32), 1), ("F", 0.5, 3)),
        (tiff(np.array([[9, 9]], np.uint16), 1), ("I;16", 9, 9)),
        (tiff(np.array([[np.nan]], np.float32), 1), None),
        (png(np.array([[5, 200]], np.uint8), 0), None),
        (tiff(np.array([[5, 200]], np.uint8), 1), None),
    ],
)
def test_the_range_is_that_of_the_values(tmp_path, content, expected):
    path = write(tmp_path / "a.jpg", content)  # the name does not count
    for found in (deep_values(path), deep_values(image_ref(path))):
        assert (found and (found[0], found[1].least, found[1].greatest)) == expected


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.bmp"])
def test_no_range_of_8_bits_is_told_without_opening_the_picture(tmp_path, monkeypatch, name):
    path = save(tmp_path / name, colours())
    monkeypatch.setattr(Image, "open", None)
    assert deep_values(path) is None


def test_what_cannot_be_read_has_no_range(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, (9, 9)).astype(np.uint16)
    with pytest.raises(ImageError, match="^truncated or damaged: "):
        deep_values(write(tmp_path / "a", png(values, 0)[:100]))
    with pytest.raises(ImageError, match="^vanished$"):
        deep_values(tmp_path / "b")


def test_the_fingerprint_is_that_of_the_content_whatever_the_name(tmp_path):
    content = save(tmp_path / "a.png", colours()).read_bytes()
    expected = hashlib.blake2b(content, digest_size=8).digest()
    (tmp_path / "b.jpg").write_bytes(content)
    for item in (tmp_path / "a.png", str(tmp_path / "b.jpg"), image_ref(tmp_path / "b.jpg")):
        assert decode_image(item, Preprocessing(8, 3)).fingerprint == expected


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_members_of_archives_are_read_like_files(tmp_path, compression):
    path = save(tmp_path / "a.tif", colours(), compression=compression)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "a.tif")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(path, "a.tif")
    expected = decode_image(path, Preprocessing(8, 3))
    for source in (ZipArchive(tmp_path / "a.zip"), TarArchive(tmp_path / "a.tar")):
        found = decode_image(ImageRef(source, "a.tif", "a/a.tif"), Preprocessing(8, 3))
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert replace(found, pixels=expected.pixels).fingerprint == expected.fingerprint
        assert read_thumbnail(ImageRef(source, "a.tif", "a"), 9)
        with pytest.raises(ImageError, match="^vanished$"):
            decode_image(ImageRef(source, "b.tif", "a/b.tif"), Preprocessing(8, 3))


@pytest.mark.parametrize("fit", FITS)
def test_a_large_jpeg_is_scaled_by_the_decoder_and_keeps_its_size_and_quality(tmp_path, fit):
    large = colours(1024, 768)
    path = save(tmp_path / "a.jpg", large, quality=95, exif=exif(8))
    with open_image(path) as source, source.identify() as identified:
        assert decode(identified, (256, 192)).image.size == (256, 192)
    picture = decode_image(path, Preprocessing(32, 3, fit, "black"))
    exact = save(tmp_path / "a.png", large, exif=exif(8))  # no decoder scales this
    assert (picture.width, picture.height) == (768, 1024)
    expected = decode_image(exact, Preprocessing(32, 3, fit, "black")).pixels.astype(int)
    assert np.abs(picture.pixels - expected).max() <= 4
    assert np.abs(picture.pixels - expected).mean() < 1


def test_threads_that_read_at_once_read_the_same(tmp_path):
    paths = [save(tmp_path / f"{n}.png", colours(40 + n, 60)) for n in range(8)]
    expected = [read_image(path, 16) for path in paths]

    def often(_: int) -> bool:
        pairs = list(zip(paths, expected, strict=True)) * 5
        return all(np.array_equal(read_image(path, 16), pixels) for path, pixels in pairs)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(often, range(4)))


def test_a_thumbnail_is_a_small_rgb_jpeg_and_never_enlarged(tmp_path):
    path = save(tmp_path / "a.png", Image.new("LA", (300, 100), (0, 0)))
    with Image.open(io.BytesIO(read_thumbnail(path, 60))) as thumbnail:
        assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("JPEG", "RGB", (60, 20))
        assert thumbnail.getpixel((0, 0)) == (255, 255, 255)
    with Image.open(io.BytesIO(read_thumbnail(path, 1000, alpha="black"))) as thumbnail:
        assert thumbnail.size == (300, 100)
        assert thumbnail.getpixel((0, 0)) == (0, 0, 0)


def test_a_thumbnail_of_a_large_jpeg_has_the_size_asked_for(tmp_path):
    path = save(tmp_path / "a.jpg", colours(2001, 1501))
    with Image.open(io.BytesIO(read_thumbnail(path, 100))) as thumbnail:
        assert thumbnail.size == (100, 75)


def test_a_thumbnail_of_a_tiny_picture_is_exact(tmp_path):
    tiny = Image.effect_noise((28, 28), 90).convert("RGB")
    path = save(tmp_path / "tiny.png", tiny)
    with Image.open(io.BytesIO(read_thumbnail(path, 320))) as thumbnail:
        assert thumbnail.format == "PNG"
        assert thumbnail.tobytes() == tiny.tobytes()


def test_a_thumbnail_carries_no_profile_and_no_date(tmp_path):
    profile = matrix_profile(ADOBE, GAMMA)
    for side in (20, 200):
        path = save(tmp_path / "a.png", colours(side, side), icc_profile=profile)
        with Image.open(io.BytesIO(read_thumbnail(path, 100))) as thumbnail:
            assert "icc_profile" not in thumbnail.info


def noise(side: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


@pytest.mark.parametrize("keep", [0.01, 0.6])
def test_a_truncated_file_is_refused_by_everything(tmp_path, keep):
    for ending in "jpg png tif gif bmp webp jp2 ppm ico dds".split():
        whole = save(tmp_path / f"a.{ending}", noise()).read_bytes()
        path = write(tmp_path / f"a.{ending}", whole[: int(len(whole) * keep)])
        for read in (read_image, read_thumbnail):
            with pytest.raises(ImageError, match="^(truncated|not a picture)") as caught:
                read(path, 16)
            assert caught.value.__cause__ is not None
            assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)


def test_a_deep_picture_truncated_at_its_end_is_refused(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, (20, 20, 3)).astype(np.uint16)
    for content in (png(values, 2), tiff(values, 2), tiff(values, 2, compression=8)):
        path = write(tmp_path / "a", content[:-200])
        with pytest.raises(ImageError, match="^truncated"):
            read_image(path, 8)


def test_a_thumbnail_of_noise_is_made_to_fit_its_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (400, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    whole = read_thumbnail(tmp_path / "noise.png", 320)
    small = read_thumbnail(tmp_path / "noise.png", 320, max_bytes=20_000)
    assert len(whole) > 20_000 >= len(small) > 5_000
    assert read_thumbnail(tmp_path / "noise.png", 320, max_bytes=len(whole)) == whole
    with Image.open(io.BytesIO(read_thumbnail(tmp_path / "noise.png", 320, max_bytes=1))) as tiny:
        assert 50 <= max(tiny.size) <= 64, "small, but still a picture"
