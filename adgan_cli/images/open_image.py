"""Open one file as an image: whatever goes wrong becomes an ImageError with a plain reason.

Several threads may read at once, within the memory there is for it, and no warning of Pillow's
escapes.
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
from adgan_cli.images.camera_raw import CAMERA_RAW, refuse_thumbnails
from adgan_cli.images.formats import HEADER_BYTES, PILLOW_ERRORS, RAW, formats_for, sniff
from adgan_cli.images.memory import READING
from adgan_cli.images.mending import mend
from adgan_cli.images.refs import ImageRef, open_regular

Item = str | os.PathLike[str] | ImageRef

_OVER = 2  # times its own setting: from here on Pillow refuses an image
_CHUNK = 2**18  # bytes; hashlib lets other threads run while it works on one

_IGNORE_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\.|pillow_heif"), 0)

# Pillow logs some damage as errors, and Python prints those where nobody set up logging.
getLogger("PIL").addHandler(NullHandler())


@dataclass(frozen=True, eq=False)
class IdentifiedImage:
    """An image that is known by its content; nothing of it is decoded yet."""

    image: ImageFile
    stream: IO[bytes]  # that it is read from
    notes: str  # what was left out of the file, for the mode column: -zTXt, -EOI


@dataclass(frozen=True)
class OpenFile:
    """A file open for reading, at its start."""

    stream: IO[bytes]
    name: str
    header: bytes  # the first HEADER_BYTES, or all there are

    @contextmanager
    def identify(self) -> Iterator[IdentifiedImage]:
        """Identify the image by its content."""
        if sniff(self.header) == "TIFF":
            refuse_thumbnails(self.stream)
        mended = mend(self.stream, self.header)
        try:
            with Image.open(mended.stream, formats=formats_for(self.name)) as image:
                if mended.profile is not None:
                    image.info["icc_profile"] = mended.profile
                yield IdentifiedImage(image, mended.stream, mended.notes)
        except UnidentifiedImageError as error:
            raise ImageError(_unidentified(self.header)) from error


def limit_pixels(count: int) -> None:
    """Refuse images of more than so many pixels, in the whole process: the limit is Pillow's."""
    Image.MAX_IMAGE_PIXELS = count / _OVER  # type: ignore[assignment]


@contextmanager
def open_image(item: Item) -> Iterator[OpenFile]:
    """Open an item as a file. Everything that goes wrong in the block becomes an ImageError."""
    try:
        with (
            _quiet(),
            READING.reading(),
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
    if announced == "HEIC" and "HEIF" not in Image.OPEN:
        return "HEIC picture: install adgan[heif] to read it"
    if announced == "FITS":
        return "FITS frame: convert it to 16-bit TIFF or PNG first"
    if announced == RAW:
        return CAMERA_RAW
    if announced == "TIFF":
        return "truncated, damaged, or a kind of TIFF that Pillow cannot read"
    if announced is not None:
        return f"truncated or damaged: no {announced} data that make sense"
    return "not a picture Pillow can read"


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        limit = _OVER * (Image.MAX_IMAGE_PIXELS or 0)
        return (
            f"larger than {limit / 1e6:.4g} megapixels: suspected decompression bomb;"
            " --max-pixels sets the limit"
        )
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
