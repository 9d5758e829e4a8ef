"""What a shown image is compared with: the search's own attempt, and the nearest in training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import write_neighbours
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search.searcher import search
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.read import read_image
from adgan_cli.reports.comparison import NEIGHBOURS, Comparison, compare
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import score

QUICK = replace(PAPER_SEARCH, n_seed=2, k=2)
BY_FEATURES = replace(QUICK, by="features")


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


@dataclass(frozen=True)
class Brightness:
    """A detector that compares mean grey levels with those of images kept."""

    levels: tuple[float, ...]
    reads_large: bool = False

    def score(self, image: np.ndarray) -> float:
        return float(image.mean())

    def reference_distances(self, image: np.ndarray) -> np.ndarray:
        return np.abs(np.array(self.levels) - image.mean())

    def anomaly_map(self, image: np.ndarray) -> np.ndarray:
        return image[::2, ::2, 0].astype(float)

    def settings(self) -> dict[str, Any]:
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


def with_features(model: Model, **detectors: Brightness) -> Model:
    scales = {name: Scale(0.0, 1.0, 1 / len(detectors), 0.9) for name in detectors}
    return replace(model, features=FeatureModel(detectors, scales, large_size=32))


def kept_beside(model: Model, folder: Path, pixels: np.ndarray) -> Model:
    """The same model, as if it had been trained on these pixels and saved into `folder`."""
    some = PixelSet(pixels, tuple(map(str, range(len(pixels)))), ())
    write_neighbours(folder, some)
    data = {"data": {"digest": some.digest, "pictures": len(some)}}
    return replace(model, file=folder / "model.safetensors", provenance=data)


def read(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: read_image(path, 16, 1) for path in sorted(folder.iterdir())}


def only(comparisons: Iterator[Comparison]) -> Comparison:
    (comparison,) = comparisons
    return comparison


def test_a_reconstruction_is_the_one_that_the_score_came_from(model, discs):
    folder = discs(3)
    rows = list(score(model, [folder], QUICK))
    for row, shown in zip(rows[::2], compare(model, rows[::2], folder, QUICK), strict=True):
        x = to_model_range(torch.from_numpy(read_image(folder / row.path, 16, 1))[None])
        nearest = to_uint8(search(model.generator, x, QUICK).reconstruction)[0]
        assert shown.row == row and (shown.generated == nearest).all()


def test_neighbours_are_those_kept_beside_the_model(model, discs, tmp_path):
    folder = discs(6)
    names, pixels = zip(*read(folder).items(), strict=True)
    row, kept = ScoreRow(names[0], 1.0), np.stack(pixels[1:])
    shown = only(compare(kept_beside(model, tmp_path, kept), [row], folder, QUICK))
    far = np.square(kept.astype(int) - pixels[0]).sum((1, 2, 3))
    assert shown.neighbours is not None and len(shown.neighbours) == NEIGHBOURS
    assert (shown.neighbours[0] == kept[far.argmin()]).all()
    assert only(compare(model, [row], folder, QUICK)).neighbours is None, "kept none"


def levels_of(shown: Comparison) -> list[int]:
    assert shown.neighbours is not None
    return [int(near[0, 0, 0]) for near in shown.neighbours]


def test_neighbours_are_nearest_by_features_where_there_are_some(model, discs, tmp_path):
    kept = np.array([10, 250, 90, 60], np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2)
    model, folder = kept_beside(model, tmp_path, kept), discs(1)
    row = ScoreRow("disc-000.png", 1.0)
    (image,) = read(folder).values()
    own = float(image.mean())
    far = [own + 9, own, own + 1, own - 5]
    cases: list[tuple[Mapping[str, Brightness], list[int]]] = [
        ({"patches": Brightness(tuple(far))}, [250, 90, 60]),
        # of other images than those kept: no use
        ({"patches": Brightness((own, *far))}, [10, 60, 90]),
        # the pretrained network alone, where there is one
        (
            {
                "patches": Brightness(tuple(far)),
                "pretrained": Brightness(tuple(far[::-1]), reads_large=True),
            },
            [90, 250, 10],
        ),
    ]
    for detectors, expected in cases:
        featured = with_features(model, **detectors)
        assert levels_of(only(compare(featured, [row], folder, QUICK))) == expected
    off = with_features(model, patches=Brightness(tuple(far)))
    assert off.features is not None
    silent = {"patches": replace(off.features.scales["patches"], weight=0.0)}
    off = replace(off, features=replace(off.features, scales=silent))
    assert levels_of(only(compare(off, [row], folder, QUICK))) == [10, 60, 90], "by pixels"


def test_local_features_say_where_unless_the_score_is_by_reconstruction(model, discs):
    folder, row = discs(1), ScoreRow("disc-000.png", 1.0)
    featured = with_features(model, patches=Brightness(()))
    (image,) = read(folder).values()
    shown = only(compare(featured, [row], folder, BY_FEATURES))
    assert shown.anomaly_map is not None and (shown.anomaly_map == image[::2, ::2, 0]).all()
    assert shown.generated is not None, "what was expected instead is shown all the same"
    assert only(compare(featured, [row], folder, QUICK)).anomaly_map is None
    # a pretrained network sees the image at its own size
    both = with_features(model, patches=Brightness(()), pretrained=Brightness((), reads_large=True))
    shown = only(compare(both, [row], folder, BY_FEATURES))
    assert shown.anomaly_map is not None and shown.anomaly_map.shape == (16, 16)


def test_without_a_generator_nothing_is_searched_for(model, discs):
    folder, row = discs(1), ScoreRow("disc-000.png", 1.0)
    alone = replace(with_features(model, patches=Brightness(())), generator=None)
    shown = only(compare(alone, [row], folder, BY_FEATURES))
    assert shown.generated is None and shown.anomaly_map is not None


def test_a_picture_that_is_gone_is_left_out(model, discs):
    folder = discs(2)
    rows = [ScoreRow("gone.png", 1.0), ScoreRow("disc-001.png", 1.0)]
    assert [shown.row.path for shown in compare(model, rows, folder, QUICK)] == ["disc-001.png"]


def test_comparisons_come_one_by_one(model, discs):
    folder = discs(3)
    rows = list(score(model, [folder], QUICK))
    first = only(islice(compare(model, rows, folder, QUICK, batch_size=2), 1))
    assert first.row.path == rows[0].path
