"""The networks that a machine trains are the largest of which enough steps fit into the time."""

import pytest
import torch

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.cost import training_operations
from adgan_cli.fitting import choice as choice_module
from adgan_cli.fitting.choice import (
    ENOUGH_STEPS,
    MEASURED_SHARE,
    STEPS_TAKEN,
    TrainingSize,
    candidates,
    choose,
    chosen_settings,
    generator_seconds,
)
from adgan_cli.fitting.settings import TrainingSettings

MODEL, TRAIN = ModelConfig(), TrainConfig()


class Machine:
    """Takes so many operations a second, and remembers what was measured."""

    def __init__(self, speed, latency=0.0):
        self.speed, self.latency, self.measured = speed, latency, []

    def __call__(self, model, train):
        self.measured.append(TrainingSize(model.size, model.width, train.batch_size))
        return training_operations(model, train) / self.speed + self.latency


def chosen(machine, limit=1800.0, train=TRAIN, **options):
    return choose(MODEL, train, machine, limit=limit, **options)


def test_candidates_are_in_order_and_none_is_larger_than_the_settings():
    every = candidates(MODEL, TRAIN, ())
    assert every == sorted(every, key=lambda c: (c.size, c.width, c.batch_size), reverse=True)
    assert every[0] == TrainingSize(64, 64, 64) and every[-1] == TrainingSize(32, 16, 32)
    assert TrainingSize(64, 16, 64) not in every, "nobody measured so narrow a one"
    quick = candidates(ModelConfig(size=32), TRAIN, ())
    assert {one.size for one in quick} == {32}


@pytest.mark.parametrize(
    ("model", "train", "given"),
    [
        (ModelConfig(size=128), TRAIN, {"size"}),
        (ModelConfig(width=10), TRAIN, {"width"}),
        (MODEL, TrainConfig(batch_size=7), {"batch_size"}),
        (ModelConfig(256, 3, 32, 100), TrainConfig(batch_size=9), {"size", "width", "batch_size"}),
    ],
)
def test_what_is_given_is_never_replaced(model, train, given):
    found = candidates(model, train, given)
    values = {"size": model.size, "width": model.width, "batch_size": train.batch_size}
    for name in given:
        assert {getattr(one, name) for one in found} == {values[name]}
    assert len(found) > 1 or len(given) == 3


def test_moments_are_matched_over_batches_as_large_as_they_were():
    found = candidates(MODEL, TrainConfig(objective="mmd", batch_size=256), ())
    assert {one.batch_size for one in found} == {256}


def test_a_faster_machine_trains_no_smaller_networks():
    order = candidates(MODEL, TRAIN, ())
    places = [order.index(chosen(Machine(10.0**power)).candidate) for power in range(8, 14)]
    assert places == sorted(places, reverse=True)
    assert places[0] == len(order) - 1 and places[-1] == 0


def test_what_is_chosen_is_the_largest_that_fits():
    for power in (10.2, 10.5, 10.8, 11.1):
        machine = Machine(10**power)
        found = chosen(machine)
        seconds = generator_seconds(1800, features=True, encoder=True)
        fitting = [
            one
            for one in candidates(MODEL, TRAIN, ())
            if ENOUGH_STEPS * machine(*one.of(MODEL, TRAIN)) <= seconds
        ]
        assert found.candidate == fitting[0] and found.steps >= ENOUGH_STEPS


def test_the_least_is_taken_where_nothing_fits_and_nothing_else_is_measured():
    machine = Machine(1e8)
    found = chosen(machine)
    assert machine.measured == [found.candidate] == [TrainingSize(32, 16, 32)]
    assert found.steps < found.enough == ENOUGH_STEPS


def test_measuring_takes_a_small_share_of_the_time():
    for power in (9, 10, 11, 12):
        for limit in (40, 120, 1800):
            machine = Machine(10.0**power)
            chosen(machine, limit)
            steps = (machine(*one.of(MODEL, TRAIN)) for one in list(machine.measured)[1:])
            assert STEPS_TAKEN * sum(steps) <= MEASURED_SHARE * limit


def test_an_accelerator_takes_the_full_size_at_once():
    machine = Machine(1e14, latency=0.01)
    assert chosen(machine, from_largest=True).candidate == TrainingSize(64, 64, 64)
    assert len(machine.measured) == 1
    slow = Machine(1e10)
    assert chosen(slow, from_largest=True) == chosen(Machine(1e10))


def test_fewer_steps_are_enough_where_fewer_are_asked_for():
    machine = Machine(10**10.5)
    short = chosen(machine, train=TrainConfig(iters=100)).candidate
    order = candidates(MODEL, TRAIN, ())
    assert order.index(short) < order.index(chosen(machine).candidate)


def test_without_a_limit_or_a_choice_the_settings_stay_and_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(choice_module, "step_seconds", None)
    cpu = {"spent": 1.0, "device": torch.device("cpu"), "precision": "fp32"}
    for settings, fixed in (
        (TrainingSettings(), ()),
        (TrainingSettings(max_time=0.5), ()),
        (TrainingSettings(max_time=60, gan=False), ()),
        (TrainingSettings(max_time=60), ("size", "width", "batch_size")),
    ):
        assert chosen_settings(settings, fixed, **cpu) == (settings, None)


def test_settings_get_what_was_chosen_and_keep_the_rest(monkeypatch):
    machine = Machine(1e8)
    monkeypatch.setattr(choice_module, "step_seconds", lambda *configs, **_: machine(*configs))
    before = TrainingSettings(ModelConfig(latent_dim=5), TrainConfig(seed=3), max_time=60)
    after, found = chosen_settings(
        before, ("width",), spent=1.0, device=torch.device("cpu"), precision="fp32"
    )
    assert found.candidate == TrainingSize(32, 64, 32)
    assert (after.model.size, after.model.width, after.model.latent_dim) == (32, 64, 5)
    assert (after.train.batch_size, after.train.seed, after.max_time) == (32, 3, 60)
