"""Operations counted by hand, and a time that follows from them."""

from dataclasses import replace

import pytest
import torch
from conftest import make_generator
from torch.utils.flop_counter import FlopCounterMode

from adgan_cli.config import PAPER_SEARCH, ModelConfig, TrainConfig
from adgan_cli.engine.cost import (
    generator_operations,
    product_speed,
    search_operations,
    search_seconds,
    training_operations,
    training_seconds,
)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 3)])
def test_a_forward_pass_costs_what_torch_counts(size: int, channels: int) -> None:
    generator = make_generator(size, channels)
    with FlopCounterMode(display=False) as counter:
        generator(torch.zeros(1, generator.config.latent_dim))
    assert generator_operations(generator.config) == counter.get_total_flops()


def test_the_search_grows_with_points_and_steps() -> None:
    config = ModelConfig(16)
    once = generator_operations(config)
    assert search_operations(config, replace(PAPER_SEARCH, n_seed=1, k=1)) == 3 * once
    assert search_operations(config, replace(PAPER_SEARCH, n_seed=8, k=5)) == 8 * 15 * once
    assert (
        search_operations(config, replace(PAPER_SEARCH, n_seed=8, k=5, theta="none"))
        == 8 * 10 * once
    )


def test_training_grows_with_the_batch_and_the_critic_and_the_penalty() -> None:
    config = ModelConfig(16)
    plain = TrainConfig(encoder_iters=0, objective="wgan", critic_steps=1, batch_size=2)
    assert training_operations(config, plain) == 2 * 12 * generator_operations(config)
    for costlier in (
        TrainConfig(encoder_iters=0, objective="wgan", critic_steps=1, batch_size=4),
        TrainConfig(encoder_iters=0, objective="wgan", critic_steps=2, batch_size=2),
        TrainConfig(encoder_iters=0, objective="wgan-gp", critic_steps=1, batch_size=2),
    ):
        assert training_operations(config, costlier) > training_operations(config, plain)


def test_a_critic_that_takes_one_step_costs_one_whatever_critic_steps_says() -> None:
    config, once = ModelConfig(16), TrainConfig(encoder_iters=0, objective="wgan", critic_steps=1)
    gan = TrainConfig(encoder_iters=0, objective="gan", critic_steps=9)
    assert training_operations(config, gan) == training_operations(config, once)


def test_twice_the_speed_takes_half_the_time() -> None:
    model, train, search = (
        ModelConfig(),
        TrainConfig(objective="wgan-gp", encoder_iters=0),
        PAPER_SEARCH,
    )
    assert training_seconds(model, train, 2e11) == training_seconds(model, train, 1e11) / 2
    assert search_seconds(model, search, 2e11) == search_seconds(model, search, 1e11) / 2


def test_the_speed_of_this_machine_is_a_number_above_a_pocket_calculators() -> None:
    assert 1e7 < product_speed(side=64, repeats=2) < 1e15
