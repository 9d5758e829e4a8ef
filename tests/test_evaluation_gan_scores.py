"""One GAN, five scores: each is its formula, and depends on nothing but the picture."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_generator
from torch import nn

from adgan_cli.config import PAPER_SEARCH, ModelConfig, TrainConfig, to_dict
from adgan_cli.engine.models.dcgan import Critic, init_weights
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.searcher import Searcher, search
from adgan_cli.engine.training.checkpoint import save_checkpoint
from adgan_cli.engine.training.trainer import ema_generator, new_state, run
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.evaluation import gan_scores as module
from adgan_cli.evaluation.gan_scores import (
    anogan_loss,
    anogan_scores,
    discriminator_scores,
    load_critic,
    search_scores,
)
from adgan_cli.evaluation.settings import AnoganConfig
from adgan_cli.evaluation.task import NotApplicableError

CPU = torch.device("cpu")


def noise(count, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)


def as_x(pixels):
    return to_model_range(torch.from_numpy(pixels))


def make_model(latent_dim=8):
    generator = make_generator(channels=1, latent_dim=latent_dim)
    return Model(generator, generator.config)


def make_critic(*, batch_norm=False):
    critic = Critic(ModelConfig(16, 1, 8, 4), batch_norm=batch_norm)
    init_weights(critic, torch.Generator().manual_seed(1))
    for weight in critic.parameters():
        weight.data.mul_(5)
    return critic.eval().requires_grad_(False)


# The search: adgan, adgan-1, latent-prior


def test_adgan_is_the_mean_over_the_points_and_adgan_1_the_first_of_them():
    model, pixels, config = make_model(), noise(3), replace(PAPER_SEARCH, n_seed=4, k=2)
    losses = search(model.generator, as_x(pixels), config).losses.double().numpy()
    scores = search_scores(model, pixels, config)
    assert scores["adgan"] == pytest.approx(losses.mean(1), rel=1e-12)
    assert (scores["adgan-1"] == losses[:, 0]).all()


def test_the_first_of_eight_starting_points_is_the_only_one_of_one():
    for latent_dim in (16, 64, 256):
        eight, one = starting_points(8, latent_dim, 3), starting_points(1, latent_dim, 3)
        assert torch.equal(eight[:1], one)


def test_adgan_1_is_what_a_search_from_one_point_finds():
    model, pixels = make_model(latent_dim=16), noise(3)
    both = search_scores(model, pixels, replace(PAPER_SEARCH, n_seed=8, k=3))
    alone = search_scores(model, pixels, replace(PAPER_SEARCH, n_seed=1, k=3))
    assert (both["adgan-1"] == alone["adgan"]).all()
    assert (both["adgan-1"] != both["adgan"]).all()


def test_where_torch_draws_otherwise_adgan_1_still_is_one_search_from_the_first_point():
    model, pixels, config = make_model(latent_dim=8), noise(3), replace(PAPER_SEARCH, n_seed=8, k=3)
    z0 = starting_points(8, 8, config.seed)[:1]
    alone = Searcher(model.generator, config, z0=z0)(as_x(pixels)).score.double().numpy()
    assert (search_scores(model, pixels, config)["adgan-1"] == alone).all()


def test_without_steps_the_prior_is_that_of_the_starting_points():
    config = replace(PAPER_SEARCH, n_seed=4, k=0, seed=2)
    z0 = starting_points(4, 8, 2).double()
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z0).sum(1)
    constant = 8 / 2 * np.log(2 * np.pi)
    scores = search_scores(make_model(), noise(2), config)["latent-prior"]
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
    scores = search_scores(model, pixels, config)["latent-prior"]
    assert scores == pytest.approx(expected, rel=1e-4)


def test_searched_scores_depend_on_the_picture_alone():
    model, pixels, config = make_model(), noise(5), replace(PAPER_SEARCH, n_seed=2, k=3)
    together = search_scores(model, pixels, config)
    order = [3, 0, 4, 2, 1]
    turned = search_scores(model, pixels[order], config)
    alone = [search_scores(model, pixels[i : i + 1], config) for i in range(5)]
    for name, scores in together.items():
        assert (turned[name] == scores[order]).all()
        assert (np.concatenate([one[name] for one in alone]) == scores).all()
        assert scores.dtype == np.float64


def test_progress_is_told_and_chunks_change_nothing(monkeypatch):
    model, pixels, config, done = make_model(), noise(5), replace(PAPER_SEARCH, n_seed=2, k=2), []
    whole = search_scores(model, pixels, config)
    monkeypatch.setattr(module, "CHUNK", 2)
    parts = search_scores(model, pixels, config, batch_size=1, on_progress=done.append)
    assert done == [2, 4, 5]
    assert all((parts[name] == whole[name]).all() for name in whole)


class Interrupted(Exception):
    pass


def interrupted_after(count):
    def told(done):
        if done >= count:
            raise Interrupted

    return told


def test_an_interrupted_search_goes_on_where_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CHUNK", 2)
    model, pixels, config = make_model(), noise(7), replace(PAPER_SEARCH, n_seed=2, k=2)
    keep, done = tmp_path / "scores" / "search.safetensors", []
    with pytest.raises(Interrupted):
        search_scores(
            model, pixels, config, keep=keep, batch_size=1, on_progress=interrupted_after(4)
        )
    resumed = search_scores(model, pixels, config, keep=keep, batch_size=1, on_progress=done.append)
    assert done == [6, 7], "four of them were there"
    whole = search_scores(model, pixels, config)
    assert all((resumed[name] == whole[name]).all() for name in whole)
    search_scores(model, pixels, config, keep=keep, on_progress=done.append)
    assert done == [6, 7], "all of them were there"


@pytest.mark.parametrize("what", ["model", "pixels", "config", "file"])
def test_what_was_kept_of_another_search_is_not_used(what, tmp_path):
    keep = tmp_path / "search.safetensors"
    model, pixels, config = make_model(), noise(3), replace(PAPER_SEARCH, n_seed=2, k=1)
    search_scores(model, pixels, config, keep=keep)
    if what == "model":
        model.generator.norms[0].running_mean[0] += 1
    elif what == "pixels":
        pixels = noise(3, seed=1)
    elif what == "config":
        config = replace(config, k=2)
    else:
        keep.write_bytes(keep.read_bytes()[:-5])
    fresh = search_scores(model, pixels, config)
    kept = search_scores(model, pixels, config, keep=keep)
    assert all((kept[name] == fresh[name]).all() for name in fresh)


def test_pictures_of_another_shape_are_refused():
    with pytest.raises(ConfigError, match=r"16 x 16 pixels and 1 channels.* 16 x 16 and 3"):
        search_scores(make_model(), noise(2, channels=3))


def test_a_search_that_leaves_the_numbers_has_no_scores():
    with pytest.raises(NotApplicableError, match="not numbers"):
        search_scores(make_model(), noise(2), replace(PAPER_SEARCH, n_seed=2, k=3, lr_theta=1e38))


# The critic: discriminator


@pytest.mark.parametrize("batch_norm", [False, True])
def test_what_the_critic_takes_for_real_is_the_least_anomalous(batch_norm):
    critic, pixels = make_critic(batch_norm=batch_norm), noise(6)
    with torch.no_grad():
        verdicts = critic(as_x(pixels)).double().numpy()
    scores = discriminator_scores(critic, pixels)
    assert (np.argsort(scores) == np.argsort(verdicts)[::-1]).all()
    assert scores == pytest.approx(-verdicts, rel=1e-4)


def test_a_trained_critic_finds_what_it_was_not_shown_as_real_anomalous():
    """The sign follows from eq. (2): real pictures high."""
    bright = np.full((32, 16, 16, 1), 230, np.uint8) - noise(32) // 16
    config = TrainConfig(encoder_iters=0, objective="wgan", iters=26, batch_size=8, critic_steps=1)
    state = new_state(ModelConfig(16, 1, 8, 4), config, device=CPU, precision="fp32")
    run(state, torch.from_numpy(bright), should_stop=lambda: state.critic_step >= 30)
    scores = discriminator_scores(state.critic, np.concatenate([bright[:8], noise(8, seed=1) // 2]))
    assert scores[:8].max() < scores[8:].min()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_verdict_does_not_depend_on_company(batch_norm):
    critic, pixels = make_critic(batch_norm=batch_norm).train(), noise(5)
    together = discriminator_scores(critic, pixels)
    assert discriminator_scores(critic, pixels, 2) == pytest.approx(together, rel=1e-5)
    assert discriminator_scores(critic, pixels[3:4]) == pytest.approx(together[3:4], rel=1e-5)


# The checkpoint beside the model


@pytest.fixture
def trained(tmp_path):
    config = TrainConfig(
        objective="wgan-gp", encoder_iters=0, iters=2, batch_size=4, critic_steps=1
    )
    state = new_state(ModelConfig(16, 1, 8, 4), config, device=CPU, precision="fp32")
    run(state, torch.from_numpy(noise(8)))
    data = {"pictures": 8, "digest": "abc"}
    training = to_dict(config) | {"iters": state.step, "precision": "fp32"}
    model = Model(
        ema_generator(state),
        state.model_config,
        provenance={"training": training, "data": data},
    )
    save_model(model, tmp_path / "m")
    save_checkpoint(state, tmp_path / "m", data | {"reading": {}})
    return tmp_path / "m", state


def test_the_critic_is_the_one_the_model_was_trained_against(trained):
    folder, state = trained
    for path in (folder, folder / "model.safetensors"):
        critic = load_critic(path, load_model(path), CPU)
        assert critic is not None and not critic.training
        wanted = state.critic.state_dict()
        assert all(torch.equal(t, wanted[n]) for n, t in critic.state_dict().items())


def test_a_checkpoint_of_another_run_or_none_gives_no_critic(trained, tmp_path):
    folder, _ = trained
    model = load_model(folder)
    other = {**model.provenance, "data": {"pictures": 8, "digest": "other"}}
    assert load_critic(folder, replace(model, provenance=other), CPU) is None
    longer = {**model.provenance, "training": {**model.provenance["training"], "iters": 3}}
    assert load_critic(folder, replace(model, provenance=longer), CPU) is None
    shutil.copy(folder / "model.safetensors", tmp_path / "alone.safetensors")
    assert load_critic(tmp_path / "alone.safetensors", model, CPU) is None


def test_a_damaged_checkpoint_is_an_error(trained):
    folder, _ = trained
    file = folder / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match="truncated"):
        load_critic(folder, load_model(folder), CPU)


# AnoGAN


def test_before_the_first_step_anogan_is_its_formula():
    generator, critic, pixels = make_generator(channels=1), make_critic(), noise(4)
    z0 = torch.randn(1, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        y = generator(z0)
        expected = []
        for x in as_x(pixels):
            residual = (x - y).abs().sum()
            matching = (critic.body(x[None]) - critic.body(y)).abs().sum()
            expected.append((0.9 * residual + 0.1 * matching).item())
    scores = anogan_scores(generator, critic, pixels, AnoganConfig(steps=0, seed=7))
    assert scores == pytest.approx(expected, rel=1e-5)


def test_the_matched_layer_is_the_last_before_the_verdict():
    critic, x = make_critic(), as_x(noise(3))
    with torch.no_grad():
        verdict = critic.features(x) @ critic.last.weight.flatten()
        torch.testing.assert_close(verdict, critic(x), rtol=1e-4, atol=1e-4)


def one_by_one(generator, critic, pixels, config):
    """AnoGAN's search with a loop for each picture and an Adam of its own."""
    found = []
    for x in as_x(pixels)[:, None]:
        z = starting_points(1, 8, config.seed).requires_grad_()
        adam = torch.optim.Adam([z], lr=config.lr)
        for _ in range(config.steps):
            adam.zero_grad()
            anogan_loss(generator, critic, z, x, critic.features(x), config.weight).backward()
            adam.step()
        with torch.no_grad():
            loss = anogan_loss(generator, critic, z, x, critic.features(x), config.weight)
        found.append(loss.item())
    return found


@pytest.mark.parametrize("batch_norm", [False, True])
def test_searched_together_or_alone_the_pictures_score_the_same(batch_norm):
    generator, critic = make_generator(channels=1), make_critic(batch_norm=batch_norm)
    pixels, config = noise(5), AnoganConfig(steps=10)
    together = anogan_scores(generator, critic, pixels, config)
    assert together == pytest.approx(one_by_one(generator, critic, pixels, config), rel=1e-3)
    order = [3, 0, 4, 2, 1]
    turned = anogan_scores(generator, critic, pixels[order], config)
    assert turned == pytest.approx(together[order], rel=1e-3)
    in_twos = anogan_scores(generator, critic, pixels, config, batch_size=2)
    assert in_twos == pytest.approx(together, rel=1e-3)
    without = anogan_scores(generator, critic, pixels, replace(config, steps=0))
    assert (abs(together / without - 1) > 0.02).all(), "steps too small to compare"
    assert (anogan_scores(generator, critic, pixels, config) == together).all()


def test_more_steps_of_anogan_reproduce_better():
    generator, critic, pixels = make_generator(channels=1), make_critic(), noise(3)
    few, many = (
        anogan_scores(generator, critic, pixels, AnoganConfig(steps=steps)) for steps in (0, 30)
    )
    assert (many < few).all()


def test_only_the_latent_vector_moves():
    generator, critic = make_generator(channels=1).train(), make_critic(batch_norm=True).train()
    before = [
        {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for network in (generator, critic)
    ]
    anogan_scores(generator, critic, noise(2), AnoganConfig(steps=3))
    for network, was in zip((generator, critic), before, strict=True):
        assert all(torch.equal(t, was[n]) for n, t in network.state_dict().items())
        assert network.training and all(w.grad is None for w in network.parameters())


def test_weight_one_leaves_the_features_and_weight_nought_the_pixels():
    generator, critic, x = make_generator(channels=1), make_critic(), as_x(noise(2))
    z = starting_points(2, 8, 0)
    with torch.no_grad():
        wanted, y = critic.features(x), generator(z)
        pixels = anogan_loss(generator, critic, z, x, wanted, 0.0)
        layer = anogan_loss(generator, critic, z, x, wanted, 1.0)
    torch.testing.assert_close(pixels, nn.L1Loss(reduction="none")(y, x).flatten(1).sum(1))
    torch.testing.assert_close(layer, (wanted - critic.features(y)).abs().sum(1))


def test_progress_of_anogan_is_told():
    done = []
    generator, critic = make_generator(channels=1), make_critic()
    config = AnoganConfig(steps=1)
    anogan_scores(generator, critic, noise(5), config, batch_size=2, on_progress=done.append)
    assert done == [2, 4, 5]


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0.0}, {"weight": 1.5}, {"seed": -1}])
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AnoganConfig(**wrong)
