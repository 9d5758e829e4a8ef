"""Turn an image upright, make it a square (crop, pad or squash), and settle its colours.

A colour profile is best applied to the small image: `flatten`, then resize, then `Flat.finish`.
"""

import io
import math
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageColor

from adgan_cli.images.formats import PILLOW_ERRORS

Size = tuple[int, int]  # width, height
Box = tuple[float, float, float, float]  # left, top, right, bottom

# Averages over the whole footprint when it shrinks, and rings less than LANCZOS at hard edges.
_RESAMPLING = Image.Resampling.BICUBIC

# EXIF orientation -> what turns the stored image upright (EXIF 2.32, tag 274).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MIRRORED = {2, 3, 6, 7}  # the last column comes first
_UPSIDE_DOWN = {3, 4, 7, 8}  # the last row comes first

Transform = ImageCms.ImageCmsTransform
Colour = tuple[int, int, int]

_GREY = ("1", "L", "LA", "La")
_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}  # Pillow converts these to nothing else
_MAX_PROFILES = 16  # kept in each thread; those of printers have a megabyte
_STRIP = 512  # rows at a time
_SRGB_TOLERANCE = 2  # levels; by so much sRGB profiles differ among themselves


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image as its orientation asks.

    First of all steps: so every other one, odd remainders and the resize's rounding with it,
    gives a turned copy the same pixels as an upright one.
    """
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def displayed_size(size: Size, orientation: int) -> Size:
    """Give the size that an image stored in `size` has when it is upright."""
    return (size[1], size[0]) if orientation >= 5 else size


def decoder_size(size: Size, side: int, fit: str) -> Size:
    """Choose what to ask of a decoder that can scale by 1/2, 1/4 and 1/8 (Image.draft).

    Twice what the resize will bring the image to: the last reduction, hence the quality, is
    the resize's.
    """
    within = fit in ("pad", "within")  # it is then the longer side that becomes `side`
    factor = (max if within else min)(size) // (2 * side)
    scale = next((s for s in (8, 4, 2) if s <= factor), 1)
    return max(1, size[0] // scale), max(1, size[1] // scale)


def window(size: Size, decoded: Size, fit: str, orientation: int = 1) -> Box:
    """Find what will be shown in an upright image that its decoder may have scaled down.

    size: the whole image's, `decoded`: what came of it, both upright. The central square for
    crop, else all of it. Between pixels where the scale is: a whole one would be a shift.
    """
    width, height = size
    box = (0, 0, width, height)
    if fit == "crop":
        side = min(size)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    scales = (s for s in (1, 2, 4, 8) if decoded == (-(-width // s), -(-height // s)))
    scale = next(scales, 1)
    # the decoder fills its last column and row up; turned images have them in front
    x = decoded[0] - width / scale if orientation in _MIRRORED else 0.0
    y = decoded[1] - height / scale if orientation in _UPSIDE_DOWN else 0.0
    return box[0] / scale + x, box[1] / scale + y, box[2] / scale + x, box[3] / scale + y


def crop(image: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    """Cut an image to the whole pixels of a box; return it, and where the box lies in it."""
    left, top = math.floor(box[0]), math.floor(box[1])
    right, bottom = math.ceil(box[2]), math.ceil(box[3])
    inner = box[0] - left, box[1] - top, box[2] - left, box[3] - top
    whole = (left, top, right, bottom) == (0, 0, *image.size)
    return image if whole else image.crop((left, top, right, bottom)), inner


def resize(image: Image.Image, box: Box, side: int, fit: str, size: Size) -> Image.Image:
    """Resize a box of an image: to a square of `side`, in whatever proportion, for crop, squash.

    pad: its longer side becomes `side`, and `pad_to_square` is to follow; within: the same, but
    never enlarged. size: the whole image's.
    """
    width, height = side, side
    if fit not in ("crop", "squash"):
        scale = side / max(size)
        if fit == "within":
            scale = min(1.0, scale)
        width, height = (max(1, round(edge * scale)) for edge in size)
    # What is more than 6 times too large is first averaged over whole squares, to 6 times or more:
    # up to 5 times as fast, and it changes a tenth of a level (examples/benchmark_read.py).
    return image.resize((width, height), _RESAMPLING, box=box, reducing_gap=6.0)


def pad_to_square(image: Image.Image, side: int, colour: tuple[int, int, int]) -> Image.Image:
    """Centre an L or RGB image on a square of the colour; the odd pixel is at the end."""
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), colour).convert(image.mode)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


@dataclass(frozen=True, eq=False)
class Flat:
    """An opaque image: mode L or RGB, or CMYK where its profile is still to be applied."""

    image: Image.Image
    notes: str  # for the mode column: +white, +icc, >RGB
    transform: Transform | None = None

    def finish(self, image: Image.Image) -> Image.Image:
        """Apply the profile to `image`, this image or a smaller copy of it: mode L or RGB."""
        if self.transform is None:
            return image
        converted = ImageCms.applyTransform(image, self.transform)
        assert converted is not None  # only conversions in place return None
        return converted


def background_colour(alpha: str) -> Colour:
    """Give the colour behind transparent pixels and in bars; black when transparency is dropped."""
    red, green, blue = ImageColor.getrgb("black" if alpha == "drop" else alpha)[:3]
    return red, green, blue


def flatten(image: Image.Image, alpha: str) -> Flat:
    """Lay an image on the `alpha` colour, or drop its transparency, and settle its colours."""
    mode = image.mode
    profile = image.info.get("icc_profile")
    note = f"+{alpha}" if image.has_transparency_data else ""
    if note and alpha != "drop":
        transform = None if mode in _GREY else _transform("RGB", profile)
        flat, is_clear = _composite(image, background_colour(alpha), transform)
        note += "+clear" if is_clear else ""
        return Flat(flat, note + ("" if transform is None else "+icc"))
    if note:
        image = _straight(image).copy()
        image.info.pop("transparency", None)
    if mode in _GREY:
        return Flat(_converted(image, "L"), note)
    if mode in ("LAB", "HSV"):  # a profile describes neither
        return Flat(image.convert("RGB"), note + ">RGB")
    transform = _transform("CMYK" if mode == "CMYK" else "RGB", profile)
    notes = note + ("" if transform is None else "+icc")
    notes += ">RGB" if mode in ("CMYK", "YCbCr") else ""
    keeps = mode == "CMYK" and transform is not None
    return Flat(image if keeps else _converted(image, "RGB"), notes, transform)


def _composite(
    image: Image.Image, colour: Colour, transform: Transform | None
) -> tuple[Image.Image, bool]:
    """Lay an image on a colour, and tell whether nothing of it is seen; a strip at a time."""
    is_grey = image.mode in _GREY and len(set(colour)) == 1
    flat = Image.new("L" if is_grey else "RGB", image.size)
    is_clear = True
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        # via RGBA also for palettes: their transparency is a list, which RGB cannot take
        over = _straight(strip).convert("RGBA")
        opacity = over.getchannel("A")
        is_clear = is_clear and opacity.getextrema() == (0, 0)
        if transform is not None:  # here, as it does not hold for the colour behind
            colours = ImageCms.applyTransform(over.convert("RGB"), transform)
            assert colours is not None
            colours.putalpha(opacity)
            over = colours
        laid = Image.alpha_composite(Image.new("RGBA", over.size, (*colour, 255)), over)
        flat.paste(laid.convert("RGB").convert(flat.mode), (0, top))
    return flat, is_clear


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image; itself where it is so already, for a copy of a large one costs memory."""
    return image if image.mode == mode else image.convert(mode)


def _straight(image: Image.Image) -> Image.Image:
    return image.convert(_STRAIGHT[image.mode]) if image.mode in _STRAIGHT else image


def _transform(mode: str, profile: object) -> Transform | None:
    """Get the transform from a profile to sRGB; None if none works or none is needed."""
    if not isinstance(profile, bytes) or not profile:
        return None
    return _transforms.build(mode, profile)


def _build_transform(mode: str, profile: bytes) -> Transform | None:
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
        )
        return None if mode == "RGB" and _changes_nothing(transform) else transform
    except (ImageCms.PyCMSError, *PILLOW_ERRORS):
        return None


class _Transforms(threading.local):
    """The latest transforms, for each thread its own: littleCMS does not share them."""

    def __init__(self) -> None:
        self.build = lru_cache(maxsize=_MAX_PROFILES)(_build_transform)


_transforms = _Transforms()


def _changes_nothing(transform: Transform) -> bool:
    # most profiles in the world are sRGB's, under many names
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)  # (1, 216, 3)
    after = ImageCms.applyTransform(Image.fromarray(grid), transform)
    return int(np.abs(np.asarray(after, int) - grid).max()) <= _SRGB_TOLERANCE
