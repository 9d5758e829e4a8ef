"""The objectives are their equations, and train as their reference code does."""

import math

import pytest
import torch
from torch import nn

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.losses import laplacian
from adgan_cli.engine.training.objectives import (
    gradient_penalty,
    objective,
    squared_mmd,
    wasserstein,
)


class Linear(nn.Module):
    """d(x) = a sum(x): its gradient is a everywhere, so the penalty is known."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, x):
        return self.a * x.flatten(1).sum(1)


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    real, fake = torch.rand(2, 5, 3, 4, 4, generator=rng)
    return real, fake, torch.rand(5, 1, 1, 1, generator=rng)


def test_wasserstein_is_the_difference_of_means(batch):
    real, fake, _ = batch
    expected = 2 * 48 * (real.mean() - fake.mean())
    torch.testing.assert_close(wasserstein(Linear(2.0), real, fake), expected)


def test_gradient_penalty_of_a_linear_critic_is_known(batch):
    norm = 0.5 * 48**0.5  # of a vector of 48 times 0.5
    got = gradient_penalty(Linear(0.5), *batch)
    torch.testing.assert_close(got, torch.tensor((norm - 1) ** 2))


def test_gradient_penalty_reaches_the_critic(batch):
    critic = Linear(0.5)
    gradient_penalty(critic, *batch).backward()
    norm = 0.5 * 48**0.5
    torch.testing.assert_close(critic.a.grad, torch.tensor(2 * (norm - 1) * 48**0.5))


def test_gradient_penalty_mixes_real_and_fake(batch):
    real, fake, mix = batch
    seen = []

    class Watching(Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x)

    gradient_penalty(Watching(1.0), real, fake, mix)
    torch.testing.assert_close(seen[0], mix * real + (1 - mix) * fake)


@pytest.mark.parametrize("name", ["wgan", "wgan-gp"])
def test_the_two_players_pull_in_opposite_directions(name, batch):
    real, fake, mix = batch
    aim, critic = objective(TrainConfig(encoder_iters=0, objective=name, penalty=1e-9)), Linear(1.0)
    loss, distance = aim.critic_loss(critic, real, fake, mix)
    torch.testing.assert_close(loss, -distance)
    torch.testing.assert_close(aim.generator_loss(critic, real, fake), -critic(fake).mean())


def test_wgan_follows_the_reference_schedule():
    steps = objective(TrainConfig(encoder_iters=0, objective="wgan")).critic_steps
    assert [steps(s) for s in (0, 24, 25, 499, 500, 501, 1000)] == [100, 100, 5, 5, 100, 5, 100]


def test_wgan_gp_always_takes_its_five_critic_steps():
    steps = objective(TrainConfig(objective="wgan-gp", encoder_iters=0)).critic_steps
    assert {steps(s) for s in (0, 24, 25, 500)} == {5}


def test_wgan_clamps_every_parameter_of_the_critic_before_a_step():
    critic = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    objective(TrainConfig(encoder_iters=0, objective="wgan")).before_critic_step(critic)
    assert all(weight.abs().max() <= 0.01 for weight in critic.parameters())
    assert critic[1].weight.max().item() == pytest.approx(0.01)  # batch norm's too


def test_optimizers_are_the_references():
    weight = [nn.Parameter(torch.zeros(1))]
    rmsprop = objective(TrainConfig(encoder_iters=0, objective="wgan")).optimizer(weight)
    adam = objective(TrainConfig(objective="wgan-gp", encoder_iters=0)).optimizer(weight)
    assert (type(rmsprop).__name__, rmsprop.defaults["lr"]) == ("RMSprop", 5e-5)
    assert (type(adam).__name__, adam.defaults["lr"]) == ("Adam", 1e-4)
    assert adam.defaults["betas"] == (0.0, 0.9)


def test_gan_is_equation_1(batch):
    real, fake, mix = batch
    critic = Linear(0.01)
    d_real, d_fake = critic(real).sigmoid(), critic(fake).sigmoid()
    v = d_real.log().mean() + (1 - d_fake).log().mean()
    aim, saturating = (
        objective(TrainConfig(encoder_iters=0, objective=o)) for o in ("gan", "gan-saturating")
    )
    loss, distance = aim.critic_loss(critic, real, fake, mix)
    torch.testing.assert_close(loss, -v)
    torch.testing.assert_close(distance, v + 2 * math.log(2))
    torch.testing.assert_close(aim.generator_loss(critic, real, fake), -d_fake.log().mean())
    torch.testing.assert_close(
        saturating.generator_loss(critic, real, fake), (1 - d_fake).log().mean()
    )


def test_lsgan_draws_the_critic_to_one_and_nought(batch):
    real, fake, mix = batch
    aim = objective(TrainConfig(encoder_iters=0, objective="lsgan"))

    def critic(x):  # right everywhere
        return torch.ones(len(x)) if x is real else torch.zeros(len(x))

    loss, distance = aim.critic_loss(critic, real, fake, mix)
    assert (loss.item(), distance.item()) == (0.0, 1.0)
    assert aim.generator_loss(critic, real, fake).item() == 0.5
    _, ignorant = aim.critic_loss(lambda x: torch.full((len(x),), 0.5), real, fake, mix)
    assert ignorant.item() == 0.0


@pytest.mark.parametrize("name", ["gan", "gan-saturating", "lsgan", "mmd"])
def test_a_step_of_the_generator_loss_makes_fakes_more_like_real(name, batch):
    """With a critic that prefers bright pictures, or none, towards real ones that are brighter."""
    real, fake, _ = batch
    real, fake = real / 2 + 0.5, (fake - 1).requires_grad_()
    loss = objective(TrainConfig(encoder_iters=0, objective=name)).generator_loss(
        Linear(0.01), real, fake
    )
    loss.backward()
    assert fake.grad.sum() < 0


def test_mmd_of_a_batch_and_itself_is_nothing_and_grows_with_the_shift(batch):
    real, fake, _ = batch
    torch.testing.assert_close(
        squared_mmd(real, real.clone()), torch.tensor(0.0), atol=1e-5, rtol=0
    )
    shifts = [squared_mmd(real, fake + shift).item() for shift in (0.0, 0.2, 0.5)]
    assert shifts == sorted(shifts) and shifts[-1] < 2 * 5, "five kernels of at most 1"


def test_mmd_is_its_equation(batch):
    real, fake, _ = batch
    x, y = real.flatten(1), fake.flatten(1)
    unit = sum((a - b).square().sum() for a in x for b in x) / 25

    def mean(p, q):
        kernels = [
            (-(a - b).square().sum() / (scale * unit)).exp()
            for a in p for b in q for scale in (0.125, 0.5, 2.0, 8.0, 32.0)
        ]  # fmt: skip
        return sum(kernels) / 25

    wanted = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    torch.testing.assert_close(squared_mmd(real, fake), wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["gan", "gan-saturating", "lsgan", "mmd"])
def test_the_others_follow_dcgan(name):
    aim = objective(TrainConfig(encoder_iters=0, objective=name))
    adam = aim.optimizer([nn.Parameter(torch.zeros(1))])
    assert (adam.defaults["lr"], adam.defaults["betas"]) == (2e-4, (0.5, 0.999))
    assert aim.critic_steps(0) == (0 if name == "mmd" else 1)
    assert any(isinstance(m, nn.BatchNorm2d) for m in aim.partner(ModelConfig(16), 0).modules())


def test_vae_is_its_elbo(batch):
    """With an encoder that says N(m, s^2) of everything, and a generator that shows z's first."""
    real, which, noise = batch[0], torch.arange(5), torch.zeros(5, 2)
    m, log_var = 0.3, math.log(0.25)

    def encoder(x):
        return torch.tensor([[m, m, log_var, log_var]]).expand(len(x), -1)

    def generator(z):
        return z[:, :1, None, None].expand(-1, 3, 4, 4)

    loss = objective(TrainConfig(encoder_iters=0, objective="vae")).joint_loss
    kl = 2 * 0.5 * (m**2 + 0.25 - 1 - log_var)
    wanted = 48 / 2 * (real - m).square().mean().log() + kl
    torch.testing.assert_close(loss(generator, encoder, real, which, noise), wanted)


def test_the_latents_of_glo_lie_on_the_sphere_and_are_those_of_their_pictures(batch):
    real, which = batch[0], torch.tensor([2, 0, 2, 1, 4])
    aim = objective(TrainConfig(encoder_iters=0, objective="glo"))
    latents = aim.partner(ModelConfig(16, latent_dim=9), 5)
    torch.testing.assert_close(latents(which).norm(dim=1), torch.full((5,), 3.0))
    assert torch.equal(latents(which)[0], latents(which)[2])

    def generator(z):
        return z[:, :3, None, None].expand(-1, 3, 16, 16)

    big = real.repeat(1, 1, 4, 4)
    loss = aim.joint_loss(generator, latents, big, which, torch.zeros(5, 9))
    torch.testing.assert_close(loss, laplacian(generator(latents(which)), big).mean())
    loss.backward()
    moved = latents.table.grad.abs().sum(1) > 0
    assert moved.tolist() == [True, True, True, False, True]


def test_mmd_of_a_batch_that_is_one_picture_is_a_number():
    real = torch.full((4, 1, 16, 16), 0.5)
    fake = (real + 0.1).requires_grad_()
    loss = squared_mmd(real, fake)
    (slope,) = torch.autograd.grad(loss, fake)
    assert loss.isfinite() and loss > 0 and slope.isfinite().all()
