"""What is shown of a search is what the search did, whichever way it goes about it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_generator

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.dcgan import Encoder
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search import searcher
from adgan_cli.engine.search.execution import PaddedBatches
from adgan_cli.engine.search.searcher import search
from adgan_cli.reports.trajectory import search_trajectory

WAYS = [
    replace(PAPER_SEARCH, n_seed=3, k=2),
    replace(PAPER_SEARCH, n_seed=3, k=2, theta="per-image"),
    replace(PAPER_SEARCH, n_seed=3, k=2, theta="none"),
    replace(PAPER_SEARCH, n_seed=3, k=2, theta="none", precision="bf16"),
    replace(PAPER_SEARCH, n_seed=2, k=2, init="both"),
    replace(PAPER_SEARCH, n_seed=1, k=0),
    replace(PAPER_SEARCH, n_seed=2, k=1, loss="ssim"),
]


@pytest.fixture
def model() -> Model:
    generator = make_generator()
    torch.manual_seed(0)
    encoder = Encoder(generator.config, generator.config.latent_dim).eval().requires_grad_(False)
    return Model(generator, generator.config, encoder=encoder)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)


@pytest.mark.parametrize("config", WAYS, ids=lambda c: f"{c.theta}-{c.init}-{c.loss}-{c.k}")
def test_each_step_shows_the_picture_that_its_loss_is_of(
    model: Model, pixels: np.ndarray, config: SearchConfig
) -> None:
    course = search_trajectory(model, pixels, config)
    x = to_model_range(torch.from_numpy(pixels)[None])
    found = search(model.generator, x, config, encoder=model.encoder)
    assert (course.losses == found.trace[0].double().numpy()).all(), "watched, it is the same"
    assert course.made.shape == (len(found.losses[0]), config.k + 1, 16, 16, 3)
    assert (course.made[course.best, -1] == to_uint8(found.reconstruction)[0]).all()
    loss = make_loss(config.loss)
    for point, steps in enumerate(course.made):
        # from pixels rounded to 8 bits
        told = loss(to_model_range(torch.from_numpy(steps)), x).numpy()
        assert told == pytest.approx(course.losses[point], rel=0.02)


def test_a_long_search_keeps_the_steps_that_are_shown(model: Model, pixels: np.ndarray) -> None:
    long = search_trajectory(model, pixels, replace(PAPER_SEARCH, n_seed=2, k=20))
    assert long.made.shape[:2] == (2, 8) and long.losses.shape == (2, 21)
    short = search_trajectory(model, pixels, replace(PAPER_SEARCH, n_seed=2, k=3))
    assert long.steps[1] == 3
    assert (long.made[:, 1] == short.made[:, 3]).all()


@pytest.mark.parametrize("config", WAYS, ids=lambda c: f"{c.theta}-{c.init}-{c.loss}-{c.k}")
def test_all_points_at_once_as_on_a_gpu_show_the_same(
    model: Model, pixels: np.ndarray, config: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = search_trajectory(model, pixels, config)
    monkeypatch.setattr(searcher, "execution_for", lambda device: PaddedBatches)
    at_once = search_trajectory(model, pixels, config)
    assert at_once.losses == pytest.approx(one_by_one.losses, rel=1e-3)
    assert np.abs(at_once.made.astype(int) - one_by_one.made).max() <= 2
