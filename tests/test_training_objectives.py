"""The objectives are their equations, and train as their reference code does."""

import math

import pytest
import torch
from torch import nn

from adgan_cli.config import OBJECTIVES, ModelConfig, TrainConfig
from adgan_cli.engine.losses import laplacian
from adgan_cli.engine.training.objectives import Adversarial, Reconstructive, objective
from adgan_cli.engine.training.objectives.adversarial import gradient_penalty, wasserstein
from adgan_cli.engine.training.objectives.autoencoding import kl_divergence
from adgan_cli.engine.training.objectives.kinds import Batch
from adgan_cli.engine.training.objectives.moment_matching import mmd_loss, squared_mmd

ADVERSARIAL = "wgan", "wgan-gp", "gan", "gan-saturating", "lsgan"


def recipe_of(name, **changes):
    return objective(TrainConfig(encoder_iters=0, objective=name, **changes))


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
    real, fake, epsilon = batch
    seen = []

    class Watching(Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x)

    gradient_penalty(Watching(1.0), real, fake, epsilon)
    torch.testing.assert_close(seen[0], epsilon * real + (1 - epsilon) * fake)


@pytest.mark.parametrize("name", ["wgan", "wgan-gp"])
def test_the_two_players_pull_in_opposite_directions(name, batch):
    real, fake, _ = batch
    recipe, critic = recipe_of(name), Linear(1.0)
    loss, distance = recipe.critic_loss(critic, real, fake)
    torch.testing.assert_close(loss, -distance)
    torch.testing.assert_close(recipe.generator_loss(critic, fake), -critic(fake).mean())


def test_only_wgan_gp_adds_a_penalty_of_lambda_times_its_mean(batch):
    with_penalty = [name for name in ADVERSARIAL if recipe_of(name).penalty]
    assert with_penalty == ["wgan-gp"]
    critic = Linear(0.5)
    got = recipe_of("wgan-gp", penalty=3.0).penalty(critic, *batch)
    torch.testing.assert_close(got, 3 * gradient_penalty(critic, *batch))


def test_wgan_follows_the_reference_schedule():
    steps = recipe_of("wgan").critic_steps
    assert [steps(s) for s in (0, 24, 25, 499, 500, 501, 1000)] == [100, 100, 5, 5, 100, 5, 100]


def test_wgan_gp_always_takes_its_five_critic_steps():
    steps = recipe_of("wgan-gp").critic_steps
    assert {steps(s) for s in (0, 24, 25, 500)} == {5}


def test_wgan_clamps_every_parameter_of_the_critic_before_a_step():
    critic = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    recipe_of("wgan").before_critic_step(critic)
    assert all(weight.abs().max() <= 0.01 for weight in critic.parameters())
    assert critic[1].weight.max().item() == pytest.approx(0.01)  # batch norm's too


def test_optimizers_are_the_references():
    weight = [nn.Parameter(torch.zeros(1))]
    rmsprop = recipe_of("wgan").optimizer(weight)
    adam = recipe_of("wgan-gp").optimizer(weight)
    assert (type(rmsprop).__name__, rmsprop.defaults["lr"]) == ("RMSprop", 5e-5)
    assert (type(adam).__name__, adam.defaults["lr"]) == ("Adam", 1e-4)
    assert adam.defaults["betas"] == (0.0, 0.9)


def test_gan_is_equation_1(batch):
    real, fake, _ = batch
    critic = Linear(0.01)
    d_real, d_fake = critic(real).sigmoid(), critic(fake).sigmoid()
    v = d_real.log().mean() + (1 - d_fake).log().mean()
    recipe, saturating = recipe_of("gan"), recipe_of("gan-saturating")
    loss, distance = recipe.critic_loss(critic, real, fake)
    torch.testing.assert_close(loss, -v)
    torch.testing.assert_close(distance, v + 2 * math.log(2))
    torch.testing.assert_close(recipe.generator_loss(critic, fake), -d_fake.log().mean())
    torch.testing.assert_close(saturating.generator_loss(critic, fake), (1 - d_fake).log().mean())


def test_lsgan_draws_the_critic_to_one_and_nought(batch):
    real, fake, _ = batch
    recipe = recipe_of("lsgan")

    def critic(x):  # right everywhere
        return torch.ones(len(x)) if x is real else torch.zeros(len(x))

    loss, distance = recipe.critic_loss(critic, real, fake)
    assert (loss.item(), distance.item()) == (0.0, 1.0)
    assert recipe.generator_loss(critic, fake).item() == 0.5
    _, ignorant = recipe.critic_loss(lambda x: torch.full((len(x),), 0.5), real, fake)
    assert ignorant.item() == 0.0


@pytest.mark.parametrize("name", ["gan", "gan-saturating", "lsgan"])
def test_a_step_of_the_generator_loss_makes_fakes_more_like_real(name, batch):
    """With a critic that prefers bright pictures."""
    fake = (batch[1] - 1).requires_grad_()
    recipe_of(name).generator_loss(Linear(0.01), fake).backward()
    assert fake.grad.sum() < 0


def test_a_step_of_mmd_makes_fakes_more_like_real_without_a_critic(batch):
    """Towards real pictures that are brighter."""
    real, fake = batch[0] / 2 + 0.5, (batch[1] - 1).requires_grad_()
    recipe_of("mmd").loss(lambda noise: fake, None, Batch(real, torch.zeros(5, 2))).backward()
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


@pytest.mark.parametrize("name", ["gan", "gan-saturating", "lsgan"])
def test_the_others_with_a_critic_follow_dcgan(name):
    recipe = recipe_of(name)
    adam = recipe.optimizer([nn.Parameter(torch.zeros(1))])
    assert (adam.defaults["lr"], adam.defaults["betas"]) == (2e-4, (0.5, 0.999))
    assert recipe.critic_steps(0) == 1
    critic = recipe.new_auxiliary(ModelConfig(16), 0)
    assert any(isinstance(module, nn.BatchNorm2d) for module in critic.modules())


def test_every_objective_is_of_one_kind_and_says_only_what_that_needs():
    kinds = {name: type(recipe_of(name)) for name in OBJECTIVES}
    assert {name for name, kind in kinds.items() if kind is Adversarial} == set(ADVERSARIAL)
    assert {name for name, kind in kinds.items() if kind is Reconstructive} == {"mmd", "vae", "glo"}
    assert not hasattr(recipe_of("vae"), "critic_steps"), "nothing that it never calls"
    assert not hasattr(recipe_of("gan"), "loss")
    assert recipe_of("mmd").new_auxiliary(ModelConfig(16), 5) is None
    assert recipe_of("glo").validation_loss is mmd_loss, "pictures held out have no latents"


def test_vae_is_its_elbo(batch):
    """With an encoder that says N(m, s^2) of everything, and a generator that shows z's first."""
    real, noise = batch[0], torch.zeros(5, 2)
    m, log_var = 0.3, math.log(0.25)

    def encoder(x):
        return torch.tensor([[m, m, log_var, log_var]]).expand(len(x), -1)

    def generator(z):
        return z[:, :1, None, None].expand(-1, 3, 4, 4)

    loss = recipe_of("vae").loss
    kl = 2 * 0.5 * (m**2 + 0.25 - 1 - log_var)
    wanted = 48 / 2 * (real - m).square().mean().log() + kl
    torch.testing.assert_close(loss(generator, encoder, Batch(real, noise)), wanted)


def test_the_latents_of_glo_lie_on_the_sphere_and_are_those_of_their_pictures(batch):
    real, indices = batch[0], torch.tensor([2, 0, 2, 1, 4])
    recipe = recipe_of("glo")
    latents = recipe.new_auxiliary(ModelConfig(16, latent_dim=9), 5)
    torch.testing.assert_close(latents(indices).norm(dim=1), torch.full((5,), 3.0))
    assert torch.equal(latents(indices)[0], latents(indices)[2])

    def generator(z):
        return z[:, :3, None, None].expand(-1, 3, 16, 16)

    big = real.repeat(1, 1, 4, 4)
    loss = recipe.loss(generator, latents, Batch(big, torch.zeros(5, 9), indices))
    torch.testing.assert_close(loss, laplacian(big)(generator(latents(indices))).mean())
    loss.backward()
    moved = latents.table.grad.abs().sum(1) > 0
    assert moved.tolist() == [True, True, True, False, True]


def test_mmd_of_a_batch_that_is_one_picture_is_a_number():
    real = torch.full((4, 1, 16, 16), 0.5)
    fake = (real + 0.1).requires_grad_()
    loss = squared_mmd(real, fake)
    (slope,) = torch.autograd.grad(loss, fake)
    assert loss.isfinite() and loss > 0 and slope.isfinite().all()


def test_kl_divergence_equals_that_of_torch():
    rng = torch.Generator().manual_seed(0)
    mean, log_var = torch.randn(2, 5, 8, generator=rng)
    q = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    p = torch.distributions.Normal(torch.zeros(8), torch.ones(8))
    expected = torch.distributions.kl_divergence(q, p).sum(1)
    torch.testing.assert_close(kl_divergence(mean, log_var), expected)
    assert kl_divergence(torch.zeros(1, 8), torch.zeros(1, 8)).tolist() == [0.0]
    assert kl_divergence(torch.full((1, 8), 2.0), torch.zeros(1, 8)).tolist() == [16.0]
