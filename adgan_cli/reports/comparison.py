"""What explanations are drawn from: what the model would have drawn, and what training has alike.

Letters in the shapes: N images, S size, C channels, n neighbours, s size of their small copies.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.features.ensemble import FeatureModel, side_by_side
from adgan_cli.engine.features.references import anomaly_map, reference_distances
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import Neighbours, nearest, nearest_others, read_neighbours
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.images.find import locator
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.rows import ScoreRow

NEIGHBOURS = 3  # training images beside each
_BATCH = 8  # images at once where nothing is searched for


@dataclass(frozen=True, eq=False)
class Comparison:
    """A scored image as the model saw it, and what it is shown beside."""

    row: ScoreRow
    pixels: np.ndarray  # (S, S, C) uint8
    generated: np.ndarray | None = None  # the same, the nearest that the search came to
    anomaly_map: np.ndarray | None = None  # (h, w), the larger, the less training has the like
    neighbours: np.ndarray | None = None  # (n, s, s, C) uint8, training images, the nearest first


@dataclass(frozen=True, eq=False)
class SeenImage:
    """A scored image as the model and its backbone see it."""

    row: ScoreRow
    pixels: np.ndarray  # (S, S, C) uint8
    large: np.ndarray | None  # (L, L, C) uint8; None without a backbone


def compare(
    model: Model,
    rows: Iterable[ScoreRow],
    root: Path,
    config: SearchConfig | None = None,
    *,
    reader: Reader | None = None,
    batch_size: int | None = None,
) -> Iterator[Comparison]:
    """Search again for the images of some rows, whose paths are relative to `root`.

    By the settings that scored them it comes to the same: a search depends on its image alone. An
    image that can no longer be read is left out. A model without a generator searches for nothing.
    reader: its threads and cache are used.
    """
    config, reader = config or model.default_search(), reader or Reader(model.preprocessing())
    images, kept = _read(model, rows, root, reader), read_kept(model)
    searcher, step = None, batch_size or _BATCH
    if model.generator is not None:
        searcher = Searcher.for_model(model, config, batch_size=batch_size)
        step = searcher.batch_size
    for start in range(0, len(images), step):
        batch = images[start : start + step]
        generated: Sequence[np.ndarray | None] = [None] * len(batch)
        if searcher is not None:
            x = to_model_range(torch.from_numpy(np.stack([image.pixels for image in batch])))
            generated = [*to_uint8(searcher(x).reconstruction)]
        neighbours = nearest_in_training(model, kept, batch)
        maps: Sequence[np.ndarray | None] = [None] * len(batch)
        if model.features is not None and config.by != "reconstruction":
            maps = _anomaly_maps(model.features, batch)
        for image, *shown in zip(batch, generated, maps, neighbours, strict=True):
            yield Comparison(image.row, image.pixels, *shown)


def read_kept(model: Model) -> Neighbours | None:
    """Read the small copies of training images that lie beside a model's file, if they do."""
    data = model.provenance.get("data") or {}
    return read_neighbours(model.file, data.get("digest", ""))


def nearest_in_training(
    model: Model, kept: Neighbours | None, images: Sequence[SeenImage]
) -> list[np.ndarray | None]:
    """Find the NEIGHBOURS images kept that are nearest to each image: N (n, s, s, C) uint8.

    By features where the model has those of the images kept, else by pixels. An image that was
    trained on is not its own neighbour.
    """
    if kept is None:
        return [None] * len(images)
    in_training = [bool(image.row.in_training) for image in images]
    distances = None
    if model.features is not None:
        distances = _feature_distances(model.features, images, len(kept.pixels))
    if distances is None:
        pixels = np.stack([image.pixels for image in images])
        return [*nearest(kept, pixels, NEIGHBOURS, in_training=in_training)]
    return [
        nearest_others(kept, distance, image.pixels, NEIGHBOURS, in_training=trained_on)
        for image, distance, trained_on in zip(images, distances, in_training, strict=True)
    ]


def _feature_distances(
    features: FeatureModel, images: Sequence[SeenImage], count: int
) -> list[np.ndarray] | None:
    """Compute how far each image is from each of `count` kept: N (count,); None without such."""

    def measure(image: SeenImage) -> np.ndarray | None:
        return reference_distances(features, image.pixels, image.large, count)

    distances = [one for one in side_by_side(measure, images) if one is not None]
    return distances if len(distances) == len(images) else None


def _anomaly_maps(features: FeatureModel, images: Sequence[SeenImage]) -> list[np.ndarray | None]:
    return side_by_side(lambda image: anomaly_map(features, image.pixels, image.large), images)


def _read(model: Model, rows: Iterable[ScoreRow], root: Path, reader: Reader) -> list[SeenImage]:
    """Read the images of some rows as the model and its backbone see them; some may be gone."""
    row_of = {row.path: row for row in rows}
    items = list(map(locator(root), row_of))

    def read(to: Preprocessing) -> dict[str, np.ndarray]:
        images = reader.with_preprocessing(to).read(items, root, expected=len(items))
        return {
            item.name: image.pixels.copy()  # torch wants to be able to write to them
            for item, image in images
            if isinstance(image, DecodedImage)
        }

    pixels, to_large = read(model.preprocessing()), model.large_preprocessing()
    large = {} if to_large is None else read(to_large)
    return [SeenImage(row_of[path], image, large.get(path)) for path, image in pixels.items()]
