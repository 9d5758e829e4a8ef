"""Find the images in folders, archives and databases, in an order that never changes.

Nothing is lost silently: what cannot be looked at is a failure with its name and reason.
"""

import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.images.archives import (
    LmdbDatabase,
    TarArchive,
    ZipArchive,
    is_archive_name,
    open_container,
)
from adgan_cli.images.refs import Container, Folder, ImageRef, reason_of
from adgan_cli.images.selection import Patterns, Selection
from adgan_cli.images.walk import Walk, members

OnError = Callable[[Path, str], None]


@dataclass(frozen=True)
class Listing:
    """What there is to read, and what could not even be listed."""

    root: Path  # names are relative to it; an archive or database if that alone was given
    items: list[ImageRef]
    failures: list[tuple[str, str]]  # (name, reason)
    links: int  # symbolic links left alone: to folders, or named like images
    # files that are no images, by extension, the most frequent first; "" for none
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.items) + len(self.failures)


def find_images(
    folder: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    *,
    on_error: OnError | None = None,
) -> Iterator[Path]:
    """Yield the image files below `folder`, depth first, each folder sorted by name.

    A file counts by its extension or, failing that, by its first bytes; a damaged image still
    counts (reading it says why it fails). Hidden entries, symbolic links unless they are to be
    followed, anything but regular files and adgan's own output folders below `folder` are passed
    over. What cannot be looked at (a folder without permission) and what is named like an image
    and is none (a FIFO, a broken link that is to be followed) goes to `on_error(path, reason)`.
    Raises ConfigError if `folder` is missing or a file.
    """
    root = Path(folder)
    _require_folder(root)

    def fail(key: str, reason: str) -> None:
        if on_error is not None:
            on_error(root / key, reason)

    # not a generator itself: a wrong folder is reported here, not at the first next()
    return (root / key for key in Walk(root, selection, fail))


def find_inputs(
    paths: Sequence[str | Path],
    selection: Selection = Selection(),  # noqa: B008  frozen
    *,
    files_from: IO[bytes] | None = None,
) -> Listing:
    """Collect folders, archives, databases and files as given: in that order, each name once.

    files_from: more files, one path a line, or each ended by a NUL as `find -print0` writes them;
    one that is not there is a failure. A file given by name counts whatever it is called.

    The root is the folder, archive or database itself if one alone is given, a lone file's
    parent, else the deepest folder above them all. Raises ConfigError for a path that does not
    exist, for a damaged archive or database, and where no path is given at all.
    """
    given = [Path(path) for path in paths]
    listed = b"" if files_from is None else _checked(files_from.read())
    if not given and files_from is None:
        raise ConfigError("no path given; name a folder or some pictures")
    if not given and not any(_lines(listed)):
        raise ConfigError("--files-from lists no path; write one a line")
    inputs = [(path, _opened(path)) for path in given]  # without a container: a lone file
    folders = [path if container else path.parent for path, container in inputs]
    alone = len(given) == 1 and not any(_lines(listed))
    root = folders[0] if alone else _common_folder(folders, listed)
    base = os.path.abspath(root)
    notes = _Notes()

    def everything() -> Iterator[ImageRef]:
        for path, container in inputs:
            name = _below(base, path)
            if container is None:
                yield ImageRef(Folder(path.parent), path.name, name)
            else:
                yield from _images_in(container, name, selection, notes)
        yield from _listed_images(listed, base, notes)

    items = list(everything())
    if not alone:  # a table of all the names: nothing for the one folder of a million files
        first: dict[str, ImageRef] = {}
        for item in items:
            first.setdefault(item.name, item)
        items = list(first.values())
    failures, passed_over = list(dict.fromkeys(notes.failures)), notes.passed_over
    return Listing(root, items, failures, notes.links, dict(passed_over.most_common()))


def list_inputs(
    paths: Sequence[str | Path],
    selection: Selection = Selection(),  # noqa: B008  frozen
    *,
    files_from: IO[bytes] | None = None,
) -> Listing:
    """Do what find_inputs does, but raise NoImagesError if there is not one image."""
    listing = find_inputs(paths, selection, files_from=files_from)
    if not listing.items:
        where = ", ".join(map(str, paths)) or "the list of --files-from"
        why = "".join(f" ({name}: {reason})" for name, reason in listing.failures[:1])
        if listing.links and not why:
            why = f" (symbolic links: {listing.links}, see --follow-links)"
        if listing.passed_over and not why:
            why = f", but {count_kinds(listing.passed_over)}"
        raise NoImagesError(f"no pictures in {where}{why}; give others")
    return listing


def count_kinds(passed_over: Mapping[str, int], *, most: int = 8) -> str:
    """Write how many files of which kinds there are: 4 .txt, 2 .pdf, 1 without extension."""
    kinds = [
        f"{count:,} {extension or 'without extension'}" for extension, count in passed_over.items()
    ]
    rest = sum(list(passed_over.values())[most:])
    return ", ".join(kinds[:most] + ([f"{rest:,} of other kinds"] if rest else []))


def locator(root: Path) -> Callable[[str], ImageRef]:
    """Make a function from names below a listing's root to images, in archives too."""
    top = _reopened(root)
    containers: dict[str, Container] = {}  # by the folder part of a name

    def innermost(folder: str) -> tuple[Container, int]:
        """Find the container that a name's folder part leads into, and where its key begins."""
        end = 0
        while isinstance(top, Folder) and end < len(folder):
            slash = folder.find("/", end)
            end = len(folder) if slash < 0 else slash
            part = folder[:end]
            if part not in containers:
                containers[part] = _reopened(root / part)
            if not isinstance(containers[part], Folder):
                return containers[part], end + 1
            end += 1
        return top, 0

    def locate(name: str) -> ImageRef:
        container, start = innermost(name.rpartition("/")[0])
        if isinstance(container, LmdbDatabase) and start and os.path.lexists(root / name):
            return ImageRef(top, name, name)  # a file beside the database's own
        return ImageRef(container, name[start:], name)

    return locate


@dataclass
class _Notes:
    """What a listing says besides the images."""

    failures: list[tuple[str, str]] = field(default_factory=list)
    links: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)


def _require_folder(folder: Path) -> None:
    if not os.path.lexists(folder):
        raise ConfigError(f"{folder} does not exist; give the folder that holds the pictures")
    if not os.path.isdir(folder):
        raise ConfigError(
            f"{folder} is a file, not a folder; give the folder that holds the pictures"
        )


def _opened(path: Path) -> Container | None:
    try:
        path.lstat()  # not stat: a broken link exists, and becomes a row with its reason
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{path} does not exist; give a folder or pictures") from error
    except OSError as error:
        raise ConfigError(f"cannot look at {path}: {error.strerror}") from error
    return open_container(path)


def _reopened(path: Path) -> Container:
    try:
        return open_container(path) or Folder(path)
    except ConfigError:  # damaged since: its images are gone, which they say one by one
        return Folder(path)


def _common_folder(given: Sequence[Path], listed: bytes) -> Path:
    folders = {os.path.abspath(folder) for folder in given}
    folders.update(os.path.dirname(os.path.abspath(line)) for line in _lines(listed))
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise ConfigError("the paths are on different drives; score them one by one") from error


def _below(base: str, path: str | Path) -> str:
    """Name a path below the absolute `base`, with `/`; "" for `base` itself."""
    name = os.path.abspath(path)[len(base) :].lstrip(os.sep)
    return name if os.sep == "/" else name.replace(os.sep, "/")


def _images_in(
    container: Container, name: str, selection: Selection, notes: _Notes
) -> Iterator[ImageRef]:
    """Yield every image of a container that itself is called `name`, or "" if it is the root."""
    prefix = name + "/" if name else ""

    def fail(key: str, reason: str) -> None:
        notes.failures.append(((prefix + key).rstrip("/") or ".", reason))

    walk = Walk(container.path, selection, fail)
    keys: Iterable[str] = walk
    if isinstance(container, ZipArchive | TarArchive):
        keys = members(container, selection, fail, notes.passed_over)
    elif isinstance(container, LmdbDatabase):
        keys = filter(Patterns(selection).matches_file, container.names())
    for key in keys:
        yield ImageRef(container, key, prefix + key)  # one string for both if there is no prefix
    notes.links += walk.links
    notes.passed_over += walk.passed_over


def _listed_images(listed: bytes, base: str, notes: _Notes) -> Iterator[ImageRef]:
    folders: dict[str, Folder] = {}
    for line in _lines(listed):
        name = _below(base, line)
        reason = _why_no_image(line)
        if reason:
            notes.failures.append((name or ".", reason))
            continue
        head, key = os.path.split(line)
        if head not in folders:
            folders[head] = Folder(Path(head))
        yield ImageRef(folders[head], name if key == name else key, name)


def _why_no_image(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "broken link" if os.path.islink(path) else "does not exist"
    except OSError as error:
        return reason_of(error)
    if stat.S_ISDIR(mode):
        return "a folder, not a picture; give it as a path of its own"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    if is_archive_name(path):
        return "an archive, not a picture; give it as a path of its own"
    return ""


def _checked(listed: bytes) -> bytes:
    if listed[:2] in (b"\xff\xfe", b"\xfe\xff"):  # what `>` of an old PowerShell writes
        raise ConfigError("--files-from: the list is in UTF-16; write it in UTF-8")
    return listed.removeprefix(b"\xef\xbb\xbf")


def _lines(listed: bytes) -> Iterator[str]:
    by_nul = b"\0" in listed
    for line in listed.split(b"\0") if by_nul else io.BytesIO(listed):
        if not by_nul:
            line = line.removesuffix(b"\n").removesuffix(b"\r")
        if line.strip():
            # os.fsdecode, but never strict: what is no name on this system does not exist
            yield line.decode(sys.getfilesystemencoding(), "surrogateescape")
