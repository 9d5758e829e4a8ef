"""What counts as an image: the formats Pillow may try, their extensions and their first bytes."""

import ctypes
import os
import re
import struct
import zlib
from contextlib import suppress
from functools import lru_cache
from importlib import import_module

from PIL import Image

# Formats that Pillow registers and that are never tried: EPS and PDF run an interpreter, the stubs
# (WMF, BUFR, GRIB, HDF5) cannot be decoded, MPEG is video, and the rest are not images of today.
# FITS: Pillow before 13 swaps its bytes, and none applies BZERO: noise, where a reason is due.
_NEVER_TRIED = frozenset(
    "EPS PDF WMF BUFR GRIB HDF5 MPEG IPTC FPX MIC IMT SPIDER XVTHUMB MCIDAS FITS".split()
)
# These have no signature, so any garbage may pass for one: tried only when the extension says so.
_BY_EXTENSION_ONLY = frozenset({"TGA", "IM", "PCD"})
# Images even where this Pillow cannot read them: they become rows with a reason, never a gap.
_ALWAYS_PICTURES = frozenset({".avif", ".fits", ".heic", ".heif", ".hif", ".jp2", ".webp"})

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

HEADER_BYTES = 32  # enough for every signature below

RAW = "camera raw"

_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WebP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    # two letters prove little: ask also for a header length that exists
    ("BMP", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    ("AVIF", re.compile(rb".{4}ftypavi[fs]", re.DOTALL)),
    ("HEIC", re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)),
    # of those that are TIFF files camera_raw.py tells
    (
        RAW,
        re.compile(
            rb"IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM|.{4}ftypcrx |II\x1a\0\0\0HEAPCCDR",
            re.DOTALL,
        ),
    ),
    ("FITS", re.compile(rb"SIMPLE  =")),
    ("PNM", re.compile(rb"P[1-6]\s+(?:#|\d)")),
)


def sniff(header: bytes) -> str | None:
    """Name the image format that the first HEADER_BYTES of a file announce, if any."""
    for name, signature in _SIGNATURES:
        if signature.match(header):
            return name
    return None


def surely_eight_bits(header: bytes) -> bool:
    """Tell from the first HEADER_BYTES of a file that its channels are no deeper than 8 bits."""
    announced = sniff(header)
    if announced == "PNG":
        return 0 < header[24:25].ljust(1, b"\0")[0] <= 8  # bit depth of IHDR, which comes first
    return announced in ("JPEG", "GIF", "WebP", "BMP", "AVIF", "HEIC")


def has_image_extension(name: str) -> bool:
    """Tell whether a file name ends like an image's, in any case."""
    return os.path.splitext(name)[1].lower() in _extensions()


def formats_for(name: str) -> tuple[str, ...]:
    """List the Pillow formats to try on a file of this name."""
    named = _extensions().get(os.path.splitext(name)[1].lower())
    return (*_signed_formats(), named) if named in _BY_EXTENSION_ONLY else _signed_formats()


@lru_cache(maxsize=1)
def _extensions() -> dict[str, str]:
    _load_plugins()
    formats = {extension: "" for extension in _ALWAYS_PICTURES}
    for extension, name in Image.registered_extensions().items():
        if name in Image.OPEN and name not in _NEVER_TRIED:
            formats[extension] = name
    return formats


@lru_cache(maxsize=1)
def _signed_formats() -> tuple[str, ...]:
    _load_plugins()
    return tuple(n for n in Image.ID if n not in _NEVER_TRIED and n not in _BY_EXTENSION_ONLY)


def _load_plugins() -> None:
    try:
        heif = import_module("pillow_heif")  # optional extra: adgan[heif]
    except ImportError:
        pass
    else:
        heif.register_heif_opener()
    Image.init()
    _silence_libtiff()


def _silence_libtiff() -> None:
    """Keep libtiff from writing on standard error, by the hundred and without a file's name.

    Pillow offers no way. Where its C code keeps the functions to itself, as on Windows, they go on
    being written.
    """
    with suppress(AttributeError, OSError, TypeError):
        pillow = ctypes.CDLL(import_module("PIL._imaging").__file__)
        for set_handler in (pillow.TIFFSetErrorHandler, pillow.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
