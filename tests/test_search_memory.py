"""The batch follows what a search was measured to need, and what is free."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import make_generator
from searching import ForeignGenerator

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.losses import l2
from adgan_cli.engine.search import memory
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.execution import SearchProblem
from adgan_cli.engine.search.memory import default_batch, fitting_batch, image_shape, memory_need

MB = 2**20


def problem(generator, config=PAPER_SEARCH):
    return SearchProblem(generator, config, l2, starting_points(2, 8, seed=0), encoder=None)


def on(device):
    """A problem of which only the device is known."""
    return SimpleNamespace(z0=SimpleNamespace(device=torch.device(device)))


@pytest.mark.parametrize(
    ("needs", "free", "batch"),
    [
        ((100, 200), 0, 1),
        ((100, 200), 100 * 4 / memory.SHARE, 4),
        ((100, 200), 100 * 7.9 / memory.SHARE, 4),  # a power of two
        ((100, 200), 2**40, memory.MAX_BATCH),
        ((1000, 1100), (900 + 16 * 100) / memory.SHARE, 16),  # 900 for all of them
        ((100, 100), 2**40, memory.MAX_BATCH),  # nothing for one more
        ((300, 200), 2**40, memory.MAX_BATCH),
        ((10**12, 2 * 10**12), 2**30, 1),
    ],
)
def test_as_many_images_as_fit_into_a_share_of_what_is_free(needs, free, batch):
    assert fitting_batch([MB * need for need in needs], int(MB * free) + 1) == batch


def test_on_a_cuda_device_the_needs_are_measured(monkeypatch):
    measured = []
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000 * MB)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def need(problem, count):
        measured.append(count)
        return 10 * MB * count

    monkeypatch.setattr(memory, "memory_need", need)
    assert default_batch(on("cuda")) == 64  # of 80 that fit
    assert measured == [1, 1, 2], "the first only lets libraries take their workspaces"


def test_no_memory_for_two_images_is_a_batch_of_one(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))

    def full(problem, count):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(memory, "memory_need", full)
    assert default_batch(on("cuda")) == 1 and emptied


def test_a_device_that_does_not_say_what_it_allocated_gets_a_small_batch():
    assert default_batch(on("mps")) == memory.UNMEASURED_BATCH


def test_a_cpu_searches_for_one_image_a_core_where_the_weights_fit(monkeypatch):
    ours = problem(make_generator())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert default_batch(ours) == 6
    weights = sum(4 * weight.numel() for weight in ours.generator.parameters())
    monkeypatch.setattr(memory, "free_memory", lambda device: 4 * weights * 3)
    assert default_batch(ours) == 3
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    assert default_batch(ours) == 1


@pytest.mark.parametrize("theta", ["per-point", "per-image", "none"])
@pytest.mark.parametrize("generator", [make_generator(32, 1), ForeignGenerator()])
def test_images_for_a_probe_have_the_generators_shape(generator, theta):
    expected = (1, 32, 32) if not isinstance(generator, ForeignGenerator) else (3, 16, 16)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    assert image_shape(problem(generator, replace(PAPER_SEARCH, theta=theta))) == expected
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_a_need_counts_what_stays_once_and_what_is_temporary_for_eager_runs_and_graphs(monkeypatch):
    allocated = iter([100, 130])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(allocated))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 150)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    endless = problem(make_generator(), replace(PAPER_SEARCH, theta="none", k=10**6))
    assert memory_need(endless, 2) == 30 + 2 * 20  # after a few of its steps
