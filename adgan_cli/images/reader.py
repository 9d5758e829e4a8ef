"""Read images one after another: by the model's rules, in threads, through the cache."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from adgan_cli.errors import ImageError
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.load import default_workers, open_cache, read_in_order
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.sources import ImageRef


@dataclass(frozen=True)
class Reader:
    """How images become pixels: what is done to each, by how many threads, and what is cached."""

    preprocessing: Preprocessing
    workers: int | None = None  # threads; None: one a core, at most 8
    cache: CacheConfig | None = None  # None: nothing decoded is kept
    on_cache_disabled: Callable[[str], None] = lambda reason: None

    def read(
        self, items: Iterable[ImageRef], root: Path, *, expected: int
    ) -> Iterator[tuple[ImageRef, DecodedImage | ImageError]]:
        """Yield each image with its pixels, or why it has none, in the order of `items`.

        root: of the listing that they come from, which names the set in the cache; expected: how
        many there are, for the cache to find room.
        """
        workers = self.workers or default_workers()
        with open_cache(self.cache, root, self.preprocessing, expected) as cache:
            yield from read_in_order(items, self.preprocessing, workers=workers, cache=cache)
            if cache is not None and cache.disabled_reason:
                self.on_cache_disabled(cache.disabled_reason)

    def with_preprocessing(self, preprocessing: Preprocessing) -> "Reader":
        """Read the same way for another model."""
        return replace(self, preprocessing=preprocessing)
