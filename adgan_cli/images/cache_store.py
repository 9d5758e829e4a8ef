"""The two files of a set of decoded pictures, made to be torn at any moment and never believed.

    pixels.bin      slots of S * S * C bytes; it only grows, and no slot is used twice
    index.sqlite    a row a picture: size and mtime of its file, its facts, its slot, checksums

A row counts if its checksum fits, and its pixels if theirs does. Rows are committed after their
pixels are written, so kill -9 leaves both or neither, and processes that fill one set wait for
each other. What somebody has mapped never changes, even if the set is deleted under them.

Everything here may raise OSError and sqlite3.Error.
"""

import errno
import math
import mmap
import os
import sqlite3
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adgan_cli.images.cache_folder import INDEX, PIXELS

FORMAT = 1  # of these files; raise it with every change
_SPARE = 256  # slots that nobody needs and that are not worth beginning anew

_SCHEMA = [
    b"CREATE TABLE about (about BLOB, slots INTEGER)",
    b"CREATE TABLE pictures (name BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER,"
    b" width INTEGER, height INTEGER, mode BLOB, format BLOB, fingerprint BLOB,"
    b" slot INTEGER, checksum INTEGER, row_checksum INTEGER) WITHOUT ROWID",
]


class Entry(NamedTuple):
    """A row of the index; the last two are the store's own."""

    name: bytes
    size: int
    mtime_ns: int
    width: int
    height: int
    mode: bytes
    format: bytes
    fingerprint: bytes
    slot: int = -1
    checksum: int = 0  # of the pixels


def open_store(
    folder: Path, about: bytes, shape: Sequence[int], *, timeout: float
) -> "Store | None":
    """Open the set in a folder, or begin one for pictures of this shape.

    None if it is torn, of something else, or mostly of slots that nobody needs any more.
    """
    with os.scandir(folder) as entries:
        if not all(entry.is_file(follow_symlinks=False) for entry in entries):
            return None
    with ExitStack() as stack:
        path = folder / PIXELS
        pixels = stack.enter_context(open(path, "r+b", buffering=0, opener=_open_or_create))
        index = sqlite3.connect(folder / INDEX, timeout=timeout, isolation_level=None)
        stack.enter_context(closing(index))
        store = Store(folder, index, pixels, math.prod(shape))
        try:
            if not store.begin(about):
                return None
        except sqlite3.OperationalError:  # locked, full, forbidden: says nothing about the content
            raise
        except sqlite3.DatabaseError:  # malformed, or no database at all
            return None
        stack.pop_all()
        return store


class Store:
    """A set that is open: for the thread that opened it, with `open_store`."""

    def __init__(
        self, folder: Path, index: sqlite3.Connection, pixels: FileIO, slot_bytes: int
    ) -> None:
        self._folder, self._index, self._pixels = folder, index, pixels
        self._slot_bytes = slot_bytes
        self._path, self._identity = str(folder / PIXELS), os.fstat(pixels.fileno())

    def close(self) -> None:
        self._index.close()
        self._pixels.close()

    def is_here(self) -> bool:
        """Tell whether nobody has deleted the set."""
        try:
            return os.path.samestat(os.stat(self._path), self._identity)
        except OSError:
            return False

    def touch(self) -> None:
        """Remember that the set was used now."""
        self._require_here()
        os.utime(self._path)

    def begin(self, about: bytes) -> bool:
        """Check the index, or fill an empty one; whether it is sound and worth keeping."""
        self._index.text_factory = bytes  # damaged text is no error, it is only not equal
        # no WAL: it needs shared memory, which network drives lack. TRUNCATE: a journal deleted
        # by its name could be that of a set begun anew in this one's place.
        self._index.execute("PRAGMA journal_mode = TRUNCATE")
        self._index.execute("PRAGMA synchronous = NORMAL")
        with self._index as index:
            index.execute("BEGIN IMMEDIATE")
            schema = index.execute("SELECT sql FROM sqlite_master ORDER BY rowid").fetchall()
            if not schema:
                for sql in _SCHEMA:
                    index.execute(sql.decode())
                index.execute("INSERT INTO about VALUES (?, 0)", (about,))
                return True
            if schema != [(sql,) for sql in _SCHEMA]:
                return False
            # not quick_check, which overlooks names in the wrong order
            if index.execute("PRAGMA integrity_check(1)").fetchall() != [(b"ok",)]:
                return False
            kept = index.execute("SELECT about, typeof(slots) FROM about").fetchall()
            if kept != [(about, b"integer")]:
                return False
            pictures = index.execute("SELECT count(*) FROM pictures").fetchone()[0]
            return bool(self._next_slot() <= 2 * pictures + _SPARE)

    def find(self, name: bytes) -> Entry | None:
        """Look a picture up; None if it is not there or its row is damaged."""
        self._require_here()
        return self._find(name)

    def read(self, entry: Entry) -> np.ndarray | None:
        """Read a picture's pixels, (S * S * C,) uint8; None if they are damaged."""
        pixels = np.empty(self._slot_bytes, np.uint8)
        self._pixels.seek(entry.slot * self._slot_bytes)
        whole = self._pixels.readinto(pixels.data) == self._slot_bytes
        return pixels if whole and zlib.crc32(pixels.data) == entry.checksum else None

    def add(self, new: Sequence[tuple[Entry, bytes]], reserve: Callable[[int, int], None]) -> None:
        """Write pictures, all or none; `reserve` hears the bytes and the rows that takes, before.

        Passes over those that another process has put in the meantime.
        """
        self._require_here()
        with self._index as index:
            index.execute("BEGIN IMMEDIATE")  # only one process at a time gives out slots
            first = self._next_slot()
            entries: list[Entry] = []
            chunks: list[bytes] = []
            for entry, pixels in new:
                checksum = zlib.crc32(pixels)
                if not self._has(entry._replace(checksum=checksum)):
                    slot = first + len(entries)
                    entries.append(entry._replace(slot=slot, checksum=checksum))
                    chunks.append(pixels)
            after = first + len(entries)
            reserve(after * self._slot_bytes + os.stat(self._folder / INDEX).st_size, len(entries))
            self._write(first, b"".join(chunks))
            index.executemany(
                f"REPLACE INTO pictures VALUES ({', '.join('?' * 11)})",
                [(*entry, _checksum(entry)) for entry in entries],
            )
            index.execute("UPDATE about SET slots = ?", (after,))

    def slots_of(self, names: Iterable[bytes], count: int) -> np.ndarray | None:
        """Look up the slots of `count` pictures, (count,) int64; None if one is not there."""
        self._require_here()
        slots = np.empty(count, np.int64)
        with self._index as index:
            index.execute("BEGIN")  # one lock for all of them
            for place, name in enumerate(names):
                entry = self._find(name)
                if entry is None:
                    return None
                slots[place] = entry.slot
        self._require_here()
        return slots

    def map(self) -> np.ndarray:
        """Map all slots, (slots, S * S * C) uint8; what is written there stays in this process."""
        slots = os.fstat(self._pixels.fileno()).st_size // self._slot_bytes
        if not slots:
            return np.empty((0, self._slot_bytes), np.uint8)
        mapped = _map(self._pixels.fileno(), slots * self._slot_bytes)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)  # else each picture would bring its neighbours along
        return np.frombuffer(mapped, np.uint8).reshape(slots, self._slot_bytes)

    def _require_here(self) -> None:
        # SQLite finds its journal by name: where a set was begun anew in this one's place, it
        # would take the other's for its own
        if not self.is_here():
            raise OSError(errno.ENOENT, "deleted while in use")

    def _find(self, name: bytes) -> Entry | None:
        # fetchall: a cursor left half read would hold the lock that writers wait for
        rows = self._index.execute("SELECT * FROM pictures WHERE name = ?", (name,)).fetchall()
        if not rows or _checksum(rows[0][:-1]) != rows[0][-1]:
            return None
        return Entry(*rows[0][:-1])

    def _has(self, entry: Entry) -> bool:
        kept = self._find(entry.name)
        if kept is None or kept._replace(slot=-1) != entry:
            return False
        return self.read(kept) is not None

    def _next_slot(self) -> int:
        # the file is longer than the index knows where a process was killed, and the index knows
        # better where a network drive tells an old length: by both, nothing is overwritten
        told = self._index.execute("SELECT slots FROM about").fetchone()[0]
        length = os.fstat(self._pixels.fileno()).st_size
        return int(max(told, -(-length // self._slot_bytes)))

    def _write(self, slot: int, pixels: bytes) -> None:
        # into the page cache and no further: the checksums tell what a power cut has left of it
        self._pixels.seek(slot * self._slot_bytes)
        if self._pixels.write(pixels) != len(pixels):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open_or_create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _checksum(row: Sequence[object]) -> int:
    return zlib.crc32(repr(tuple(row)).encode())


def _map(file: int, length: int) -> mmap.mmap:
    # writable, because torch warns of arrays that are not. Linux takes such a map for memory that
    # will be needed, and refuses one larger than it has, unless told not to reserve any.
    if sys.platform == "linux":
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x4000)  # named since 3.13
        return mmap.mmap(file, length, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return mmap.mmap(file, length, access=mmap.ACCESS_COPY)
