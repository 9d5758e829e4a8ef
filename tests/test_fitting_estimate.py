"""What a run will take is measured on networks that are thrown away."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adgan_cli.config import OBJECTIVES, ModelConfig, SearchConfig, TrainConfig
from adgan_cli.engine.cost import encoder_operations, search_operations, training_operations
from adgan_cli.engine.training.state import new_state
from adgan_cli.fitting import estimate
from adgan_cli.fitting.estimate import measure_costs, scoring_costs, step_seconds
from adgan_cli.fitting.plan import Work
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.fitting.trained_model import trained_model
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import ImagesToScore

CPU = torch.device("cpu")
TINY = ModelConfig(16, 1, latent_dim=4, width=4)
TRAIN = TrainConfig(batch_size=4, iters=3)
WORK = Work(3, encoder_steps=5, held_out=4, compared=True)
SEARCH = SearchConfig(n_seed=1, k=1)


def pictures(count=6):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), np.uint8)
    return PixelSet(pixels, tuple(map(str, range(count))), ())


def state(train=TRAIN):
    return new_state(TINY, train, device=CPU, precision="fp32", n_images=6)


def costs_of(run, work=WORK, search=SEARCH, budget=60.0):
    return measure_costs(run, pictures(), work, search, budget)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_of_every_objective_can_be_timed(objective):
    train = replace(TRAIN, objective=objective)
    assert step_seconds(TINY, train, budget=60, device=CPU, precision="fp32") > 0
    costs = costs_of(state(train))
    assert min(costs.step, costs.encoder_step, costs.search, costs.comparison, costs.saving) > 0


def test_measuring_leaves_the_run_as_it_is():
    run, untouched = state(), state()
    costs_of(run)
    assert run.step == 0 and run.train_config == TRAIN
    assert torch.equal(run.rng.get_state(), untouched.rng.get_state())
    for network, same in zip(run.networks(), untouched.networks(), strict=True):
        for one, other in zip(network.parameters(), same.parameters(), strict=True):
            assert torch.equal(one, other)


def test_what_is_not_to_be_done_costs_nothing():
    costs = costs_of(state(), Work(3))
    assert costs.encoder_step == costs.search == costs.comparison == 0 < costs.step


def test_networks_that_diverge_are_timed_all_the_same(monkeypatch):
    monkeypatch.setattr("adgan_cli.config.MAX_FLOAT", 1e60)
    wild = replace(TRAIN, objective="wgan-gp", penalty=1e60)
    assert step_seconds(TINY, wild, budget=60, device=CPU, precision="fp32") > 0
    assert costs_of(state(wild)).step > 0


def test_where_steps_are_slow_the_other_parts_are_counted_by_them(monkeypatch):
    monkeypatch.setattr(estimate, "train_encoder", None)
    monkeypatch.setattr(estimate, "ema_generator", None)
    costs = costs_of(state(), budget=1e-6)
    expected = encoder_operations(TINY, 64) / training_operations(TINY, TRAIN)
    assert costs.encoder_step / costs.step == pytest.approx(expected)
    expected = search_operations(TINY, SEARCH) / training_operations(TINY, TRAIN)
    assert costs.search / costs.step == pytest.approx(expected)
    assert costs.saving > 0 < costs.comparison


def test_losses_by_networks_that_are_not_there_yet_are_timed_by_another():
    assert costs_of(state(), search=replace(SEARCH, loss="critic-features")).search > 0


def test_scoring_is_timed_by_the_model_that_scores():
    model = trained_model(state(), TrainingSettings(TINY, TRAIN), pictures())
    config = replace(SEARCH, by="reconstruction", init="prior")
    costs = scoring_costs(model, config, ImagesToScore(pictures().pixels))
    assert costs.search > 0 and costs.comparison == 0
