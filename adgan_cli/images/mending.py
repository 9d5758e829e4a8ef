"""Read what every viewer shows although Pillow refuses it: leave out what the pixels do not need.

PNG (ISO 15948): chunks of text that unpack to megabytes, ancillary chunks whose checksum is wrong,
colour profiles of more than a megabyte. JPEG (ITU-T T.81): the end marker that a cut-off copy
lacks, if all of the image is there.
"""

import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import IO

from PIL import Image, PngImagePlugin

from adgan_cli.errors import ImageError
from adgan_cli.images.formats import sniff
from adgan_cli.images.memory import READING

_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")  # without one of them the others make no sense
_PIXELS = (b"IDAT", b"fdAT", b"IEND")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST_PROFILE = 4 * 2**20  # bytes; the largest of printers have three megabytes
_END = b"\xff\xd9"
_PART = 2**18  # bytes at a time
_STRIP = 256  # rows at a time


@dataclass(frozen=True)
class Mended:
    """A file that Pillow reads."""

    stream: IO[bytes]  # the file itself where nothing was to be left out; at its start
    notes: str = ""  # for the mode column: -zTXt, -EOI
    profile: bytes | None = None  # that of the file, where Pillow would not unpack it


def mend(stream: IO[bytes], header: bytes) -> Mended:
    """Leave out of a file what keeps Pillow from reading it; the same file if there is nothing.

    Raises ImageError for a PNG whose own header is damaged.
    """
    announced = sniff(header)
    mended = Mended(stream)
    if announced == "PNG":
        mended = _mend_png(stream)
    elif announced == "JPEG":
        mended = _mend_jpeg(stream)
    mended.stream.seek(0)
    return mended


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    start: int  # of its length, in the file
    size: int  # of its data

    @property
    def end(self) -> int:
        return self.start + 12 + self.size

    @property
    def is_ancillary(self) -> bool:
        return bool(self.kind[0] & 0x20)


def _mend_png(stream: IO[bytes]) -> Mended:
    chunks = list(_chunks(stream))
    dropped: list[_Chunk] = []
    profile = None
    room = PngImagePlugin.MAX_TEXT_MEMORY
    for chunk in chunks:
        if chunk.kind in _PIXELS:
            continue
        data = _checked_data(stream, chunk)
        size = None if data is None else _unpacked_size(chunk.kind, data)
        if size is None or size > room:
            dropped.append(chunk)
            if data is not None and chunk.kind == b"iCCP":
                profile = _unpacked(data.partition(b"\0")[2], _LARGEST_PROFILE)
        elif chunk.kind in _TEXT:
            room -= size
    if not dropped:
        return Mended(stream)
    names = {chunk.kind for chunk in dropped}
    if names.intersection(_ANIMATION):
        dropped += [chunk for chunk in chunks if chunk.kind in _ANIMATION]
    if profile is not None:
        names.remove(b"iCCP")
    notes = "".join(f"-{name.decode('ascii')}" for name in sorted(names))
    return Mended(_without(stream, dropped), notes, profile)


def _chunks(stream: IO[bytes]) -> Iterator[_Chunk]:
    """Yield the chunks of a PNG up to its end, or to where it is damaged."""
    whole = stream.seek(0, os.SEEK_END)
    start = len(_SIGNATURE)
    while start + 12 <= whole:
        stream.seek(start)
        head = stream.read(8)
        chunk = _Chunk(head[4:], start, int.from_bytes(head[:4], "big"))
        if chunk.end > whole or not chunk.kind.isalpha():
            return
        yield chunk
        if chunk.kind == b"IEND":
            return
        start = chunk.end


def _checked_data(stream: IO[bytes], chunk: _Chunk) -> bytes | None:
    """Read the data of a chunk; None where its checksum is wrong and others can do without it."""
    stream.seek(chunk.start + 8)
    data, checksum = stream.read(chunk.size), stream.read(4)
    if zlib.crc32(chunk.kind + data).to_bytes(4, "big") == checksum:
        return data
    if not chunk.is_ancillary:
        raise ImageError(f"damaged: wrong checksum of its {chunk.kind.decode('ascii')} chunk")
    return None


def _unpacked_size(kind: bytes, data: bytes) -> int | None:
    """Count the bytes of a chunk's text, 0 for others; None where Pillow refuses to unpack it."""
    _, _, rest = data.partition(b"\0")  # behind the keyword
    if kind == b"iTXt":
        if rest[:2] != b"\1\0":  # the text is not packed
            return len(data)
        rest = b"\0" + b"\0".join(rest[2:].split(b"\0", 2)[2:])  # behind its language
    elif kind not in (b"zTXt", b"iCCP"):
        return len(data) if kind == b"tEXt" else 0
    unpacked = _unpacked(rest, PngImagePlugin.MAX_TEXT_CHUNK)
    if unpacked is None:
        return None
    return len(unpacked) if kind in _TEXT else 0


def _unpacked(rest: bytes, limit: int) -> bytes | None:
    """Unpack what follows a byte that names the method; None if it is larger than the limit."""
    if rest[:1] != b"\0":
        return None
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(rest[1:], limit)
    except zlib.error:
        return b""  # which Pillow passes over
    return None if unpacker.unconsumed_tail else unpacked


def _without(stream: IO[bytes], dropped: list[_Chunk]) -> IO[bytes]:
    """Copy a file without some of its chunks."""
    READING.need(stream.seek(0, os.SEEK_END))
    copy, position = io.BytesIO(), 0
    for chunk in sorted(set(dropped), key=lambda chunk: chunk.start):
        stream.seek(position)
        copy.write(stream.read(chunk.start - position))
        position = chunk.end
    stream.seek(position)
    copy.write(stream.read())
    return copy


def _mend_jpeg(stream: IO[bytes]) -> Mended:
    whole = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, whole - len(_END)))
    if stream.read() == _END or _has_end(stream):
        return Mended(stream)
    READING.need(2 * whole)
    stream.seek(0)
    content = stream.read().rstrip(b"\xff")
    if not _is_complete(content):
        return Mended(stream)
    return Mended(io.BytesIO(content + _END), "-EOI")


def _has_end(stream: IO[bytes]) -> bool:
    """Tell whether an end marker stands behind the first scan, whatever follows it."""
    stream.seek(2)
    marker = stream.read(2)
    while marker[1:] != b"\xda":
        length = int.from_bytes(stream.read(2), "big")
        if marker[:1] != b"\xff" or length < 2:
            return True  # damaged otherwise: Pillow says how
        stream.seek(length - 2, os.SEEK_CUR)
        marker = stream.read(2)
        while marker == b"\xff\xff":  # markers may be padded
            marker = b"\xff" + stream.read(1)
    before = b""
    while part := stream.read(_PART):
        if _END in before + part:
            return True
        before = part[-1:]
    return False


def _is_complete(content: bytes) -> bool:
    """Tell whether a JPEG without its end has all its pixels: whatever follows changes none."""
    outcomes: set[bytes] = set()
    for more in (b"", b"\x55" * 64, b"\xaa" * 64):
        hasher = blake2b()
        try:
            with Image.open(io.BytesIO(content + more + _END), formats=("JPEG",)) as image:
                if not outcomes:  # the first of them needs the memory, the others have it
                    READING.need(4 * image.width * image.height)
                for top in range(0, image.height, _STRIP):
                    rows = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
                    hasher.update(rows.tobytes())
        except (OSError, SyntaxError):
            return False
        outcomes.add(hasher.digest())
    return len(outcomes) == 1
