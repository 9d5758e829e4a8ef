"""What is left of the time is divided anew before each part, and without a limit nothing is."""

from types import SimpleNamespace

import pytest

from adgan_cli.fitting import time_limit as module
from adgan_cli.fitting.plan import Costs, TimePlan, Work
from adgan_cli.fitting.time_limit import TimeLimit

COSTS = Costs(step=0.1, encoder_step=0.1, search=0.1, comparison=0.0, saving=5.0)
WORK = Work(10**6, encoder_steps=10**6, held_out=100)


class Clock(SimpleNamespace):
    """Stands still until it is set."""

    now: float = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def refuse(budget):
    raise AssertionError("nothing needs measuring")


def test_without_a_limit_nothing_is_measured_and_every_part_has_its_time(clock):
    limit = TimeLimit(None, refuse)
    assert limit.plan(WORK) is None and limit.until("generator", WORK) is None


def test_costs_are_measured_once_and_what_is_left_is_planned_by_the_clock(clock):
    measured = []

    def measure(budget):
        assert budget == pytest.approx(3)
        measured.append(clock.now)
        clock.now += 2
        return COSTS

    limit = TimeLimit(100, measure)
    first = limit.plan(WORK)
    clock.now += 30
    second = limit.plan(WORK)
    assert measured == [1000.0]
    used = [p.generator + p.encoder + p.calibration + p.saving for p in (first, second)]
    assert used == pytest.approx([98, 68]), "the measuring counts too"


def test_the_last_part_may_take_all_but_the_saving(clock):
    limit = TimeLimit(100, lambda budget: COSTS)
    until = limit.until("calibration", Work(0, held_out=3))
    assert until == pytest.approx(1000 + 100 - COSTS.saving)


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_when_the_time_is_over_nothing_is_measured_and_parts_end_at_once(clock, seconds):
    limit = TimeLimit(seconds, refuse)
    assert limit.plan(WORK) == TimePlan()
    assert limit.until("generator", WORK) == clock.now
