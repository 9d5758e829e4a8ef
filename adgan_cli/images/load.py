"""Read many pictures: in threads, in order, and into one array."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from adgan_cli.errors import ImageError
from adgan_cli.images.find import Found
from adgan_cli.images.read import Picture, read_picture

_AHEAD = 3  # pictures under way for each worker: enough to keep it busy, few enough to hold
_MOST_WORKERS = 8  # more threads than this wait for the disk and for Python


@dataclass(frozen=True, eq=False)
class PixelSet:
    """The pictures of a set that could be read, and the (name, reason) of those that could not."""

    pixels: np.ndarray  # (N, H, W, C) uint8
    names: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]

    def digest(self) -> str:
        """Fingerprint shape and pixels: equal sets in equal order have equal digests."""
        hasher = hashlib.blake2b(repr(self.pixels.shape).encode(), digest_size=16)
        hasher.update(np.ascontiguousarray(self.pixels).reshape(-1).data)
        return hasher.hexdigest()


def read_in_order(
    found: Iterable[Found], size: int, channels: int, *, workers: int
) -> Iterator[tuple[Found, Picture | ImageError]]:
    """Read files in threads and yield each with its picture, or why it has none, in input order.

    Reads only a few pictures ahead. Closing the iterator stops the threads after the pictures
    they are on.
    """
    workers = max(1, workers)
    source = iter(found)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="adgan-read")
    try:
        pending: deque[tuple[Found, Future[Picture | ImageError]]] = deque()

        def refill(number: int) -> None:
            for item in islice(source, number):
                pending.append((item, pool.submit(_read, item, size, channels)))

        refill(workers * _AHEAD)
        while pending:
            item, future = pending.popleft()
            result = future.result()
            refill(1)
            yield item, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def load_pixels(
    found: Sequence[Found],
    size: int,
    channels: int | None,
    *,
    workers: int,
    on_picture: Callable[[int], None] | None = None,
) -> PixelSet:
    """Decode every file once into one array: (N, size, size, channels) for the N that could be.

    `channels=None` decides: 1 if every picture is grey (R = G = B everywhere), else 3.
    `on_picture` hears how many files are done, the failed ones among them.
    """
    pixels = np.empty((len(found), size, size, channels or 3), np.uint8)  # (N, H, W, C)
    names: list[str] = []
    failures: list[tuple[str, str]] = []
    all_grey = channels is None
    reading = read_in_order(found, size, channels or 3, workers=workers)
    for done, (item, result) in enumerate(reading, start=1):
        if isinstance(result, ImageError):
            failures.append((item.name, str(result)))
        else:
            pixels[len(names)] = result.pixels
            names.append(item.name)
            all_grey = all_grey and _is_grey(result.pixels)
        if on_picture is not None:
            on_picture(done)
    if all_grey and names:
        return PixelSet(_first_channel(pixels, len(names)), tuple(names), tuple(failures))
    _shrink(pixels, (len(names), *pixels.shape[1:]))
    return PixelSet(pixels, tuple(names), tuple(failures))


def default_workers() -> int:
    """Count the cores this process may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(_MOST_WORKERS, cores)


def _read(item: Found, size: int, channels: int) -> Picture | ImageError:
    try:
        return read_picture(item.path, size, channels)
    except ImageError as error:
        # a new one: the traceback of the old keeps the half-decoded picture alive
        return ImageError(str(error))


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
