"""Read images as a model needs them: once, or a second time for the features' backbone."""

from collections.abc import Iterable, Iterator
from itertools import tee
from pathlib import Path

import numpy as np

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ImageError
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader
from adgan_cli.images.refs import ImageRef

CHANGED = "it changed while it was read; score it again"

ReadTwice = tuple[ImageRef, DecodedImage | ImageError, np.ndarray | None]


def read_twice(
    model: Model,
    config: SearchConfig,
    items: Iterable[ImageRef],
    root: Path,
    *,
    expected: int,
    reader: Reader | None = None,
) -> Iterator[ReadTwice]:
    """Yield each image as the generator sees it, and its pixels (L, L, C) for the backbone.

    The latter are None where the settings need no backbone, or the image could not be read. items:
    of a listing with this root, `expected` of them; reader: its threads and its cache are used.
    """
    reader = (reader or Reader(model.preprocessing())).with_preprocessing(model.preprocessing())
    to_large = model.large_preprocessing() if config.by != "reconstruction" else None
    if to_large is None:
        for item, image in reader.read(items, root, expected=expected):
            yield item, image, None
        return
    first, second = tee(items)
    large = reader.with_preprocessing(to_large).read(second, root, expected=expected)
    for (item, image), (_, again) in zip(
        reader.read(first, root, expected=expected), large, strict=True
    ):
        yield item, *_same(image, again)


def _same(
    image: DecodedImage | ImageError, again: DecodedImage | ImageError
) -> tuple[DecodedImage | ImageError, np.ndarray | None]:
    """Give both sizes of an image; one that changed in between, or vanished, is none."""
    if isinstance(image, ImageError):
        return image, None
    if isinstance(again, ImageError):
        return again, None
    if image.fingerprint != again.fingerprint:
        return ImageError(CHANGED), None
    return image, again.pixels
