"""Count what is in a folder: every image decoded once, without a model."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adgan_cli.errors import ImageError
from adgan_cli.images.depth import Ranges
from adgan_cli.images.find import Listing
from adgan_cli.images.read import is_clear
from adgan_cli.images.reader import Reader
from adgan_cli.images.value_ranges import ValueRange
from adgan_cli.images.variety import one_coloured


@dataclass(frozen=True)
class Scan:
    """Counts that add up: total = readable + unreadable, and each table sums to `readable`."""

    root: Path
    total: int
    readable: int
    formats: Mapping[str, int]  # Pillow's names, the most frequent first, as below
    modes: Mapping[str, int]  # as in the `mode` column
    sizes: Mapping[tuple[int, int], int]  # (width, height) as displayed
    ranges: Ranges  # of the values deeper than 8 bits
    value_ranges: tuple[ValueRange, ...]  # the same with their warnings, where measured
    one_coloured: int  # readable ones that are one colour, as read; transparent ones among them
    clear: int  # fully transparent ones
    unreadable: tuple[tuple[str, str], ...]  # (name, reason)
    duplicates: tuple[tuple[str, ...], ...]  # names of files with equal content, two or more each
    links: int  # symbolic links left alone
    passed_over: Mapping[str, int]  # files that are no images, by extension; "" for none


def scan(
    listing: Listing, reader: Reader, *, on_progress: Callable[[int], None] | None = None
) -> Scan:
    """Decode everything in full and count it; `train` with the same reader then finds it cached."""
    reader, value_ranges = reader.with_ranges_of(listing.items)
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    same: dict[bytes, list[str]] = {}
    n_one_coloured = 0
    unreadable = list(listing.failures)
    reading = reader.read(listing.items, listing.root, expected=len(listing.items))
    for done, (item, image) in enumerate(reading, start=1):
        if isinstance(image, ImageError):
            unreadable.append((item.name, str(image)))
        else:
            formats[image.format] += 1
            modes[image.mode] += 1
            sizes[image.width, image.height] += 1
            n_one_coloured += bool(one_coloured(image.pixels))
            same.setdefault(image.fingerprint, []).append(item.name)
        if on_progress:
            on_progress(done)
    return Scan(
        root=listing.root,
        total=listing.count,
        readable=sum(formats.values()),
        formats=dict(formats.most_common()),
        modes=dict(modes.most_common()),
        sizes=dict(sizes.most_common()),
        ranges=reader.preprocessing.ranges,
        value_ranges=value_ranges,
        one_coloured=n_one_coloured,
        clear=sum(count for mode, count in modes.items() if is_clear(mode)),
        unreadable=tuple(unreadable),
        duplicates=tuple(tuple(names) for names in same.values() if len(names) > 1),
        links=listing.links,
        passed_over=listing.passed_over,
    )
