"""Read one file as a square of pixels, by rules that hold for every kind of picture.

A picture is decoded in full, brought to 8 bits a channel, laid on white where it is transparent,
cut to its central square, resized and turned upright. Damaged files raise ImageError with the bare
reason. Several threads may read at once: nothing here is shared, and no warning of Pillow's
escapes.

`Picture.mode` says how the file stored its pixels and what was done with them:

    stored [lo..hi] +frame1ofN +exifO +white +icc >RGB >L        (only the parts that apply)

    stored       Pillow's mode: 1, L, LA, P, RGB, RGBA, CMYK, YCbCr, LAB, HSV, I;16, I;16B, I, F
    [lo..hi]     deeper than 8 bits: the values that became black and white, as in I;16[0..65535]
    +frame1ofN   the first of N frames or pages was read
    +exifO       turned or mirrored as orientation O of its EXIF data asks (2 to 8)
    +white       has transparency, and was laid on white
    +icc         converted to sRGB by its own colour profile (CMYK only)
    >RGB         colours converted to RGB
    >L           colours reduced to luma, for a model with one channel

Examples: `RGB`, `RGB+exif6`, `P+frame1of12+white`, `CMYK+icc>RGB>L`, `F[0..1]`.
"""

import errno
import io
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import NullHandler, getLogger
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from adgan_cli.errors import ImageError
from adgan_cli.images.formats import HEADER_BYTES, formats_for, sniff

# Pillow's plugins let whatever their parsing runs into escape: on damaged data each of these has
# been seen (or is a cousin of one seen). AssertionError and ImportError are theirs too, for states
# a file cannot normally reach and for codecs that were not built in.
PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# Averages over the whole footprint when it shrinks, and rings less than LANCZOS at hard edges.
_RESAMPLING = Image.Resampling.BICUBIC

_TINY = 64  # pixels

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

# 32-bit integers carry no range of their own: the first of these that holds all the values.
_INTEGER_RANGES = ((0, 2**16 - 1), (-(2**15), 2**15 - 1), (0, 2**31 - 1), (-(2**31), 2**31 - 1))

_Box = tuple[int, int, int, int]

# Pillow logs some damage as errors, and Python prints those where nobody set up logging.
getLogger("PIL").addHandler(NullHandler())


@dataclass(frozen=True, eq=False)
class Picture:
    """One file as pixels, with its width and height as displayed and its mode (see the module)."""

    pixels: np.ndarray  # (size, size, channels) uint8
    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class _Loaded:
    """A decoded file: `image` as stored and perhaps scaled down, the rest about the file."""

    image: Image.Image
    size: tuple[int, int]  # as stored, never scaled down
    orientation: int  # still to be undone; 1 when there is nothing to do
    turned: int  # the same, or what the decoder has undone itself: for `mode`


def read_image(path: str | Path, size: int, channels: int = 3) -> np.ndarray:
    """Read a file as (size, size, channels) uint8; raise ImageError with the reason if it fails."""
    return read_picture(path, size, channels).pixels


def read_picture(path: str | Path, size: int, channels: int) -> Picture:
    """Read a file as pixels and facts; raise ImageError with the reason if it fails."""
    with _loaded(path, size) as loaded:
        flat, notes = _eight_bits(loaded.image, _central_square(loaded.image.size))
        if channels == 1 and flat.mode != "L":
            flat = flat.convert("L")  # ITU-R 601 luma
            notes += ">L"
        small = _upright(flat.resize((size, size), _RESAMPLING), loaded.orientation)
        pixels = np.array(small if channels == 1 else small.convert("RGB"))
        width, height = _displayed(loaded.size, loaded.orientation)
        # counting frames moves through the file, so it comes last
        mode = loaded.image.mode
        frames = _frame_note(loaded.image)
    turned = f"+exif{loaded.turned}" if loaded.turned in _UPRIGHT else ""
    # the notes open with the range, if there is one
    span, bracket, rest = notes.rpartition("]")
    note = f"{mode}{span}{bracket}{frames}{turned}{rest}"
    return Picture(pixels.reshape(size, size, channels), width, height, note)


def read_thumbnail(path: str | Path, side: int) -> bytes:
    """Read a file as a small JPEG: RGB, upright, uncut, no side longer than `side`.

    A tiny picture becomes a PNG: it will be shown enlarged, and JPEG's noise with it.
    """
    with _loaded(path, side) as loaded:
        width, height = loaded.image.size
        flat, _ = _eight_bits(loaded.image, (0, 0, width, height))
        scale = min(1.0, side / max(width, height))
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = _upright(flat.resize(shape, _RESAMPLING), loaded.orientation).convert("RGB")
    buffer = io.BytesIO()
    if max(width, height) <= _TINY:
        small.save(buffer, "PNG")
    else:
        small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@contextmanager
def _loaded(path: str | Path, side: int) -> Iterator[_Loaded]:
    """Open and decode a file; everything that goes wrong inside the block becomes an ImageError."""
    header = b""
    try:
        with _quiet(), _open_regular(path) as file:
            header = file.read(HEADER_BYTES)
            name = os.path.basename(os.fspath(path))
            with Image.open(file, formats=formats_for(name)) as image:
                yield _load(image, side)
    except UnidentifiedImageError as error:
        raise ImageError(_unidentified(header)) from error
    except PILLOW_ERRORS as error:
        raise ImageError(_reason(error)) from error


def _open_regular(path: str | Path) -> IO[bytes]:
    if os.path.islink(path) and not os.path.exists(path):
        raise ImageError("broken link")
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        # opening a FIFO would wait for ever
        raise ImageError("not a regular file")
    if status.st_size == 0:
        raise ImageError("empty file")
    return open(path, "rb")


def _load(image: Image.Image, side: int) -> _Loaded:
    size = image.size
    if min(size) < 1:
        raise ImageError("a picture without pixels")
    # TIFF turns itself upright while it loads and forgets that it did
    before = _orientation(image) if image.format == "TIFF" else 1
    # Only JPEG: lets the decoder scale by 1/2, 1/4 or 1/8, far faster on photographs. Asking for
    # twice the side leaves the last reduction, hence the quality, to the resize.
    drafted = image.draft(None, (2 * side, 2 * side))
    image.load()  # in full: Image.verify() passes truncated files
    orientation = _orientation(image)
    return _Loaded(
        image=image,
        size=size if drafted else image.size,
        orientation=orientation,
        turned=before if orientation == 1 else orientation,
    )


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1  # broken EXIF data says nothing about the pixels
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    # after the resize, which is cheaper; a central square stays one when it is turned
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _displayed(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def _central_square(size: tuple[int, int]) -> _Box:
    width, height = size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _frame_note(image: Image.Image) -> str:
    try:
        frames = getattr(image, "n_frames", 1)
    except PILLOW_ERRORS:
        return "+frame1"  # there is more, and it is damaged: the first frame is sound
    return f"+frame1of{frames}" if frames > 1 else ""


def _eight_bits(image: Image.Image, box: _Box) -> tuple[Image.Image, str]:
    """Cut `box` out as mode L or RGB, opaque; the notes say what that took."""
    if image.mode[0] in "IF":
        return _from_deep(image, box)
    cut = image.crop(box)
    notes = ""
    if image.has_transparency_data:
        # via RGBA also for palettes: their transparency is a list, which RGB cannot take
        cut = cut.convert("RGBA")
        cut = Image.alpha_composite(Image.new("RGBA", cut.size, "white"), cut).convert("RGB")
        notes = "+white"
    elif image.mode == "CMYK":
        converted = _by_profile(cut)
        cut, notes = (cut, ">RGB") if converted is None else (converted, "+icc>RGB")
    elif image.mode in ("YCbCr", "LAB", "HSV"):
        notes = ">RGB"
    return cut.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"), notes


def _by_profile(image: Image.Image) -> Image.Image | None:
    """Convert to sRGB by the embedded profile; None where there is none, or none that works."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, *PILLOW_ERRORS):
        return None


def _from_deep(image: Image.Image, box: _Box) -> tuple[Image.Image, str]:
    """Scale 16-bit, 32-bit and float values to 8 bits; Pillow's convert would clip them at 255."""
    values = np.asarray(image)  # (H, W)
    if image.mode == "F":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _range(image.mode, float(values.min()), float(values.max()))
    left, top, right, bottom = box
    cut = values[top:bottom, left:right].astype(np.float64)
    scaled = (cut - low) * (255 / (high - low)) if high > low else np.zeros_like(cut)
    notes = f"[{low:.10g}..{high:.10g}]"
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled[cut == transparent] = 255
        notes += "+white"
    return Image.fromarray(np.rint(scaled).astype(np.uint8)), notes


def _range(mode: str, low: float, high: float) -> tuple[float, float]:
    """Choose the values that become black and white, given the least and the greatest."""
    if mode.startswith("I;16"):
        return 0, 2**16 - 1
    known: Sequence[tuple[float, float]] = _INTEGER_RANGES
    if mode == "F":
        known = ((0, 1), (0, 255), (low, high))
    return next((bottom, top) for bottom, top in known if bottom <= low and high <= top)


def _unidentified(header: bytes) -> str:
    announced = sniff(header)
    if announced == "HEIC":
        return "HEIC picture: install adgan[heif] to read it"
    if announced == "FITS":
        return "FITS frame: convert it to 16-bit TIFF or PNG first"
    if announced is not None:
        return f"truncated or damaged: no {announced} header that makes sense"
    return "not a picture Pillow can read"


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow refuses at twice its own setting
        return f"larger than {limit / 1e6:.0f} megapixels: suspected decompression bomb"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in (errno.EACCES, errno.EPERM):
            return "permission denied"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "vanished"
        return error.strerror or "cannot be read"
    said = " ".join(str(error).split()) or type(error).__name__
    return f"truncated or damaged: {said[:120]}"


class _PillowHere(threading.local):
    """Stands where a warning filter keeps its module pattern; matches in a reading thread only.

    Pillow warns about damaged EXIF data and large pictures. `warnings.catch_warnings` would change
    the filters of every thread and a plain filter would silence other people's Pillow too.
    """

    reading = False

    def match(self, module: str) -> bool:
        return self.reading and module.startswith(("PIL.", "pillow_heif"))


_pillow_here = _PillowHere()
_FILTER = ("ignore", None, Warning, _pillow_here, 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Pillow's warnings in this thread while the block runs."""
    filters = cast("list[Any]", warnings.filters)
    if filters[:1] != [_FILTER]:  # again and again: whoever catches warnings takes it away
        filters.insert(0, _FILTER)
    _pillow_here.reading = True
    try:
        yield
    finally:
        _pillow_here.reading = False
