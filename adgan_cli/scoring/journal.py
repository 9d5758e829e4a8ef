"""A journal: what was scored, kept row by row, so that a run can be killed and gone on with.

It is a folder of JSON lines, a file for each process that scored; nobody but that process writes to
it, and only at its end:

    process-0.jsonl     {"journal": 1, "about": {...}}      all that a score depends on but the file
                        [key, content, score, width, height, mode, name]

key: of the file's place, name, size and time of change: the same key, the same row. content: the
fingerprint of what is in it, for files that were moved or only touched. A line that kill -9 tore is
no line. Files that failed are not in here: they are tried again.
"""

import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch

from adgan_cli import __version__
from adgan_cli.atomic import writing
from adgan_cli.config import SearchConfig, first_difference, to_dict
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError, ScoresError
from adgan_cli.images.find import Listing
from adgan_cli.images.sources import FileStamp, ImageRef

FORMAT = 1  # of the lines; raise it with every change
_START = b'{"journal":'  # of every file


class JournalEntry(NamedTuple):
    """What a row is made of, but for what the model says of its score."""

    content: bytes  # fingerprint, 8 bytes
    score: float
    width: int
    height: int
    mode: str


@dataclass(frozen=True, eq=False)
class Journal:
    """What is known of R rows, some 60 bytes each: a folder may hold millions of pictures."""

    keys: np.ndarray = field(default_factory=lambda: np.empty(0, "u8"))  # (R,), as all below
    contents: np.ndarray = field(default_factory=lambda: np.empty(0, "u8"))
    scores: Sequence[float] = ()
    widths: Sequence[int] = ()
    heights: Sequence[int] = ()
    modes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> JournalEntry:
        content = int(self.contents[row]).to_bytes(8, "big")
        size = self.widths[row], self.heights[row]
        return JournalEntry(content, self.scores[row], *size, self.modes[row])

    def rows_of(self, listing: Listing) -> np.ndarray:
        """The row of each picture that is as it was when it was scored, or -1: (N,) int64."""
        found, root = listing.items, _identity(listing.root)
        if not len(self):  # nothing to look for, so no file is looked at
            return np.full(len(found), -1)
        wanted = np.fromiter((_key(root, file, stamp_of(file)) for file in found), "u8", len(found))
        return _matching(self.keys, self._by_key, wanted)

    def row_of_content(self, fingerprint: bytes) -> int:
        """The row of a picture with this content, wherever it lay; -1 if there is none."""
        wanted = np.array([int.from_bytes(fingerprint, "big")], "u8")
        return int(_matching(self.contents, self._by_content, wanted)[0])

    @cached_property
    def _by_key(self) -> np.ndarray:
        return np.argsort(self.keys)

    @cached_property
    def _by_content(self) -> np.ndarray:
        return np.argsort(self.contents)


def scoring_key(model: Model, config: SearchConfig) -> dict[str, Any]:
    """All that scores depend on besides the pictures: rows are of one kind or are not mixed."""
    return {
        "adgan": __version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "device": next(model.generator.parameters()).device.type,
        "model": model.digest,
        **{f"search {name}": value for name, value in to_dict(config).items()},
        **{f"reading {name}": value for name, value in asdict(model.preprocessing()).items()},
    }


def read_journal(folder: Path, wanted: Mapping[str, Any]) -> Journal:
    """All rows that processes have left in `folder`; none where there is no such folder.

    Raises ConfigError when one of them scored in another way than `wanted`, see `scoring_key`, and
    ScoresError for a file that cannot be read or is not one of ours.
    """
    keys, contents, scores = array("Q"), array("Q"), array("d")
    widths, heights, modes = array("i"), array("i"), list[str]()
    seen: dict[str, str] = {}  # a mode is one of a few: a million times the same string
    for path in _files(folder):
        for line in _lines(path, wanted):
            try:
                key, content, score, width, height, mode, _ = json.loads(line)
                numbers = int(key, 16), int(content, 16), float(score), int(width), int(height)
            except (ValueError, TypeError):
                continue  # torn by kill -9: that picture is scored again
            keys.append(numbers[0])
            contents.append(numbers[1])
            scores.append(numbers[2])
            widths.append(numbers[3])
            heights.append(numbers[4])
            modes.append(seen.setdefault(mode, mode))
    return Journal(np.array(keys), np.array(contents), scores, widths, heights, modes)


def clear_journal(folder: Path) -> None:
    """Begin anew: remove what processes have left in `folder`, and nothing else."""
    with writing(folder):
        for path in _files(folder):
            with open(path, "rb") as file:
                ours = file.read(len(_START)) in (_START, b"")
            if ours:
                path.unlink(missing_ok=True)


@contextmanager
def writing_journal(
    folder: Path, wanted: Mapping[str, Any], root: Path, process: int = 0
) -> Iterator[Callable[[ImageRef, FileStamp | None, JournalEntry], None]]:
    """What adds a row to a process's own file in `folder`, at once, whatever happens next.

    root: of the listing that the pictures come from. The stamp is a file's before it was read.
    """
    path, where = folder / f"process-{process}.jsonl", _identity(root)
    with writing(path):
        folder.mkdir(exist_ok=True)
        begun = _has_header(path)
        with open(path, "ab" if begun else "wb", buffering=0) as file:
            # where there is something, its last line may be torn, and stays alone
            file.write(b"\n" if begun else _line({"journal": FORMAT, "about": wanted}))

            def add(found: ImageRef, stamp: FileStamp | None, scored: JournalEntry) -> None:
                if stamp is not None:  # gone by now, or nothing that has a time of change
                    key, content = f"{_key(where, found, stamp):016x}", scored.content.hex()
                    file.write(_line([key, content, *scored[1:], found.name]))

            yield add


def stamp_of(found: ImageRef) -> FileStamp | None:
    """The size and time of change of a picture's file, if it tells them."""
    try:
        return found.stamp()
    except OSError:
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("process-*.jsonl")) if folder.is_dir() else []


def _lines(path: Path, wanted: Mapping[str, Any]) -> Iterator[bytes]:
    """The rows of a file, unread, once its first line is found to be of `wanted`."""
    try:
        with open(path, "rb") as file:
            first = file.readline()
            if first.endswith(b"\n"):  # torn before anything was scored otherwise
                _require(path, first, wanted)
                yield from file
    except OSError as error:
        raise ScoresError(f"cannot read {path}: {error.strerror or error}") from error


def _require(path: Path, first: bytes, wanted: Mapping[str, Any]) -> None:
    try:
        header = json.loads(first)
        then, version = dict(header["about"]), header["journal"]
    except (ValueError, KeyError, TypeError) as error:
        raise ScoresError(f"{path} is no journal of adgan; remove it, or choose another -o") from (
            error
        )
    if version != FORMAT:
        then, wanted = {"journal format": version}, {"journal format": FORMAT}
    if different := first_difference(then, wanted):
        name, was, now = different
        raise ConfigError(
            f"{path.parent} was scored with {name} {was}, this is {name} {now}; rows of two kinds "
            "are not mixed: leave out --resume to score all anew, or choose another -o"
        )


def _has_header(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False


def _line(value: Any) -> bytes:
    # ASCII: names that are not UTF-8 come back as they are
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _identity(root: Path) -> bytes:
    return os.path.realpath(root).encode("utf-8", "surrogatepass")


def _key(root: bytes, found: ImageRef, stamp: FileStamp | None) -> int:
    """A number that another place, name, size or time of change would not give; 0 for no file."""
    if stamp is None:
        return 0
    size, changed = stamp
    name = found.name.encode("utf-8", "surrogatepass")
    told = b"\0".join((root, name, b"%d" % size, b"%d" % changed))
    return int.from_bytes(blake2b(told, digest_size=8).digest(), "little")


def _matching(known: np.ndarray, ascending: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where the numbers wanted, (M,), are among those known, (R,) -> (M,), -1 for nowhere.

    ascending: (R,), the order that sorts those known.
    """
    if not len(known):
        return np.full(len(wanted), -1)
    place = np.searchsorted(known, wanted, sorter=ascending)
    row = ascending[np.minimum(place, len(known) - 1)]
    return np.where(known[row] == wanted, row, -1)
