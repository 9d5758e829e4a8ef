"""Refer to images: in a folder, or in any other container; threads may share one."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from adgan_cli.errors import ImageError

FileStamp = tuple[int, int]  # bytes and mtime in ns: equal as long as nobody changed the file


class Container(Protocol):
    """A folder, archive or database; a key names an entry of it."""

    @property
    def path(self) -> Path: ...

    def open(self, key: str) -> IO[bytes]:
        """Open for reading and seeking; raise OSError, or ImageError with the bare reason."""

    def stamp(self, key: str) -> FileStamp:
        """Tell the state of the file that holds the entry; raise OSError."""

    def file(self, key: str) -> Path | None:
        """Tell where the entry lies as a file of its own, if it does."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image to read, and its name in every table: relative to the listing's root, with `/`.

    key: in the container: a path relative to its folder, an archive's member, a database's key.
    """

    container: Container
    key: str
    name: str

    def open(self) -> IO[bytes]:
        """Open for reading and seeking; raise OSError, or ImageError with the bare reason."""
        return self.container.open(self.key)

    def stamp(self) -> FileStamp:
        """Tell the state of the file that holds the image; raise OSError."""
        return self.container.stamp(self.key)

    @property
    def file(self) -> Path | None:
        return self.container.file(self.key)


@dataclass(frozen=True, slots=True)
class Folder:
    """Files below a folder; keys have `/`, whatever the system has."""

    path: Path

    def header(self, key: str, size: int) -> bytes:
        """Read the first bytes of a file; raise like open."""
        with open_regular(self._path_of(key)) as file:
            return file.read(size)

    def open(self, key: str) -> IO[bytes]:
        return open_regular(self._path_of(key))

    def stamp(self, key: str) -> FileStamp:
        return stamp_of(self._path_of(key))

    def file(self, key: str) -> Path | None:
        return self.path / key

    def _path_of(self, key: str) -> str:
        return os.path.join(self.path, key)


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file for reading, if it is one: a FIFO would wait for ever, a device do anything."""
    try:
        mode = _status(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            raise ImageError("broken link") from None
        raise
    if stat.S_ISDIR(mode):
        raise ImageError("a folder, not a file")
    if not stat.S_ISREG(mode):
        raise ImageError("not a regular file")
    return open(path, "rb")


def stamp_of(path: str | Path) -> FileStamp:
    """Tell the state of a file; raise OSError."""
    status = _status(path)
    return status.st_size, status.st_mtime_ns


def _status(path: str | Path) -> os.stat_result:
    try:
        return os.stat(path)
    except ValueError:  # a NUL or half a surrogate pair: nothing can have that name
        raise missing(str(path)) from None


def missing(key: str) -> FileNotFoundError:
    """Make the error for an entry that is not there."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)


def reason_of(error: OSError) -> str:
    """Say what went wrong, without the number and the path."""
    return error.strerror or str(error)
