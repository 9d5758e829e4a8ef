"""Read one file as a square of pixels, by rules that hold for every kind of image.

An image is decoded in full, brought to 8 bits a channel, turned upright, cut, laid on a colour
where it is transparent, resized, converted to sRGB, and set between bars if it is to be padded.
Damaged files raise ImageError with the bare reason. Several threads may read at once.

`Image.mode` says how the file stored its pixels and what was done with them:

    stored [black..white] +clip +nodata +high8 -part +frame1ofN +exifO +white +clear +icc >RGB >L
                                                                   (only the parts that apply)

    stored          1, L, LA, P, PA, RGB, RGBA, CMYK, YCbCr, LAB, HSV as Pillow calls them;
                    deeper than 8 bits: I;16, LA;16, RGB;16, RGBA;16 (unsigned 16 bits a channel),
                    I (other integers), F (floats)
    [black..white]  deeper than 8 bits: the values that became black and white, as in
                    I;16[0..65535]
    +clip           some values lay outside that range, and became its ends
    +nodata         some values are none, and became the low end: what the file declares as no
                    data (GDAL's tag), what is not finite, and what is beyond 1e30; 8 bits with
                    such gaps are L[0..255]+nodata
    +high8          only the upper 8 of 16 bits could be had from this version of Pillow
    -part           the file lacks this part, or it was left out, being too large or damaged: a
                    chunk of a PNG such as -zTXt, or -EOI, the end marker of a JPEG; the pixels
                    are all there
    +frame1ofN      the first of N frames or pages was read (+frame1 where counting them failed)
    +exifO          turned or mirrored as orientation O of its EXIF data asks (2 to 8)
    +white          has transparency, and was laid on white; likewise +black, +#8090a0;
                    +drop: the transparency was ignored
    +clear          all that is shown of it is transparent: nothing but that colour is there
    +icc            converted to sRGB by its own colour profile, which is another
    >RGB            colours converted to RGB
    >L              colours reduced to luma, for a model with one channel

Examples: `RGB`, `RGB+exif6`, `P+frame1of12+white`, `CMYK+icc>RGB>L`, `F[0..1]`,
`RGBA;16[0..4095]+clip+#8090a0`.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from adgan_cli.images.decode import Decoded, decode, may_be_deep
from adgan_cli.images.depth import Ranges, ValueSpan, to_eight_bits, value_span
from adgan_cli.images.encode import image_bytes
from adgan_cli.images.formats import PILLOW_ERRORS, surely_eight_bits
from adgan_cli.images.open_image import Item, fingerprint, open_image
from adgan_cli.images.transform import (
    background_colour,
    crop,
    decoder_size,
    displayed_size,
    flatten,
    pad_to_square,
    resize,
    turn_upright,
    window,
)

_TINY = 64  # pixels
_SMALLER = 0.8  # of the side, at each attempt to get a thumbnail into its bytes


@dataclass(frozen=True)
class Preprocessing:
    """All that decides which pixels a file becomes."""

    size: int  # pixels; an image becomes a square of this side
    channels: int  # 1 grey, 3 RGB
    fit: str = "crop"  # crop, pad or squash, see config.ReadConfig
    alpha: str = "white"  # white, black, drop or #rrggbb
    ranges: Ranges = ()  # (kind, black, white) for what is deeper than 8 bits, see value_range


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One file as pixels, and facts about the file."""

    pixels: np.ndarray  # (size, size, channels) uint8
    width: int
    height: int  # as displayed
    mode: str  # see the module
    format: str  # Pillow's name: JPEG, PNG, ...
    fingerprint: bytes  # 8 bytes: BLAKE2b of the file's content


def read_image(
    path: Item, size: int, channels: int = 3, *, fit: str = "crop", alpha: str = "white"
) -> np.ndarray:
    """Read a file as (size, size, channels) uint8; raise ImageError with the reason if it fails."""
    return decode_image(path, Preprocessing(size, channels, fit, alpha)).pixels


def decode_image(item: Item, preprocessing: Preprocessing) -> DecodedImage:
    """Read a file as pixels and facts; raise ImageError with the reason if it fails."""
    size, alpha = preprocessing.size, preprocessing.alpha
    with open_image(item) as file, file.identify() as identified:
        image = identified.image
        content = fingerprint(file.stream)
        decoded = decode(identified, decoder_size(image.size, size, preprocessing.fit))
        small, stored, notes = _transform(decoded, preprocessing)
        frames = _frame_note(image)  # moves through the file, so it comes last
    if preprocessing.channels == 1 and small.mode != "L":
        notes += ">L"
    small = small.convert("L" if preprocessing.channels == 1 else "RGB")  # ITU-R 601 luma
    pixels = np.array(pad_to_square(small, size, background_colour(alpha)))
    width, height = displayed_size(decoded.size, decoded.orientation)
    turned = f"+exif{decoded.turned}" if decoded.turned > 1 else ""
    mode = stored + identified.notes + frames + turned + notes
    pixels = pixels.reshape(size, size, preprocessing.channels)
    return DecodedImage(pixels, width, height, mode, image.format or "", content)


def read_thumbnail(
    item: Item,
    side: int,
    *,
    alpha: str = "white",
    ranges: Ranges = (),
    max_bytes: int | None = None,
) -> bytes:
    """Read a file as a small JPEG: RGB, upright, uncut, no side longer than `side`.

    A tiny image becomes a PNG: it will be shown enlarged, and JPEG's noise with it. What
    would be larger than max_bytes gets fewer pixels until it fits or is tiny itself.
    """
    with open_image(item) as file, file.identify() as identified:
        decoded = decode(identified, decoder_size(identified.image.size, side, "within"))
        small = _transform(decoded, Preprocessing(side, 3, "within", alpha, ranges))[0]
    small = small.convert("RGB")
    small.info.pop("icc_profile", None)  # that of sRGB, with the time of day in it
    if max(decoded.size) <= _TINY:
        return image_bytes(small, "PNG")
    data = image_bytes(small, "JPEG", quality=85)
    while max_bytes is not None and len(data) > max_bytes and max(small.size) > _TINY:
        small.thumbnail((int(max(small.size) * _SMALLER),) * 2, Image.Resampling.LANCZOS)
        data = image_bytes(small, "JPEG", quality=80)
    return data


def is_clear(mode: str) -> bool:
    """Tell from an image's mode whether all that is shown of it is transparent."""
    return "+clear" in mode


def deep_values(item: Item) -> tuple[str, ValueSpan] | None:
    """Find the kind and the span of values of an image deeper than 8 bits; None for every other.

    Kinds are those of Ranges. None is also the answer where no value is one. Decodes deep images
    only, so damage to others does not show. Raises ImageError.
    """
    with open_image(item) as file:
        if surely_eight_bits(file.header):
            return None
        with file.identify() as identified:
            if not may_be_deep(identified.image):
                return None
            deep = decode(identified).deep
            span = value_span(deep) if deep else None
            return (deep.kind, span) if deep and span else None


def _transform(decoded: Decoded, to: Preprocessing) -> tuple[Image.Image, str, str]:
    """Make an upright L or RGB image of a decoded file; with its stored mode and notes to it."""
    image, stored = decoded.image, decoded.image.mode
    if decoded.deep is not None:
        image, notes = to_eight_bits(decoded.deep, image, to.ranges)
        stored = decoded.deep.stored + notes
    image = turn_upright(image, decoded.orientation)
    size = displayed_size(decoded.size, decoded.orientation)
    part, box = crop(image, window(size, image.size, to.fit, decoded.orientation))
    flat = flatten(part, to.alpha)
    return flat.finish(resize(flat.image, box, to.size, to.fit, size)), stored, flat.notes


def _frame_note(image: Image.Image) -> str:
    if image.format == "PSD":
        return ""  # what it counts are layers, and what it showed is all of them
    try:
        frames = getattr(image, "n_frames", 1)
    except PILLOW_ERRORS:
        return "+frame1"  # there is more, and it is damaged: the first frame is sound
    return f"+frame1of{frames}" if frames > 1 else ""
