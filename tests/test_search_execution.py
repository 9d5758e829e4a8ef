"""A score depends on the image alone, whatever is searched beside it."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import reference
import torch
from conftest import make_generator
from searching import random_images

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.capture import Captured
from adgan_cli.engine.losses import l2
from adgan_cli.engine.models.dcgan import Encoder, init_weights
from adgan_cli.engine.search import execution
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.execution import PaddedBatches
from adgan_cli.engine.search.searcher import Searcher, search


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_a_score_depends_on_the_image_alone(generator, lr_theta):
    x, config = random_images(7), replace(PAPER_SEARCH, lr_theta=lr_theta)
    together = search(generator, x, config).losses
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    assert torch.equal(search(generator, x[order], config).losses, together[order])
    alone = torch.cat([search(generator, x[i : i + 1], config).losses for i in range(7)])
    assert torch.equal(alone, together)
    assert torch.equal(search(generator, x, config, batch_size=3).losses, together)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_a_score_does_not_depend_on_the_number_of_threads(lr_theta):
    generator, x = make_generator(32, width=16), random_images(4, 32)
    config = replace(PAPER_SEARCH, n_seed=2, k=2, lr_theta=lr_theta)
    one = search(generator, x, config, batch_size=1).losses
    torch.set_num_threads(2)
    try:
        assert torch.equal(search(generator, x, config).losses, one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("theta", ["per-point", "per-image", "none"])
def test_an_encoder_adds_the_last_of_the_points(generator, theta):
    encoder = Encoder(generator.config, 8).eval().requires_grad_(False)
    init_weights(encoder, torch.Generator().manual_seed(2))
    x, config = random_images(3), replace(PAPER_SEARCH, n_seed=2, k=0, theta=theta)
    both = search(generator, x, replace(config, init="both"), encoder=encoder)
    alone = search(generator, x, replace(config, init="encoder"), encoder=encoder)
    assert (both.losses.shape, alone.losses.shape) == ((3, 3), (3, 1))
    expected = l2(x)(generator(encoder(x)))
    torch.testing.assert_close(alone.losses[:, 0], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(both.losses[:, 2], expected, rtol=1e-4, atol=0)
    prior = search(generator, x, config).losses
    torch.testing.assert_close(both.losses[:, :2], prior, rtol=1e-5, atol=0)
    z0 = torch.cat([starting_points(2, 8, seed=0), encoder(x[:1])])
    if theta == "per-point":
        result = search(generator, x[:1], replace(config, k=5, init="both"), encoder=encoder)
        losses = reference.algorithm_1(generator, x[:1], z0, k=5)
        torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=0)
    config = replace(config, k=5, init="both")
    batched = Searcher(generator, config, encoder=encoder, batch_size=2, execution=PaddedBatches)
    one = search(generator, x, config, encoder=encoder).trace
    torch.testing.assert_close(batched(x).trace, one, rtol=1e-4, atol=0)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_the_batched_form_of_accelerators_equals_algorithm_1(generator, lr_theta):
    """What runs on a GPU, on the CPU: 5 pictures in batches of 2, the last one filled up."""
    x, z0 = random_images(5), starting_points(3, 8, seed=0)
    config = replace(PAPER_SEARCH, n_seed=3, lr_theta=lr_theta)
    batched = Searcher(generator, config, batch_size=2, execution=PaddedBatches)(x)
    losses = reference.algorithm_1(generator, x, z0, k=5, lr_theta=lr_theta)
    torch.testing.assert_close(batched.losses, losses, rtol=1e-4, atol=0)
    best = search(generator, x, config).reconstruction
    torch.testing.assert_close(batched.reconstruction, best, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("theta", ["per-point", "none"])
def test_first_passes_that_are_not_kept_are_computed_again(generator, monkeypatch, theta):
    x, config = random_images(2), replace(PAPER_SEARCH, theta=theta)
    expected = search(generator, x, config).losses
    monkeypatch.setattr(execution, "MAX_FIRST_PASSES", 3)
    assert torch.equal(search(generator, x, config).losses, expected)


def test_an_interrupted_search_stops_its_threads(generator):
    before = threading.active_count()

    once = iter([True])

    def loss(x):
        if next(once, False):  # in one thread; the others would go on for hours
            raise KeyboardInterrupt
        return l2(x)

    with pytest.raises(KeyboardInterrupt):
        search(generator, random_images(6), replace(PAPER_SEARCH, k=10**6), loss=loss, batch_size=2)
    assert threading.active_count() == before


@pytest.fixture
def graphs(monkeypatch):
    """Graphs as on a GPU, on the CPU: how often one was captured and replayed, or why not."""
    events, reasons = [], []

    def captured(function, inputs, context, *, tolerance):
        events.append("capture")
        assert tolerance == 0 and not context.tensors
        if reasons:
            return Captured(function, reasons[0])
        return Captured(lambda *values: (events.append("replay"), function(*values))[1])

    monkeypatch.setattr(execution, "can_capture", lambda x: True)
    monkeypatch.setattr(execution, "capture", captured)
    return SimpleNamespace(events=events, reasons=reasons)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_the_steps_are_captured_once_there_are_many_batches(generator, graphs, lr_theta):
    x, config = random_images(3), replace(PAPER_SEARCH, n_seed=2, k=1, lr_theta=lr_theta)
    searcher = Searcher(generator, config, batch_size=1, execution=PaddedBatches)
    expected = searcher(x).trace
    for _ in range(3):
        assert torch.equal(searcher(x).trace, expected)
    assert graphs.events == ["capture"] + ["replay"] * (12 - execution.CAPTURE_AFTER)
    assert searcher.eager_reason is None


def test_what_cannot_be_captured_is_searched_step_by_step_and_says_why(
    generator, graphs, monkeypatch
):
    monkeypatch.setattr(execution, "CAPTURE_AFTER", 1)
    graphs.reasons.append("it cannot be captured: no")
    x, config = random_images(3), replace(PAPER_SEARCH, n_seed=2, k=1)
    searcher = Searcher(generator, config, batch_size=1, execution=PaddedBatches)
    assert searcher.eager_reason is None
    expected = Searcher(generator, config, batch_size=1)(x).losses
    torch.testing.assert_close(searcher(x).losses, expected, rtol=1e-4, atol=0)
    assert searcher.eager_reason == "it cannot be captured: no"
    assert graphs.events == ["capture"], "it is not tried again"


def test_a_very_long_search_is_not_captured(generator, graphs, monkeypatch):
    monkeypatch.setattr(execution, "CAPTURE_AFTER", 0)
    monkeypatch.setattr(execution, "MAX_CAPTURED_STEPS", 3)
    for k, events in ((4, []), (3, ["capture", "replay"])):
        config = replace(PAPER_SEARCH, n_seed=1, k=k)
        Searcher(generator, config, batch_size=1, execution=PaddedBatches)(random_images(1))
        assert graphs.events == events


def test_on_a_cpu_nothing_is_captured(generator, monkeypatch):
    monkeypatch.setattr(execution, "CAPTURE_AFTER", 0)
    config = replace(PAPER_SEARCH, n_seed=1, k=1)
    batched = Searcher(generator, config, batch_size=1, execution=PaddedBatches)
    threads = Searcher(generator, config)
    batched(random_images(1)), threads(random_images(1))
    assert batched._execution.captured is None
    assert batched.eager_reason is None and threads.eager_reason is None


@pytest.mark.parametrize("kind", ["threads", "batches"])
def test_a_loss_is_prepared_once_an_image_or_a_batch(generator, kind):
    prepared = []

    def loss(x):
        prepared.append(len(x))
        return l2(x)

    config = replace(PAPER_SEARCH, n_seed=3, k=4)
    execution_type = PaddedBatches if kind == "batches" else None
    searcher = Searcher(generator, config, loss=loss, batch_size=2, execution=execution_type)
    searcher(random_images(4))
    assert prepared == ([1] * 4 if kind == "threads" else [2 * 3] * 2)
