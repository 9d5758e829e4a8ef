"""The second search for what is shown comes to the same as the first."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import write_neighbours
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search.searcher import search
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.read import read_image
from adgan_cli.reports.explain import NEAREST, explain
from adgan_cli.reports.rank import rank
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import score

QUICK = replace(PAPER_SEARCH, n_seed=2, k=2)
Folder = Callable[..., Path]


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def with_neighbours(model: Model, folder: Path, pixels: np.ndarray) -> Model:
    """The same model, as if it had been trained on these pixels and saved into `folder`."""
    some = PixelSet(pixels, tuple(map(str, range(len(pixels)))), ())
    write_neighbours(folder, some)
    data = {"data": {"digest": some.digest, "pictures": len(some)}}
    return replace(model, file=folder / "model.safetensors", provenance=data)


def test_a_reconstruction_is_the_one_that_the_score_came_from(model: Model, discs: Folder) -> None:
    folder = discs(3)
    rows = list(score(model, [folder], QUICK))
    told = explain(model, rows[::2], folder, QUICK)
    assert list(told) == [rows[0].path, rows[2].path]
    x = to_model_range(torch.from_numpy(read_image(folder / rows[2].path, 16, 1))[None])
    made = to_uint8(search(model.generator, x, QUICK).reconstruction)[0, ..., 0]
    assert (opened(told[rows[2].path].reconstruction) == made).all()


def test_neighbours_are_those_kept_beside_the_model(
    model: Model, discs: Folder, tmp_path: Path
) -> None:
    folder = discs(6)
    names = sorted(path.name for path in folder.iterdir())
    pixels = np.stack([read_image(folder / name, 16, 1) for name in names])
    row = ScoreRow(names[0], 1.0)
    near = explain(with_neighbours(model, tmp_path, pixels[1:]), [row], folder, QUICK)[names[0]]
    far = np.square(pixels[1:].astype(int) - pixels[0]).sum((1, 2, 3))
    closest = pixels[1:][np.argsort(far, kind="stable")[0], ..., 0]
    assert len(near.neighbours) == NEAREST and (opened(near.neighbours[0]) == closest).all()
    assert explain(model, [row], folder, QUICK)[names[0]].neighbours == (), "kept none"


def test_a_picture_that_is_gone_is_left_out(model: Model, discs: Folder) -> None:
    folder = discs(2)
    rows = [ScoreRow("gone.png", 1.0), ScoreRow("disc-001.png", 1.0)]
    assert list(explain(model, rows, folder, QUICK)) == ["disc-001.png"]
    assert explain(model, rows[:1], folder, QUICK) == {}


def test_stopped_early_it_tells_of_those_so_far(model: Model, discs: Folder) -> None:
    folder, done = discs(3), []
    rows = list(score(model, [folder], QUICK))
    told = explain(
        model, rows, folder, QUICK, batch_size=1, on_picture=done.append,
        should_stop=lambda: len(done) == 2,
    )  # fmt: skip
    assert list(told) == [row.path for row in rows[:2]] and done == [1, 2]


@pytest.mark.parametrize("wanted", [True, False])
def test_ranking_from_python_explains_unless_told_not_to(
    model: Model, discs: Folder, tmp_path: Path, wanted: bool
) -> None:
    rank(model, [discs(3)], tmp_path / "report", QUICK, top=1, explain=wanted)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count('alt="Best reconstruction of') == (2 if wanted else 0)
