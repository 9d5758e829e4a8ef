"""One search, three scores: each is its formula, and depends on nothing but the image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_exploding_generator, make_generator

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.searcher import Searcher, search
from adgan_cli.evaluation.methods import adgan as module
from adgan_cli.evaluation.methods.adgan import run_search, search_key, search_scores
from adgan_cli.evaluation.task import NotApplicableError
from adgan_cli.store import KeyedStore


def noise(count, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)


def as_x(pixels):
    return to_model_range(torch.from_numpy(pixels))


def make_model(latent_dim=8):
    generator = make_generator(channels=1, latent_dim=latent_dim)
    return Model(generator, generator.config)


def scores_of(model, pixels, config, *, keep=None, **options):
    store = keep and KeyedStore(keep, search_key(model, pixels, config))
    return search_scores(run_search(model, pixels, config, store=store, **options))


def test_adgan_is_the_mean_over_the_points_and_adgan_1_the_first_of_them():
    model, pixels, config = make_model(), noise(3), replace(PAPER_SEARCH, n_seed=4, k=2)
    losses = search(model.generator, as_x(pixels), config).losses.double().numpy()
    scores = scores_of(model, pixels, config)
    assert scores["adgan"] == pytest.approx(losses.mean(1), rel=1e-12)
    assert (scores["adgan-1"] == losses[:, 0]).all()


def test_the_first_of_eight_starting_points_is_the_only_one_of_one():
    for latent_dim in (16, 64, 256):
        eight, one = starting_points(8, latent_dim, 3), starting_points(1, latent_dim, 3)
        assert torch.equal(eight[:1], one)


def test_adgan_1_is_what_a_search_from_one_point_finds():
    model, pixels = make_model(latent_dim=16), noise(3)
    both = scores_of(model, pixels, replace(PAPER_SEARCH, n_seed=8, k=3))
    alone = scores_of(model, pixels, replace(PAPER_SEARCH, n_seed=1, k=3))
    assert (both["adgan-1"] == alone["adgan"]).all()
    assert (both["adgan-1"] != both["adgan"]).all()


def test_where_torch_draws_otherwise_adgan_1_still_is_one_search_from_the_first_point():
    model, pixels, config = make_model(latent_dim=8), noise(3), replace(PAPER_SEARCH, n_seed=8, k=3)
    z0 = starting_points(8, 8, config.seed)[:1]
    alone = Searcher(model.generator, config, z0=z0)(as_x(pixels)).score.double().numpy()
    assert (scores_of(model, pixels, config)["adgan-1"] == alone).all()


def test_without_steps_the_prior_is_that_of_the_starting_points():
    config = replace(PAPER_SEARCH, n_seed=4, k=0, seed=2)
    z0 = starting_points(4, 8, 2).double()
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z0).sum(1)
    constant = 8 / 2 * np.log(2 * np.pi)
    scores = scores_of(make_model(), noise(2), config)["latent-prior"]
    assert scores == pytest.approx([(-log_p - constant).mean().item()] * 2, rel=1e-6)


def test_the_prior_is_that_of_the_final_latent_vectors():
    """Repeat the first step by hand: Adam's first is the learning rate, along the sign."""
    model, pixels = make_model(), noise(3)
    config = replace(PAPER_SEARCH, n_seed=2, k=1, lr_z=0.25)
    expected = []
    for x in as_x(pixels):
        z = starting_points(2, 8, 0).requires_grad_()
        (model.generator(z) - x).square().sum().backward()
        final = z.detach() - 0.25 * z.grad.sign()
        expected.append((final.square().sum(1) / 2).mean().item())
    scores = scores_of(model, pixels, config)["latent-prior"]
    assert scores == pytest.approx(expected, rel=1e-4)


def test_searched_scores_depend_on_the_picture_alone():
    model, pixels, config = make_model(), noise(5), replace(PAPER_SEARCH, n_seed=2, k=3)
    together = scores_of(model, pixels, config)
    order = [3, 0, 4, 2, 1]
    turned = scores_of(model, pixels[order], config)
    alone = [scores_of(model, pixels[i : i + 1], config) for i in range(5)]
    for name, scores in together.items():
        assert (turned[name] == scores[order]).all()
        assert (np.concatenate([one[name] for one in alone]) == scores).all()
        assert scores.dtype == np.float64


def test_progress_is_reported_and_chunks_change_nothing(monkeypatch):
    model, pixels, config, done = make_model(), noise(5), replace(PAPER_SEARCH, n_seed=2, k=2), []
    whole = scores_of(model, pixels, config)
    monkeypatch.setattr(module, "CHUNK", 2)
    parts = scores_of(model, pixels, config, batch_size=1, on_progress=done.append)
    assert done == [2, 4, 5]
    assert all((parts[name] == whole[name]).all() for name in whole)


class Interrupted(Exception):
    pass


def interrupted_after(count):
    def stop(done):
        if done >= count:
            raise Interrupted

    return stop


def test_an_interrupted_search_goes_on_where_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CHUNK", 2)
    model, pixels, config = make_model(), noise(7), replace(PAPER_SEARCH, n_seed=2, k=2)
    done = []
    with pytest.raises(Interrupted):
        scores_of(
            model, pixels, config, keep=tmp_path, batch_size=1, on_progress=interrupted_after(4)
        )
    resumed = scores_of(model, pixels, config, keep=tmp_path, batch_size=1, on_progress=done.append)
    assert done == [6, 7], "four of them were there"
    whole = scores_of(model, pixels, config)
    assert all((resumed[name] == whole[name]).all() for name in whole)
    scores_of(model, pixels, config, keep=tmp_path, on_progress=done.append)
    assert done == [6, 7], "all of them were there"


@pytest.mark.parametrize("what", ["model", "pixels", "config", "file"])
def test_what_was_kept_of_another_search_is_not_used(what, tmp_path):
    keep = tmp_path / "search.safetensors"
    model, pixels, config = make_model(), noise(3), replace(PAPER_SEARCH, n_seed=2, k=1)
    scores_of(model, pixels, config, keep=tmp_path)
    if what == "model":
        model.generator.norms[0].running_mean[0] += 1
    elif what == "pixels":
        pixels = noise(3, seed=1)
    elif what == "config":
        config = replace(config, k=2)
    else:
        keep.write_bytes(keep.read_bytes()[:-5])
    fresh = scores_of(model, pixels, config)
    kept = scores_of(model, pixels, config, keep=tmp_path)
    assert all((kept[name] == fresh[name]).all() for name in fresh)


def test_a_search_that_leaves_the_numbers_has_no_scores():
    with pytest.raises(NotApplicableError, match="not numbers"):
        generator = make_exploding_generator()
        model = Model(generator, generator.config)
        scores_of(model, noise(2), replace(PAPER_SEARCH, n_seed=2, k=3))
