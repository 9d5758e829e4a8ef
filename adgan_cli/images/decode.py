"""Decode an open file in full and at its full depth, rightly also where Pillow does not.

Pillow keeps the upper byte of 16-bit colours only, and silently takes some kinds of TIFF for
others. Both show in the raw mode, the layout of the bytes that a file's tiles name: it can be set
right before the file is decoded.
"""

import math
import os
import re
import sys
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from adgan_cli.errors import ImageError
from adgan_cli.images.depth import Deep
from adgan_cli.images.formats import PILLOW_ERRORS
from adgan_cli.images.memory import READING
from adgan_cli.images.open_image import IdentifiedImage

# 16 bits a channel: colours, the byte order (of libtiff's output: N, that of the machine)
_SIXTEEN = re.compile("(?:RGB|RGBA|RGBX|RGBa|R|G|B);16[LBN]")
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}

# libtiff swaps bytes into the machine's order, and Pillow swaps these back.
_LIBTIFF_ORDER = {
    f"{kind};{bits}{order}{ending}": f"{kind};{bits}N{ending}"
    for kind, bits, ending in (("I", 16, "S"), ("I", 32, "S"), ("F", 32, "F"), ("F", 64, "F"))
    for order in ("", "B")
}

# PNG gives the transparent grey of 2-bit and 4-bit images as stored, Pillow the pixels as 8 bits.
_GREY_STEP = {"L;2": 85, "L;4": 17}

_GREY_ALPHA = "LA;16B"
_GDAL_NODATA = 42113

# Bytes a pixel while an image is decoded, cut and laid on a colour, as measured.
_OF_GREY, _OF_COLOURS, _OF_TRANSPARENCY, _OF_DEEP_GREY, _OF_DEEP_COLOURS = 3, 9, 15, 16, 27
_OF_CODECS, _OF_COEFFICIENTS = 15, 4  # of codecs that hold it all, of progressive JPEGs
_HOLDING_CODECS = ("AVIF", "HEIF", "JPEG2000", "WEBP")
_PHOTOMETRIC_YCBCR = 6


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded file: `image` as stored and perhaps scaled down, the rest about the file."""

    image: Image.Image
    size: tuple[int, int]  # width, height as stored, never scaled down
    orientation: int  # still to be undone; 1 when there is nothing to do
    turned: int  # the same, or what the decoder has undone itself: for the mode column
    deep: Deep | None  # stands in for the image's pixels where there are more than 8 bits


def decode(identified: IdentifiedImage, wanted: tuple[int, int] | None = None) -> Decoded:
    """Decode the first frame; a decoder that can scale gives no less than `wanted`."""
    image, file = identified.image, identified.stream
    size = image.size
    if min(size) < 1:
        raise ImageError("a picture without pixels")
    # TIFF turns itself upright while it loads and forgets that it did
    before = exif_orientation(image) if image.format == "TIFF" else 1
    # Only JPEG: far faster on photographs
    drafted = wanted and image.draft(None, wanted)
    READING.need(_bytes_needed(image, size))
    deep = _load(image, file)
    # libtiff moves behind the file's back: away from its buffer, or it would be read on from there
    file.seek(0, os.SEEK_END)
    left = exif_orientation(image)
    return Decoded(
        image=image,
        size=size if drafted else image.size,
        orientation=left,
        turned=before if left == 1 else left,
        deep=deep,
    )


def exif_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation: 2 to 8 where a turn is due, else 1."""
    try:
        value = image.getexif().get(Tag.Orientation, 1)
    except PILLOW_ERRORS:
        return 1  # broken EXIF data says nothing about the pixels
    return value if isinstance(value, int) and 2 <= value <= 8 else 1


def may_be_deep(image: ImageFile) -> bool:
    """Tell before decoding whether an image has more than 8 bits, or signed ones."""
    _fix_raw_modes(image)
    raw = _raw_mode(image)
    sixteen = raw == _GREY_ALPHA or _is_netpbm(image) or bool(_SIXTEEN.fullmatch(raw))
    return sixteen or image.mode[0] in "IF" or _signed_bytes(image)


def _load(image: ImageFile, file: IO[bytes]) -> Deep | None:
    """Load in full: Image.verify() passes truncated files."""
    _fix_raw_modes(image)
    raw = _raw_mode(image)
    if _is_netpbm(image):
        return _netpbm(image, file)
    if _codec(image) == "dds_rgb":
        _refuse_short(image, file)
    if raw == _GREY_ALPHA:
        return _grey_and_alpha(image)
    if _SIXTEEN.fullmatch(raw):
        return _colours(image, file, raw)
    image.load()
    if image.mode[0] in "IF":
        return _numbers(image, raw)
    if _signed_bytes(image):
        return Deep(np.asarray(image).view(np.int8), "I", (-128, 127))
    no_data = _no_data(image)
    if image.mode == "L" and no_data is not None and not _is_inverted(image):
        grey = Deep(np.asarray(image), "L", (0, 255), no_data=no_data)
        return grey if (grey.values == no_data).any() else None
    if raw in _GREY_STEP and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= _GREY_STEP[raw]
    return None


def _tags(image: Image.Image) -> Any:
    """Get the tags of a TIFF; of other formats none."""
    return getattr(image, "tag_v2", None) or {}


def _is_inverted(image: Image.Image) -> bool:
    return bool(_tags(image).get(Tag.PhotometricInterpretation) == 0)


def _no_data(image: Image.Image) -> float | None:
    """Read the value that GDAL's programs declare to be none; None where they declare nothing."""
    text = _tags(image).get(_GDAL_NODATA)
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _bytes_needed(image: ImageFile, size: tuple[int, int]) -> int:
    """Estimate what decoding an image takes at most, and what is done to it at its full size.

    size: as stored, where a decoder that scales makes it smaller.
    """
    if may_be_deep(image):
        a_pixel = _OF_DEEP_COLOURS if len(image.getbands()) > 1 else _OF_DEEP_GREY
    elif "transparency" in image.info or {"A", "a"} & {*image.getbands()}:
        a_pixel = _OF_TRANSPARENCY
    else:
        a_pixel = _OF_GREY if image.mode in ("1", "L") else _OF_COLOURS
    a_pixel += _OF_CODECS if image.format in _HOLDING_CODECS else 0
    coefficients = _OF_COEFFICIENTS * math.prod(size) if image.info.get("progressive") else 0
    return a_pixel * image.width * image.height + coefficients


def _signed_bytes(image: ImageFile) -> bool:
    return image.mode == "L" and _tags(image).get(Tag.SampleFormat, (1,))[0] == 2


def _codec(image: ImageFile) -> str:
    return image.tile[0][0] if image.tile else ""


def _raw_mode(image: ImageFile) -> str:
    return _raw_of(image.tile[0]) if image.tile else ""


def _raw_of(tile: Any) -> str:
    layout = tile[3]
    raw = layout[0] if isinstance(layout, tuple) and layout else layout
    return raw if isinstance(raw, str) else ""


def _set_raw_modes(image: ImageFile, raws: list[str]) -> None:
    """Give tile i the i-th raw mode."""
    tiles: list[Any] = []
    for tile, raw in zip(image.tile, raws, strict=True):
        layout = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
        plain = (*tile[:3], layout)
        # a named tuple since Pillow 11
        tiles.append(type(tile)(*plain) if hasattr(tile, "_replace") else plain)
    image.tile = tiles


def _fix_raw_modes(image: ImageFile) -> None:
    """Correct the raw modes that Pillow chooses wrongly for some kinds of TIFF."""
    tags, raw = _tags(image), _raw_mode(image)
    if not tags or not raw:
        return
    if _codec(image) == "libtiff":
        if raw in _LIBTIFF_ORDER:
            _set_raw_modes(image, [_LIBTIFF_ORDER[raw]])
        return
    _refuse_gaps(image, in_planes=tags.get(Tag.PlanarConfiguration) == 2)
    if tags.get(Tag.PlanarConfiguration) == 2 and set(tags.get(Tag.BitsPerSample, ())) == {16}:
        # tiles of one colour after those of another, which Pillow takes for 8 bits
        if image.mode != "RGB":
            raise ImageError(f"16-bit {image.mode} TIFF with a plane a colour: interleave them")
        order = "L" if tags.prefix == b"II" else "B"
        _set_raw_modes(image, [f"{_raw_of(tile)[0]};16{order}" for tile in image.tile])
    elif tags.get(Tag.PhotometricInterpretation) == _PHOTOMETRIC_YCBCR and raw in ("YCbCr", "RGBX"):
        # Pillow before 11 finds 4 bytes a pixel, and none heeds that colours may be subsampled
        if raw == "RGBX" or tags.get(Tag.YCbCrSubSampling, (1, 1)) != (1, 1):
            raise ImageError("uncompressed YCbCr TIFF that Pillow cannot read: save it as RGB")


def _refuse_gaps(image: ImageFile, *, in_planes: bool) -> None:
    # Pillow decodes the strips there are, one below the other, and leaves what they lack black
    boxes = [tile[1] or (0, 0, 0, 0) for tile in image.tile]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    planes = len(image.getbands()) if in_planes else 1
    if covered < planes * image.width * image.height:
        raise ImageError("truncated or damaged: its strips do not cover the picture")


def _is_netpbm(image: ImageFile) -> bool:
    """Tell whether it is a binary PGM or PPM of 9 to 16 bits, other than greys of just 16."""
    return _netpbm_most(image) > 255


def _netpbm_most(image: ImageFile) -> int:
    layout: Any = image.tile[0][3] if _codec(image) == "ppm" else (0,)
    return int(layout[-1])


def _netpbm(image: ImageFile, file: IO[bytes]) -> Deep:
    # Pillow would keep 8 bits of colours, and takes seconds for a megapixel
    shape = (image.height, image.width, 3)[: 3 if image.mode == "RGB" else 2]
    file.seek(image.tile[0][2])
    data = file.read(2 * math.prod(shape))
    if len(data) < 2 * math.prod(shape):
        raise OSError("image file is truncated")
    values = np.frombuffer(data, ">u2").astype(np.uint16).reshape(shape)
    type_range = (0, _netpbm_most(image))
    return Deep(values, "RGB;16" if len(shape) == 3 else "I;16", type_range)


def _refuse_short(image: ImageFile, file: IO[bytes]) -> None:
    # Pillow before 13 takes what lies behind the end of a DDS for black, a slow pixel at a time
    layout: Any = image.tile[0][3]
    start = file.tell()
    there = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    if there < image.width * image.height * layout[0] // 8:
        raise OSError("image file is truncated")


def _grey_and_alpha(image: ImageFile) -> Deep:
    _set_raw_modes(image, ["RGBA"])  # the same 4 bytes a pixel, as they are
    image.load()
    pairs = np.asarray(image).view(">u2")  # (H, W, 2)
    return Deep(pairs.astype(np.uint16), "LA;16")


def _colours(image: ImageFile, file: IO[bytes], raw: str) -> Deep:
    """Decode 16-bit colours twice: of two bytes Pillow keeps the one that the byte order names."""
    raws = [_raw_of(tile).replace("RGBa", "RGBA") for tile in image.tile]
    _set_raw_modes(image, raws)
    codec = _codec(image)
    image.load()
    upper = _rgb_or_rgba(image)
    lower = None
    # Pillow chooses later on for the planes of libtiff
    if codec != "libtiff" or _tags(image).get(Tag.PlanarConfiguration) != 2:
        lower = _lower(image, file, [raw[:-1] + _OTHER_ORDER[raw[-1]] for raw in raws])
    upper_byte_only = lower is None or lower.shape != upper.shape
    values = upper.astype(np.uint16)
    values <<= 8
    # a byte alone stands for the value whose two bytes are equal
    values |= upper if lower is None or upper_byte_only else lower
    if raw.startswith("RGBa"):
        values = _unmultiplied(values)
    stored = "RGBA;16" if values.shape[2] == 4 else "RGB;16"
    return Deep(values, stored, upper_byte_only=upper_byte_only, no_data=_no_data(image))


def _lower(image: ImageFile, file: IO[bytes], raws: list[str]) -> np.ndarray | None:
    """Decode the file again by other raw modes; None where Pillow has not got them."""
    file.seek(0, os.SEEK_END)  # as in decode
    file.seek(0)
    with Image.open(file, formats=(image.format or "",)) as again:
        assert isinstance(again, ImageFile)
        try:
            _set_raw_modes(again, raws)
            again.load()
        except (AttributeError, LookupError, SystemError, TypeError, ValueError):
            return None
        return _rgb_or_rgba(again)


def _rgb_or_rgba(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)  # (H, W, 3 or 4)
    return pixels[..., :3] if image.mode == "RGBX" else pixels


def _unmultiplied(values: np.ndarray) -> np.ndarray:
    """Undo the multiplication of colours by alpha; (H, W, 4) uint16."""
    alpha = np.maximum(values[..., 3:], 1).astype(np.uint32)  # (H, W, 1)
    colours = (values[..., :3].astype(np.uint32) * 65535 + alpha // 2) // alpha
    return np.concatenate([np.minimum(colours, 65535).astype(np.uint16), values[..., 3:]], -1)


def _numbers(image: ImageFile, raw: str) -> Deep:
    values, no_data = np.asarray(image), _no_data(image)  # (H, W)
    inverted = _is_inverted(image)
    if image.mode == "F":
        return Deep(values, "F", None, inverted, no_data=no_data)
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these have 16 bits at most
        unsigned = raw == "I;32N"  # Pillow has no mode for them
        values = values.view(np.uint32) if unsigned else values
        return Deep(values, "I", None, inverted, no_data=no_data)
    whole = 2**12 - 1 if raw == "I;12" else 2**16 - 1
    return Deep(values.astype(np.uint16), "I;16", (0, whole), inverted, no_data=no_data)
