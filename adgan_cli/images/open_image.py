"""Open one file as a picture: whatever goes wrong becomes an ImageError with a plain reason.

Several threads may read at once, and no warning of Pillow's escapes.
"""

import errno
import hashlib
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import NullHandler, getLogger
from typing import IO, Any, cast

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from adgan_cli.errors import ImageError
from adgan_cli.images.formats import HEADER_BYTES, formats_for, sniff
from adgan_cli.images.refs import ImageRef, open_regular

Item = str | os.PathLike[str] | ImageRef

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

_CHUNK = 2**18  # bytes; hashlib lets other threads run while it works on one

# Pillow logs some damage as errors, and Python prints those where nobody set up logging.
getLogger("PIL").addHandler(NullHandler())


@dataclass(frozen=True)
class OpenFile:
    """A file open for reading, at its start."""

    stream: IO[bytes]
    name: str
    header: bytes  # the first HEADER_BYTES, or all there are

    @contextmanager
    def identify(self) -> Iterator[ImageFile]:
        """Identify the picture by its content; nothing of it is decoded yet."""
        try:
            with Image.open(self.stream, formats=formats_for(self.name)) as image:
                yield image
        except UnidentifiedImageError as error:
            raise ImageError(_unidentified(self.header)) from error


@contextmanager
def open_image(item: Item) -> Iterator[OpenFile]:
    """Open an item as a file. Everything that goes wrong in the block becomes an ImageError."""
    try:
        with _quiet(), _open(item) as stream:
            header = stream.read(HEADER_BYTES)
            if not header:
                raise ImageError("empty file")
            stream.seek(0)
            name = item.name if isinstance(item, ImageRef) else os.path.basename(os.fspath(item))
            yield OpenFile(stream, name, header)
    except PILLOW_ERRORS as error:
        raise ImageError(_reason(error)) from error


def fingerprint(file: IO[bytes]) -> bytes:
    """Hash a file's whole content to 8 bytes; leaves it at the position it had."""
    position = file.tell()
    hasher = hashlib.blake2b(digest_size=8)
    file.seek(0)
    while chunk := file.read(_CHUNK):
        hasher.update(chunk)
    file.seek(position)
    return hasher.digest()


def _open(item: Item) -> IO[bytes]:
    return item.open() if isinstance(item, ImageRef) else open_regular(os.fspath(item))


def _unidentified(header: bytes) -> str:
    announced = sniff(header)
    if announced == "HEIC":
        return "HEIC picture: install adgan[heif] to read it"
    if announced == "FITS":
        return "FITS frame: convert it to 16-bit TIFF or PNG first"
    if announced == "TIFF":
        return "truncated, damaged, or a kind of TIFF that Pillow cannot read"
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
    pattern = "(?!)"  # scikit-learn copies filters by it, into its workers: nothing to match there

    def match(self, module: str) -> bool:
        return self.reading and module.startswith(("PIL.", "pillow_heif"))

    def __reduce__(self) -> tuple[object, ...]:
        return re.compile, (self.pattern,)  # and joblib sends them to other processes


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
