"""Losses are read after each step on a CPU, and a few times a second on an accelerator."""

import pytest
import torch

from adgan_cli.engine.training import reports as module
from adgan_cli.engine.training.reports import Reports


@pytest.fixture
def reported(monkeypatch):
    """reported(reports, seconds_a_step, steps): after which steps losses were read."""
    now, step = [0.0], [0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def run(reports, seconds_a_step, steps):
        due = []
        for _ in range(steps):
            step[0], now[0] = step[0] + 1, now[0] + seconds_a_step
            if reports.are_due(step[0]):
                due.append(step[0])
                reports.note(step[0])
        return due

    return run


def test_an_accelerator_is_waited_for_a_few_times_a_second(reported):
    reports = Reports(torch.device("cuda"), 0, 99)
    assert reported(reports, 0.001, 60) == [1, 26, 51], "the first, then every 25th"
    assert reported(reports, 0.1, 22) == [76, 79, 81], "a quarter of a second is two of slow ones"
    assert reported(reports, 1.0, 3) == [83, 84, 85], "one at least"
    assert reported(reports, 0.001, 20)[-1] == 99, "and the last"


def test_on_a_cpu_every_step_is_reported(reported):
    reports = Reports(torch.device("cpu"), 0, 9)
    assert reported(reports, 0.0, 9) == list(range(1, 10))
