"""The two files of a set of decoded images: torn at any moment, they are checked at each read.

    pixels.bin      slots of S * S * C bytes; it only grows, and no slot is used twice
    index.sqlite    a row an image: facts about its file, its slot, checksums

A row counts if its checksum fits, and its pixels if theirs does. Rows are committed after their
pixels are written, so kill -9 leaves both or neither, and processes that fill one set wait for
each other. What somebody has mapped never changes, even if the set is deleted under them.

Everything here may raise OSError and sqlite3.Error.
"""

import errno
import mmap
import os
import sqlite3
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adgan_cli.images.cache_folder import INDEX, PIXELS

ROW_BYTES = 256  # what a row of the index takes, at most
FORMAT = 2  # of these files; raise it with every change
_MAX_UNUSED = 256  # slots that nobody needs and that are not worth beginning anew

_SCHEMA = [
    b"CREATE TABLE about (about BLOB)",
    b"CREATE TABLE pictures (name BLOB PRIMARY KEY, facts BLOB, slot INTEGER, checksum INTEGER,"
    b" row_checksum INTEGER) WITHOUT ROWID",
]


class Row(NamedTuple):
    """A row of the index, less its own checksum."""

    name: bytes
    facts: bytes
    slot: int
    checksum: int  # of the pixels


def open_store(folder: Path, about: bytes, slot_bytes: int, *, timeout: float) -> "Store | None":
    """Open the set in a folder, or begin one; timeout: seconds to wait for another process.

    None if it is torn, of something else, or mostly of slots that nobody needs any more.
    """
    with os.scandir(folder) as entries:
        if not all(entry.is_file(follow_symlinks=False) for entry in entries):
            return None
    store = Store(folder, slot_bytes, timeout=timeout)
    sound = False
    try:
        sound = store.begin(about)
    except sqlite3.OperationalError:  # locked, full, forbidden: says nothing about the content
        raise
    except sqlite3.DatabaseError:  # malformed, or no database at all
        pass
    finally:
        if not sound:
            store.close()
    return store if sound else None


class Store:
    """A set that is open: for the thread that opened it, with `open_store`."""

    def __init__(self, folder: Path, slot_bytes: int, *, timeout: float) -> None:
        self._slot_bytes = slot_bytes
        self._index_path = folder / INDEX
        self._pixels_path = folder / PIXELS
        self._pixels = open(self._pixels_path, "r+b", buffering=0, opener=_open_or_create)
        self._identity = os.fstat(self._pixels.fileno())
        try:
            self._index = sqlite3.connect(self._index_path, timeout=timeout, isolation_level=None)
        except sqlite3.Error:
            self._pixels.close()
            raise

    def close(self) -> None:
        self._index.close()
        self._pixels.close()

    def begin(self, about: bytes) -> bool:
        """Check the index, or fill an empty one; return whether it is sound and worth keeping."""
        self._index.text_factory = bytes  # damaged text is no error, it is only not equal
        # no WAL: it needs shared memory, which network drives lack. TRUNCATE: a journal deleted
        # by its name could be that of a set begun anew in this one's stead.
        self._index.execute("PRAGMA journal_mode = TRUNCATE")
        self._index.execute("PRAGMA synchronous = NORMAL")
        with self._index as index:
            index.execute("BEGIN IMMEDIATE")
            schema = index.execute("SELECT sql FROM sqlite_master ORDER BY rowid").fetchall()
            if not schema:
                for sql in _SCHEMA:
                    index.execute(sql.decode())
                index.execute("INSERT INTO about VALUES (?)", (about,))
                return True
            if schema != [(sql,) for sql in _SCHEMA]:
                return False
            # not quick_check, which overlooks names in the wrong order
            if index.execute("PRAGMA integrity_check(1)").fetchall() != [(b"ok",)]:
                return False
            if index.execute("SELECT about FROM about").fetchall() != [(about,)]:
                return False
            (images,) = index.execute("SELECT count(*) FROM pictures").fetchone()
            return bool(self._next_slot() <= 2 * images + _MAX_UNUSED)

    def is_here(self) -> bool:
        """Tell whether nobody has deleted the set."""
        try:
            return os.path.samestat(os.stat(self._pixels_path), self._identity)
        except OSError:
            return False

    def touch(self) -> None:
        """Note that the set was used now."""
        self._require_here()
        os.utime(self._pixels_path)

    def find(self, name: bytes) -> Row | None:
        """Look an image up; None if it is not there or its row is damaged."""
        self._require_here()
        return self._find(name)

    def read(self, row: Row) -> np.ndarray | None:
        """Read an image's pixels, (S * S * C,) uint8; None if they are damaged."""
        pixels = np.empty(self._slot_bytes, np.uint8)
        self._pixels.seek(row.slot * self._slot_bytes)
        whole = self._pixels.readinto(pixels.data) == self._slot_bytes
        return pixels if whole and zlib.crc32(pixels.data) == row.checksum else None

    def add(
        self, new: Iterable[tuple[bytes, bytes, bytes]], reserve: Callable[[int], None]
    ) -> None:
        """Write (name, facts, pixels) of images, all or none.

        Passes over those that another process has put in the meantime. reserve is given the bytes
        that the set and its index's rows are about to take, and may raise.
        """
        self._require_here()
        with self._index as index:
            index.execute("BEGIN IMMEDIATE")  # only one process at a time gives out slots
            first = self._next_slot()
            missing = [image for image in new if not self._has(*image)]
            after = first + len(missing)
            index_bytes = os.stat(self._index_path).st_size + len(missing) * ROW_BYTES
            reserve(after * self._slot_bytes + index_bytes)
            # into the page cache and no further: the checksums tell what a power cut has left
            content = b"".join(pixels for _, _, pixels in missing)
            self._pixels.seek(first * self._slot_bytes)
            if self._pixels.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for slot, (name, facts, pixels) in enumerate(missing, start=first):
                row = Row(name, facts, slot, zlib.crc32(pixels))
                index.execute(
                    "REPLACE INTO pictures VALUES (?, ?, ?, ?, ?)", (*row, _checksum(row))
                )
            index.execute(f"PRAGMA user_version = {after}")

    def map(self, names: Iterable[bytes]) -> tuple[np.ndarray, np.ndarray] | None:
        """Map all slots, (slots, S * S * C) uint8, and look up those of images, (N,) int64.

        What is written there stays in this process. None if one of the images is missing.
        """
        self._require_here()
        with self._index as index:
            index.execute("BEGIN")  # one lock for all of them
            rows = (self._find(name) for name in names)
            slots = np.fromiter((-1 if row is None else row.slot for row in rows), np.int64)
        self._require_here()
        count = os.fstat(self._pixels.fileno()).st_size // self._slot_bytes
        if ((slots < 0) | (slots >= count)).any():
            return None
        if not count:
            return np.empty((0, self._slot_bytes), np.uint8), slots
        mapped = _map(self._pixels.fileno(), count * self._slot_bytes)
        return np.frombuffer(mapped, np.uint8).reshape(count, self._slot_bytes), slots

    def _require_here(self) -> None:
        # SQLite finds its journal by name: where a set was begun anew in this one's stead, it
        # would take the other's for its own
        if not self.is_here():
            raise OSError(errno.ENOENT, "deleted while in use")

    def _find(self, name: bytes) -> Row | None:
        # fetchall: a cursor left half read would hold the lock that writers wait for
        rows = self._index.execute("SELECT * FROM pictures WHERE name = ?", (name,)).fetchall()
        if not rows or _checksum(rows[0][:-1]) != rows[0][-1]:
            return None
        return Row(*rows[0][:-1])

    def _has(self, name: bytes, facts: bytes, pixels: bytes) -> bool:
        row = self._find(name)
        if row is None or (row.facts, row.checksum) != (facts, zlib.crc32(pixels)):
            return False
        return self.read(row) is not None

    def _next_slot(self) -> int:
        # the file is longer than the index knows where a process was killed, and the index knows
        # better where a network drive tells an old length: by both, nothing is overwritten
        (used,) = self._index.execute("PRAGMA user_version").fetchone()
        length = os.fstat(self._pixels.fileno()).st_size
        return int(max(used, -(-length // self._slot_bytes)))


def _open_or_create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _checksum(row: Sequence[object]) -> int:
    return zlib.crc32(repr(tuple(row)).encode())


def _map(file: int, length: int) -> mmap.mmap:
    # writable, because torch warns of arrays that are not. Linux takes such a map for memory that
    # will be needed, and refuses one larger than it has, unless told not to reserve any.
    if sys.platform == "linux":
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x4000)  # named since 3.13
        mapped = mmap.mmap(file, length, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    else:
        mapped = mmap.mmap(file, length, access=mmap.ACCESS_COPY)
    if hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)  # else each image would bring its neighbours along
    return mapped
