"""Load a whole set of images into one array: in memory, or mapped from the cache's file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress

import numpy as np

from adgan_cli.errors import ImageError, OutputError
from adgan_cli.images.cache import PixelCache
from adgan_cli.images.depth import Ranges
from adgan_cli.images.find import Listing
from adgan_cli.images.read import is_clear
from adgan_cli.images.reader import Reader
from adgan_cli.images.refs import ImageRef
from adgan_cli.images.value_ranges import ValueRange


@dataclass(frozen=True, eq=False)
class PixelSet:
    """The images of a set that could be read, and the (name, reason) of those that could not.

    Image i is `pixels[indices[i]]`: a large set is a memory map of the cache, in its order.
    """

    pixels: np.ndarray  # (M, H, W, C) uint8
    names: tuple[str, ...]  # N of them
    failures: tuple[tuple[str, str], ...]
    indices: np.ndarray | None = None  # (N,) int64; None: in order, and M = N
    fingerprints: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))  # (N,)
    ranges: Ranges = ()  # of the values deeper than 8 bits that these images hold
    value_ranges: tuple[ValueRange, ...] = ()  # the same with their warnings, where measured
    # (N,) bool: which are fully transparent
    clear: np.ndarray = field(default_factory=lambda: np.empty(0, bool))

    def __len__(self) -> int:
        return len(self.names)

    def take(self, index: slice | np.ndarray) -> np.ndarray:
        """Get some of the images, by a slice or by indices (n,): (n, H, W, C)."""
        return self.pixels[index if self.indices is None else self.indices[index]]

    def subset(self, selected: np.ndarray) -> "PixelSet":
        """Select some of the images, (N,) bool, without a copy; failures are not among them."""
        return PixelSet(
            self.pixels,
            tuple(compress(self.names, selected.tolist())),
            (),
            np.flatnonzero(selected) if self.indices is None else self.indices[selected],
            self.fingerprints[selected] if len(self.fingerprints) else self.fingerprints,
            self.ranges,
            self.value_ranges,
            self.clear[selected] if len(self.clear) else self.clear,
        )

    def count_copies(self) -> int:
        """Count the images whose files are exact copies of others' before them."""
        return len(self.fingerprints) - len(np.unique(self.fingerprints))

    @cached_property
    def digest(self) -> str:
        """Hash shape and pixels: equal sets in equal order have equal digests."""
        shape = (len(self), *self.pixels.shape[1:])
        hasher = hashlib.blake2b(repr(shape).encode(), digest_size=16)
        for start in range(0, len(self), 1024):  # a set may be larger than memory
            hasher.update(np.ascontiguousarray(self.take(slice(start, start + 1024))).data)
        return hasher.hexdigest()


def load_pixels(
    listing: Listing,
    reader: Reader,
    *,
    detect_grey: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> PixelSet:
    """Decode every image of a listing into one array (N, H, W, C), for the N that can be read.

    Values deeper than 8 bits are scaled by the reader's ranges, else by those of this listing.
    detect_grey: keep only one channel of three if every image is grey (R = G = B everywhere).
    on_progress is given how many images are done, the failed ones among them. Raises OutputError
    when a set too large for memory does not fit in the cache.
    """
    items = listing.items
    reader, value_ranges = reader.with_ranges_of(items)
    preprocessing = reader.preprocessing
    shape = (preprocessing.size, preprocessing.size, preprocessing.channels)
    read: list[ImageRef] = []
    fingerprints = bytearray()
    failures = list(listing.failures)
    all_grey = detect_grey
    clear = bytearray()
    with reader.open_cache(listing.root, len(items)) as cache:
        mapped = cache is not None and cache.should_map(len(items))
        pixels = np.empty((0 if mapped else len(items), *shape), np.uint8)
        for done, (item, result) in enumerate(reader.read_through(cache, items), start=1):
            if isinstance(result, ImageError):
                failures.append((item.name, str(result)))
            else:
                if not mapped:
                    pixels[len(read)] = result.pixels
                read.append(item)
                fingerprints += result.fingerprint
                clear.append(is_clear(result.mode))
                all_grey = all_grey and bool((result.pixels == result.pixels[..., :1]).all())
            if on_progress:
                on_progress(done)
        indices = None
        if mapped and cache is not None:
            pixels, indices = _map_cached(cache, read)
            pixels = pixels[..., :1] if all_grey else pixels
        else:
            _shrink(pixels, len(read), grey=all_grey)
    return PixelSet(
        pixels,
        tuple(item.name for item in read),
        tuple(failures),
        indices,
        np.frombuffer(bytes(fingerprints), "<u8"),
        preprocessing.ranges,
        value_ranges,
        np.frombuffer(bytes(clear), bool),
    )


def _map_cached(cache: PixelCache, items: Sequence[ImageRef]) -> tuple[np.ndarray, np.ndarray]:
    mapped = cache.mapped(items)
    if mapped is None:
        raise OutputError(
            f"these pictures fit only into the cache, and that failed: {cache.disabled_reason}; "
            "free space, raise --cache-limit, or hold them in memory with --no-cache"
        )
    return mapped


def _shrink(pixels: np.ndarray, number: int, *, grey: bool) -> None:
    """Reduce (M, H, W, C) in place to `number` images, and to one channel if grey."""
    _, height, width, channels = pixels.shape
    if grey and number:
        channels = 1
        flat = pixels.reshape(-1)
        area = height * width
        for index in range(number):
            # each lands at or before where it comes from, so nothing unread is overwritten
            flat[index * area : (index + 1) * area] = pixels[index, ..., 0].reshape(-1)
        del flat
    pixels.resize((number, height, width, channels), refcheck=False)
