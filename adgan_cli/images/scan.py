"""What is in a folder: every picture decoded once and counted, without a model."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adgan_cli.config import ReadConfig
from adgan_cli.errors import ImageError
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing
from adgan_cli.images.load import open_cache, read_in_order, scan_value_ranges
from adgan_cli.images.read import Preprocessing, Ranges


@dataclass(frozen=True)
class Scan:
    """Counts that add up: found = readable + unreadable, and each table sums to `readable`."""

    root: Path
    found: int
    readable: int
    formats: Mapping[str, int]  # Pillow's names, the most frequent first, as below
    modes: Mapping[str, int]  # as in the `mode` column
    sizes: Mapping[tuple[int, int], int]  # (width, height) as displayed
    ranges: Ranges  # of the values deeper than 8 bits
    unreadable: tuple[tuple[str, str], ...]  # (name, reason)
    duplicates: tuple[tuple[str, ...], ...]  # names of files with equal content, two or more each
    links: int  # symbolic links left alone


def scan(
    listing: Listing,
    size: int,
    *,
    workers: int,
    place: CacheConfig | None = None,
    on_picture: Callable[[int], None] | None = None,
    on_cache_disabled: Callable[[str], None] | None = None,
) -> Scan:
    """Decode everything in full and count it; `train` at the same size then finds it cached."""
    ranges = scan_value_ranges(listing.items, workers=workers)
    reading = ReadConfig()
    rules = Preprocessing(size, 3, reading.fit, reading.alpha, ranges)
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    same: dict[bytes, list[str]] = {}
    unreadable = list(listing.failures)
    with open_cache(place, listing.root, rules, len(listing.items)) as cache:
        pictures = read_in_order(listing.items, rules, workers=workers, cache=cache)
        for done, (item, picture) in enumerate(pictures, start=1):
            if isinstance(picture, ImageError):
                unreadable.append((item.name, str(picture)))
            else:
                formats[picture.format] += 1
                modes[picture.mode] += 1
                sizes[picture.width, picture.height] += 1
                same.setdefault(picture.fingerprint, []).append(item.name)
            if on_picture:
                on_picture(done)
        if cache is not None and cache.disabled_reason and on_cache_disabled:
            on_cache_disabled(cache.disabled_reason)
    return Scan(
        root=listing.root,
        found=listing.count,
        readable=sum(formats.values()),
        formats=dict(formats.most_common()),
        modes=dict(modes.most_common()),
        sizes=dict(sizes.most_common()),
        ranges=ranges,
        unreadable=tuple(unreadable),
        duplicates=tuple(tuple(names) for names in same.values() if len(names) > 1),
        links=listing.links,
    )
