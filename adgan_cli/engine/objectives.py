"""The objectives a generator can be trained on: each is its equation and its recipe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from adgan_cli.config import TrainConfig


@dataclass(frozen=True)
class Objective:
    """What the training loop needs to know of an objective.

    critic_loss(critic, real, fake, mix) gives the scalar to minimise and the distance it
    estimates, generator_loss(critic, fake) the other scalar to minimise; real and fake:
    (N, C, S, S) in [-1, 1], mix: (N, 1, 1, 1) uniform in [0, 1), for those that interpolate.
    """

    critic_loss: Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    generator_loss: Callable[[nn.Module, Tensor], Tensor]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    critic_steps: Callable[[int], int]  # of generator step 0, 1, ...
    before_critic_step: Callable[[nn.Module], None]
    batch_norm: bool  # in the critic


def objective(config: TrainConfig) -> Objective:
    """The objective that `config` names."""
    return wgan(config) if config.objective == "wgan" else wgan_gp(config)


def wasserstein(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """W of eq. (2), estimated on a batch: the critic's mean on real minus its mean on fake.

    Two passes, so that batch norm sees real and fake apart, as in the reference code.
    """
    return critic(real).float().mean() - critic(fake).float().mean()


def wgan(config: TrainConfig) -> Objective:
    """WGAN, Arjovsky et al. (2017), exactly as its reference code trains.

    RMSprop(5e-5); all critic parameters, batch norm's too, clamped before each critic step; 100
    critic steps during the first 25 generator steps and at every 500th.
    """

    def critic_loss(
        critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        distance = wasserstein(critic, real, fake)
        return -distance, distance

    def clamp(critic: nn.Module) -> None:
        with torch.no_grad():
            for weight in critic.parameters():
                weight.clamp_(-config.clip, config.clip)

    def critic_steps(step: int) -> int:
        return 100 if step < 25 or step % 500 == 0 else config.critic_steps

    return Objective(
        critic_loss=critic_loss,
        generator_loss=_minus_critic,
        optimizer=lambda parameters: RMSprop(parameters, lr=5e-5),
        critic_steps=critic_steps,
        before_critic_step=clamp,
        batch_norm=True,
    )


def wgan_gp(config: TrainConfig) -> Objective:
    """WGAN-GP, Gulrajani et al. (2017), Algorithm 1: Adam(1e-4, 0, 0.9), penalty 10."""

    def critic_loss(
        critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        distance = wasserstein(critic, real, fake)
        return config.penalty * gradient_penalty(critic, real, fake, mix) - distance, distance

    return Objective(
        critic_loss=critic_loss,
        generator_loss=_minus_critic,
        optimizer=lambda parameters: Adam(parameters, lr=1e-4, betas=(0.0, 0.9)),
        critic_steps=lambda step: config.critic_steps,
        before_critic_step=lambda critic: None,
        batch_norm=False,
    )


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E (|grad d(x^)|_2 - 1)^2 at x^ between real and fake: (N, C, S, S) each -> scalar.

    mix: (N, 1, 1, 1), the share of the real picture in x^.
    """
    between = (fake + mix * (real - fake)).requires_grad_()  # x^
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()


def _minus_critic(critic: nn.Module, fake: Tensor) -> Tensor:
    return -critic(fake).float().mean()  # eq. (2), the part that depends on theta
