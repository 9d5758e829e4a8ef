"""Act on a ranking: copy the pictures, list their paths, write their maps as files."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from adgan_cli.atomic import replacing
from adgan_cli.errors import ConfigError, ImageError, OutputError
from adgan_cli.images.encode import from_pixels, image_bytes
from adgan_cli.images.find import locator
from adgan_cli.images.refs import ImageRef, reason_of
from adgan_cli.reports.report import Report
from adgan_cli.scoring.rows import ScoreRow

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Copied:
    """What came of copying."""

    new: int = 0
    there: int = 0  # before, with the same bytes
    failures: tuple[tuple[str, str], ...] = ()  # (path, reason)


def chosen_rows(report: Report) -> list[ScoreRow]:
    """Return the rows to act on, most anomalous first: those flagged, without a cut the top."""
    if report.flagged is None:
        return [row for _, row in report.most]
    return [row for _, row in report.ranked if row.path in report.flagged]


def require_outside(folder: Path, paths: Iterable[Path], option: str) -> None:
    """Raise ConfigError for a folder of copies in one of `paths`: it would be ranked next time."""
    target = os.path.realpath(folder)
    for path in paths:
        if path.is_dir() and Path(target).is_relative_to(os.path.realpath(path)):
            raise ConfigError(
                f"{option} {folder} lies in {path}, where its pictures would be ranked too the "
                "next time; choose another folder"
            )


def copy_images(rows: Iterable[ScoreRow], root: Path, folder: Path) -> Copied:
    """Copy images into `folder`, at their paths below `root`; members of archives as files.

    What is there already with the same bytes stays, so that a run that was killed can be done
    again. A file with other bytes is never written over: that is a failure, as is an image that is
    gone or cannot be written.
    """
    locate = locator(root)
    new = there = 0
    failures: list[tuple[str, str]] = []
    for row in rows:
        target = _below(folder, row.path)
        if target is None:
            failures.append((row.path, "its name leads out of the folder"))
            continue
        try:
            is_new = _copy(locate(row.path), target)
        except OSError as error:
            failures.append((row.path, reason_of(error)))
        except (ImageError, OutputError) as error:
            failures.append((row.path, str(error)))
        else:
            new, there = new + is_new, there + (not is_new)
    return Copied(new, there, tuple(failures))


def listed_files(rows: Iterable[ScoreRow], root: Path) -> tuple[list[Path], int]:
    """Return the files of images, beginning with `root`, and how many lie in archives instead."""
    locate = locator(root)
    files = [locate(row.path).file for row in rows]
    listed = [file for file in files if file is not None]
    return listed, len(files) - len(listed)


def list_bytes(files: Iterable[Path], *, null: bool = False) -> bytes:
    """Write paths one a line, or with a NUL after each, as the file system spells them."""
    return b"".join(os.fsencode(file) + (b"\0" if null else b"\n") for file in files)


def write_list(path: Path, files: Iterable[Path], *, null: bool = False) -> None:
    """Write such a list to a file."""
    with replacing(path) as temporary:
        temporary.write_bytes(list_bytes(files, null=null))


def write_maps(folder: Path, maps: Mapping[str, np.ndarray]) -> int:
    """Write maps, (S, S, 3) uint8 by the path of their image, as PATH.png; return how many."""
    count = 0
    for name, pixels in maps.items():
        target = _below(folder, f"{name}.png")
        if target is not None:
            with replacing(target) as temporary:
                temporary.write_bytes(image_bytes(from_pixels(pixels), "PNG"))
            count += 1
    return count


def _below(folder: Path, name: str) -> Path | None:
    """Return the path of a name below a folder; None for a name, of a table, that leads out."""
    path = Path(name)
    if not path.parts or ".." in path.parts or path.is_absolute() or path.drive:
        return None
    return folder / path


def _copy(item: ImageRef, target: Path) -> bool:
    """Copy an image, with its time of change; return False where it is there already.

    Raises OSError or ImageError where it cannot be read or another file is there.
    """
    with item.open() as source:
        if os.path.lexists(target):
            if not _has_bytes(target, source):
                raise FileExistsError(0, f"{target} is another file, and stays")
            return False
        with replacing(target) as temporary:
            with open(temporary, "wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            if item.file is not None:
                _, changed = item.stamp()
                os.utime(temporary, ns=(changed, changed))
    return True


def _has_bytes(path: Path, stream: IO[bytes]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        while True:
            ours, theirs = stream.read(_CHUNK), file.read(_CHUNK)
            if ours != theirs:
                return False
            if not ours:
                return True


def failures_line(failures: Sequence[tuple[str, str]], folder: Path) -> str:
    """Say what could not be copied, the first of it by name."""
    path, reason = failures[0]
    more = f", and {len(failures) - 1:,} more" if len(failures) > 1 else ""
    return f"not copied into {folder}: {path} ({reason}){more}"
