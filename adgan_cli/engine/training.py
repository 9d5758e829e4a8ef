"""Train DCGAN on the Wasserstein objective, eq. (2), one exact and resumable step after another.

Every random number comes from one generator on the CPU, kept in the state: with one thread on a
CPU, stopping anywhere and going on gives the same bytes as never having stopped.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.convergence import since_best
from adgan_cli.engine.networks import Generator, initialise
from adgan_cli.engine.objectives import Objective, objective
from adgan_cli.engine.pixels import to_unit_range
from adgan_cli.errors import DivergedError

CHECK_EVERY, CHECKED = 25, 128  # generator steps between looks at pictures held out; how many
REPORT_EVERY = 10  # generator steps between reports on an accelerator: each one waits for it


@dataclass
class TrainState:
    """All that training needs to go on: what a checkpoint holds."""

    model_config: ModelConfig
    train_config: TrainConfig
    generator: Generator
    critic: nn.Module  # the generator's partner: an encoder, or latent vectors, for some objectives
    averaged: Generator  # exponential moving average of the generator's weights
    generator_optimizer: Optimizer
    critic_optimizer: Optimizer
    rng: torch.Generator
    precision: str  # fp32 or bf16
    step: int = 0  # generator steps done
    critic_step: int = 0  # critic steps done since the last generator step
    # (generator step, what the objective says of the pictures held out), less is better
    checks: list[tuple[int, float]] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.generator.first.weight.device


@dataclass(frozen=True)
class TrainStep:
    """What there is to tell after a generator step."""

    step: int  # generator steps done
    distance: float  # of real to fake, estimated on the last critic batch; eq. (2) for wgan
    generator_loss: float
    pictures: int  # real pictures the critic has been shown in this run
    seconds: float  # of this run
    held_out: float | None = None  # the distance of pictures held out, at every 25th step


def new_state(
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    device: torch.device,
    precision: str,
    pictures: int = 0,
) -> TrainState:
    """Networks initialised from the seed, optimizers at rest, step 0.

    pictures: in the training set, for objectives that learn something of each (glo).
    """
    rng = torch.Generator().manual_seed(train_config.seed)
    aim = objective(train_config)
    generator, critic = Generator(model_config), aim.partner(model_config, pictures)
    for network in (generator, critic):
        initialise(network, rng)  # on the CPU: the same start on every device
        network.to(device, memory_format=torch.channels_last)
    return TrainState(
        model_config=model_config,
        train_config=train_config,
        generator=generator,
        critic=critic,
        averaged=copy.deepcopy(generator).requires_grad_(False),
        generator_optimizer=aim.optimizer(generator.parameters()),
        critic_optimizer=(aim.partner_optimizer or aim.optimizer)(critic.parameters()),
        rng=rng,
        precision=precision,
    )


def run(
    state: TrainState,
    pixels: Tensor,
    *,
    rows: Tensor | None = None,
    held_out: Tensor | None = None,
    on_step: Callable[[TrainStep], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train `state` in place until its step reaches iters or `should_stop` says so.

    pixels: uint8 (N, S, S, C), on any device; with `rows` (N,), picture i is pixels[rows[i]].
    held_out: (H, S, S, C), not to be trained on: `state.checks` tells how they fare, and with
    patience training ends when they fare no better. `should_stop` is asked after every critic
    step, so that stopping takes a moment even where one generator step takes a hundred of them.
    Raises DivergedError on NaN, infinity or a critic that outgrew its bound.
    """
    aim = objective(state.train_config)
    report_every = 1 if state.device.type == "cpu" else REPORT_EVERY
    started, pictures = time.monotonic(), 0
    distance = torch.zeros(())
    state.generator.train()
    state.critic.train()
    iters, patience = state.train_config.iters, state.train_config.patience
    while state.step < iters and not should_stop():
        if state.critic_step < aim.critic_steps(state.step):
            real, _ = _real_batch(state, pixels, rows)
            distance = _critic_step(state, aim, real)
            pictures += state.train_config.batch_size
            state.critic_step += 1
            continue
        if aim.has_critic:
            loss = _generator_step(state, aim, None)
        else:
            real, which = _real_batch(state, pixels, rows)
            pictures += state.train_config.batch_size
            if aim.joint_loss is None:
                loss = _generator_step(state, aim, real)
            else:
                loss = _joint_step(state, aim.joint_loss, real, which)
            distance = loss
        state.step, state.critic_step = state.step + 1, 0
        checked = None
        if held_out is not None and len(held_out) > 1 and state.step % CHECK_EVERY == 0:
            checked = _check(state, aim, held_out)
            state.checks.append((state.step, checked))
        if checked is not None or state.step % report_every == 0 or state.step == iters:
            seconds = time.monotonic() - started
            told = TrainStep(state.step, distance.item(), loss.item(), pictures, seconds, checked)
            check_step(told, state)
            if on_step:
                on_step(told)
        if checked is not None and patience and since_best(state.checks) > patience:
            break


def averaged_generator(state: TrainState, *, batches: int = 32) -> Generator:
    """The generator to keep: averaged weights, with batch-norm statistics of their own.

    The running statistics of training belong to the last weights, not to the averaged ones, and
    the search uses batch norm in eval mode, so they are measured anew on `batches` batches from
    the prior. Leaves `state` as it is; the result is a copy, in eval mode, on the same device.
    """
    kept = copy.deepcopy(state.averaged)
    rng = torch.Generator().manual_seed(state.train_config.seed)
    latents = (_latents(state, rng) for _ in range(batches))
    update_bn(latents, kept)
    return kept.eval()


def check_step(told: TrainStep, state: TrainState) -> None:
    """Raise DivergedError where no sane training gets to."""
    farthest = objective(state.train_config).farthest(state.model_config)
    if not (math.isfinite(told.distance) and math.isfinite(told.generator_loss)):
        what = "the loss is not a number"
    elif abs(told.distance) > farthest:
        what = f"the critic exploded (Wasserstein estimate {told.distance:.3g})"
    else:
        return
    raise DivergedError(
        f"training diverged at generator step {told.step}: {what}; try --precision fp32, "
        "another --seed, or --objective wgan-gp"
    )


@torch.no_grad()
def _check(state: TrainState, aim: Objective, held_out: Tensor) -> float:
    """What the objective says of pictures held out; leaves `state` alone, its random state too."""
    rng = torch.Generator().manual_seed(state.step)
    which = torch.randint(len(held_out), (min(len(held_out), CHECKED),), generator=rng)
    real = to_unit_range(held_out[which.to(held_out.device)].to(state.device))
    noise = torch.randn(len(real), state.model_config.latent_dim, generator=rng).to(state.device)
    # copies, as batch norm would remember the pictures; in training mode, as they were trained
    generator, partner = copy.deepcopy(state.averaged), copy.deepcopy(state.critic)
    with _autocast(state):
        return aim.held_out(generator.train(), partner.train(), real, noise).item()


def _critic_step(state: TrainState, aim: Objective, real: Tensor) -> Tensor:
    """One update of omega, maximising eq. (2); returns the distance estimated before it."""
    count = len(real)
    z = _latents(state, state.rng)
    mix = torch.rand(count, 1, 1, 1, generator=state.rng).to(state.device)
    aim.before_critic_step(state.critic)
    with _autocast(state):
        with torch.no_grad():
            fake = state.generator(z).float()
        assert aim.critic_loss is not None
        loss, distance = aim.critic_loss(state.critic, real, fake, mix)
    _update(state.critic_optimizer, loss)
    return distance.detach()


def _generator_step(state: TrainState, aim: Objective, real: Tensor | None) -> Tensor:
    """One update of theta, minimising eq. (2) or the like, and of its average.

    real: for those who compare with pictures themselves, and not by way of a critic.
    """
    state.critic.requires_grad_(False)
    with _autocast(state):
        fake = state.generator(_latents(state, state.rng))
        loss = aim.generator_loss(state.critic, fake if real is None else real, fake)
    _update(state.generator_optimizer, loss)
    state.critic.requires_grad_(True)
    _average(state)
    return loss.detach()


def _joint_step(
    state: TrainState,
    joint_loss: Callable[[nn.Module, nn.Module, Tensor, Tensor, Tensor], Tensor],
    real: Tensor,
    which: Tensor,
) -> Tensor:
    """One update of the generator and of its partner, and of the generator's average."""
    with _autocast(state):
        noise = _latents(state, state.rng)
        loss = joint_loss(state.generator, state.critic, real, which, noise)
    state.critic_optimizer.zero_grad(set_to_none=True)
    _update(state.generator_optimizer, loss)  # the gradients of both
    state.critic_optimizer.step()
    _average(state)
    return loss.detach()


def _update(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _average(state: TrainState) -> None:
    # the ramp forgets the random start; it ends where (1 + t) / (10 + t) reaches the decay
    decay = min(state.train_config.ema, (1 + state.step) / (10 + state.step))
    pairs = zip(state.averaged.parameters(), state.generator.parameters(), strict=True)
    for average, weight in pairs:
        average.lerp_(weight, 1 - decay)


def _real_batch(state: TrainState, pixels: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pictures drawn with replacement: (batch, C, S, S) in [-1, 1], and which: (batch,)."""
    count = state.train_config.batch_size
    which = torch.randint(len(pixels if rows is None else rows), (count,), generator=state.rng)
    index = which if rows is None else rows[which]
    real = to_unit_range(pixels[index.to(pixels.device)].to(state.device))
    if state.train_config.flip:
        mirrored = torch.rand(count, 1, 1, 1, generator=state.rng) < 0.5
        real = torch.where(mirrored.to(state.device), real.flip(-1), real)
    return real, which.to(state.device)


def _latents(state: TrainState, rng: torch.Generator) -> Tensor:
    """A batch from the prior p_z: (batch, Z), standard normal."""
    shape = state.train_config.batch_size, state.model_config.latent_dim
    return torch.randn(shape, generator=rng).to(state.device)


def _autocast(state: TrainState) -> torch.autocast:
    enabled = state.precision == "bf16"
    return torch.autocast(state.device.type, dtype=torch.bfloat16, enabled=enabled)


def parameter_count(network: nn.Module) -> int:
    """How many numbers `network` learns."""
    return sum(weight.numel() for weight in network.parameters())
