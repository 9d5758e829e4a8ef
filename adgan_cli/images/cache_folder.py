"""The cache folder as a whole: what sets of decoded images it holds, making room, clearing it.

A set is a folder `<cache folder>/pixels/<32 hex digits>` with nothing but the files of
cache_store.py in it. Whatever does not look like that is left alone; a set may be deleted at any
time, also while it is in use.
"""

import errno
import json
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adgan_cli.errors import OutputError

SETS = "pixels"
INDEX = "index.sqlite"
PIXELS = "pixels.bin"

_FILES = {INDEX, f"{INDEX}-journal", PIXELS}
_SET = re.compile(r"[0-9a-f]{32}")
_DELETED = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{8}\.gone")  # being deleted, or its process killed


@dataclass(frozen=True)
class CachedSet:
    """What is kept of one root, read with one preprocessing; both empty if it is damaged."""

    root: str
    preprocessing: str  # JSON of Preprocessing
    images: int
    bytes: int
    used: float  # seconds since 1970


class _SetFolder(NamedTuple):
    path: Path
    bytes: int
    used: float


def cached_sets(folder: Path) -> list[CachedSet]:
    """List what is kept in a cache folder, the last used first."""
    by_use = sorted(_sets(folder), key=lambda kept: -kept.used)
    return [CachedSet(*_read_summary(path), size, used) for path, size, used in by_use]


def clear_cache(folder: Path) -> int:
    """Delete every set and return the bytes freed; in the end OutputError if one resists."""
    freed, refused = 0, ""
    for kept in _sets(folder):
        try:
            freed += remove(kept.path)
        except FileNotFoundError:  # another process was quicker
            pass
        except OSError as error:
            refused = f"cannot delete {kept.path}: {error.strerror or error}"
    if refused:
        raise OutputError(refused)
    return freed


def make_room(folder: Path, left: int, *, keep: Path) -> None:
    """Delete sets, the longest unused first, until all but `keep` take at most `left` bytes."""
    others = [kept for kept in _sets(folder) if kept.path != keep]
    total = sum(kept.bytes for kept in others)
    for kept in sorted(others, key=lambda kept: kept.used):
        if total <= left:
            break
        with suppress(OSError):  # another process is at it, or uses the set under Windows
            remove(kept.path)
            total -= kept.bytes


def remove(path: Path) -> int:
    """Delete a set and return the bytes that frees; OSError if it is not ours or resists."""
    if not _is_ours(path):
        raise OSError(errno.EEXIST, "it holds what adgan has not put there")
    size = bytes_in(path)
    # renamed first: whoever uses it keeps whole files, nobody opens half of a set, and SQLite
    # refuses to write to a database that has moved
    renamed = path.rename(path.with_name(f"{path.name}.{secrets.token_hex(4)}.gone"))
    shutil.rmtree(renamed, ignore_errors=True)
    return size


def bytes_in(path: Path) -> int:
    """Count the bytes of a set's files; 0 if it is not there, or goes while we look."""
    try:
        with os.scandir(path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def _sets(folder: Path) -> Iterator[_SetFolder]:
    """Yield the sets, and finish what killed deletions have left."""
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(folder / SETS))
    for path in (folder / SETS / name for name in names):
        if _DELETED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif _SET.fullmatch(path.name):
            with suppress(OSError):  # no folder, or another process is deleting it
                if _is_ours(path):
                    marker = path / PIXELS if (path / PIXELS).exists() else path
                    yield _SetFolder(path, bytes_in(path), marker.stat().st_mtime)


def _is_ours(path: Path) -> bool:
    return not path.is_symlink() and set(os.listdir(path)) <= _FILES


def _read_summary(path: Path) -> tuple[str, str, int]:
    """Read (root, preprocessing, number of images) from a set's index."""
    try:
        uri = f"{(path / INDEX).absolute().as_uri()}?mode=rw"  # not the default: it creates one
        with closing(sqlite3.connect(uri, uri=True)) as index:
            about = json.loads(index.execute("SELECT about FROM about").fetchone()[0])
            images = index.execute("SELECT count(*) FROM pictures").fetchone()[0]
        return str(about["root"]), json.dumps(dict(about["rules"])), int(images)
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError):
        return "", "", 0
