"""Pictures decoded once: a run gets what earlier runs have put, and pays for what is new.

Under `<cache folder>/pixels` lie sets: the pictures below one root, read by one set of rules
(cache_store.py); those not used for longest go when room is needed (cache_folder.py). The cache
costs time when it fails, never a wrong pixel and never the run: what SQLite or the file system
refuses turns it off.
"""

import errno
import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import PIL

from adgan_cli import __version__
from adgan_cli.images.cache_folder import SETS, bytes_in, make_room, remove
from adgan_cli.images.cache_store import FORMAT, Entry, Store, open_store
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.refs import FileStamp, ImageRef
from adgan_cli.text import format_bytes

_BATCH, _BATCH_BYTES = 256, 16 << 20  # pictures are written when there are so many, or so large
_EMPTY_BYTES, _ROW_BYTES = 16 << 10, 256  # what an index and each of its rows take, at most


class _Full(OSError):
    """A set would outgrow the limit."""


@dataclass(frozen=True)
class CacheConfig:
    """Where decoded pictures are kept, and how many bytes they may take there."""

    folder: Path
    limit: int
    map_above: int = 10**9  # bytes; larger sets stay in the cache's file, memory is quicker
    timeout: float = 60.0  # seconds to wait for another process that writes


def default_cache_folder() -> Path:
    """Name the folder to keep decoded pictures in: ADGAN_CACHE_DIR, else the platform's."""
    if named := os.environ.get("ADGAN_CACHE_DIR"):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("adgan", appauthor=False)


class PixelCache:
    """The decoded pictures below `root`, read by `rules`: for one thread, as a context manager.

    Nothing here raises: `off` says why the cache is of no use, or no longer. It is off from the
    start if `expected` pictures do not fit into the place's limit.
    """

    def __init__(
        self, place: CacheConfig, root: Path, rules: Preprocessing, *, expected: int
    ) -> None:
        self.disabled_reason = ""
        self._place = place
        self._shape = (rules.size, rules.size, rules.channels)
        self._about = _about(root, rules)
        self._folder = place.folder / SETS / blake2b(self._about, digest_size=16).hexdigest()
        self._store: Store | None = None
        self._waiting: dict[bytes, tuple[Entry, bytes]] = {}  # name -> what is not written yet
        self._room = _EMPTY_BYTES + expected * (_ROW_BYTES + rules.size**2 * rules.channels)
        if self._room > place.limit:
            self.disabled_reason = (
                f"{expected:,} pictures need {format_bytes(self._room)}, "
                f"the limit is {format_bytes(place.limit)} (--cache-limit)"
            )
            return
        with self._or_off():
            self._open()

    def __enter__(self) -> "PixelCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, found: ImageRef) -> DecodedImage | None:
        """Return a picture that was put, unless its file or what is kept of it has changed."""
        name = _key(found)
        if name in self._waiting:
            self._flush()
        if self._store is None:
            return None
        try:
            stamp = _kept(found.stamp())
        except OSError:
            return None
        with self._or_off():
            entry = self._store.find(name)
            if entry is not None and (entry.size, entry.mtime_ns) == stamp:
                pixels = self._store.read(entry)
                if pixels is not None:
                    return _picture(entry, pixels.reshape(self._shape))
        return None

    def put(self, found: ImageRef, stamp: FileStamp, picture: DecodedImage) -> None:
        """Keep a picture; `stamp` is its file's, taken before it was read."""
        if self._store is None:
            return
        entry, pixels = _entry(_key(found), _kept(stamp), picture), picture.pixels.tobytes()
        self._waiting[entry.name] = entry, pixels
        held = len(self._waiting)
        if held >= _BATCH or held * len(pixels) >= _BATCH_BYTES:
            self._flush()

    def should_map(self, count: int) -> bool:
        """Tell whether so many images are better mapped from the cache than held in memory."""
        return not self.disabled_reason and count * math.prod(self._shape) > self._place.map_above

    def mapped(self, found: Sequence[ImageRef]) -> tuple[np.ndarray, np.ndarray] | None:
        """Map pictures that were got or put: pixels (slots, S, S, C) uint8, rows (N,) int64.

        Picture i is pixels[rows[i]]. Only what is looked at takes memory, what is written there
        changes nothing on the disk, and it outlives the cache. None if the cache is off or misses
        one of them.
        """
        self._flush()
        if self._store is None:
            return None
        with self._or_off():
            rows = self._store.slots_of(map(_key, found), len(found))
            pixels = self._store.map()  # (slots, S * S * C)
            if rows is None or (rows >= len(pixels)).any():
                return None
            return pixels.reshape(-1, *self._shape), rows
        return None

    def close(self) -> None:
        """Write what was put and let go of the files; nothing is got or kept from here on."""
        self._flush()
        with self._or_off():
            if self._store is not None:
                self._store.touch()
        self._let_go()

    def _open(self) -> None:
        needed, own = self._room, bytes_in(self._folder)
        if own > self._place.limit:
            own -= remove(self._folder)
        self._room = max(needed, own)
        make_room(self._place.folder, self._place.limit - self._room, keep=self._folder)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            # others may not look at copies of pictures they may not look at
            self._folder.mkdir(mode=0o700, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
            if needed - own > free:
                short = (
                    f"the pictures need {format_bytes(needed - own)}, {format_bytes(free)} are free"
                )
                raise OSError(errno.ENOSPC, short)
            self._store = open_store(
                self._folder, self._about, self._shape, timeout=self._place.timeout
            )
            if self._store is not None:
                self._store.touch()
                return
            own -= remove(self._folder)
        raise OSError(errno.EIO, "what was just written cannot be read")

    def _flush(self) -> None:
        if self._store is None or not self._waiting:
            return
        with self._or_off():
            self._store.add(list(self._waiting.values()), self._reserve)
        self._waiting.clear()

    def _reserve(self, bytes_: int, new: int) -> None:
        """Make room for a set of so many bytes and new rows; raise _Full above the limit."""
        bytes_ += new * _ROW_BYTES
        if bytes_ > self._place.limit:
            raise _Full(
                errno.EFBIG, f"full, the limit is {format_bytes(self._place.limit)} (--cache-limit)"
            )
        if bytes_ > self._room:
            self._room = bytes_
            make_room(self._place.folder, self._place.limit - bytes_, keep=self._folder)

    @contextmanager
    def _or_off(self) -> Iterator[None]:
        """Within the block SQLite and the file system may refuse: then the cache is off."""
        try:
            yield
        except sqlite3.ProgrammingError:  # another thread's: a bug of ours
            raise
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            if self._store is not None and not self._store.is_here():
                reason = "deleted while in use"
            self.disabled_reason = f"{self._place.folder}: {reason or error}"
            self._let_go()
            if isinstance(error, _Full):
                # the next run begins without the slots of pictures that have changed or are gone
                with suppress(OSError):
                    remove(self._folder)

    def _let_go(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None
        self._waiting.clear()


def _about(root: Path, rules: Preprocessing) -> bytes:
    """Say what a set is of, canonically; sets that differ in any of it lie apart."""
    about = {
        "root": os.path.realpath(root),
        "rules": asdict(rules),
        "cache": FORMAT,
        # these two stand for how files become pixels
        "adgan": __version__,
        "pillow": PIL.__version__,
    }
    return json.dumps(about, sort_keys=True).encode()


def _entry(name: bytes, stamp: FileStamp, picture: DecodedImage) -> Entry:
    return Entry(
        name,
        *stamp,
        width=picture.width,
        height=picture.height,
        mode=picture.mode.encode(),
        format=picture.format.encode(),
        fingerprint=picture.fingerprint,
    )


def _picture(entry: Entry, pixels: np.ndarray) -> DecodedImage:
    return DecodedImage(
        pixels,
        width=entry.width,
        height=entry.height,
        mode=entry.mode.decode(),
        format=entry.format.decode(),
        fingerprint=entry.fingerprint,
    )


def _key(found: ImageRef) -> bytes:
    # names need not be Unicode: bytes that are not come as lone surrogates
    return found.name.encode("utf-8", "surrogatepass")


def _kept(stamp: FileStamp) -> tuple[int, int]:
    # a file may claim a time in 2300, which SQLite's integers do not reach
    return stamp[0], stamp[1] % 2**63
