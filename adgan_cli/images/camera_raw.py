"""Tell camera raw, and other TIFF files that begin with a thumbnail, by what they say they are.

Pillow reads the first directory of a TIFF file. In raw files that is a thumbnail or a preview, and
the sensor's data lie in another directory: TIFF/EP (ISO 12234-2) and DNG 1.7, chapters 1 and 4.
"""

from collections.abc import Iterator
from typing import IO

from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from adgan_cli.errors import ImageError
from adgan_cli.images.formats import PILLOW_ERRORS

CAMERA_RAW = "camera raw: develop it to 16-bit TIFF, PNG or JPEG first"

_OF_SENSOR = (32803, 34892)  # PhotometricInterpretation: colour filter array, linear raw
_REDUCED = 1  # bit of NewSubfileType: a smaller version of another image in the file
_OLD_REDUCED = 2  # SubfileType, its predecessor
_MOST_DIRECTORIES = 16  # to look at; raw files have three or four


def refuse_thumbnails(stream: IO[bytes]) -> None:
    """Raise ImageError for a TIFF file whose first image is a smaller version of another in it."""
    head = stream.read(16)
    if head[:2] == b"II" and head[8:10] == b"CR":  # Canon's, which have no tag that says so
        raise ImageError(CAMERA_RAW)
    try:
        directories = list(_directories(stream, head))
    except PILLOW_ERRORS:
        return  # damaged: decoding it says how
    if not directories:
        return
    first, *others = directories
    if Tag.DNGVersion in first or any(_photometric(one) in _OF_SENSOR for one in directories):
        raise ImageError(CAMERA_RAW)
    if _is_reduced(first) and any(_pixels(one) > _pixels(first) for one in others):
        raise ImageError(
            "its first picture is a thumbnail of another in it; save that as a file of its own"
        )


def _directories(stream: IO[bytes], head: bytes) -> Iterator[ImageFileDirectory_v2]:
    """Yield the first directory, those below it, and where it may be a thumbnail those behind."""
    first = _directory(stream, head, None)
    yield first
    below = first.get(Tag.SubIFDs, ())
    for offset in (below if isinstance(below, tuple) else (below,))[:_MOST_DIRECTORIES]:
        yield _directory(stream, head, int(offset))
    behind, left = first.next, _MOST_DIRECTORIES if _is_reduced(first) else 0
    while behind and left:
        directory = _directory(stream, head, behind)
        yield directory
        behind, left = directory.next, left - 1


def _directory(stream: IO[bytes], head: bytes, offset: int | None) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2(head if head[2] == 43 else head[:8])  # 43: BigTIFF
    stream.seek(directory.next if offset is None else offset)
    directory.load(stream)
    return directory


def _photometric(directory: ImageFileDirectory_v2) -> object:
    return directory.get(Tag.PhotometricInterpretation)


def _is_reduced(directory: ImageFileDirectory_v2) -> bool:
    kind, old_kind = directory.get(Tag.NewSubfileType, 0), directory.get(Tag.SubfileType, 0)
    return bool(isinstance(kind, int) and kind & _REDUCED) or old_kind == _OLD_REDUCED


def _pixels(directory: ImageFileDirectory_v2) -> int:
    sides = directory.get(Tag.ImageWidth, 0), directory.get(Tag.ImageLength, 0)
    return sides[0] * sides[1] if all(isinstance(side, int) for side in sides) else 0
