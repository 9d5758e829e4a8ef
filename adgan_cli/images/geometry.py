"""Turn a picture upright and make it a square: crop, pad or squash."""

from PIL import ExifTags, Image

from adgan_cli.images.opening import PILLOW_ERRORS

Size = tuple[int, int]  # width, height

# Averages over the whole footprint when it shrinks, and rings less than LANCZOS at hard edges.
_RESAMPLING = Image.Resampling.BICUBIC

# EXIF orientation -> what turns the stored picture upright (EXIF 2.32, tag 274).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """Read the EXIF orientation: 2 to 8 where a turn is due, else 1."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1  # broken EXIF data says nothing about the pixels
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture as its orientation asks.

    First of all steps: so every other one, odd remainders and the resize's rounding with it,
    gives a turned copy the same pixels as an upright one.
    """
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def displayed(size: Size, orientation: int) -> Size:
    """Give the size that a picture stored in `size` has when it is upright."""
    return (size[1], size[0]) if orientation >= 5 else size


def decoder_size(size: Size, side: int, fit: str) -> Size:
    """Choose what to ask of a decoder that can scale by 1/2, 1/4 and 1/8 (Image.draft).

    Twice what the resize will bring the picture to: the last reduction, hence the quality, is
    the resize's.
    """
    within = fit in ("pad", "within")  # it is then the longer side that becomes `side`
    factor = (max if within else min)(size) // (2 * side)
    scale = next((s for s in (8, 4, 2) if s <= factor), 1)
    return max(1, size[0] // scale), max(1, size[1] // scale)


def cut(image: Image.Image, fit: str) -> Image.Image:
    """Cut an upright picture to its central square, if that is the fit."""
    if fit != "crop":
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def resized(image: Image.Image, side: int, fit: str, size: Size) -> Image.Image:
    """Resize a cut picture: to a square of `side`, in whatever proportion, for crop and squash.

    pad: its longer side becomes `side`; `squared` is to follow. within: the same, never enlarged.
    size: the whole picture's, which a decoder that scales has rounded.
    """
    if fit in ("crop", "squash"):
        return _to(image, (side, side))
    scale = side / max(size)
    if fit == "within":
        scale = min(1.0, scale)
    width, height = (max(1, round(edge * scale)) for edge in size)
    return _to(image, (width, height))


def _to(image: Image.Image, size: Size) -> Image.Image:
    # What is more than 6 times too large is first averaged over whole squares, to 6 times or more:
    # up to 5 times as fast, and it changes a tenth of a level (examples/benchmark_read.py).
    return image.resize(size, _RESAMPLING, reducing_gap=6.0)


def squared(image: Image.Image, side: int, colour: tuple[int, int, int]) -> Image.Image:
    """Centre an L or RGB picture on a square of the colour; the odd pixel is at the end."""
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), colour).convert(image.mode)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
