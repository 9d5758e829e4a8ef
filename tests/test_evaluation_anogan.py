"""The scores that need a critic: each is its formula, and depends on nothing but the image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_generator
from torch import nn

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.models.dcgan import Critic, init_weights
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.methods.anogan import anogan_loss, anogan_scores, discriminator_scores
from adgan_cli.evaluation.settings import AnoganConfig

CPU = torch.device("cpu")


def noise(count, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)


def as_x(pixels):
    return to_model_range(torch.from_numpy(pixels))


def make_critic(*, batch_norm=False):
    critic = Critic(ModelConfig(16, 1, 8, 4), batch_norm=batch_norm)
    init_weights(critic, torch.Generator().manual_seed(1))
    for weight in critic.parameters():
        weight.data.mul_(5)
    return critic.eval().requires_grad_(False)


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
    data = TrainingData(torch.from_numpy(bright))
    list(train_steps(state, data, should_stop=lambda: state.critic_step >= 30))
    scores = discriminator_scores(state.critic, np.concatenate([bright[:8], noise(8, seed=1) // 2]))
    assert scores[:8].max() < scores[8:].min()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_verdict_does_not_depend_on_company(batch_norm):
    critic, pixels = make_critic(batch_norm=batch_norm).train(), noise(5)
    together = discriminator_scores(critic, pixels)
    assert discriminator_scores(critic, pixels, 2) == pytest.approx(together, rel=1e-5)
    assert discriminator_scores(critic, pixels[3:4]) == pytest.approx(together[3:4], rel=1e-5)


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
    losses = []
    for x in as_x(pixels)[:, None]:
        z = starting_points(1, 8, config.seed).requires_grad_()
        adam = torch.optim.Adam([z], lr=config.lr)
        for _ in range(config.steps):
            adam.zero_grad()
            anogan_loss(
                generator, critic, z, x, critic.features(x), weight=config.weight
            ).backward()
            adam.step()
        with torch.no_grad():
            loss = anogan_loss(generator, critic, z, x, critic.features(x), weight=config.weight)
        losses.append(loss.item())
    return losses


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
        features, y = critic.features(x), generator(z)
        pixels = anogan_loss(generator, critic, z, x, features, weight=0.0)
        layer = anogan_loss(generator, critic, z, x, features, weight=1.0)
    torch.testing.assert_close(pixels, nn.L1Loss(reduction="none")(y, x).flatten(1).sum(1))
    torch.testing.assert_close(layer, (features - critic.features(y)).abs().sum(1))


def test_progress_of_anogan_is_reported():
    done = []
    generator, critic = make_generator(channels=1), make_critic()
    config = AnoganConfig(steps=1)
    anogan_scores(generator, critic, noise(5), config, batch_size=2, on_progress=done.append)
    assert done == [2, 4, 5]


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0.0}, {"weight": 1.5}, {"seed": -1}])
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AnoganConfig(**wrong)
