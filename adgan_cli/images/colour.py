"""Bring a picture of 8 bits a channel to opaque L or RGB: transparency and colour profiles.

A profile is best applied to the small picture: `flattened`, then resize, then `Flat.finished`.
"""

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageColor

from adgan_cli.images.opening import PILLOW_ERRORS

Transform = ImageCms.ImageCmsTransform
Colour = tuple[int, int, int]

_GREY = ("1", "L", "LA", "La")
_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}  # Pillow converts these to nothing else
_MOST_PROFILES = 16  # kept in each thread; those of printers have a megabyte
_SRGB_TOLERANCE = 2  # levels; by so much sRGB profiles differ among themselves


@dataclass(frozen=True, eq=False)
class Flat:
    """An opaque picture: mode L or RGB, or CMYK where its profile is still to be applied."""

    image: Image.Image
    notes: str  # for the mode column: +white, +icc, >RGB
    transform: Transform | None = None

    def finished(self, image: Image.Image) -> Image.Image:
        """Apply the profile to `image`, this picture or a smaller copy of it: mode L or RGB."""
        if self.transform is None:
            return image
        converted = ImageCms.applyTransform(image, self.transform)
        assert converted is not None  # it is only when working in place
        return converted


def background(alpha: str) -> Colour:
    """Give the colour behind transparent pixels and in bars; black when transparency is dropped."""
    red, green, blue = ImageColor.getrgb("black" if alpha == "drop" else alpha)[:3]
    return red, green, blue


def flattened(image: Image.Image, alpha: str) -> Flat:
    """Lay a picture on the `alpha` colour, or drop its transparency, and settle its colours."""
    mode = image.mode
    profile = image.info.get("icc_profile")
    laid = f"+{alpha}" if image.has_transparency_data else ""
    if laid and alpha != "drop":
        transform = None if mode in _GREY else _transform("RGB", profile)
        flat = _laid_on(image, background(alpha), transform)
        return Flat(flat, laid + ("" if transform is None else "+icc"))
    if laid:
        image = _without_transparency(image)
    if mode in _GREY:
        return Flat(image.convert("L"), laid)
    if mode in ("LAB", "HSV"):  # a profile describes neither
        return Flat(image.convert("RGB"), laid + ">RGB")
    transform = _transform("CMYK" if mode == "CMYK" else "RGB", profile)
    notes = laid + ("" if transform is None else "+icc")
    notes += ">RGB" if mode in ("CMYK", "YCbCr") else ""
    keeps = mode == "CMYK" and transform is not None
    return Flat(image if keeps else image.convert("RGB"), notes, transform)


def _laid_on(image: Image.Image, colour: Colour, transform: Transform | None) -> Image.Image:
    grey = image.mode in _GREY and len(set(colour)) == 1
    # via RGBA also for palettes: their transparency is a list, which RGB cannot take
    over = _straight(image).convert("RGBA")
    if transform is not None:  # here, as it does not hold for the colour behind
        colours = ImageCms.applyTransform(over.convert("RGB"), transform)
        assert colours is not None
        colours.putalpha(over.getchannel("A"))
        over = colours
    flat = Image.alpha_composite(Image.new("RGBA", over.size, (*colour, 255)), over)
    return flat.convert("RGB").convert("L") if grey else flat.convert("RGB")


def _without_transparency(image: Image.Image) -> Image.Image:
    image = _straight(image).copy()
    image.info.pop("transparency", None)
    return image


def _straight(image: Image.Image) -> Image.Image:
    return image.convert(_STRAIGHT[image.mode]) if image.mode in _STRAIGHT else image


class _Transforms(threading.local):
    """Transforms by mode and profile, for each thread its own: littleCMS does not share them."""

    def __init__(self) -> None:
        self.known: OrderedDict[tuple[str, bytes], Transform | None] = OrderedDict()


_transforms = _Transforms()


def _transform(mode: str, profile: object) -> Transform | None:
    """Find the way from a profile to sRGB; None if there is none that works or none is needed."""
    if not isinstance(profile, bytes) or not profile:
        return None
    known = _transforms.known
    if (mode, profile) not in known:
        known[mode, profile] = _built(mode, profile)
        if len(known) > _MOST_PROFILES:
            known.popitem(last=False)
    return known[mode, profile]


def _built(mode: str, profile: bytes) -> Transform | None:
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


def _changes_nothing(transform: Transform) -> bool:
    # most profiles in the world are sRGB's, under many names
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)  # (1, 216, 3)
    after = ImageCms.applyTransform(Image.fromarray(grid), transform)
    return int(np.abs(np.asarray(after, int) - grid).max()) <= _SRGB_TOLERANCE
