"""Batches follow from seed and position where they are drawn beside the device."""

import itertools
from dataclasses import replace

import pytest
import torch

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.training import trainer
from adgan_cli.engine.training.batches import (
    TrainingData,
    are_drawn_in_steps,
    host_batches,
    new_rng,
)
from adgan_cli.engine.training.objectives import objective
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.trainer import train_steps

CPU = torch.device("cpu")
PIXELS = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 16, 16, 1)
DATA = TrainingData(PIXELS)


def batches(positions, data=DATA, share=slice(0, 6), seed=3):
    drawn = host_batches(data, positions, batch_size=6, share=share, seed=seed, device=CPU)
    return [(pixels[:, 0, 0, 0].tolist(), indices.tolist()) for pixels, indices in drawn]


def test_a_batch_is_that_of_its_position_wherever_training_began():
    whole = batches([(0, 0), (0, 1), (1, 0), (1, 1)])
    assert whole[2:] == batches([(1, 0), (1, 1)])
    assert len({tuple(indices) for _, indices in whole}) == 4
    assert whole != batches([(0, 0), (0, 1), (1, 0), (1, 1)], seed=4)
    assert all(levels == indices for levels, indices in whole)


def test_processes_take_shares_of_one_batch():
    ((_, whole),) = batches([(0, 0)])
    parts = [batches([(0, 0)], share=slice(*ends))[0][1] for ends in ((0, 2), (2, 6))]
    assert sum(parts, []) == whole


def test_indices_say_where_the_images_of_a_batch_lie():
    data = TrainingData(PIXELS, torch.tensor([19, 7]))
    ((levels, indices),) = batches([(0, 0)], data)
    assert set(indices) == {0, 1} and levels == [[19, 7][index] for index in indices]


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan-gp", "mmd"])
def test_positions_are_where_training_takes_its_batches(name, monkeypatch):
    """Recorded in a training that takes the batches; and from the middle of one."""
    config = TrainConfig(objective=name, iters=27, batch_size=2)
    state = new_state(ModelConfig(16, 1, 4, 4), config, device=CPU, precision="fp32")
    state.step, state.critic_step = (24, 98) if name == "wgan" else (0, 0)
    state.train_config = replace(config, iters=state.step + 3)
    if name == "wgan-gp":
        state.critic_step = 3
    recipe = objective(config)
    planned, taken = list(itertools.islice(trainer._positions(state, recipe), 200)), []

    def watched(training):
        while True:
            taken.append((state.step, state.critic_step))
            yield ()

    monkeypatch.setattr(trainer, "_batches", watched)
    list(train_steps(state, DATA))
    assert len(taken) >= 3
    assert planned[: len(taken)] == taken


def test_images_are_drawn_in_a_step_where_the_random_numbers_are():
    rng = new_rng(CPU, 0)
    assert are_drawn_in_steps(DATA, rng)
    assert not are_drawn_in_steps(TrainingData(PIXELS.to("meta")), rng)
    assert new_rng(torch.device("meta"), 5).device == CPU, "only CUDA has its own"


@pytest.mark.parametrize("name", ["gan", "glo"])
def test_training_on_fetched_batches_is_resumed_exactly(name, monkeypatch):
    monkeypatch.setattr(trainer, "are_drawn_in_steps", lambda data, rng: False)

    def fresh():
        config = TrainConfig(objective=name, iters=4, batch_size=3)
        shape = ModelConfig(16, 1, 4, 4)
        return new_state(shape, config, device=CPU, precision="fp32", n_images=20)

    whole, parted = fresh(), fresh()
    metrics = list(train_steps(whole, DATA))
    calls = iter([False] * 3)
    first = list(train_steps(parted, DATA, should_stop=lambda: next(calls, True)))
    rest = list(train_steps(parted, DATA))
    losses = [(one.step, one.generator_loss) for one in (*first, *rest)]
    assert losses == [(one.step, one.generator_loss) for one in metrics]


@pytest.mark.gpu
def test_a_gpu_gets_the_batches_that_were_drawn():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    positions = [(step, 0) for step in range(5)]
    drawn = host_batches(
        DATA,
        positions,
        batch_size=6,
        share=slice(0, 6),
        seed=3,
        device=torch.device("cuda", torch.cuda.current_device()),
    )
    levels = [(pixels[:, 0, 0, 0].tolist(), indices.tolist()) for pixels, indices in drawn]
    assert levels == batches(positions)
