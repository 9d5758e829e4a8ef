"""Train DCGAN by any objective, eq. (1) or (2), one resumable step after another.

Every random number comes from one generator, kept in the state. With one thread on a CPU, stopping
anywhere and going on gives the same bytes as never having stopped. On CUDA the generator is the
device's, whose numbers are exact too (on one kind of GPU), and each kind of step is captured as a
graph and replayed; a run that went on equals one that never stopped but for what makes two runs
from the start differ: some kernels add in any order, so last digits differ, and grow.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from adgan_cli.engine.capture import Function, Record, record_cuda_graph
from adgan_cli.engine.distributed import all_reduce_sum_, any_process, sync_batch_norm
from adgan_cli.engine.training.batches import (
    Position,
    TrainingData,
    are_drawn_in_steps,
    host_batches,
)
from adgan_cli.engine.training.convergence import stagnation_share
from adgan_cli.engine.training.objectives import Adversarial, Objective, Reconstructive, objective
from adgan_cli.engine.training.reports import Reports
from adgan_cli.engine.training.state import TrainState
from adgan_cli.engine.training.steps import CRITIC, GENERATOR, Training, captured_steps, new_steps
from adgan_cli.engine.training.validation import new_validation
from adgan_cli.errors import ConfigError, DivergedError
from adgan_cli.processes import SINGLE, Processes
from adgan_cli.stopping import ShouldStop, is_stopped

VALIDATE_EVERY = 25  # generator steps between looks at images held out


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
    record: Record | None = None,
    eager: bool = False,
) -> Iterator[StepMetrics]:
    """Train `state` in place until its step reaches iters; yield metrics as the steps are done.

    Metrics come after each step on a CPU; on an accelerator after the first, the last and every
    25th, or what is done in a quarter of a second if that is less. `should_stop` is asked after
    every critic step, so that stopping takes a moment even where one generator step takes a hundred
    of them. With images held out `state.validation_log` grows, and with patience training ends when
    they fare no better. processes: several of them, grouped, that all train equal states on equal
    data; each takes its share of every batch, and they stop when one is to.

    record: how to capture steps; None: as CUDA graphs, in a single process on CUDA, unless `eager`.
    Why they could not be captured is added to `state.notes`.
    Raises DivergedError on NaN, infinity or a critic that outgrew its bound.
    """
    _check_shares(state, processes)
    if state.step >= state.train_config.iters:
        return
    for network in state.networks():
        network.train()
    if record is None and state.device.type == "cuda" and processes.world_size == 1:
        record = record_cuda_graph
    steps_done = torch.tensor(state.step, device=state.device)
    recipe = objective(state.train_config)
    training = Training(state, recipe, data, processes, steps_done)
    with sync_batch_norm(state.networks(), processes.world_size > 1):
        yield from _train(training, should_stop, None if eager else record)


def _train(
    training: Training, should_stop: ShouldStop | None, record: Record | None
) -> Iterator[StepMetrics]:
    state, recipe, processes = training.state, training.recipe, training.processes
    config, images = state.train_config, 0
    if record is not None and is_stopped(should_stop):
        return  # a capture takes as long as some steps
    steps, batches = _ready_steps(training, _batches(training), record)
    validate = new_validation(training, record=record)
    distance = torch.zeros((), device=state.device)
    reports = Reports(state.device, state.step, config.iters)
    while state.step < config.iters and not _stop_agreed(should_stop, processes):
        if isinstance(recipe, Reconstructive):
            (loss,) = steps[GENERATOR](*next(batches))
            distance = loss
            images += config.batch_size
        elif state.critic_step < recipe.critic_steps(state.step):
            (distance,) = steps[CRITIC](*next(batches))
            images += config.batch_size
            state.critic_step += 1
            continue
        else:
            (loss,) = steps[GENERATOR]()
        state.step += 1
        state.critic_step = 0
        validated = None
        if validate is not None and state.step % VALIDATE_EVERY == 0:
            validated = validate()
            state.validation_log.append((state.step, validated))
        if validated is not None or reports.are_due(state.step):
            means = torch.stack([distance.float(), loss.float()])
            mean_distance, mean_loss = _global_mean(means, training).tolist()
            metrics = StepMetrics(state.step, mean_distance, mean_loss, images, validated)
            check_step(metrics, state)
            reports.note(state.step)
            yield metrics
        patience, log = config.patience, state.validation_log
        if validated is not None and 0 < patience < stagnation_share(log):
            break


def _ready_steps(
    training: Training, batches: Iterator[tuple[Tensor, ...]], record: Record | None
) -> tuple[dict[str, Function], Iterator[tuple[Tensor, ...]]]:
    """Return the steps, captured if that is how, and the batches, none of them lost."""
    if record is None:
        return new_steps(training), batches
    first = next(batches)
    return captured_steps(training, first, record), itertools.chain([first], batches)


def _batches(training: Training) -> Iterator[tuple[Tensor, ...]]:
    """Yield, without end, what the next step that sees real images takes.

    Processes draw alike, so in steps only if all have room for the images on their device.
    """
    state, data = training.state, training.data
    elsewhere = not are_drawn_in_steps(data, state.rng)
    if training.processes.world_size > 1:
        elsewhere = any_process(elsewhere)
    if not elsewhere:
        return itertools.repeat(())
    return host_batches(
        data,
        _positions(state, training.recipe),
        batch_size=state.train_config.batch_size,
        share=training.share(),
        seed=state.train_config.seed,
        device=state.device,
    )


def _positions(state: TrainState, recipe: Objective) -> Iterator[Position]:
    """Yield, without end, where training will be when it takes a step that sees real images."""
    first = state.critic_step
    for step in itertools.count(state.step):
        many = 1 if isinstance(recipe, Reconstructive) else recipe.critic_steps(step)
        yield from ((step, critic_step) for critic_step in range(first, many))
        first = 0


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


def _check_shares(state: TrainState, processes: Processes) -> None:
    if state.train_config.batch_size < processes.world_size:
        raise ConfigError(
            f"--batch-size {state.train_config.batch_size} leaves nothing for some of "
            f"{processes.world_size} processes; give at least as many"
        )


def _global_mean(means: Tensor, training: Training) -> Tensor:
    """Turn means over this process's share into those over the batch."""
    if training.processes.world_size == 1:
        return means
    return all_reduce_sum_(means * training.share_weight())


def _stop_agreed(should_stop: ShouldStop | None, processes: Processes) -> bool:
    stop = is_stopped(should_stop)
    return stop if processes.world_size == 1 else any_process(stop)
