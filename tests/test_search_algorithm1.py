"""The search equals Algorithm 1 and depends on nothing but the picture."""

import copy
import threading
from dataclasses import replace

import pytest
import reference
import torch
from conftest import make_generator
from torch import nn

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.losses import l2
from adgan_cli.engine.models.dcgan import Encoder, init_weights
from adgan_cli.engine.search import algorithm1 as module
from adgan_cli.engine.search.algorithm1 import Searcher, default_batch, search, starting_points
from adgan_cli.errors import ConfigError


def pictures(count, size=16, channels=3, seed=3):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=rng) * 2 - 1


class Foreign(nn.Module):
    """A generator of another make: linear layers, a batch norm, a weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.Tanh())
        self.twice = nn.Linear(24, 24)
        self.head = nn.Linear(24, 3 * 16 * 16)

    def forward(self, z):
        h = self.twice(self.twice(self.body(z)).relu())
        return self.head(h).view(-1, 3, 16, 16).tanh()


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
@pytest.mark.parametrize("k", [0, 1, 5, 25])
@pytest.mark.parametrize("n_seed", [1, 8])
def test_search_equals_algorithm_1(generator, n_seed, k, lr_theta):
    x, z0 = pictures(3), starting_points(n_seed, 8, seed=0)
    found = search(generator, x, replace(PAPER_SEARCH, n_seed=n_seed, k=k, lr_theta=lr_theta))
    losses = reference.algorithm_1(generator, x, z0, k=k, lr_theta=lr_theta)
    torch.testing.assert_close(found.losses, losses, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.score, losses.mean(1), rtol=1e-4, atol=0)  # line 8


@pytest.mark.parametrize("size, channels", [(32, 1), (64, 3)])
def test_search_equals_algorithm_1_at_other_sizes(size, channels):
    generator, x = make_generator(size, channels), pictures(1, size, channels)
    found = search(generator, x, replace(PAPER_SEARCH, n_seed=2, k=3))
    losses = reference.algorithm_1(generator, x, starting_points(2, 8, seed=0), k=3)
    torch.testing.assert_close(found.losses, losses, rtol=1e-4, atol=0)


def test_the_theta_step_counts_at_the_papers_rate(generator):
    """The comparison above would pass without theta if its step were too small to see."""
    x = pictures(2)
    moved = search(generator, x, replace(PAPER_SEARCH, k=25)).losses
    fixed = search(generator, x, replace(PAPER_SEARCH, k=25, lr_theta=0.0)).losses
    assert ((moved - fixed).abs() / fixed).min() > 1e-3


@pytest.mark.parametrize("decay", [1.0, 0.8])
@pytest.mark.parametrize("of", ["ours", "foreign"])
def test_a_theta_per_image_is_moved_by_all_points_of_it(generator, of, decay):
    generator = generator if of == "ours" else Foreign().eval()
    x, z0 = pictures(3), starting_points(4, 8, seed=0)
    config = replace(PAPER_SEARCH, n_seed=4, k=5, theta="per-image", lr_decay=decay)
    found = search(generator, x, config, z0=z0)
    losses = reference.algorithm_1_per_image(generator, x, z0, k=5, decay=decay)
    torch.testing.assert_close(found.losses, losses, rtol=1e-4, atol=0)
    apart = search(generator, x, replace(config, theta="per-point"), z0=z0).losses
    assert ((apart - found.losses).abs() / apart).max() > 1e-4


def test_the_trace_tells_the_losses_of_every_step(generator):
    x = pictures(2)
    trace = search(generator, x, replace(PAPER_SEARCH, k=3)).trace
    assert trace.shape == (2, 8, 4)
    for k in range(4):
        losses = search(generator, x, replace(PAPER_SEARCH, k=k)).losses
        torch.testing.assert_close(trace[..., k], losses)


def test_the_least_loss_can_be_the_score(generator):
    found = search(generator, pictures(3), replace(PAPER_SEARCH, reduce="min"))
    assert torch.equal(found.score, found.losses.amin(1))


def test_z_stays_near_the_shell_of_the_prior(generator):
    x = pictures(3)
    free = search(generator, x, replace(PAPER_SEARCH, k=20)).z.norm(dim=2) / 8**0.5
    near = search(generator, x, replace(PAPER_SEARCH, k=20, z_radius=0.1)).z.norm(dim=2) / 8**0.5
    assert (free - 1).abs().max() > 0.3
    assert (near - 1).abs().max() < 0.1001


@pytest.mark.parametrize("theta", ["per-point", "per-image", "none"])
def test_an_encoder_adds_the_last_of_the_points(generator, theta):
    encoder = Encoder(generator.config, 8).eval().requires_grad_(False)
    init_weights(encoder, torch.Generator().manual_seed(2))
    x, config = pictures(3), replace(PAPER_SEARCH, n_seed=2, k=0, theta=theta)
    both = search(generator, x, replace(config, init="both"), encoder=encoder)
    alone = search(generator, x, replace(config, init="encoder"), encoder=encoder)
    assert (both.losses.shape, alone.losses.shape) == ((3, 3), (3, 1))
    expected = l2(generator(encoder(x)), x)
    torch.testing.assert_close(alone.losses[:, 0], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(both.losses[:, 2], expected, rtol=1e-4, atol=0)
    prior = search(generator, x, config).losses
    torch.testing.assert_close(both.losses[:, :2], prior, rtol=1e-5, atol=0)
    z0 = torch.cat([starting_points(2, 8, seed=0), encoder(x[:1])])
    if theta == "per-point":
        found = search(generator, x[:1], replace(config, k=5, init="both"), encoder=encoder)
        losses = reference.algorithm_1(generator, x[:1], z0, k=5)
        torch.testing.assert_close(found.losses, losses, rtol=1e-4, atol=0)
    batched = Searcher(generator, replace(config, k=5, init="both"), encoder=encoder, batch_size=2)
    trace = torch.stack([found[0] for found in batched._in_batches(x)])
    one = search(generator, x, replace(config, k=5, init="both"), encoder=encoder).trace
    torch.testing.assert_close(trace, one, rtol=1e-4, atol=0)


def test_an_encoder_that_is_not_there_is_an_error(generator):
    with pytest.raises(ConfigError, match="--encoder-iters"):
        search(generator, pictures(1), replace(PAPER_SEARCH, init="both"))


def test_theta_none_is_a_step_of_zero(generator):
    x = pictures(2)
    none, zero = replace(PAPER_SEARCH, theta="none"), replace(PAPER_SEARCH, lr_theta=0.0)
    assert torch.equal(search(generator, x, none).losses, search(generator, x, zero).losses)


def test_bf16_differs_by_its_rounding(generator):
    x = pictures(4)
    exact = search(generator, x, replace(PAPER_SEARCH, theta="none")).score
    rounded = search(generator, x, replace(PAPER_SEARCH, theta="none", precision="bf16")).score
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_any_differentiable_generator_will_do(lr_theta):
    generator, x, z0 = Foreign(), pictures(3), starting_points(4, 8, seed=0)
    found = search(generator, x, replace(PAPER_SEARCH, n_seed=4, k=5, lr_theta=lr_theta), z0=z0)
    losses = reference.algorithm_1(generator, x, z0, k=5, lr_theta=lr_theta)
    torch.testing.assert_close(found.losses, losses, rtol=1e-4, atol=0)
    assert generator.training and all(w.requires_grad for w in generator.parameters())


def test_a_generator_of_another_make_must_bring_its_starting_points():
    with pytest.raises(ConfigError, match="z0"):
        search(Foreign(), pictures(1))


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_a_score_depends_on_the_picture_alone(generator, lr_theta):
    x, config = pictures(7), replace(PAPER_SEARCH, lr_theta=lr_theta)
    group_by_shared_model = search(generator, x, config).losses
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    assert torch.equal(search(generator, x[order], config).losses, group_by_shared_model[order])
    alone = torch.cat([search(generator, x[i : i + 1], config).losses for i in range(7)])
    assert torch.equal(alone, group_by_shared_model)
    assert torch.equal(search(generator, x, config, batch_size=3).losses, group_by_shared_model)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_a_score_does_not_depend_on_the_number_of_threads(lr_theta):
    generator, x = make_generator(32, width=16), pictures(4, 32)
    config = replace(PAPER_SEARCH, n_seed=2, k=2, lr_theta=lr_theta)
    one = search(generator, x, config, batch_size=1).losses
    torch.set_num_threads(2)
    try:
        assert torch.equal(search(generator, x, config).losses, one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_searcher_finds_the_same_every_time(generator):
    """Its memory is used again: theta and moments must start anew for every picture."""
    x, searcher = pictures(4), Searcher(generator)
    first = searcher(x).losses
    searcher(-x)
    assert torch.equal(searcher(x).losses, first)


def test_an_interrupted_search_stops_its_threads(generator):
    before = threading.active_count()

    once = iter([True])

    def loss(y, x):
        if next(once, False):  # in one thread; the others would go on for hours
            raise KeyboardInterrupt
        return l2(y, x)

    with pytest.raises(KeyboardInterrupt):
        search(generator, pictures(6), replace(PAPER_SEARCH, k=10**6), loss=loss, batch_size=2)
    assert threading.active_count() == before


def test_the_generator_is_left_as_it_was(generator):
    generator.train()
    generator.norms[0].eval()
    before = copy.deepcopy(generator.state_dict())
    search(generator, pictures(2))
    assert all(torch.equal(t, before[n]) for n, t in generator.state_dict().items())
    assert generator.training and not generator.norms[0].training
    assert all(w.grad is None and not w.requires_grad for w in generator.parameters())


def test_without_steps_the_score_is_the_plain_reconstruction_loss(generator):
    x, z0 = pictures(2), starting_points(8, 8, seed=0)
    with torch.no_grad():
        losses = torch.stack([l2(generator(z0), picture.expand(8, -1, -1, -1)) for picture in x])
    torch.testing.assert_close(search(generator, x, replace(PAPER_SEARCH, k=0)).losses, losses)


def test_more_steps_reproduce_better(generator):
    x = pictures(3)
    losses = [search(generator, x, replace(PAPER_SEARCH, k=k)).score for k in (0, 5, 50)]
    assert (losses[0] > losses[1]).all() and (losses[1] > losses[2]).all()


def test_what_the_generator_made_is_less_anomalous_than_noise(generator):
    with torch.no_grad():
        own = generator(starting_points(4, 8, seed=9))
    config = replace(PAPER_SEARCH, k=40)
    assert (
        search(generator, own, config).score.max()
        < search(generator, pictures(4), config).score.min()
    )


def test_the_reconstruction_is_the_best_points(generator):
    x = pictures(3)
    found = search(generator, x)
    torch.testing.assert_close(l2(found.reconstruction, x), found.losses.min(1).values)


def test_starting_points_are_the_same_for_a_seed_and_standard_normal():
    points = starting_points(500, 20, seed=3)
    assert torch.equal(points, starting_points(500, 20, seed=3))
    assert not torch.equal(points, starting_points(500, 20, seed=4))
    assert points.mean().abs() < 0.05 and (points.std() - 1).abs() < 0.05


def test_another_loss_can_be_searched_with(generator):
    x, z0 = pictures(2), starting_points(2, 8, seed=0)
    found = search(
        generator,
        x,
        replace(PAPER_SEARCH, n_seed=2),
        loss=lambda y, x: (y - x).abs().flatten(1).sum(1),
    )
    losses = reference.algorithm_1(generator, x, z0, k=5, loss=lambda y, x: (y - x).abs().sum())
    torch.testing.assert_close(found.losses, losses, rtol=1e-4, atol=0)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_the_latents_where_the_search_ended_reproduce_its_losses_while_theta_stays(
    generator, lr_theta
):
    x, config = pictures(3), replace(PAPER_SEARCH, n_seed=2, k=3, lr_theta=lr_theta)
    found = search(generator, x, config)
    assert found.z.shape == (3, 2, 8)
    again = (generator(found.z.flatten(0, 1)).unflatten(0, (3, 2)) - x[:, None]) ** 2
    equal = torch.allclose(again.flatten(2).sum(2), found.losses, rtol=1e-4)
    assert equal is (lr_theta == 0)  # else a moved theta had its part in them


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_the_batched_form_of_accelerators_equals_algorithm_1(generator, lr_theta):
    """What runs on a GPU, on the CPU: 5 pictures in batches of 2, the last one filled up."""
    x, z0 = pictures(5), starting_points(3, 8, seed=0)
    config = replace(PAPER_SEARCH, n_seed=3, lr_theta=lr_theta)
    found = Searcher(generator, config, batch_size=2)._in_batches(x)
    losses = reference.algorithm_1(generator, x, z0, k=5, lr_theta=lr_theta)
    torch.testing.assert_close(torch.stack([f[0][:, -1] for f in found]), losses, rtol=1e-4, atol=0)
    best = torch.stack([f[2] for f in found])
    torch.testing.assert_close(
        best, search(generator, x, config).reconstruction, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(generator, monkeypatch, error):
    x, tried = pictures(6), []
    real = Searcher._on_cpu

    def hungry(self, x):
        tried.append(self.batch_size)
        if self.batch_size > 2:
            raise error
        return real(self, x)

    expected = search(generator, x).losses
    monkeypatch.setattr(Searcher, "_on_cpu", hungry)
    searcher = Searcher(generator, batch_size=8)
    assert torch.equal(searcher(x).losses, expected)
    searcher(x)
    assert tried == [8, 4, 2, 2]  # and it remembers


def test_no_memory_for_one_picture_is_an_error_with_a_remedy(generator, monkeypatch):
    def full(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Searcher, "_on_cpu", full)
    with pytest.raises(ConfigError, match="--n-seed"):
        search(generator, pictures(1), batch_size=4)


def test_other_errors_of_the_generator_are_not_taken_for_memory(generator):
    with pytest.raises(RuntimeError, match="size"):
        search(generator, pictures(1, size=32))


def test_the_batch_follows_the_memory(generator, monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(module, "free_memory", lambda device: 0)
    assert default_batch(generator, PAPER_SEARCH, cpu) == 1
    monkeypatch.setattr(module, "free_memory", lambda device: 2**50)
    assert default_batch(generator, PAPER_SEARCH, cpu) == torch.get_num_threads()
    assert default_batch(generator, PAPER_SEARCH, cuda) == module.MAX_BATCH


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_scores():
    generator, x = make_generator(32), pictures(5, 32)
    there = search(copy.deepcopy(generator).cuda(), x, batch_size=2)
    torch.testing.assert_close(there.losses, search(generator, x).losses, rtol=1e-4, atol=0)
