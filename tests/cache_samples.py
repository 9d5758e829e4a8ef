"""Sets of small images to keep, and what must hold of a cache whatever has happened to it."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from adgan_cli.images.cache import CacheConfig, PixelCache
from adgan_cli.images.cache_folder import cached_sets
from adgan_cli.images.read import DecodedImage, Preprocessing, decode_image
from adgan_cli.images.refs import Folder, ImageRef

PREPROCESSING = Preprocessing(size=8, channels=3)
SLOT = 8 * 8 * 3
NEEDED = 16384 + 6 * (256 + SLOT)  # what 6 pictures ask for


def draw(folder: Path, count: int = 6, *, seed: int = 0) -> list[ImageRef]:
    """A folder of small pictures of noise, each different."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        noise = rng.integers(0, 256, (9, 10 + index % 3, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{index:04d}.bmp")
    return listed(folder)


def listed(folder: Path) -> list[ImageRef]:
    names = sorted(path.name for path in folder.iterdir())
    return [ImageRef(Folder(folder), name, name) for name in names]


@contextmanager
def opened(
    tmp_path: Path,
    items: Sequence[ImageRef],
    preprocessing: Preprocessing = PREPROCESSING,
    *,
    limit: int = 10**9,
    timeout: float = 60.0,
) -> Iterator[PixelCache]:
    config = CacheConfig(tmp_path / "cache", limit, timeout=timeout)
    root = items[0].container.path
    with PixelCache(config, root, preprocessing, expected=len(items)) as cache:
        yield cache


def fill(
    cache: PixelCache, items: Sequence[ImageRef], preprocessing: Preprocessing = PREPROCESSING
) -> int:
    """Get every picture, put those that are not there; how many had to be decoded."""
    decoded = 0
    for item in items:
        if cache.get(item) is None:
            cache.put(item, item.stamp(), decode_image(item, preprocessing))
            decoded += 1
    return decoded


def filled(tmp_path: Path, items: Sequence[ImageRef]) -> int:
    """Do so in a run of its own, in which nothing goes wrong."""
    with opened(tmp_path, items) as cache:
        decoded = fill(cache, items)
    assert cache.disabled_reason == ""
    return decoded


def assert_same(kept: DecodedImage, item: ImageRef) -> None:
    direct = decode_image(item, PREPROCESSING)
    np.testing.assert_array_equal(kept.pixels, direct.pixels)
    facts = ("width", "height", "mode", "format", "fingerprint")
    assert [getattr(kept, name) for name in facts] == [getattr(direct, name) for name in facts]


def assert_right(tmp_path: Path, items: Sequence[ImageRef], *, mappable: bool = True) -> int:
    """Whatever the cache still has is what decoding gives, alone and mapped; how much it had."""
    with opened(tmp_path, items) as cache:
        kept = [cache.get(item) for item in items]
        for item, picture in zip(items, kept, strict=True):
            if picture is not None:
                assert_same(picture, item)
        fill(cache, items)
        mapped = cache.mapped(items)
    assert cache.disabled_reason == ""
    assert mapped is not None or not mappable
    pixels, rows = mapped or ([], [])
    for item, row in zip(items, rows, strict=mappable):
        np.testing.assert_array_equal(pixels[row], decode_image(item, PREPROCESSING).pixels)
    return sum(picture is not None for picture in kept)


def the_set(tmp_path: Path) -> Path:
    (only,) = (tmp_path / "cache" / "pixels").iterdir()
    return only


def aged(tmp_path: Path, name: str, seconds: int) -> list[ImageRef]:
    """Pictures whose set was last used so many seconds ago."""
    items = draw(tmp_path / name)
    sets = tmp_path / "cache" / "pixels"
    before = set(sets.iterdir()) if sets.exists() else set()
    filled(tmp_path, items)
    (new,) = set(sets.iterdir()) - before
    used = time.time() - seconds
    os.utime(new / "pixels.bin", (used, used))
    return items


def roots(tmp_path: Path) -> list[str]:
    """The folders whose pictures are kept, the last used first."""
    return [Path(kept.root).name for kept in cached_sets(tmp_path / "cache")]


def taken(tmp_path: Path) -> int:
    return sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*") if p.is_file())
