"""Keep decoded images: a run gets what earlier runs have put, and pays for what is new.

Under `<cache folder>/pixels` lie sets: the images below one root, read with one preprocessing
(cache_store.py); those not used for longest go when room is needed (cache_folder.py). The cache
costs time when it fails, never a wrong pixel and never the run: what SQLite or the file system
refuses disables it.
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
from adgan_cli.errors import ConfigError
from adgan_cli.images.cache_folder import SETS, bytes_in, make_room, remove
from adgan_cli.images.cache_store import FORMAT, ROW_BYTES, Store, open_store
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.refs import FileStamp, ImageRef
from adgan_cli.text import format_bytes

_BATCH_IMAGES = 256  # images are written when there are so many,
_BATCH_BYTES = 16 << 20  # or so large
_EMPTY_BYTES = 16 << 10  # what the index of an empty set takes


@dataclass(frozen=True)
class CacheConfig:
    """Where decoded images are kept, and how many bytes they may take there."""

    folder: Path
    limit: int
    map_above: int = 10**9  # bytes; larger sets stay in the cache's file, memory is quicker
    timeout: float = 60.0  # seconds to wait for another process that writes


def default_cache_folder() -> Path:
    """Name the folder to keep decoded images in: ADGAN_CACHE_DIR, else the platform's.

    Raises ConfigError for a user without a home, as containers have.
    """
    if named := os.environ.get("ADGAN_CACHE_DIR"):
        return Path(named)
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("adgan", appauthor=False)
    except (RuntimeError, KeyError):
        folder = Path("~")
    if not folder.is_absolute():  # as some versions of platformdirs have it: ~/.cache/adgan
        raise ConfigError("this user has no home folder; give --cache-dir, or set ADGAN_CACHE_DIR")
    return folder


class PixelCache:
    """The decoded images below `root`: for one thread, as a context manager.

    Nothing here raises: `disabled_reason` says why the cache is of no use, or no longer. It is
    disabled from the start if `expected` images do not fit into the limit.
    """

    def __init__(
        self, config: CacheConfig, root: Path, preprocessing: Preprocessing, *, expected: int
    ) -> None:
        self.disabled_reason = ""
        self._config = config
        self._shape = (preprocessing.size, preprocessing.size, preprocessing.channels)
        self._about = _about(root, preprocessing)
        self._folder = config.folder / SETS / blake2b(self._about, digest_size=16).hexdigest()
        self._store: Store | None = None
        self._waiting: dict[bytes, tuple[bytes, bytes, bytes]] = {}  # by name: not written yet
        needed = _EMPTY_BYTES + expected * (ROW_BYTES + math.prod(self._shape))
        if needed > config.limit:
            self.disabled_reason = (
                f"{expected:,} pictures need {format_bytes(needed)}, "
                f"the limit is {format_bytes(config.limit)} (--cache-limit)"
            )
            return
        with self._disable_on_error():
            self._open(needed)

    def __enter__(self) -> "PixelCache":
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was put and release the files; nothing is got or kept from here on."""
        self._flush()
        with self._disable_on_error():
            if self._store is not None:
                self._store.touch()
        self._release()

    def get(self, item: ImageRef) -> DecodedImage | None:
        """Return an image that was put, unless its file or what is kept of it has changed."""
        name = _key(item)
        if name in self._waiting:
            self._flush()
        if self._store is None:
            return None
        try:
            stamp = item.stamp()
        except OSError:
            return None
        with self._disable_on_error():
            row = self._store.find(name)
            if row is not None:
                size, mtime, width, height, mode, format, content = json.loads(row.facts)
                pixels = self._store.read(row) if (size, mtime) == stamp else None
                if pixels is not None:
                    pixels = pixels.reshape(self._shape)
                    return DecodedImage(pixels, width, height, mode, format, bytes.fromhex(content))
        return None

    def put(self, item: ImageRef, stamp: FileStamp, image: DecodedImage) -> None:
        """Keep an image; `stamp` is its file's, taken before it was read."""
        if self._store is None:
            return
        facts = [*stamp, image.width, image.height, image.mode, image.format]
        encoded = json.dumps([*facts, image.fingerprint.hex()]).encode()
        name = _key(item)
        self._waiting[name] = name, encoded, image.pixels.tobytes()
        held = len(self._waiting)
        if held >= _BATCH_IMAGES or held * image.pixels.nbytes >= _BATCH_BYTES:
            self._flush()

    def should_map(self, count: int) -> bool:
        """Tell whether so many images are better mapped from the cache than held in memory."""
        return not self.disabled_reason and count * math.prod(self._shape) > self._config.map_above

    def mapped(self, items: Sequence[ImageRef]) -> tuple[np.ndarray, np.ndarray] | None:
        """Map images that were got or put: pixels (slots, S, S, C) uint8, indices (N,) int64.

        Image i is pixels[indices[i]]. Only what is looked at takes memory, what is written there
        changes nothing on the disk, and it outlives the cache. None if the cache is disabled or
        misses one of them.
        """
        self._flush()
        if self._store is None:
            return None
        with self._disable_on_error():
            mapped = self._store.map(map(_key, items))
            return None if mapped is None else (mapped[0].reshape(-1, *self._shape), mapped[1])
        return None

    def _open(self, needed: int) -> None:
        own = bytes_in(self._folder)
        if own > self._config.limit:
            own -= remove(self._folder)
        self._reserve(max(needed, own))
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder.parent).free
        if needed - own > free:
            short = f"the pictures need {format_bytes(needed - own)}, {format_bytes(free)} are free"
            raise OSError(errno.ENOSPC, short)
        for _ in range(2):
            # others may not look at copies of images they may not look at
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._store = open_store(
                self._folder, self._about, math.prod(self._shape), timeout=self._config.timeout
            )
            if self._store is not None:
                self._store.touch()
                return
            remove(self._folder)
        raise OSError(errno.EIO, "what was just written cannot be read")

    def _flush(self) -> None:
        if self._store is not None and self._waiting:
            with self._disable_on_error():
                self._store.add(self._waiting.values(), self._reserve)
        self._waiting.clear()

    def _reserve(self, size: int) -> None:
        """Make room for the set to take so many bytes; raise _FullError above the limit."""
        if size > self._config.limit:
            limit = format_bytes(self._config.limit)
            raise _FullError(errno.EFBIG, f"full, the limit is {limit} (--cache-limit)")
        make_room(self._config.folder, self._config.limit - size, keep=self._folder)

    @contextmanager
    def _disable_on_error(self) -> Iterator[None]:
        """Disable the cache if SQLite or the file system refuses something within the block."""
        try:
            yield
        except sqlite3.ProgrammingError:  # another thread's: a bug of ours
            raise
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            if self._store is not None and not self._store.is_here():
                reason = "deleted while in use"
            self.disabled_reason = f"{self._config.folder}: {reason or error}"
            self._release()
            if isinstance(error, _FullError):
                # the next run begins without the slots of images that have changed or are gone
                with suppress(OSError):
                    remove(self._folder)

    def _release(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None
        self._waiting.clear()


class _FullError(OSError):
    """A set would outgrow the limit."""


def _about(root: Path, preprocessing: Preprocessing) -> bytes:
    """Describe the images of a set as canonical JSON; other images lie in other sets."""
    about = {
        "root": os.path.realpath(root),
        "rules": asdict(preprocessing),
        "cache": FORMAT,
        # these two stand for how files become pixels
        "adgan": __version__,
        "pillow": PIL.__version__,
    }
    return json.dumps(about, sort_keys=True).encode()


def _key(item: ImageRef) -> bytes:
    # names need not be Unicode: bytes that are not come as lone surrogates
    return item.name.encode("utf-8", "surrogatepass")
