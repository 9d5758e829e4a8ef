"""Find the pictures below a folder, in an order that never changes, and lose none silently."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adgan_cli.errors import ConfigError
from adgan_cli.images.formats import HEADER_BYTES, has_picture_extension, sniff

OnError = Callable[[Path, str], None]


@dataclass(frozen=True)
class Found:
    """A file to read, and its name in every table: relative to the root, with `/`."""

    path: Path
    name: str


def find_images(folder: str | Path, *, on_error: OnError | None = None) -> Iterator[Path]:
    """Yield the picture files below `folder`, depth first, each folder sorted by name.

    A file counts by its extension or, failing that, by its first bytes; a damaged picture still
    counts (reading it says why it fails). Hidden entries, linked folders, anything but regular
    files and adgan's own output folders below `folder` are passed over. What cannot be looked at
    (a folder without permission, a broken link named like a picture) goes to
    `on_error(path, reason)`. Raises ConfigError if `folder` is missing or a file.
    """
    root = Path(folder)
    _require_folder(root)
    # not a generator itself: a wrong folder is reported here, not at the first next()
    return _walk(root, on_error or _ignore)


def find_inputs(
    paths: Sequence[Path], *, on_error: OnError | None = None
) -> tuple[Path, list[Found]]:
    """Collect files and folders as given: (root, files in that order, each file once).

    A file named explicitly counts whatever it is called. The root is the folder itself if one is
    given, a lone file's parent, else the deepest folder above them all. Raises ConfigError for a
    path that does not exist.
    """
    if not paths:
        raise ConfigError("no path given; name a folder or some pictures")
    files: dict[str, Path] = {}  # keyed by absolute path: the first mention of a file stays
    folders = []
    for path in map(Path, paths):
        is_folder = _is_folder(path)
        folders.append(path if is_folder else path.parent)
        for file in find_images(path, on_error=on_error) if is_folder else (path,):
            files.setdefault(os.path.abspath(file), file)
    root = folders[0] if len(folders) == 1 else _common_folder(folders)
    base = os.path.abspath(root)
    found = [
        Found(file, Path(os.path.relpath(absolute, base)).as_posix())
        for absolute, file in files.items()
    ]
    return root, found


def is_own_output(names: set[str]) -> bool:
    """Tell from a folder's entries whether adgan wrote it: a model directory or a report.

    Their sample grids and figures are pictures, but never pictures to learn from or to score.
    """
    return (
        "checkpoint.safetensors" in names
        or {"model.safetensors", "config.json"} <= names
        or {"history.csv", "samples"} <= names  # training that was killed before its first save
        or {"ranking.csv", "summary.json"} <= names
    )


def _require_folder(folder: Path) -> None:
    if not os.path.lexists(folder):
        raise ConfigError(f"{folder} does not exist; give the folder that holds the pictures")
    if not os.path.isdir(folder):
        raise ConfigError(
            f"{folder} is a file, not a folder; give the folder that holds the pictures"
        )


def _is_folder(path: Path) -> bool:
    try:
        path.lstat()  # not stat: a broken link exists, and becomes a row with its reason
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{path} does not exist; give a folder or pictures") from error
    except OSError as error:
        raise ConfigError(f"cannot look at {path}: {error.strerror}") from error
    return os.path.isdir(path)


def _common_folder(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    except ValueError as error:
        raise ConfigError("the paths are on different drives; score them one by one") from error


def _walk(root: Path, on_error: OnError) -> Iterator[Path]:
    # a stack, not recursion: folders may nest deeper than Python calls may
    stack = [iter(_entries(root, on_error, is_root=True))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        path = Path(entry.path)
        try:
            if entry.is_dir(follow_symlinks=False):
                stack.append(iter(_entries(path, on_error)))
            elif _is_picture(entry):
                yield path
        except OSError as error:
            on_error(path, error.strerror or str(error))


def _entries(folder: Path, on_error: OnError, *, is_root: bool = False) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as error:
        on_error(folder, error.strerror or str(error))
        return []
    if not is_root and is_own_output({entry.name for entry in entries}):
        return []
    return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _is_picture(entry: os.DirEntry[str]) -> bool:
    named = has_picture_extension(entry.name)
    try:
        # stat before open: opening a FIFO would wait for ever, a device may do anything
        if not stat.S_ISREG(entry.stat().st_mode):
            return False
    except FileNotFoundError:
        if named and entry.is_symlink():
            raise OSError(errno.ENOENT, "broken link") from None
        return False
    return named or sniff(_header(entry.path)) is not None


def _header(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(HEADER_BYTES)


def _ignore(path: Path, reason: str) -> None:
    pass
