"""The cache folder as a whole: what sets of decoded pictures it holds, making room, clearing it.

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
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from adgan_cli.errors import OutputError

SETS = "pixels"
INDEX, PIXELS = "index.sqlite", "pixels.bin"

_OURS = {INDEX, f"{INDEX}-journal", PIXELS}
_SET = re.compile(r"[0-9a-f]{32}")
_GONE = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{8}\.gone")  # being deleted, or by one who was killed


@dataclass(frozen=True)
class CachedSet:
    """What is kept of one root, read by one set of rules; both empty if they cannot be told."""

    root: str
    rules: str  # JSON of Rules
    pictures: int
    bytes: int
    used: float  # seconds since 1970


def cached_sets(folder: Path) -> list[CachedSet]:
    """List what is kept in a cache folder, the last used first."""
    by_use = sorted(_sets(folder), key=lambda found: -found[2])
    return [CachedSet(*_told(path), size, used) for path, size, used in by_use]


def clear_cache(folder: Path) -> int:
    """Delete every set and return the bytes freed; in the end OutputError if one resists."""
    freed, refused = 0, ""
    for path, _, _ in _sets(folder):
        try:
            freed += remove(path)
        except FileNotFoundError:  # another process was quicker
            pass
        except OSError as error:
            refused = f"cannot delete {path}: {error.strerror or error}"
    if refused:
        raise OutputError(refused)
    return freed


def make_room(folder: Path, left: int, *, keep: Path) -> None:
    """Delete sets, the longest unused first, until all but `keep` take at most `left` bytes."""
    others = [found for found in _sets(folder) if found[0] != keep]
    total = sum(size for _, size, _ in others)
    for path, size, _ in sorted(others, key=lambda found: found[2]):
        if total <= left:
            break
        with suppress(OSError):  # another process is at it, or uses the set under Windows
            remove(path)
            total -= size


def remove(path: Path) -> int:
    """Delete a set and return the bytes that frees; OSError if it is not ours or resists."""
    if not _is_ours(path):
        raise OSError(errno.EEXIST, "it holds what adgan has not put there")
    size = bytes_in(path)
    # renamed first: whoever uses it keeps whole files, nobody opens half of a set, and SQLite
    # refuses to write to a database that has moved
    gone = path.rename(path.with_name(f"{path.name}.{secrets.token_hex(4)}.gone"))
    shutil.rmtree(gone, ignore_errors=True)
    return size


def bytes_in(path: Path) -> int:
    """Count the bytes of a set's files; 0 if it is not there, or goes while we look."""
    try:
        with os.scandir(path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def _sets(folder: Path) -> list[tuple[Path, int, float]]:
    """List the sets as (path, bytes, last used), and finish what killed deletions have left."""
    sets = []
    try:
        names = sorted(os.listdir(folder / SETS))
    except OSError:
        return []
    for path in (folder / SETS / name for name in names):
        if _GONE.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif _SET.fullmatch(path.name):
            with suppress(OSError):  # no folder, or another process is deleting it
                if _is_ours(path):
                    marker = path / PIXELS if (path / PIXELS).exists() else path
                    sets.append((path, bytes_in(path), marker.stat().st_mtime))
    return sets


def _is_ours(path: Path) -> bool:
    return not path.is_symlink() and set(os.listdir(path)) <= _OURS


def _told(path: Path) -> tuple[str, str, int]:
    """Read (root, rules, number of pictures) from a set's index."""
    try:
        uri = f"{(path / INDEX).absolute().as_uri()}?mode=rw"  # not the default: it creates one
        with closing(sqlite3.connect(uri, uri=True)) as index:
            about = json.loads(index.execute("SELECT about FROM about").fetchone()[0])
            pictures = index.execute("SELECT count(*) FROM pictures").fetchone()[0]
        return str(about["root"]), json.dumps(dict(about["rules"])), int(pictures)
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError):
        return "", "", 0
