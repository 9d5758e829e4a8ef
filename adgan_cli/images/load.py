"""Read many pictures: in threads, in order, out of the cache, and into one array."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress, islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from adgan_cli.config import ReadConfig
from adgan_cli.errors import ImageError, OutputError
from adgan_cli.images.cache import CacheConfig, PixelCache
from adgan_cli.images.find import Listing
from adgan_cli.images.read import DecodedImage, Preprocessing, Ranges, decode_image, value_range
from adgan_cli.images.sources import FileStamp, ImageRef

_AHEAD = 3  # pictures under way for each worker: enough to keep it busy, few enough to hold
_MOST_WORKERS = 8  # more threads than this wait for the disk and for Python
_MAPPED = 10**9  # bytes; larger sets stay in the cache's file, smaller ones are quicker in memory

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class PixelSet:
    """The pictures of a set that could be read, and the (name, reason) of those that could not.

    Picture i is `pixels[rows[i]]`: a large set is a memory map of the cache, in the cache's order.
    """

    pixels: np.ndarray  # (M, H, W, C) uint8
    names: tuple[str, ...]  # N of them
    failures: tuple[tuple[str, str], ...]
    rows: np.ndarray | None = None  # (N,) int64; None: in order, and M = N
    fingerprints: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))  # (N,)
    ranges: Ranges = ()  # of the values deeper than 8 bits that these pictures hold

    def __len__(self) -> int:
        return len(self.names)

    def take(self, index: slice) -> np.ndarray:
        """Some of the pictures: (n, H, W, C)."""
        return self.pixels[index if self.rows is None else self.rows[index]]

    def subset(self, which: np.ndarray) -> "PixelSet":
        """Some of the pictures, which: (N,) bool; no copy. Failures stay with the whole set."""
        return PixelSet(
            self.pixels,
            tuple(compress(self.names, which.tolist())),
            (),
            np.flatnonzero(which) if self.rows is None else self.rows[which],
            self.fingerprints[which] if len(self.fingerprints) else self.fingerprints,
            self.ranges,
        )

    @cached_property
    def digest(self) -> str:
        """Of shape and pixels: equal sets in equal order have equal digests."""
        shape = (len(self), *self.pixels.shape[1:])
        hasher = hashlib.blake2b(repr(shape).encode(), digest_size=16)
        for start in range(0, len(self), 1024):  # a set may be larger than memory
            hasher.update(np.ascontiguousarray(self.take(slice(start, start + 1024))).data)
        return hasher.hexdigest()


def read_in_order(
    found: Iterable[ImageRef],
    rules: Preprocessing,
    *,
    workers: int,
    cache: PixelCache | None = None,
) -> Iterator[tuple[ImageRef, DecodedImage | ImageError]]:
    """Read files in threads and yield each with its picture, or why it has none, in input order.

    Reads only a few pictures ahead. Closing the iterator stops the threads after the pictures
    they are on.
    """

    def known(item: ImageRef) -> tuple[DecodedImage, None] | None:
        kept = cache.get(item) if cache else None
        return None if kept is None else (kept, None)

    def read(item: ImageRef) -> tuple[DecodedImage | ImageError, FileStamp | None]:
        return _read(item, rules)

    with closing(_in_threads(found, read, workers=workers, known=known)) as reading:
        for item, (result, stamp) in reading:
            if cache and stamp and isinstance(result, DecodedImage):
                cache.put(item, stamp, result)
            yield item, result


def load_pixels(
    listing: Listing,
    size: int,
    channels: int | None,
    config: ReadConfig,
    *,
    workers: int,
    place: CacheConfig | None = None,
    on_picture: Callable[[int], None] | None = None,
    on_cache_disabled: Callable[[str], None] | None = None,
) -> PixelSet:
    """Decode every file once into one array: (N, size, size, channels) for the N that could be.

    `channels=None` decides: 1 if every picture is grey (R = G = B everywhere), else 3.
    `on_picture` hears how many files are done, the failed ones among them; `on_cache_disabled` why
    the cache is of no use. Raises OutputError when a set too large for memory does not fit in it.
    """
    found = listing.items
    ranges = scan_value_ranges(found, workers=workers)
    rules = Preprocessing(size, channels or 3, config.fit, config.alpha, ranges)
    names: list[str] = []
    fingerprints = bytearray()
    failures: list[tuple[str, str]] = list(listing.failures)
    all_grey = channels is None
    with open_cache(place, listing.root, rules, len(found)) as cache:
        room = len(found) * size * size * rules.channels
        mapped = cache is not None and not cache.disabled_reason and room > _MAPPED
        pixels = np.empty((0 if mapped else len(found), size, size, rules.channels), np.uint8)
        reading = read_in_order(found, rules, workers=workers, cache=cache)
        for done, (item, result) in enumerate(reading, start=1):
            if isinstance(result, ImageError):
                failures.append((item.name, str(result)))
            else:
                if not mapped:
                    pixels[len(names)] = result.pixels
                names.append(item.name)
                fingerprints += result.fingerprint
                all_grey = all_grey and _is_grey(result.pixels)
            if on_picture:
                on_picture(done)
        rows = None
        if mapped and cache is not None:
            pixels, rows = _from_cache(cache, found, names)
        if cache is not None and cache.disabled_reason and on_cache_disabled:
            on_cache_disabled(cache.disabled_reason)
    if mapped:
        pixels = pixels[..., :1] if all_grey else pixels
    elif all_grey and names:
        pixels = _first_channel(pixels, len(names))
    else:
        _shrink(pixels, (len(names), *pixels.shape[1:]))
    return PixelSet(
        pixels,
        tuple(names),
        tuple(failures),
        rows,
        np.frombuffer(bytes(fingerprints), "<u8"),
        ranges,
    )


def scan_value_ranges(found: Sequence[ImageRef], *, workers: int) -> Ranges:
    """The least and the greatest value of each kind of pictures deeper than 8 bits in a set.

    What cannot be read is passed over here; reading it says why.
    """

    def ranged(item: ImageRef) -> tuple[str, float, float] | None:
        try:
            return value_range(item)
        except ImageError:
            return None

    ends: dict[str, tuple[float, float]] = {}
    for _, told in _in_threads(found, ranged, workers=workers):
        if told is not None:
            kind, least, greatest = told
            low, high = ends.get(kind, (least, greatest))
            ends[kind] = min(low, least), max(high, greatest)
    return tuple((kind, *ends[kind]) for kind in sorted(ends) if ends[kind][0] < ends[kind][1])


def open_cache(
    place: CacheConfig | None, root: Path, rules: Preprocessing, expected: int
) -> "PixelCache | nullcontext[None]":
    """The cache at `place` for the pictures below `root`, or none: for a `with` statement."""
    return nullcontext() if place is None else PixelCache(place, root, rules, expected=expected)


def default_workers() -> int:
    """Count the cores this process may use, at most 8; torchrun's on one machine share them."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, min(_MOST_WORKERS, cores // sharing))


def _in_threads(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    workers: int,
    known: Callable[[Item], Result | None] = lambda item: None,
) -> Generator[tuple[Item, Result], None, None]:
    """Yield every item with what `known` says here, or else `work` in a thread, in input order."""
    workers = max(1, workers)
    source = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="adgan-read")
    pending: deque[tuple[Item, Future[Result]]] = deque()

    def begin(item: Item) -> Future[Result]:
        result = known(item)
        if result is None:
            return pool.submit(work, item)
        done: Future[Result] = Future()
        done.set_result(result)
        return done

    def refill(number: int) -> None:
        pending.extend((item, begin(item)) for item in islice(source, number))

    try:
        refill(workers * _AHEAD)
        while pending:
            item, future = pending.popleft()
            result = future.result()
            refill(1)
            yield item, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(
    item: ImageRef, rules: Preprocessing
) -> tuple[DecodedImage | ImageError, FileStamp | None]:
    stamp = None
    try:
        stamp = item.stamp()  # before it is read: a change in between shows the next time
    except OSError:
        pass  # reading it says why
    try:
        return decode_image(item, rules), stamp
    except ImageError as error:
        # a new one: the traceback of the old keeps the half-decoded picture alive
        return ImageError(str(error)), None


def _from_cache(
    cache: PixelCache, found: Sequence[ImageRef], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    readable = set(names)
    mapped = cache.mapped([item for item in found if item.name in readable])
    if mapped is None:
        raise OutputError(
            f"these pictures fit only into the cache, and that failed: {cache.disabled_reason}; "
            "free space, raise --cache-limit, or hold them in memory with --no-cache"
        )
    return mapped


def _is_grey(pixels: np.ndarray) -> bool:
    red = pixels[..., :1]  # (H, W, 1)
    return bool((pixels == red).all())


def _first_channel(pixels: np.ndarray, number: int) -> np.ndarray:
    """Reduce (N, H, W, 3) to its first `number` pictures' first channel, without a second array."""
    _, height, width, _ = pixels.shape
    flat = pixels.reshape(-1)
    area = height * width
    for index in range(number):
        # each lands at or before the place it comes from, so nothing unread is overwritten
        flat[index * area : (index + 1) * area] = pixels[index, ..., 0].reshape(-1)
    del flat
    _shrink(pixels, (number, height, width, 1))
    return pixels


def _shrink(pixels: np.ndarray, shape: tuple[int, ...]) -> None:
    # in place: gives the memory behind the last picture back, with no copy of the rest
    pixels.resize(shape, refcheck=False)
