"""Objectives with a critic: eq. (1) and (2) of the paper, and variants of them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.training.objectives.kinds import Adversarial
from adgan_cli.engine.training.optimizers import adam, dcgan_adam, rmsprop


def wgan(config: TrainConfig) -> Adversarial:
    """Make WGAN, Arjovsky et al. (2017), exactly as its reference code trains.

    RMSprop(5e-5); all critic parameters, batch norm's too, clamped before each critic step; 100
    critic steps during the first 25 generator steps and at every 500th.
    """

    @torch.no_grad()
    def clamp(critic: nn.Module) -> None:
        for weight in critic.parameters():
            weight.clamp_(-config.clip, config.clip)

    return Adversarial(
        critic_loss=wgan_critic_loss,
        generator_loss=wgan_generator_loss,
        critic_steps=lambda step: 100 if step < 25 or step % 500 == 0 else config.n_critic,
        optimizer=lambda parameters: rmsprop(parameters, lr=5e-5),
        distance_name="Wasserstein",
        before_critic_step=clamp,
        max_distance=max_wasserstein,
    )


def wgan_gp(config: TrainConfig) -> Adversarial:
    """Make WGAN-GP, Gulrajani et al. (2017), Algorithm 1: Adam(1e-4, 0, 0.9), lambda 10."""
    return Adversarial(
        critic_loss=wgan_critic_loss,
        generator_loss=wgan_generator_loss,
        critic_steps=lambda step: config.n_critic,
        optimizer=lambda parameters: adam(parameters, lr=1e-4, betas=(0.0, 0.9)),
        distance_name="Wasserstein",
        batch_norm=False,
        penalty=lambda *batch: config.penalty * gradient_penalty(*batch),
        max_distance=max_wasserstein,
    )


def gan(config: TrainConfig) -> Adversarial:
    """Make GAN, eq. (1) of the paper, Goodfellow et al. (2014); DCGAN's Adam(2e-4, 0.5).

    The critic's output is the logit of its chance that an image is real. By default the generator
    maximises log d(fake), which has slopes where it is far off (their section 3); gan-saturating
    minimises log(1 - d(fake)), eq. (1) to the letter. The distance is twice the Jensen-Shannon
    divergence that this critic shows, at most 2 log 2.
    """

    def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        # - log d(real) - log(1 - d(fake))
        loss = F.softplus(-critic(real).float()).mean() + F.softplus(critic(fake).float()).mean()
        return loss, 2 * math.log(2) - loss

    def generator_loss(critic: nn.Module, fake: Tensor) -> Tensor:
        logit = critic(fake).float()
        if config.objective == "gan-saturating":
            return -F.softplus(logit).mean()
        return F.softplus(-logit).mean()

    return Adversarial(
        critic_loss=critic_loss,
        generator_loss=generator_loss,
        critic_steps=lambda step: config.n_critic,
        optimizer=dcgan_adam,
        distance_name="2 JSD",
    )


def lsgan(config: TrainConfig) -> Adversarial:
    """Make LSGAN, Mao et al. (2017), eq. (9): the critic is drawn to 1 on real, to 0 on fake.

    The generator draws it to 1. The distance is 1 - 4 times the critic's loss, 0 for one that says
    1/2 to everything, 1 for one that is right everywhere.
    """

    def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        to_one, to_zero = critic(real).float() - 1, critic(fake).float()
        loss = (to_one.square().mean() + to_zero.square().mean()) / 2
        return loss, 1 - 4 * loss

    def generator_loss(critic: nn.Module, fake: Tensor) -> Tensor:
        return (critic(fake).float() - 1).square().mean() / 2

    return Adversarial(
        critic_loss=critic_loss,
        generator_loss=generator_loss,
        critic_steps=lambda step: config.n_critic,
        optimizer=dcgan_adam,
        distance_name="distance",
    )


def wasserstein(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Estimate W of eq. (2) on a batch: the critic's mean on real minus its mean on fake images.

    Two passes, so that batch norm sees real and fake apart, as in the reference code.
    """
    return critic(real).float().mean() - critic(fake).float().mean()


def wgan_critic_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what the critic minimises, eq. (2) negated, and the distance, eq. (2)."""
    distance = wasserstein(critic, real, fake)
    return -distance, distance


def wgan_generator_loss(critic: nn.Module, fake: Tensor) -> Tensor:
    """Compute the part of eq. (2) that depends on theta."""
    return -critic(fake).float().mean()


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """Compute E (|grad d(x^)|_2 - 1)^2 at x^ between real and fake: (N, C, S, S) each -> scalar.

    epsilon: (N, 1, 1, 1), the share of the real image in x^.
    """
    between = (fake + epsilon * (real - fake)).requires_grad_()  # x^
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()


def max_wasserstein(config: ModelConfig) -> float:
    """Bound the distance that a 1-Lipschitz critic can show, ten times over.

    Distributions in the cube [-1, 1]^(C S S) are at most its diameter 2 sqrt(C S S) apart.
    """
    return 20 * math.sqrt(config.channels) * config.size
