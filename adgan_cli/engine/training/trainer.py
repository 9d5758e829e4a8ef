"""Train DCGAN by any objective, eq. (1) or (2), one exact and resumable step after another.

Every random number comes from one generator on the CPU, kept in the state: with one thread on a
CPU, stopping anywhere and going on gives the same bytes as never having stopped.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from adgan_cli.engine.distributed import (
    all_reduce_gradients,
    all_reduce_sum_,
    any_process,
    sync_batch_norm,
)
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.training.convergence import stagnation_share
from adgan_cli.engine.training.objectives import Adversarial, Objective, Reconstructive, objective
from adgan_cli.engine.training.objectives.kinds import Batch
from adgan_cli.engine.training.state import TrainState, sample_latents
from adgan_cli.errors import ConfigError, DivergedError
from adgan_cli.processes import SINGLE, Processes

VALIDATE_EVERY = 25  # generator steps between looks at images held out
VALIDATION_IMAGES = 128
REPORT_EVERY = 10  # generator steps between reports on an accelerator: each one waits for it

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class TrainingData:
    """The images of a training set, and those held out of it, on any device."""

    pixels: Tensor  # (M, S, S, C) uint8
    indices: Tensor | None = None  # (N,): image i is pixels[indices[i]]; None: i itself, N = M
    held_out: Tensor | None = None  # (H, S, S, C) uint8

    def __len__(self) -> int:
        return len(self.pixels if self.indices is None else self.indices)

    def images(self, index: Tensor, device: torch.device) -> Tensor:
        """Fetch images, index: (n,) -> (n, C, S, S) in [-1, 1] on `device`."""
        index = index if self.indices is None else self.indices[index]
        return to_model_range(self.pixels[index.to(self.pixels.device)].to(device))


@dataclass(frozen=True)
class StepMetrics:
    """What is known after a generator step."""

    step: int  # generator steps done
    distance: float  # of real to generated images, estimated on the last batch; eq. (2) for wgan
    generator_loss: float
    images: int  # real images seen since training began or was resumed
    held_out: float | None = None  # the distance of images held out, at every 25th step


def train_steps(
    state: TrainState,
    data: TrainingData,
    *,
    should_stop: ShouldStop | None = None,
    processes: Processes = SINGLE,
) -> Iterator[StepMetrics]:
    """Train `state` in place until its step reaches iters; yield metrics as the steps are done.

    Metrics come after each step on a CPU, after every tenth on an accelerator. `should_stop` is
    asked after every critic step, so that stopping takes a moment even where one generator step
    takes a hundred of them. With images held out `state.validation_log` grows, and with patience
    training ends when they fare no better. processes: several of them, grouped, that all train
    equal states on equal data; each takes its share of every batch, and they stop when one is to.
    Raises DivergedError on NaN, infinity or a critic that outgrew its bound.
    """
    _check_shares(state, processes)
    config, recipe = state.train_config, objective(state.train_config)
    report_every = 1 if state.device.type == "cpu" else REPORT_EVERY
    images, distance = 0, torch.zeros((), device=state.device)
    for network in state.networks():
        network.train()
    with sync_batch_norm(state.networks(), processes.world_size > 1):
        while state.step < config.iters and not _stop_agreed(should_stop, processes):
            if isinstance(recipe, Reconstructive):
                loss = distance = _reconstructive_step(state, recipe, data, processes)
                images += config.batch_size
            elif state.critic_step < recipe.critic_steps(state.step):
                distance = _critic_step(state, recipe, data, processes)
                images += config.batch_size
                state.critic_step += 1
                continue
            else:
                loss = _generator_step(state, recipe, processes)
            state.step += 1
            state.critic_step = 0
            validated = _validate(state, recipe, data, processes)
            if (
                validated is not None
                or state.step % report_every == 0
                or state.step == config.iters
            ):
                means = torch.stack([distance.float(), loss.float()])
                mean_distance, mean_loss = _global_mean(means, state, processes).tolist()
                metrics = StepMetrics(state.step, mean_distance, mean_loss, images, validated)
                check_step(metrics, state)
                yield metrics
            patience, log = config.patience, state.validation_log
            if validated is not None and 0 < patience < stagnation_share(log):
                break


def check_step(metrics: StepMetrics, state: TrainState) -> None:
    """Raise DivergedError where no sane training gets to."""
    recipe = objective(state.train_config)
    bound = math.inf
    if isinstance(recipe, Adversarial) and recipe.max_distance:
        bound = recipe.max_distance(state.model_config)
    if not (math.isfinite(metrics.distance) and math.isfinite(metrics.generator_loss)):
        reason = "the loss is not a number"
    elif abs(metrics.distance) > bound:
        reason = f"the critic exploded (Wasserstein estimate {metrics.distance:.3g})"
    else:
        return
    raise DivergedError(
        f"training diverged at generator step {metrics.step}: {reason}; try --precision fp32, "
        "another --seed, or --objective wgan-gp"
    )


def _critic_step(
    state: TrainState, recipe: Adversarial, data: TrainingData, processes: Processes
) -> Tensor:
    """Update omega once, maximising eq. (2); return the distance estimated before it."""
    critic, optimizer = state.auxiliary, state.auxiliary_optimizer
    assert critic is not None and optimizer is not None
    real, _ = _real_batch(state, data, processes)
    share = processes.share(state.train_config.batch_size)
    z = sample_latents(state, state.rng)[share]
    # drawn for every objective: with equal seeds they all see the same images
    epsilon = torch.rand(state.train_config.batch_size, 1, 1, 1, generator=state.rng)[share]
    if recipe.before_critic_step:
        recipe.before_critic_step(critic)
    with _autocast(state):
        with torch.no_grad():
            fake = state.generator(z).float()
        loss, distance = recipe.critic_loss(critic, real, fake)
        if recipe.penalty:
            loss = loss + recipe.penalty(critic, real, fake, epsilon.to(state.device))
    _update(state, loss, [optimizer], processes)
    return distance.detach()


def _generator_step(state: TrainState, recipe: Adversarial, processes: Processes) -> Tensor:
    """Update theta once, minimising eq. (2) or the like, and its average; return the loss."""
    critic = state.auxiliary
    assert critic is not None
    critic.requires_grad_(False)
    with _autocast(state):
        z = sample_latents(state, state.rng)[processes.share(state.train_config.batch_size)]
        loss = recipe.generator_loss(critic, state.generator(z))
    _update(state, loss, [state.generator_optimizer], processes)
    critic.requires_grad_(True)
    _update_ema(state)
    return loss.detach()


def _reconstructive_step(
    state: TrainState, recipe: Reconstructive, data: TrainingData, processes: Processes
) -> Tensor:
    """Update theta, the auxiliary network and theta's average once; return the loss."""
    real, indices = _real_batch(state, data, processes)
    with _autocast(state):
        noise = sample_latents(state, state.rng)[processes.share(state.train_config.batch_size)]
        loss = recipe.loss(state.generator, state.auxiliary, Batch(real, noise, indices))
    optimizers = [state.generator_optimizer, state.auxiliary_optimizer]
    _update(state, loss, [optimizer for optimizer in optimizers if optimizer], processes)
    _update_ema(state)
    return loss.detach()


@torch.no_grad()
def _validate(
    state: TrainState, recipe: Objective, data: TrainingData, processes: Processes
) -> float | None:
    """Add the distance of images held out to the log, every 25th step; leave all else alone."""
    held_out = data.held_out
    if held_out is None or len(held_out) < 2 or state.step % VALIDATE_EVERY:
        return None
    rng = torch.Generator().manual_seed(state.step)
    index = torch.randint(len(held_out), (min(len(held_out), VALIDATION_IMAGES),), generator=rng)
    real = TrainingData(held_out).images(index, state.device)
    noise = torch.randn(len(real), state.model_config.latent_dim, generator=rng).to(state.device)
    # copies, as batch norm would remember the images; in training mode, as they were trained
    generator = copy.deepcopy(state.ema).train()
    auxiliary = copy.deepcopy(state.auxiliary)
    if auxiliary is not None:
        auxiliary.train()
    with _autocast(state):
        if isinstance(recipe, Adversarial):
            assert auxiliary is not None
            _, value = recipe.critic_loss(auxiliary, real, generator(noise).float())
        else:
            loss = recipe.validation_loss or recipe.loss
            value = loss(generator, auxiliary, Batch(real, noise))
    # all have the same value, but for the last digits, and patience must end for all at once
    if processes.world_size > 1:
        value = all_reduce_sum_(value * processes.is_main)
    state.validation_log.append((state.step, value.item()))
    return value.item()


def _update(
    state: TrainState, loss: Tensor, optimizers: list[Optimizer], processes: Processes
) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if processes.world_size == 1:
        loss.backward()
    else:
        (loss * _share_weight(state, processes)).backward()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        all_reduce_gradients(weight for group in groups for weight in group["params"])
    for optimizer in optimizers:
        optimizer.step()


@torch.no_grad()
def _update_ema(state: TrainState) -> None:
    # the ramp forgets the random start; it ends where (1 + t) / (10 + t) reaches the decay
    decay = min(state.train_config.ema, (1 + state.step) / (10 + state.step))
    pairs = zip(state.ema.parameters(), state.generator.parameters(), strict=True)
    for average, weight in pairs:
        average.lerp_(weight, 1 - decay)


def _real_batch(
    state: TrainState, data: TrainingData, processes: Processes = SINGLE
) -> tuple[Tensor, Tensor]:
    """Draw images with replacement: (share, C, S, S) in [-1, 1], and their indices: (share,)."""
    batch_size = state.train_config.batch_size
    share = processes.share(batch_size)
    indices = torch.randint(len(data), (batch_size,), generator=state.rng)[share]
    real = data.images(indices, state.device)
    if state.train_config.flip:
        mirrored = torch.rand(batch_size, 1, 1, 1, generator=state.rng)[share] < 0.5
        real = torch.where(mirrored.to(state.device), real.flip(-1), real)
    return real, indices.to(state.device)


def _autocast(state: TrainState) -> torch.autocast:
    enabled = state.precision == "bf16"
    return torch.autocast(state.device.type, dtype=torch.bfloat16, enabled=enabled)


def _check_shares(state: TrainState, processes: Processes) -> None:
    if state.train_config.batch_size < processes.world_size:
        raise ConfigError(
            f"--batch-size {state.train_config.batch_size} leaves nothing for some of "
            f"{processes.world_size} processes; give at least as many"
        )


def _share_weight(state: TrainState, processes: Processes) -> float:
    """Compute the weight that a mean over this process's share has in the mean over the batch."""
    batch_size = state.train_config.batch_size
    share = processes.share(batch_size)
    return (share.stop - share.start) / batch_size


def _global_mean(means: Tensor, state: TrainState, processes: Processes) -> Tensor:
    """Turn means over this process's share into those over the batch."""
    if processes.world_size == 1:
        return means
    return all_reduce_sum_(means * _share_weight(state, processes))


def _stop_agreed(should_stop: ShouldStop | None, processes: Processes) -> bool:
    stop = should_stop is not None and should_stop()
    return stop if processes.world_size == 1 else any_process(stop)
