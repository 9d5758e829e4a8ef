"""What follows the steps ends in time: a shorter encoder, and a drawn sample for p-values."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adgan_cli.config import ModelConfig, SearchConfig, TrainConfig
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.trainer import TrainingData
from adgan_cli.fitting import finish as module
from adgan_cli.fitting.finish import drawn, with_held_out_scores, with_learned_encoder
from adgan_cli.fitting.plan import MIN_CALIBRATED, Costs
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.fitting.stages import StageCallbacks
from adgan_cli.fitting.trained_model import trained_model
from adgan_cli.images.pixels import PixelSet

TINY = ModelConfig(16, 1, latent_dim=4, width=4)
SEARCH = SearchConfig(by="reconstruction", n_seed=1, k=0, init="prior")
SILENT = StageCallbacks()


def pictures(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), np.uint8)
    return PixelSet(pixels, tuple(map(str, range(count))), ())


@pytest.fixture
def model():
    config = TrainConfig(batch_size=4)
    state = new_state(TINY, config, device=torch.device("cpu"), precision="fp32")
    return trained_model(state, TrainingSettings(TINY, config), pictures(8))


@pytest.fixture
def data():
    return TrainingData(torch.from_numpy(pictures(8).pixels))


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by one whenever it is read."""
    seconds = itertools.count()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))


def test_an_encoder_ends_in_time_and_says_how_long_it_learned(model, data, ticking):
    encoded = with_learned_encoder(model, data, 1000, SILENT, until=60)
    assert encoded.encoder is not None
    assert encoded.provenance["encoder"] == {"iters": 60}


def test_an_encoder_that_ended_early_is_that_of_so_many_steps(model, data, ticking):
    early = with_learned_encoder(model, data, 1000, SILENT, until=60).encoder
    whole = with_learned_encoder(model, data, 60, SILENT).encoder
    for one, other in zip(early.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_encoder_of_too_few_steps_is_none(model, data, ticking):
    assert with_learned_encoder(model, data, 1000, SILENT, until=10) is model
    asked_for = with_learned_encoder(model, data, 10, SILENT, until=1000)
    assert asked_for.provenance["encoder"] == {"iters": 10}


@pytest.mark.parametrize(("until", "count"), [(None, 60), (10**9, 60), (-1.0, MIN_CALIBRATED)])
def test_as_many_pictures_are_scored_as_the_time_allows(model, until, count, monkeypatch):
    monkeypatch.setattr(module, "scoring_costs", lambda *_: Costs(search=1.0))
    scored = with_held_out_scores(model, pictures(60), SEARCH, SILENT, until=until)
    assert [len(one.scores) for one in scored.calibrations] == [count]


def test_a_sample_has_the_scores_that_its_pictures_have_among_all(model, monkeypatch):
    monkeypatch.setattr(module, "scoring_costs", lambda *_: Costs(search=1.0))
    every = with_held_out_scores(model, pictures(60), SEARCH, SILENT).calibration(SEARCH).scores
    some = with_held_out_scores(model, pictures(60), SEARCH, SILENT, until=0.0)
    assert set(some.calibration(SEARCH).scores) < set(every)


def test_pictures_are_drawn_from_everywhere_always_the_same():
    some = drawn(pictures(100), 20)
    assert some.names == drawn(pictures(100), 20).names and len(some) == 20
    positions = [int(name) for name in some.names]
    assert positions == sorted(positions) and len(set(np.diff(positions))) > 3
    whole = pictures(5)
    assert drawn(whole, 5) is whole and drawn(whole, 9) is whole


def test_stopped_before_the_scores_a_model_has_none(model):
    stopped = replace(SILENT, should_stop=lambda: True)
    assert with_held_out_scores(model, pictures(9), SEARCH, stopped, until=0.0) is model
