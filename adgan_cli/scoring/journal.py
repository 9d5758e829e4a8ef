"""A journal of scored images: a run that was killed goes on from it.

It is a folder of JSON lines with one file for each process, which alone appends to it:

    process-0.jsonl     {"journal": 2, "about": {...}}      all that scores depend on but the image
                        [key, content, score, width, height, mode, z_scores, name, checksum]

key: a hash of the listing's root and the file's name, size and time of change: an image with the
same key has not changed. content: the fingerprint of the file's bytes, by which files that were
moved or only touched are recognised. z_scores: of each detector that is joined. checksum: CRC-32 of
what stands before it. A line that kill -9 tore, or a flipped bit changed, is ignored. Images that
failed are not in here: they are tried again.
"""

import json
import math
import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
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
from adgan_cli.engine.models.files import model_digest
from adgan_cli.engine.models.model import Model, what_scores_follow
from adgan_cli.engine.search.precision import as_computed
from adgan_cli.errors import ConfigError, ScoresError
from adgan_cli.images.find import Listing
from adgan_cli.images.refs import FileStamp, ImageRef
from adgan_cli.scoring.joining import joined_names

FORMAT = 2  # of the lines; raise it with every change
_START = b'{"journal":'  # of every file

Append = Callable[[ImageRef, FileStamp | None, "JournalEntry"], None]


class JournalEntry(NamedTuple):
    """An image's score and what its row says of the file."""

    content: bytes  # fingerprint, 8 bytes
    score: float
    width: int
    height: int
    mode: str
    z_scores: tuple[float, ...] = ()  # of each part of a joined score


@dataclass(frozen=True, eq=False)
class Journal:
    """R entries in columns, some 60 bytes each: a folder may hold millions of images."""

    keys: np.ndarray = field(default_factory=lambda: np.empty(0, "u8"))  # (R,), as all below
    contents: np.ndarray = field(default_factory=lambda: np.empty(0, "u8"))
    scores: Sequence[float] = ()
    widths: Sequence[int] = ()
    heights: Sequence[int] = ()
    modes: Sequence[str] = ()
    z_scores: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (R, K) float64

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> JournalEntry:
        content = int(self.contents[index]).to_bytes(8, "big")
        size = self.widths[index], self.heights[index]
        z_scores = tuple(self.z_scores[index].tolist())
        return JournalEntry(content, self.scores[index], *size, self.modes[index], z_scores)

    def indices_of(self, listing: Listing) -> np.ndarray:
        """Return the index of each image that has not changed since, or -1: (N,) int64."""
        items = listing.items
        if not len(self):  # nothing to look up, so no file is looked at
            return np.full(len(items), -1)
        root = _identity(listing.root)
        keys = np.fromiter((_key(root, item, stamp_of(item)) for item in items), "u8", len(items))
        return _lookup(self.keys, self._by_key, keys)

    def entry_of_content(self, fingerprint: bytes) -> JournalEntry | None:
        """Return the entry of an image with this content, whatever file it was in."""
        content = np.array([int.from_bytes(fingerprint, "big")], "u8")
        index = int(_lookup(self.contents, self._by_content, content)[0])
        return None if index < 0 else self[index]

    @cached_property
    def _by_key(self) -> np.ndarray:
        return np.argsort(self.keys)

    @cached_property
    def _by_content(self) -> np.ndarray:
        return np.argsort(self.contents)


def scoring_key(model: Model, config: SearchConfig) -> dict[str, Any]:
    """Name all that scores depend on besides the images; rows of two kinds are not mixed."""
    followed = replace(what_scores_follow(config), adjust=config.adjust)
    # as computed here: what `auto` comes to differs between machines
    followed = as_computed(followed, model.device)
    return {
        "adgan": __version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "device": model.device.type,
        "model": model.digest or model_digest(model),
        **{f"search {name}": value for name, value in to_dict(followed).items()},
        "detectors": ", ".join(joined_names(model, config)),
        **{f"reading {name}": value for name, value in asdict(model.preprocessing()).items()},
    }


def read_journal(folder: Path, expected: Mapping[str, Any]) -> Journal:
    """Read the entries of all processes in `folder`; none where there is no such folder.

    Raises ConfigError for a scoring_key that is not the expected one, ScoresError for a file that
    is not ours.
    """
    keys, contents, scores, z_scores = array("Q"), array("Q"), array("d"), array("d")
    widths, heights, modes = array("i"), array("i"), list[str]()
    interned: dict[str, str] = {}  # a mode is one of a few: a million times the same string
    detectors = len(list(filter(None, str(expected.get("detectors", "")).split(", "))))
    for path in _files(folder):
        for line in _lines(path, expected):
            parsed = _parse(line, detectors)
            if parsed is None:
                continue  # that image is scored again
            key, entry = parsed
            keys.append(key)
            contents.append(int.from_bytes(entry.content, "big"))
            scores.append(entry.score)
            widths.append(entry.width)
            heights.append(entry.height)
            modes.append(interned.setdefault(entry.mode, entry.mode))
            z_scores.extend(entry.z_scores)
    table = np.array(z_scores).reshape(len(keys), detectors)
    return Journal(np.array(keys), np.array(contents), scores, widths, heights, modes, table)


def clear_journal(folder: Path) -> None:
    """Remove the entries of all processes from `folder`, and nothing else that is there."""
    with writing(folder):
        for path in _files(folder):
            with open(path, "rb") as file:
                is_ours = file.read(len(_START)) in (_START, b"")
            if is_ours:
                path.unlink(missing_ok=True)


@contextmanager
def journal_writer(
    folder: Path, about: Mapping[str, Any], root: Path, process: int = 0
) -> Iterator[Append]:
    """Open a process's own file in `folder`; the yielded function appends an entry, at once.

    about: the scoring_key. root: of the listing. The stamp is the file's before it was read.
    """
    path, identity = folder / f"process-{process}.jsonl", _identity(root)
    with writing(path):
        folder.mkdir(exist_ok=True)
        has_header = _has_header(path)
        with open(path, "ab" if has_header else "wb", buffering=0) as file:
            # the last line of an earlier run may be torn, and stays alone
            file.write(b"\n" if has_header else _line({"journal": FORMAT, "about": about}))

            def append(item: ImageRef, stamp: FileStamp | None, entry: JournalEntry) -> None:
                if stamp is not None:  # gone by now, or nothing that has a time of change
                    key = f"{_key(identity, item, stamp):016x}"
                    file.write(_checked_line([key, entry.content.hex(), *entry[1:], item.name]))

            yield append


def stamp_of(item: ImageRef) -> FileStamp | None:
    """Return the size and time of change of an image's file, if it has them."""
    try:
        return item.stamp()
    except OSError:
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("process-*.jsonl")) if folder.is_dir() else []


def _lines(path: Path, expected: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the entries of a file, unparsed, once its header is checked."""
    try:
        with open(path, "rb") as file:
            header = file.readline()
            if header.endswith(b"\n"):  # torn before anything was scored otherwise
                _check_header(path, header, expected)
                yield from file
    except OSError as error:
        raise ScoresError(f"cannot read {path}: {error.strerror or error}") from error


def _check_header(path: Path, line: bytes, expected: Mapping[str, Any]) -> None:
    try:
        header = json.loads(line)
        about, version = dict(header["about"]), header["journal"]
    except (ValueError, KeyError, TypeError) as error:
        raise ScoresError(
            f"{path} is no journal of adgan; remove it, or choose another -o"
        ) from error
    if version != FORMAT:
        about, expected = {"journal format": version}, {"journal format": FORMAT}
    if difference := first_difference(about, expected):
        name, previous, current = difference
        raise ConfigError(
            f"{path.parent} was scored with {name} {previous}, this is {name} {current}; rows of "
            "two kinds are not mixed: leave out --resume to score all anew, or choose another -o"
        )


def _has_header(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False


def _parse(line: bytes, detectors: int) -> tuple[int, JournalEntry] | None:
    """Read the key and the entry of a line; None where it is torn, changed or of another shape."""
    try:
        body, _, checksum = line.rstrip(b"]\n").rpartition(b",")
        if int(checksum) != zlib.crc32(body):
            return None
        key, content, score, width, height, mode, z_scores, _ = json.loads(body + b"]")
        of_key, of_content = bytes.fromhex(key), bytes.fromhex(content)
        numbers = [float(score), *map(float, z_scores)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    has_shape = len(of_key) == len(of_content) == 8 and len(numbers) == 1 + detectors
    is_number = type(z_scores) is list and all(map(math.isfinite, numbers))
    is_size = all(type(side) is int and 0 <= side < 2**31 for side in (width, height))
    if not (has_shape and is_number and is_size and type(mode) is str):
        return None
    entry = JournalEntry(of_content, numbers[0], width, height, mode, tuple(numbers[1:]))
    return int.from_bytes(of_key, "big"), entry


def _checked_line(values: list[Any]) -> bytes:
    body = _line(values).removesuffix(b"]\n")
    return body + b",%d]\n" % zlib.crc32(body)


def _line(value: Any) -> bytes:
    # ASCII: names that are not UTF-8 come back as they are
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _identity(root: Path) -> bytes:
    return os.path.realpath(root).encode("utf-8", "surrogatepass")


def _key(root: bytes, item: ImageRef, stamp: FileStamp | None) -> int:
    """Hash root, name, size and time of change; 0 for a file that is gone."""
    if stamp is None:
        return 0
    size, changed = stamp
    name = item.name.encode("utf-8", "surrogatepass")
    joined = b"\0".join((root, name, b"%d" % size, b"%d" % changed))
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "little")


def _lookup(values: np.ndarray, order: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the index of each query among values, (R,), that `order` sorts, or -1: (M,) int64."""
    if not len(values):
        return np.full(len(queries), -1)
    position = np.searchsorted(values, queries, sorter=order)
    index = order[np.minimum(position, len(values) - 1)]
    return np.where(values[index] == queries, index, -1)
