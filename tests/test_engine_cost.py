"""Operations counted by hand, and a time that follows from them."""

from dataclasses import replace

import pytest
import torch
from conftest import make_generator
from torch.utils.flop_counter import FlopCounterMode

from adgan_cli.config import PAPER_SEARCH, ModelConfig, TrainConfig
from adgan_cli.engine.cost import (
    generator_operations,
    search_operations,
    search_seconds,
    training_operations,
    training_seconds,
)
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.trainer import train_steps


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 3)])
def test_a_forward_pass_costs_what_torch_counts(size, channels):
    generator = make_generator(size, channels)
    with FlopCounterMode(display=False) as counter:
        generator(torch.zeros(1, generator.config.latent_dim))
    assert generator_operations(generator.config) == counter.get_total_flops()


def test_the_search_grows_with_points_and_steps():
    config = ModelConfig(16)
    once = generator_operations(config)
    assert search_operations(config, replace(PAPER_SEARCH, n_seed=1, k=1)) == 3 * once
    assert search_operations(config, replace(PAPER_SEARCH, n_seed=8, k=5)) == 8 * 15 * once
    assert (
        search_operations(config, replace(PAPER_SEARCH, n_seed=8, k=5, theta="none"))
        == 8 * 10 * once
    )


@pytest.mark.parametrize(
    "objective", ["wgan", "gan", "gan-saturating", "lsgan", "mmd", "vae", "glo"]
)
def test_a_training_step_costs_what_torch_counts(objective):
    """Whichever networks take part in it; wgan at a step that its schedule does not prolong."""
    model = ModelConfig(32)
    train = TrainConfig(objective=objective, iters=601, batch_size=4)
    state = new_state(model, train, device=torch.device("cpu"), precision="fp32", n_images=8)
    state.step = 600
    with FlopCounterMode(display=False) as counter:
        list(
            train_steps(state, TrainingData(torch.randint(256, (8, 32, 32, 3), dtype=torch.uint8)))
        )
    expected = pytest.approx(counter.get_total_flops(), rel=0.15)
    assert training_operations(model, train) == expected


def test_the_gradient_penalty_doubles_what_a_critic_step_costs():
    """Counted by hand: torch's counter cannot follow a second derivative."""
    model, once = ModelConfig(16), generator_operations(ModelConfig(16))
    costs = [
        training_operations(
            model, TrainConfig(objective=objective, critic_steps=steps, batch_size=2)
        )
        for objective in ("wgan", "wgan-gp")
        for steps in (1, 2)
    ]
    assert costs[1] - costs[0] == 2 * 7 * once
    assert costs[3] - costs[2] == 2 * 13 * once


def test_twice_the_speed_takes_half_the_time():
    model, train, search = (
        ModelConfig(),
        TrainConfig(objective="wgan-gp", encoder_iters=0),
        PAPER_SEARCH,
    )
    assert training_seconds(model, train, 2e11) == training_seconds(model, train, 1e11) / 2
    assert search_seconds(model, search, 2e11) == search_seconds(model, search, 1e11) / 2
