"""What stands beside an image says where the search failed, and how much."""

import io
from dataclasses import replace
from itertools import islice
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
from adgan_cli.reports.explanation import (
    NEIGHBOURS,
    difference,
    draw_explanations,
    encode,
    explain,
    overlay_heatmap,
    reconstruct,
)
from adgan_cli.reports.rank import rank
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import score

QUICK = replace(PAPER_SEARCH, n_seed=2, k=2)


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def grey(level, size=16, channels=1):
    return np.full((size, size, channels), level, np.uint8)


def test_difference_is_the_root_of_the_mean_square_over_channels():
    picture, generated = np.zeros((1, 1, 1, 3), np.uint8), np.array([[[[0, 30, 60]]]], np.uint8)
    assert difference(picture, generated).item() == pytest.approx((4500 / 3) ** 0.5)
    assert (difference(generated, picture) == difference(picture, generated)).all(), "uint8 wraps"


def test_colours_are_brightest_where_the_reconstruction_fails():
    picture, generated = grey(200), grey(200)
    generated[4:6, 4:6] = 0
    (drawn,) = draw_explanations(picture[None], generated[None])
    shown = opened(drawn.difference)
    assert shown[4, 4].sum() > 600, "pale yellow"
    assert set(np.unique(shown[0])) == {90}, "elsewhere the picture, dim and grey"
    assert (opened(drawn.reconstruction)[4, 4] == 0).all()


def test_colours_mean_the_same_on_all_cards():
    pictures = np.stack([grey(100), grey(100)])
    generated = np.stack([grey(100), grey(100)])
    generated[0, :8], generated[1, :8] = 40, 80  # three times as far
    first, second = draw_explanations(pictures, generated)
    assert first.full == second.full == 60
    assert opened(first.difference)[0, 0].sum() > 2 * opened(second.difference)[0, 0].sum()


def test_colours_grow_brighter_all_the_way():
    ramp = np.linspace(0, 1, 64)[None]
    levels = overlay_heatmap(np.zeros((1, 64, 1), np.uint8), ramp).astype(int).sum(-1)[0]
    assert (np.diff(levels) >= 0).all() and levels[-1] > 600
    beyond = np.array([[-1.0, 0.0, 1.0, 9.0]])
    levels = overlay_heatmap(np.zeros((1, 4, 1), np.uint8), beyond).astype(int).sum(-1)[0]
    assert levels[0] == levels[1] and levels[2] == levels[3]


def test_a_perfect_reconstruction_shows_no_noise():
    (drawn,) = draw_explanations(grey(100)[None], grey(101)[None])
    assert opened(drawn.difference).max() < 90, "one level of 255 is nothing"


def test_each_picture_keeps_its_own_neighbours():
    pictures = np.stack([grey(1), grey(2)])
    near = [np.stack([grey(10, 8), grey(11, 8)]), np.stack([grey(20, 8), grey(21, 8)])]
    drawn = draw_explanations(pictures, pictures, near)
    levels = [[opened(data)[0, 0, 0] for data in one.neighbours] for one in drawn]
    assert levels == [[10, 11], [20, 21]]
    assert [one.neighbours for one in draw_explanations(pictures, pictures)] == [(), ()]
    assert draw_explanations(pictures[:0], pictures[:0]) == []


def test_many_explanations_of_noise_still_fit_on_a_page():
    noise = np.random.default_rng(0).integers(0, 255, (3, 128, 128, 3), np.uint8)
    few = draw_explanations(noise, noise[::-1], [noise] * 3)
    many = draw_explanations(np.repeat(noise, 70, 0), np.repeat(noise, 70, 0), [noise] * 210)
    assert len(few[0].reconstruction) > 20_000
    shown = [data for one in many for data in (one.reconstruction, one.difference, *one.neighbours)]
    assert sum(map(len, shown)) < 4_000_000


@pytest.mark.parametrize(("size", "kind"), [(32, "PNG"), (64, "JPEG")])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_lose_nothing_and_larger_ones_little(size, kind, channels):
    picture = np.random.default_rng(0).integers(0, 255, (size, size, channels), np.uint8)
    with Image.open(io.BytesIO(encode(picture))) as image:
        assert image.format == kind
    assert kind == "JPEG" or (opened(encode(picture)) == picture).all()


def with_neighbours(model: Model, folder: Path, pixels: np.ndarray) -> Model:
    """The same model, as if it had been trained on these pixels and saved into `folder`."""
    some = PixelSet(pixels, tuple(map(str, range(len(pixels)))), ())
    write_neighbours(folder, some)
    data = {"data": {"digest": some.digest, "pictures": len(some)}}
    return replace(model, file=folder / "model.safetensors", provenance=data)


def test_a_reconstruction_is_the_one_that_the_score_came_from(model, discs):
    folder = discs(3)
    rows = list(score(model, [folder], QUICK))
    drawn = explain(model, reconstruct(model, rows[::2], folder, QUICK))
    assert list(drawn) == [rows[0].path, rows[2].path]
    x = to_model_range(torch.from_numpy(read_image(folder / rows[2].path, 16, 1))[None])
    nearest = to_uint8(search(model.generator, x, QUICK).reconstruction)[0]
    assert (opened(drawn[rows[2].path].reconstruction) == nearest).all()


def test_neighbours_are_those_kept_beside_the_model(model, discs, tmp_path):
    folder = discs(6)
    names = sorted(path.name for path in folder.iterdir())
    pixels = np.stack([read_image(folder / name, 16, 1) for name in names])
    row = ScoreRow(names[0], 1.0)
    reconstructions = list(reconstruct(model, [row], folder, QUICK))
    drawn = explain(with_neighbours(model, tmp_path, pixels[1:]), reconstructions)[names[0]]
    far = np.square(pixels[1:].astype(int) - pixels[0]).sum((1, 2, 3))
    closest = pixels[1:][np.argsort(far, kind="stable")[0]]
    assert len(drawn.neighbours) == NEIGHBOURS and (opened(drawn.neighbours[0]) == closest).all()
    assert explain(model, reconstructions)[names[0]].neighbours == (), "kept none"


def test_a_picture_that_is_gone_is_left_out(model, discs):
    folder = discs(2)
    rows = [ScoreRow("gone.png", 1.0), ScoreRow("disc-001.png", 1.0)]
    assert [item.row.path for item in reconstruct(model, rows, folder, QUICK)] == ["disc-001.png"]
    assert explain(model, []) == {}


def test_any_part_of_the_reconstructions_can_be_explained(model, discs):
    folder = discs(3)
    rows = list(score(model, [folder], QUICK))
    drawn = explain(model, islice(reconstruct(model, rows, folder, QUICK, batch_size=2), 1))
    assert list(drawn) == [rows[0].path]


@pytest.mark.parametrize("wanted", [True, False])
def test_ranking_from_python_explains_unless_it_should_not(model, discs, tmp_path, wanted):
    rank(model, [discs(3)], tmp_path / "report", QUICK, top=1, explain=wanted)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count('alt="Best reconstruction of') == (2 if wanted else 0)
