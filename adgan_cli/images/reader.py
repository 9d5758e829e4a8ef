"""Read many images: each as the preprocessing says, in threads, in order, through the cache."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from adgan_cli.errors import ImageError
from adgan_cli.images.cache import CacheConfig, PixelCache
from adgan_cli.images.depth import ValueSpan
from adgan_cli.images.read import DecodedImage, Preprocessing, decode_image, deep_values
from adgan_cli.images.refs import FileStamp, ImageRef
from adgan_cli.images.value_ranges import ValueRange, find_ranges, ranges_of

_AHEAD = 3  # images under way for each worker: enough to keep it busy, few enough to hold
_MAX_WORKERS = 8  # more threads than this wait for the disk and for Python

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Reader:
    """How images become pixels: what is done to each, by how many threads, and what is cached."""

    preprocessing: Preprocessing
    workers: int | None = None  # threads; None: one a core, at most 8
    cache: CacheConfig | None = None  # None: nothing decoded is kept
    on_cache_disabled: Callable[[str], None] | None = None  # is given the reason

    def read(
        self, items: Iterable[ImageRef], root: Path, *, expected: int
    ) -> Iterator[tuple[ImageRef, DecodedImage | ImageError]]:
        """Yield each image with its pixels, or why it has none, in the order of `items`.

        root: of the listing that they come from, which names the set in the cache; expected: how
        many there are, for the cache to make room. Reads only a few images ahead. Closing the
        iterator stops the threads after the images they are on.
        """
        with self.open_cache(root, expected) as cache:
            yield from self.read_through(cache, items)

    @contextmanager
    def open_cache(self, root: Path, expected: int) -> Iterator[PixelCache | None]:
        """Open the cache of the images below `root`, or none; report at the end if it failed."""
        if self.cache is None:
            yield None
            return
        with PixelCache(self.cache, root, self.preprocessing, expected=expected) as cache:
            yield cache
            if cache.disabled_reason and self.on_cache_disabled:
                self.on_cache_disabled(cache.disabled_reason)

    def read_through(
        self, cache: PixelCache | None, items: Iterable[ImageRef]
    ) -> Iterator[tuple[ImageRef, DecodedImage | ImageError]]:
        """Read as `read` does, through a cache that is open."""

        def read(item: ImageRef) -> tuple[DecodedImage | ImageError, FileStamp | None]:
            return _decode_stamped(item, self.preprocessing)

        def cached(item: ImageRef) -> tuple[DecodedImage, None] | None:
            image = cache.get(item) if cache else None
            return None if image is None else (image, None)

        with closing(_in_threads(items, read, workers=self.threads, cached=cached)) as reading:
            for item, (result, stamp) in reading:
                if cache and stamp and isinstance(result, DecodedImage):
                    cache.put(item, stamp, result)
                yield item, result

    @property
    def threads(self) -> int:
        return self.workers or _default_workers()

    def with_preprocessing(self, preprocessing: Preprocessing) -> "Reader":
        """Read the same way for another model."""
        return replace(self, preprocessing=preprocessing)

    def with_ranges_of(self, items: Sequence[ImageRef]) -> "tuple[Reader, tuple[ValueRange, ...]]":
        """Scale what is deeper than 8 bits by the ranges that it has in these images.

        Gives these ranges too; none, and the reader as it is, where it has ranges already.
        """
        if self.preprocessing.ranges:
            return self, ()
        measured = scan_value_ranges(items, workers=self.threads)
        preprocessing = replace(self.preprocessing, ranges=ranges_of(measured))
        return self.with_preprocessing(preprocessing), measured


def scan_value_ranges(items: Iterable[ImageRef], *, workers: int) -> tuple[ValueRange, ...]:
    """Find the range of each kind of images deeper than 8 bits; pass over what cannot be read."""

    def values_of(item: ImageRef) -> tuple[str, ValueSpan] | None:
        try:
            return deep_values(item)
        except ImageError:
            return None

    with closing(_in_threads(items, values_of, workers=workers)) as scanned:
        return find_ranges((item.name, *of_image) for item, of_image in scanned if of_image)


def _in_threads(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    workers: int,
    cached: Callable[[Item], Result | None] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Yield every item, in order, with what `cached` has of it or else `work` does in a thread."""
    source = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="adgan-read")
    pending: deque[tuple[Item, Future[Result]]] = deque()

    def begin(item: Item) -> Future[Result]:
        result = cached(item) if cached else None
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


def _decode_stamped(
    item: ImageRef, preprocessing: Preprocessing
) -> tuple[DecodedImage | ImageError, FileStamp | None]:
    stamp = None
    try:
        stamp = item.stamp()  # before it is read: a change in between shows the next time
    except OSError:
        pass  # reading it says why
    try:
        return decode_image(item, preprocessing), stamp
    except ImageError as error:
        # a new one: the traceback of the old keeps the half-decoded image alive
        return ImageError(str(error)), None


def _default_workers() -> int:
    """Count the cores this process may use, at most 8; torchrun's on one machine share them."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, min(_MAX_WORKERS, cores // sharing))
