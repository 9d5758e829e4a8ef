"""Train DCGAN by any objective, eq. (1) or (2), one exact and resumable step after another.

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
from adgan_cli.engine.distributed import (
    all_reduce_gradients,
    all_reduce_sum_,
    any_process,
    sync_batch_norm,
)
from adgan_cli.engine.models.dcgan import Generator, init_weights
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.training.convergence import stagnation_share
from adgan_cli.engine.training.objectives import Objective, objective
from adgan_cli.errors import ConfigError, DivergedError
from adgan_cli.processes import SINGLE, Processes

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
class StepMetrics:
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
        init_weights(network, rng)  # on the CPU: the same start on every device
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
    on_step: Callable[[StepMetrics], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    processes: Processes = SINGLE,
) -> None:
    """Train `state` in place until its step reaches iters or `should_stop` says so.

    pixels: uint8 (N, S, S, C), on any device; with `rows` (N,), picture i is pixels[rows[i]].
    held_out: (H, S, S, C), not to be trained on: `state.checks` tells how they fare, and with
    patience training ends when they fare no better. `should_stop` is asked after every critic
    step, so that stopping takes a moment even where one generator step takes a hundred of them.
    processes: several of them, grouped, that all run this with equal states and pictures; each
    takes its share of every batch, and they stop when one is to. `state` stays equal in all.
    Raises DivergedError on NaN, infinity or a critic that outgrew its bound.
    """
    aim = objective(state.train_config)
    if state.train_config.batch_size < processes.count:
        raise ConfigError(
            f"--batch-size {state.train_config.batch_size} leaves nothing for some of "
            f"{processes.count} processes; give at least as many"
        )
    report_every = 1 if state.device.type == "cpu" else REPORT_EVERY
    started, pictures = time.monotonic(), 0
    distance = torch.zeros((), device=state.device)
    state.generator.train()
    state.critic.train()
    iters, patience = state.train_config.iters, state.train_config.patience
    with sync_batch_norm((state.generator, state.critic), processes.count > 1):
        while state.step < iters and not _asked(should_stop, processes):
            if state.critic_step < aim.critic_steps(state.step):
                real, _ = _real_batch(state, pixels, rows, processes)
                distance = _critic_step(state, aim, real, processes)
                pictures += state.train_config.batch_size
                state.critic_step += 1
                continue
            if aim.has_critic:
                loss = _generator_step(state, aim, None, processes)
            else:
                real, which = _real_batch(state, pixels, rows, processes)
                pictures += state.train_config.batch_size
                if aim.joint_loss is None:
                    loss = _generator_step(state, aim, real, processes)
                else:
                    loss = _joint_step(state, aim.joint_loss, real, which, processes)
                distance = loss
            state.step, state.critic_step = state.step + 1, 0
            checked = None
            if held_out is not None and len(held_out) > 1 and state.step % CHECK_EVERY == 0:
                checked = _check(state, aim, held_out, processes)
                state.checks.append((state.step, checked))
            if checked is not None or state.step % report_every == 0 or state.step == iters:
                seconds = time.monotonic() - started
                far, loss = _over_all(
                    torch.stack([distance.float(), loss.float()]), state, processes
                ).tolist()
                told = StepMetrics(state.step, far, loss, pictures, seconds, checked)
                check_step(told, state)
                if on_step:
                    on_step(told)
            if checked is not None and patience and stagnation_share(state.checks) > patience:
                break


def ema_generator(state: TrainState, *, batches: int = 32) -> Generator:
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


def check_step(told: StepMetrics, state: TrainState) -> None:
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
def _check(state: TrainState, aim: Objective, held_out: Tensor, processes: Processes) -> float:
    """What the objective says of pictures held out; leaves `state` alone, its random state too."""
    rng = torch.Generator().manual_seed(state.step)
    which = torch.randint(len(held_out), (min(len(held_out), CHECKED),), generator=rng)
    real = to_model_range(held_out[which.to(held_out.device)].to(state.device))
    noise = torch.randn(len(real), state.model_config.latent_dim, generator=rng).to(state.device)
    # copies, as batch norm would remember the pictures; in training mode, as they were trained
    generator, partner = copy.deepcopy(state.averaged), copy.deepcopy(state.critic)
    with _autocast(state):
        told = aim.held_out(generator.train(), partner.train(), real, noise)
    # all have found the same, but for the last digits, and patience must end for all at once
    return (all_reduce_sum_(told * processes.is_main) if processes.count > 1 else told).item()


def _critic_step(state: TrainState, aim: Objective, real: Tensor, processes: Processes) -> Tensor:
    """One update of omega, maximising eq. (2); returns the distance estimated before it."""
    share = processes.share(state.train_config.batch_size)
    z = _latents(state, state.rng)[share]
    mix = torch.rand(state.train_config.batch_size, 1, 1, 1, generator=state.rng)[share]
    aim.before_critic_step(state.critic)
    with _autocast(state):
        with torch.no_grad():
            fake = state.generator(z).float()
        assert aim.critic_loss is not None
        loss, distance = aim.critic_loss(state.critic, real, fake, mix.to(state.device))
    _update(state, loss, [state.critic_optimizer], processes)
    return distance.detach()


def _generator_step(
    state: TrainState, aim: Objective, real: Tensor | None, processes: Processes
) -> Tensor:
    """One update of theta, minimising eq. (2) or the like, and of its average.

    real: for those who compare with pictures themselves, and not by way of a critic.
    """
    state.critic.requires_grad_(False)
    with _autocast(state):
        z = _latents(state, state.rng)[processes.share(state.train_config.batch_size)]
        fake = state.generator(z)
        loss = aim.generator_loss(state.critic, fake if real is None else real, fake)
    _update(state, loss, [state.generator_optimizer], processes)
    state.critic.requires_grad_(True)
    _average(state)
    return loss.detach()


def _joint_step(
    state: TrainState,
    joint_loss: Callable[[nn.Module, nn.Module, Tensor, Tensor, Tensor], Tensor],
    real: Tensor,
    which: Tensor,
    processes: Processes,
) -> Tensor:
    """One update of the generator and of its partner, and of the generator's average."""
    with _autocast(state):
        noise = _latents(state, state.rng)[processes.share(state.train_config.batch_size)]
        loss = joint_loss(state.generator, state.critic, real, which, noise)
    _update(state, loss, [state.generator_optimizer, state.critic_optimizer], processes)
    _average(state)
    return loss.detach()


def _update(
    state: TrainState, loss: Tensor, optimizers: list[Optimizer], processes: Processes
) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if processes.count == 1:
        loss.backward()
    else:
        (loss * _weight(state, processes)).backward()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        all_reduce_gradients(weight for group in groups for weight in group["params"])
    for optimizer in optimizers:
        optimizer.step()


def _weight(state: TrainState, processes: Processes) -> float:
    """What a mean over this process's share counts in the mean over the batch."""
    share, count = processes.share(state.train_config.batch_size), state.train_config.batch_size
    return (share.stop - share.start) / count


def _over_all(means: Tensor, state: TrainState, processes: Processes) -> Tensor:
    """Means over this process's share, made those over the batch."""
    return means if processes.count == 1 else all_reduce_sum_(means * _weight(state, processes))


def _asked(should_stop: Callable[[], bool], processes: Processes) -> bool:
    asked = should_stop()
    return asked if processes.count == 1 else any_process(asked)


@torch.no_grad()
def _average(state: TrainState) -> None:
    # the ramp forgets the random start; it ends where (1 + t) / (10 + t) reaches the decay
    decay = min(state.train_config.ema, (1 + state.step) / (10 + state.step))
    pairs = zip(state.averaged.parameters(), state.generator.parameters(), strict=True)
    for average, weight in pairs:
        average.lerp_(weight, 1 - decay)


def _real_batch(
    state: TrainState, pixels: Tensor, rows: Tensor | None, processes: Processes = SINGLE
) -> tuple[Tensor, Tensor]:
    """Pictures drawn with replacement: (share, C, S, S) in [-1, 1], and which: (share,)."""
    count = state.train_config.batch_size
    share = processes.share(count)
    which = torch.randint(len(pixels if rows is None else rows), (count,), generator=state.rng)
    which = which[share]
    index = which if rows is None else rows[which]
    real = to_model_range(pixels[index.to(pixels.device)].to(state.device))
    if state.train_config.flip:
        mirrored = torch.rand(count, 1, 1, 1, generator=state.rng)[share] < 0.5
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
