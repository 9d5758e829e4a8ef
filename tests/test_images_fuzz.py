"""Damaged files of every format end as pixels or as a reason: quickly, quietly, nothing else."""

import io
import random
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from colour_reference import ADOBE, GAMMA
from hypothesis import given, settings
from hypothesis import strategies as st
from image_samples import apng, chunk, gif, ink_profile, matrix_profile, png, tiff
from PIL import Image
from test_images_camera_raw import SENSOR, image_of, raw

from adgan_cli.errors import ImageError
from adgan_cli.images.read import Preprocessing, decode_image, deep_values, read_thumbnail

BOUND = 5  # seconds for one file, read in every way; none of 50,000 took half a second
DEEP_ENOUGH = (("F", 0.0, 1.0), ("I;16", 0.0, 4095.0), ("RGB;16", 9.0, 99.0))


def whole_files() -> dict[str, bytes]:
    """A small sound file of every format and variant there is a writer for."""
    random_ = np.random.default_rng(0)
    colours = random_.integers(0, 256, (12, 10, 4)).astype(np.uint8)
    deep = random_.integers(0, 2**16, (12, 10, 4)).astype(np.uint16)
    grey, indices = colours[..., 0], colours[..., 0] % 4
    rgb = Image.fromarray(colours[..., :3])
    profile = matrix_profile(ADOBE, GAMMA)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    plte = chunk(b"PLTE", colours[0, :4, :3].tobytes())
    icc = chunk(b"iCCP", b"a\0\0" + zlib.compress(profile))
    icon = png(random_.integers(0, 256, (16, 16, 4)).astype(np.uint8), 6)
    files = {
        "png grey": png(grey, 0),
        "png 16": png(deep[..., 0], 0, chunks=chunk(b"tRNS", b"\0\7")),
        "png 16 alpha": png(deep[..., :2], 4),
        "png 16 colours": png(deep[..., :3], 2, interlaced=True, chunks=icc),
        "png 16 all": png(deep, 6),
        "png palette": png(indices, 3, bits=2, chunks=plte + chunk(b"tRNS", b"\0\x80")),
        "png text": png(grey, 0, chunks=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))),
        "apng": apng([colours[..., :3], colours[..., 1:]]),
        "gif": gif([indices, 3 - indices], colours[0, :4, :3].tobytes(), 1),
        "tiff planes": tiff(deep[..., :3], 2, planes=True),
        "tiff 16": tiff(deep, 2, order=">", compression=5, tags={338: (1,)}),
        "tiff float": tiff(deep[..., 0].astype(np.float32), 1, order=">", compression=8),
        "tiff 12": tiff(deep[..., 0] % 4096, 1, bits=12),
        "tiff int": tiff(deep[..., 0].astype(np.int32), 0),
        "tiff signed": tiff(grey.astype(np.int8), 1),
        "tiff lab": tiff(colours[..., :3], 8, tags={274: (5,)}),
        "tiff ycbcr": tiff(colours[..., :3], 6),
        "tiff raw": raw(image_of(6, 1), image_of(20, 0, SENSOR)),
        "pgm 16": b"P5 10 12 65535\n" + deep[..., 0].astype(">u2").tobytes(),
        "pgm 12": b"P5 10 12 4095\n" + (deep[..., 0] % 4096).astype(">u2").tobytes(),
        "ppm 16": b"P6 10 12 65535\n" + deep[..., :3].astype(">u2").tobytes(),
        "ppm text": b"P3 3 2 255\n" + b" ".join(b"%d" % v for v in colours.ravel()[:18]),
        "pfm": b"Pf 10 12 -1.0\n" + deep[..., 0].astype("<f4").tobytes(),
        "psd": b"8BPS"
        + struct.pack(">H6xHIIHH", 1, 3, 12, 10, 8, 3)
        + bytes(14)
        + colours[..., :3].transpose(2, 0, 1).tobytes(),
        # Pillow writes 1024 x 1024 pixels, which take ten times as long as all others
        "icns": b"icns" + struct.pack(">I4sI", 16 + len(icon), b"icp4", 8 + len(icon)) + icon,
        "xbm": b"#define a_width 8\n#define a_height 2\nstatic char a_bits[] = {0x12, 0x34};",
        "xpm": b'/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #102030",\n"b c #f00",\n"ab"};',
    }
    plain = (
        "TIFF:PA BMP:RGB BMP:P PPM:RGB JPEG2000:RGB PCX:P "
        "SGI:RGB DDS:RGBA DIB:RGB MSP:1 IM:RGB QOI:RGB BLP:P HEIF:RGB"
    )
    ways = [
        *((*each.split(":"), {}) for each in plain.split()),
        ("JPEG", "RGB", {"exif": orientation, "icc_profile": profile}),
        ("JPEG", "L", {"progressive": True}),
        ("JPEG", "CMYK", {"icc_profile": ink_profile(np.zeros((2, 2, 2, 2, 3)))}),
        ("PNG", "RGBA", {"exif": orientation}),
        ("GIF", "P", {"save_all": True, "append_images": [rgb.convert("P")] * 2}),
        ("WEBP", "RGB", {"exif": orientation}),
        ("WEBP", "RGBA", {"lossless": True, "save_all": True, "append_images": [rgb]}),
        ("TIFF", "RGB", {"save_all": True, "append_images": [rgb], "compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TGA", "RGBA", {"compression": "tga_rle"}),
        ("ICO", "RGBA", {"sizes": [(8, 8)]}),
        ("AVIF", "RGB", {"exif": orientation}),
        ("MPO", "RGB", {"save_all": True, "append_images": [rgb]}),
    ]
    Image.init()
    for kind, mode, options in ways:
        image = rgb.convert(mode)
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some of them will not be written for ever
                image.save(buffer, kind, **options)
        except (KeyError, OSError, ValueError):  # and not every Pillow writes all of them
            continue
        files[f"{kind} {mode}{len(files)}"] = buffer.getvalue()
    return files


WHOLE = whole_files()
# no Pillow reads integers where 0 is white, nothing here reads a camera's data, and XBM is C code,
# tried only under its own name
UNREADABLE = {"tiff int", "tiff raw", "xbm"}
if int(Image.__version__.split(".")[0]) < 11:
    UNREADABLE.add("tiff ycbcr")
# what a file is called, so that formats without a signature are tried as well
NAMES = {"TGA": "x.tga", "IM": "x.im"}
EDGES = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF]


def mutated(whole: bytes, seed: int) -> bytes:
    """Apply one to six changes, each somewhere."""
    rng, data = random.Random(seed), bytearray(whole)
    for _ in range(rng.randint(1, 6)):
        change = rng.choice(["set", "edge", "cut", "drop", "double", "zero"])
        at, count = rng.randrange(max(1, len(data))), rng.randint(1, 40)
        part = data[at : at + count]
        if change in ("set", "edge") and data:
            data[at] = rng.randrange(256) if change == "set" else rng.choice(EDGES)
        elif change == "cut":
            del data[at:]
        elif change in ("drop", "double", "zero"):
            data[at : at + count] = {"drop": b"", "double": part * 2, "zero": bytes(len(part))}[
                change
            ]
    return bytes(data)


def read_every_way(name: str, data: bytes, folder: Path) -> None:
    """Read a file in the three ways there are; each ends as pixels or as an ImageError."""
    path = folder / name
    path.write_bytes(data)
    started = time.monotonic()
    for channels, fit, ranges in ((3, "crop", ()), (1, "pad", DEEP_ENOUGH)):
        try:
            picture = decode_image(path, Preprocessing(8, channels, fit, "#102030", ranges))
        except ImageError as error:
            assert str(error)
        else:
            assert picture.pixels.shape == (8, 8, channels)
            assert picture.pixels.dtype == np.uint8
            assert picture.width > 0 and picture.height > 0 and picture.mode
    try:
        assert read_thumbnail(path, 16)
    except ImageError as error:
        assert str(error)
    try:
        found = deep_values(path)
    except ImageError as error:
        assert str(error)
    else:
        assert found is None or found[1].least <= found[1].low <= found[1].high <= found[1].greatest
    assert time.monotonic() - started < BOUND


def test_nearly_every_format_is_sound_before_it_is_damaged(tmp_path):
    refused = []
    for kind, data in WHOLE.items():
        path = tmp_path / NAMES.get(kind.split()[0], "x.png")
        path.write_bytes(data)
        try:
            assert decode_image(path, Preprocessing(8, 3)).pixels.shape == (8, 8, 3)
        except ImageError:
            refused.append(kind)
    assert len(WHOLE) > 30
    assert set(refused) <= UNREADABLE


@pytest.mark.parametrize("examples", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_read_or_refused(tmp_path, examples):
    # a seed is all that hypothesis draws: drawing each change costs more than reading the file
    @settings(max_examples=examples, deadline=None)
    @given(kind=st.sampled_from(sorted(WHOLE)), seed=st.integers(0, 2**32 - 1))
    def read_or_refuse(kind: str, seed: int) -> None:
        name = NAMES.get(kind.split()[0], "x.png")
        read_every_way(name, mutated(WHOLE[kind], seed), tmp_path)

    read_or_refuse()
