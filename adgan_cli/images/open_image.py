"""Open one file as an image: whatever goes wrong becomes an ImageError with a plain reason.

Several threads may read at once, and no warning of Pillow's escapes.
"""

import errno
import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging import NullHandler, getLogger
from typing import IO, Any, cast

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from adgan_cli.errors import ImageError
from adgan_cli.images.formats import HEADER_BYTES, PILLOW_ERRORS, formats_for, sniff
from adgan_cli.images.refs import ImageRef, open_regular

Item = str | os.PathLike[str] | ImageRef

_CHUNK = 2**18  # bytes; hashlib lets other threads run while it works on one

_IGNORE_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\.|pillow_heif"), 0)

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
        """Identify the image by its content; nothing of it is decoded yet."""
        try:
            with Image.open(self.stream, formats=formats_for(self.name)) as image:
                yield image
        except UnidentifiedImageError as error:
            raise ImageError(_unidentified(self.header)) from error


@contextmanager
def open_image(item: Item) -> Iterator[OpenFile]:
    """Open an item as a file. Everything that goes wrong in the block becomes an ImageError."""
    try:
        with (
            _quiet(),
            item.open() if isinstance(item, ImageRef) else open_regular(os.fspath(item)) as stream,
        ):
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
    message = " ".join(str(error).split()) or type(error).__name__
    return f"truncated or damaged: {message[:120]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Pillow's warnings, of damaged EXIF data and large images, while the block runs.

    An entry for each block: `warnings.catch_warnings` would undo what other threads set meanwhile.
    """
    filters = cast("list[Any]", warnings.filters)
    filters.insert(0, _IGNORE_PILLOW)
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody caught warnings and put older filters back
            filters.remove(_IGNORE_PILLOW)
