"""Read images inside .zip and .tar archives and LMDB databases in place, in several threads."""

import errno
import io
import os
import posixpath
import stat
import struct
import tarfile
import threading
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from adgan_cli.errors import ConfigError, ImageError
from adgan_cli.images.lmdb_pages import DamagedPagesError, open_pages
from adgan_cli.images.memory import READING
from adgan_cli.images.refs import FileStamp, Folder, missing, stamp_of

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it cannot run into it either
    LZMAError = EOFError  # type: ignore[misc,assignment]

MEMBER_LIMIT = 2**30  # bytes; no image is larger, so what claims to be is there to fill memory

# What zipfile lets escape on damaged archives. RuntimeError: also a codec this Python lacks.
_ZIP_ERRORS = (
    BadZipFile,
    EOFError,
    LZMAError,
    MemoryError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)
# These stand for the size of a tar member whose bytes do not lie there in one piece.
_SPARSE = -1
_DANGLING = -2
_WITHOUT_BYTES = {
    _SPARSE: "stored as a sparse file; pack it without --sparse",
    _DANGLING: "a hard link to something that is no file in the archive",
}

# Compressed as a whole, or nothing Python reads: a member cannot be had without all before it.
_REFUSED = frozenset(".gz .tgz .bz2 .tbz .tbz2 .xz .txz .zst .tzst .lz4 .7z .rar".split())


def open_container(path: Path) -> "Folder | ZipArchive | TarArchive | LmdbDatabase | None":
    """Open a container of images; return None for any other file, and where there is nothing.

    A folder that holds `data.mdb` is a database. An archive is recognised by its extension, in
    any case. Raises ConfigError for one that is damaged, or that must be unpacked to be read.
    """
    if os.path.isdir(path):
        return LmdbDatabase(path) if is_database(path) else Folder(path)
    extension = path.suffix.lower()
    if not os.path.isfile(path) or not is_archive_name(path.name):
        return None
    if extension in _REFUSED:
        raise ConfigError(
            f"{path} cannot be read in place; unpack it, or pack it again as .zip or .tar"
        )
    return ZipArchive(path) if extension == ".zip" else TarArchive(path)


def is_archive_name(name: str) -> bool:
    """Tell whether a file name ends like an archive's, also one of a kind that cannot be read."""
    extension = os.path.splitext(name)[1].lower()
    return extension in (".zip", ".tar") or extension in _REFUSED


def is_database(folder: str | Path) -> bool:
    """Tell whether a folder holds an LMDB database."""
    return os.path.isfile(os.path.join(folder, "data.mdb"))


class _OneFile:
    """A container whose entries all lie in one file."""

    path: Path

    def stamp(self, key: str) -> FileStamp:
        return stamp_of(self.path)

    def file(self, key: str) -> Path | None:
        return None


class ZipArchive(_OneFile):
    """The members of a .zip file: regular ones, by normal name; of equal names the last counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = ZipFile(path)
        except (OSError, *_ZIP_ERRORS) as error:
            raise ConfigError(
                f"{path} is not a zip archive, or is damaged: {_message(error)}; pack it again"
            ) from error
        self._lock = threading.Lock()  # ZipFile counts its open members without one
        self._members = {
            _normal(info.filename): info
            for info in self._zip.infolist()
            if not info.filename.endswith("/") and not stat.S_ISLNK(info.external_attr >> 16)
        }

    def names(self) -> list[str]:
        """List the members, sorted as a walk through the unpacked folder would find them."""
        return sorted(self._members, key=walk_order)

    def header(self, key: str, size: int) -> bytes:
        """Read the first bytes of a member; raise like open."""
        with self._reading(self._info(key)) as member:
            return member.read(size)

    def open(self, key: str) -> IO[bytes]:
        info = self._info(key)
        if info.file_size > MEMBER_LIMIT:
            raise ImageError(f"{_too_large(info.file_size)}: suspected decompression bomb")
        READING.need(info.file_size)
        # bz2 and LZMA unpack all they are given, whatever the size to read: feed them little
        step = 2**20 if info.compress_type in (ZIP_STORED, ZIP_DEFLATED) else 2**12
        content = io.BytesIO()
        with self._reading(info) as member:
            while part := member.read(step):
                content.write(part)
        content.seek(0)
        return content

    def _info(self, key: str) -> ZipInfo:
        if key not in self._members:
            raise missing(key)
        info = self._members[key]
        if info.flag_bits & 1:
            raise ImageError("encrypted")
        return info

    @contextmanager
    def _reading(self, info: ZipInfo) -> Iterator[IO[bytes]]:
        try:
            with self._lock:
                member = self._zip.open(info)
            try:
                yield member
            finally:
                with self._lock:
                    member.close()
        except NotImplementedError as error:
            raise ImageError(
                f"packed in a way Python cannot read (method {info.compress_type})"
            ) from error
        except OSError as error:
            # bz2 says without a number that data is damaged; a wrong offset cannot be sought
            if error.errno not in (None, errno.EINVAL):
                raise
            raise ImageError(f"damaged in its archive: {_message(error)}") from error
        except _ZIP_ERRORS as error:
            raise ImageError(f"damaged in its archive: {_message(error)}") from error


class TarArchive(_OneFile):
    """The members of an uncompressed .tar, hard links too, by normal name; the last counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            members = _tar_members(path)
        except (OSError, tarfile.TarError, EOFError, OverflowError, ValueError) as error:
            raise ConfigError(
                f"{path} is not an uncompressed tar archive, or is damaged: {_message(error)};"
                " pack it again"
            ) from error
        self._names = sorted(members, key=walk_order)
        self._offsets = array("q", (members[name][0] for name in self._names))
        self._sizes = array("q", (members[name][1] for name in self._names))

    def names(self) -> list[str]:
        """List the members, sorted as a walk through the unpacked folder would find them."""
        return self._names

    def header(self, key: str, size: int) -> bytes:
        """Read the first bytes of a member; raise like open."""
        offset, whole = self._locate(key)
        return self._read(offset, min(size, whole))

    def open(self, key: str) -> IO[bytes]:
        offset, size = self._locate(key)
        if size > MEMBER_LIMIT:
            raise ImageError(f"{_too_large(size)}: too large for a picture")
        READING.need(size)
        return io.BytesIO(self._read(offset, size))

    def _locate(self, key: str) -> tuple[int, int]:
        index = bisect_left(self._names, walk_order(key), key=walk_order)
        if self._names[index : index + 1] != [key]:
            raise missing(key)
        size = self._sizes[index]
        if size < 0:
            raise ImageError(_WITHOUT_BYTES[size])
        return self._offsets[index], size

    def _read(self, offset: int, size: int) -> bytes:
        with open(self.path, "rb") as file:  # its own: threads need not share a position
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise ImageError("truncated in its archive")
        return content


class LmdbDatabase(_OneFile):
    """The values of an LMDB database, as LSUN comes; keys are UTF-8, with surrogate escapes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file = path / "data.mdb"
        try:
            self._pages = open_pages(file)
            size = os.stat(file).st_size
        except (OSError, DamagedPagesError) as error:
            raise ConfigError(f"cannot read the LMDB database {path}: {_message(error)}") from error
        whole = self._pages.page_count * self._pages.page_size
        if size < whole:
            raise ConfigError(
                f"the LMDB database {path} is cut short: {size} bytes of {whole};"
                " copy or download it again"
            )

    def names(self) -> Iterator[str]:
        """Yield the keys in the database's order, which is that of their bytes."""
        try:
            for key in self._pages.keys():
                yield key.decode("utf-8", "surrogateescape")
        except (OSError, DamagedPagesError) as error:
            raise ConfigError(
                f"{self.path} is damaged: {_message(error)}; copy or download it again"
            ) from error

    def open(self, key: str) -> IO[bytes]:
        try:
            value = self._pages.get(key.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise missing(key) from None
        except DamagedPagesError as error:
            raise ImageError(f"damaged in its database: {_message(error)}") from error
        if value is None:
            raise missing(key)
        return io.BytesIO(value)

    def stamp(self, key: str) -> FileStamp:
        return stamp_of(self.path / "data.mdb")


def walk_order(name: str) -> str:
    """Return the key that sorts `a/z` before `a.b`: by folder, names in plain string order."""
    return name.replace("/", "\0")


def _normal(member: str) -> str:
    # tar makes ./a of a, and nothing keeps an archive from //a or a/../b
    return posixpath.normpath(member).lstrip("/")


def _tar_members(path: Path) -> dict[str, tuple[int, int]]:
    """Map the normal names in a tar archive to where their bytes begin and how many there are."""
    members: dict[str, tuple[int, int]] = {}
    with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
        before = -1
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep every one of them
            if tar.offset <= before or member.size < 0:
                raise tarfile.ReadError("a member ends before it begins")
            before = tar.offset
            if member.isreg():
                size = _SPARSE if member.issparse() else member.size
                members[_normal(member.name)] = (member.offset_data, size)
            elif member.islnk():
                target = members.get(_normal(member.linkname), (0, _DANGLING))
                members[_normal(member.name)] = target
        # tarfile takes a header it cannot read for the end, and all behind it would be lost
        with open(path, "rb") as file:
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no header that makes sense at byte {tar.offset}")
    return members


def _too_large(size: int) -> str:
    return f"says it holds {size / 2**30:.1f} GiB"


def _message(error: BaseException) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    message = " ".join((strerror or str(error)).split()) or type(error).__name__
    return message[:120]
