"""The search equals Algorithm 1."""

from dataclasses import replace

import pytest
import reference
import torch
from conftest import make_generator
from searching import ForeignGenerator, random_images

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.losses import l1, l2
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.searcher import search


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
@pytest.mark.parametrize("k", [0, 1, 5, 25])
@pytest.mark.parametrize("n_seed", [1, 8])
def test_search_equals_algorithm_1(generator, n_seed, k, lr_theta):
    x, z0 = random_images(3), starting_points(n_seed, 8, seed=0)
    result = search(generator, x, replace(PAPER_SEARCH, n_seed=n_seed, k=k, lr_theta=lr_theta))
    losses = reference.algorithm_1(generator, x, z0, k=k, lr_theta=lr_theta)
    torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=0)
    torch.testing.assert_close(result.score, losses.mean(1), rtol=1e-4, atol=0)  # line 8


@pytest.mark.parametrize("size, channels", [(32, 1), (64, 3)])
def test_search_equals_algorithm_1_at_other_sizes(size, channels):
    generator, x = make_generator(size, channels), random_images(1, size, channels)
    result = search(generator, x, replace(PAPER_SEARCH, n_seed=2, k=3))
    losses = reference.algorithm_1(generator, x, starting_points(2, 8, seed=0), k=3)
    torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=0)


def test_the_theta_step_counts_at_the_papers_rate(generator):
    """The comparison above would pass without theta if its step were too small to see."""
    x = random_images(2)
    moved = search(generator, x, replace(PAPER_SEARCH, k=25)).losses
    fixed = search(generator, x, replace(PAPER_SEARCH, k=25, lr_theta=0.0)).losses
    assert ((moved - fixed).abs() / fixed).min() > 1e-3


@pytest.mark.parametrize("decay", [1.0, 0.8])
@pytest.mark.parametrize("of", ["ours", "foreign"])
def test_a_theta_per_image_is_moved_by_all_points_of_it(generator, of, decay):
    generator = generator if of == "ours" else ForeignGenerator().eval()
    x, z0 = random_images(3), starting_points(4, 8, seed=0)
    config = replace(PAPER_SEARCH, n_seed=4, k=5, theta="per-image", lr_decay=decay)
    result = search(generator, x, config, z0=z0)
    losses = reference.algorithm_1_per_image(generator, x, z0, k=5, decay=decay)
    torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=0)
    apart = search(generator, x, replace(config, theta="per-point"), z0=z0).losses
    assert ((apart - result.losses).abs() / apart).max() > 1e-4


def test_another_loss_can_be_searched_with(generator):
    x, z0 = random_images(2), starting_points(2, 8, seed=0)
    config = replace(PAPER_SEARCH, n_seed=2)
    result = search(generator, x, config, loss=l1)
    losses = reference.algorithm_1(generator, x, z0, k=5, loss=lambda y, x: (y - x).abs().sum())
    torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=0)


def test_without_steps_the_score_is_the_plain_reconstruction_loss(generator):
    x, z0 = random_images(2), starting_points(8, 8, seed=0)
    with torch.no_grad():
        losses = torch.stack([l2(picture[None])(generator(z0)) for picture in x])
    torch.testing.assert_close(search(generator, x, replace(PAPER_SEARCH, k=0)).losses, losses)


def test_theta_none_is_a_step_of_zero(generator):
    x = random_images(2)
    none, zero = replace(PAPER_SEARCH, theta="none"), replace(PAPER_SEARCH, lr_theta=0.0)
    assert torch.equal(search(generator, x, none).losses, search(generator, x, zero).losses)


def test_the_trace_holds_the_losses_of_every_step(generator):
    x = random_images(2)
    trace = search(generator, x, replace(PAPER_SEARCH, k=3)).trace
    assert trace.shape == (2, 8, 4)
    for k in range(4):
        losses = search(generator, x, replace(PAPER_SEARCH, k=k)).losses
        torch.testing.assert_close(trace[..., k], losses)


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_the_latents_where_the_search_ended_reproduce_its_losses_while_theta_stays(
    generator, lr_theta
):
    x, config = random_images(3), replace(PAPER_SEARCH, n_seed=2, k=3, lr_theta=lr_theta)
    result = search(generator, x, config)
    assert result.z.shape == (3, 2, 8)
    again = (generator(result.z.flatten(0, 1)).unflatten(0, (3, 2)) - x[:, None]) ** 2
    equal = torch.allclose(again.flatten(2).sum(2), result.losses, rtol=1e-4)
    assert equal is (lr_theta == 0)  # else a moved theta had its part in them


def test_z_stays_near_the_shell_of_the_prior(generator):
    x = random_images(3)
    free = search(generator, x, replace(PAPER_SEARCH, k=20)).z.norm(dim=2) / 8**0.5
    near = search(generator, x, replace(PAPER_SEARCH, k=20, z_radius=0.1)).z.norm(dim=2) / 8**0.5
    assert (free - 1).abs().max() > 0.3
    assert (near - 1).abs().max() < 0.1001


def test_more_steps_reproduce_better(generator):
    x = random_images(3)
    losses = [search(generator, x, replace(PAPER_SEARCH, k=k)).score for k in (0, 5, 50)]
    assert (losses[0] > losses[1]).all() and (losses[1] > losses[2]).all()


def test_generated_images_are_less_anomalous_than_noise(generator):
    with torch.no_grad():
        own = generator(starting_points(4, 8, seed=9))
    config = replace(PAPER_SEARCH, k=40)
    noise = search(generator, random_images(4), config).score
    assert search(generator, own, config).score.max() < noise.min()


def test_starting_points_are_the_same_for_a_seed_and_standard_normal():
    points = starting_points(500, 20, seed=3)
    assert torch.equal(points, starting_points(500, 20, seed=3))
    assert not torch.equal(points, starting_points(500, 20, seed=4))
    assert points.mean().abs() < 0.05 and (points.std() - 1).abs() < 0.05
