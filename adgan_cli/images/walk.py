"""Walk through a folder, or the members of an archive, in an order that never changes.

Both pass over the same entries and report the same faults.
"""

import errno
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from pathlib import Path

from adgan_cli.errors import ImageError
from adgan_cli.images.archives import TarArchive, ZipArchive
from adgan_cli.images.formats import HEADER_BYTES, has_image_extension, sniff
from adgan_cli.images.refs import Folder, reason_of
from adgan_cli.images.selection import Patterns, Selection

_OnError = Callable[[str, str], None]  # key ("" is the container itself), reason

_OWN_OUTPUTS = (
    frozenset({"checkpoint.safetensors"}),
    frozenset({"model.safetensors", "config.json"}),
    frozenset({"history.csv", "samples"}),  # training that was killed before its first save
    frozenset({"ranking.csv", "summary.json"}),
    frozenset({"explanation-1.png", "losses.csv"}),
)
# Folders that systems make among the images, for their own small or deleted copies: of Synology,
# QNAP, Windows and macOS, whose zips keep ._a.jpg in __MACOSX.
_OF_SYSTEMS = frozenset(
    {"@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX"}
)
_LONGEST_EXTENSION = 12
_SIGNS = frozenset[str]().union(*_OWN_OUTPUTS)


class _Kind(Enum):
    FILE = 0
    FOLDER = 1
    LINK = 2
    OTHER = 3


@dataclass(frozen=True, slots=True)
class _Level:
    """A folder that the walk is in. A million files are a million strings, and nothing more."""

    prefix: str  # "" at the top, else the folder's key and a slash
    names: Iterator[str]  # sorted; what is left of them
    kinds: dict[str, _Kind]  # of the few that are not regular files


class Walk:
    """A walk through a folder; yields the keys of the images: relative to it, with `/`."""

    def __init__(self, root: Path, selection: Selection, on_error: _OnError) -> None:
        self.links = 0  # symbolic links left alone so far: to folders, or named like images
        self.passed_over: Counter[str] = Counter()  # files that are no images, by extension
        self._folder = Folder(root)
        self._follow_links = selection.follow_links
        self._patterns = Patterns(selection)
        self._on_error = on_error
        self._entered: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[str]:
        # a stack, not recursion: folders may nest deeper than Python calls may
        stack = [self._level("")] if self._is_new("") else []
        while stack:
            level = stack[-1]
            name = next(level.names, None)
            if name is None:
                stack.pop()
                continue
            key = level.prefix + name  # the same string where there is no prefix
            kind = level.kinds.get(name, _Kind.FILE)
            if kind is _Kind.LINK:
                kind = self._behind(key)
            if kind is _Kind.FOLDER:
                is_entered = name not in _OF_SYSTEMS and self._patterns.matches_folder(key)
                if is_entered and self._is_new(key):
                    stack.append(self._level(key))
            elif kind is not _Kind.LINK and self._patterns.matches_file(key):
                if kind is _Kind.FILE and _is_image(
                    key, self._folder, self._on_error, self.passed_over
                ):
                    yield key
                if kind is _Kind.OTHER and has_image_extension(key):
                    self._on_error(key, "not a regular file")

    def _level(self, key: str) -> _Level:
        names: list[str] = []
        kinds: dict[str, _Kind] = {}
        try:
            with os.scandir(self._at(key)) as scan:
                for entry in scan:
                    if not entry.name.startswith("."):
                        names.append(entry.name)
                        if (kind := _kind(entry)) is not _Kind.FILE:
                            kinds[entry.name] = kind
        except OSError as error:  # what was read until then counts
            self._on_error(key, reason_of(error))
        if key and is_own_output(_SIGNS.intersection(names)):
            names.clear()
        names.sort()
        return _Level(key + "/" if key else "", iter(names), kinds)

    def _behind(self, key: str) -> _Kind:
        """Tell what a link leads to; LINK if it is left alone or leads nowhere."""
        if not self._follow_links:
            if has_image_extension(key):
                self.links += self._patterns.matches_file(key)
            elif self._patterns.matches_folder(key):
                self.links += os.path.isdir(self._at(key))
            return _Kind.LINK
        try:
            mode = os.stat(self._at(key)).st_mode
        except OSError as error:
            broken = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
            if self._patterns.matches_file(key) and (has_image_extension(key) or not broken):
                self._on_error(key, "broken link" if broken else reason_of(error))
            return _Kind.LINK
        if stat.S_ISDIR(mode):
            return _Kind.FOLDER
        return _Kind.FILE if stat.S_ISREG(mode) else _Kind.OTHER

    def _is_new(self, key: str) -> bool:
        """Tell whether a folder was not entered before; only links could lead there twice."""
        if not self._follow_links:
            return True
        try:
            status = os.stat(self._at(key))
        except OSError as error:
            self._on_error(key, reason_of(error))
            return False
        identity = (status.st_dev, status.st_ino)
        new = identity not in self._entered
        self._entered.add(identity)
        return new

    def _at(self, key: str) -> str:
        return os.path.join(self._folder.path, key)


def members(
    archive: ZipArchive | TarArchive,
    selection: Selection,
    on_error: _OnError,
    passed_over: Counter[str],
) -> Iterator[str]:
    """Yield the members of an archive that a walk through the unpacked folder would yield.

    passed_over: counts the other ones by extension.
    """
    names = archive.names()
    patterns = Patterns(selection)
    own = _own_outputs(names)
    last, entered = "", True  # neighbours mostly share a folder
    for key in names:
        folder, _, name = key.rpartition("/")
        if folder != last:
            last = folder
            entered = all(
                not _is_hidden(part) and part not in own and patterns.matches_folder(part)
                for part in accumulate(key.split("/")[:-1], "{}/{}".format)
            )
        if key.startswith("../"):
            if has_image_extension(key):
                on_error(key, "its path leads out of the archive")
        elif entered and not _is_hidden(name) and patterns.matches_file(key):
            if _is_image(key, archive, on_error, passed_over):
                yield key


def is_own_output(names: AbstractSet[str]) -> bool:
    """Tell from a folder's entries whether adgan wrote it: there is nothing to learn from."""
    return any(signs <= names for signs in _OWN_OUTPUTS)


def _kind(entry: os.DirEntry[str]) -> _Kind:
    """Tell what an entry is by its folder's own record: no call to the system for each file."""
    try:
        if entry.is_file(follow_symlinks=False):
            return _Kind.FILE
        if entry.is_symlink() or _is_junction(entry):
            return _Kind.LINK
        return _Kind.FOLDER if entry.is_dir(follow_symlinks=False) else _Kind.OTHER
    except OSError:  # a file system without such records: opening it will say what is wrong
        return _Kind.FILE


def _is_junction(entry: os.DirEntry[str]) -> bool:
    if sys.platform != "win32":
        return False
    # DirEntry.is_junction came with Python 3.12
    tag = entry.stat(follow_symlinks=False).st_reparse_tag
    return bool(tag == stat.IO_REPARSE_TAG_MOUNT_POINT)


def _is_hidden(key: str) -> bool:
    name = key.rpartition("/")[2]
    return not name or name.startswith(".") or name in _OF_SYSTEMS


def _own_outputs(names: Iterable[str]) -> set[str]:
    """Find the folders among the members of an archive that adgan wrote."""
    signs: dict[str, set[str]] = {}
    for key in names:
        folder, _, name = key.rpartition("/")
        if name in _SIGNS:
            signs.setdefault(folder, set()).add(name)
        head, samples, _ = key.rpartition("/samples/")  # archives need not list folders
        if samples:
            signs.setdefault(head, set()).add("samples")
    return {folder for folder, seen in signs.items() if folder and is_own_output(seen)}


def _is_image(
    key: str,
    container: Folder | ZipArchive | TarArchive,
    on_error: _OnError,
    passed_over: Counter[str],
) -> bool:
    if has_image_extension(key):
        return True
    try:
        if sniff(container.header(key, HEADER_BYTES)) is not None:
            return True
        extension = os.path.splitext(key)[1].lower()
        # frame.000001 and the like are no kinds of their own
        is_kind = len(extension) <= _LONGEST_EXTENSION and not extension[1:].isdecimal()
        passed_over[extension if is_kind else ""] += 1
    except ImageError as error:
        on_error(key, str(error))
    except OSError as error:
        on_error(key, reason_of(error))
    return False
