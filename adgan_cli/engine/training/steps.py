"""The steps of training: functions of device tensors, of which nothing is read and nothing copied.

So each can be captured and replayed, see `adgan_cli.engine.capture`: random numbers are drawn where
they are used, what changes from step to step (the optimizers' counts, the decay of the generator's
average) is counted there, and losses stay there until somebody reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from adgan_cli.engine.capture import CaptureContext, Function, Outputs, Record, capture
from adgan_cli.engine.distributed import all_reduce_gradients
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.objectives import Adversarial, Objective, Reconstructive
from adgan_cli.engine.training.objectives.kinds import Batch
from adgan_cli.engine.training.optimizers import named_memory, start_memory, take_step
from adgan_cli.engine.training.state import TrainState, sample_latents
from adgan_cli.processes import Processes

# the names of steps: one of the critic; one of the generator, or of everything without a critic
CRITIC, GENERATOR = "critic", "generator"


@dataclass(frozen=True)
class Training:
    """What the steps of a run work on, and change in place."""

    state: TrainState
    recipe: Objective
    data: TrainingData
    processes: Processes
    steps_done: Tensor  # () int64 on the device: as state.step, which no kernel sees

    def share(self) -> slice:
        """Return this process's share of a batch."""
        return self.processes.share(self.state.train_config.batch_size)

    def share_weight(self) -> float:
        """Compute the weight that a mean over this process's share has in the mean over all."""
        share = self.share()
        return (share.stop - share.start) / self.state.train_config.batch_size


def new_steps(training: Training) -> dict[str, Function]:
    """Return the steps by name, as they are; each returns a single scalar.

    The one that comes first takes a batch of `host_batches`, where it cannot draw its own.
    """
    recipe = training.recipe
    if isinstance(recipe, Reconstructive):
        return {GENERATOR: partial(reconstructive_step, training, recipe)}
    return {
        CRITIC: partial(critic_step, training, recipe),
        GENERATOR: partial(generator_step, training, recipe),
    }


def captured_steps(
    training: Training, batch: Sequence[Tensor], record: Record | None = None
) -> dict[str, Function]:
    """Capture all steps, or none: what hinders one is added to the notes of the state.

    batch: an example of what the first step takes; nothing where it draws its own.
    """
    state, steps = training.state, new_steps(training)
    for optimizer in state.optimizers().values():
        start_memory(optimizer)
    context = CaptureContext(state.device, _changed_tensors(training), [state.rng])
    replays: dict[str, Function] = {}
    for name, function in steps.items():
        captured = capture(function, () if replays else batch, context, record=record)
        if captured.reason is not None:
            state.notes.append(
                f"training is not captured as CUDA graphs, and slower: {name} step: "
                + captured.reason
            )
            return steps
        replays[name] = captured.run
    return replays


def critic_step(training: Training, recipe: Adversarial, *batch: Tensor) -> Outputs:
    """Update omega once, maximising eq. (2); return the distance estimated before it."""
    state = training.state
    critic, optimizer = state.auxiliary, state.auxiliary_optimizer
    assert critic is not None and optimizer is not None
    real, _ = real_batch(training, *batch)
    z = sample_latents(state, state.rng)[training.share()]
    # drawn for every objective: with equal seeds they all see the same images
    epsilon = _uniform(training)
    if recipe.before_critic_step:
        recipe.before_critic_step(critic)
    with autocast(state):
        with torch.no_grad():
            fake = state.generator(z).float()
        loss, distance = recipe.critic_loss(critic, real, fake)
        if recipe.penalty:
            loss = loss + recipe.penalty(critic, real, fake, epsilon)
    _update(training, loss, [optimizer])
    return (distance.detach(),)


def generator_step(training: Training, recipe: Adversarial) -> Outputs:
    """Update theta once, minimising eq. (2) or the like, and its average; return the loss."""
    state, critic = training.state, training.state.auxiliary
    assert critic is not None
    critic.requires_grad_(False)
    with autocast(state):
        z = sample_latents(state, state.rng)[training.share()]
        loss = recipe.generator_loss(critic, state.generator(z))
    _update(training, loss, [state.generator_optimizer])
    critic.requires_grad_(True)
    update_average(training)
    return (loss.detach(),)


def reconstructive_step(training: Training, recipe: Reconstructive, *batch: Tensor) -> Outputs:
    """Update theta, the auxiliary network and theta's average once; return the loss."""
    state = training.state
    real, indices = real_batch(training, *batch)
    with autocast(state):
        noise = sample_latents(state, state.rng)[training.share()]
        loss = recipe.loss(state.generator, state.auxiliary, Batch(real, noise, indices))
    _update(training, loss, list(state.optimizers().values()))
    update_average(training)
    return (loss.detach(),)


def real_batch(training: Training, *batch: Tensor) -> tuple[Tensor, Tensor]:
    """Draw images with replacement: (share, C, S, S) in [-1, 1], and their indices: (share,).

    batch: those that were drawn elsewhere, and are only mirrored here.
    """
    state, data, device = training.state, training.data, training.state.device
    config = state.train_config
    if batch:
        pixels, indices = batch
    else:
        shape, rng = (config.batch_size,), state.rng
        drawn = torch.randint(len(data), shape, generator=rng, device=rng.device)
        drawn = drawn[training.share()]
        pixels, indices = data.take(drawn).to(device), drawn.to(device)
    real = to_model_range(pixels)
    if config.flip:
        real = torch.where(_uniform(training) < 0.5, real.flip(-1), real)
    return real, indices


@torch.no_grad()
def update_average(training: Training) -> None:
    """Move theta's average towards theta, and count the step.

    The decay after t steps is the smaller of the run's own and (1 + t) / (10 + t), a ramp that
    forgets the random start; 1 - (1 + t) / (10 + t) is 9 / (10 + t).
    """
    state = training.state
    nine = torch.full_like(training.steps_done, 9)  # 9 / x would be 9 (1 / x), rounded twice
    share = (nine / (10 + training.steps_done)).clamp(min=1 - state.train_config.ema)
    for average, weight in zip(state.ema.parameters(), state.generator.parameters(), strict=True):
        average.lerp_(weight, share)
    training.steps_done.add_(1)


def autocast(state: TrainState) -> torch.autocast:
    """Compute in the state's precision within the block.

    Weights cast once and kept for the block are memory that a CUDA graph would not write again.
    """
    device, enabled = state.device.type, state.precision == "bf16"
    return torch.autocast(
        device, dtype=torch.bfloat16, enabled=enabled, cache_enabled=device != "cuda"
    )


def _uniform(training: Training) -> Tensor:
    """Draw a number in [0, 1) for each image of this process's share: (share, 1, 1, 1)."""
    rng, shape = training.state.rng, (training.state.train_config.batch_size, 1, 1, 1)
    drawn = torch.rand(shape, generator=rng, device=rng.device)
    return drawn[training.share()].to(training.state.device)


def _update(training: Training, loss: Tensor, optimizers: list[Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if training.processes.world_size == 1:
        loss.backward()
    else:
        (loss * training.share_weight()).backward()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        all_reduce_gradients(weight for group in groups for weight in group["params"])
    for optimizer in optimizers:
        take_step(optimizer)


def _changed_tensors(training: Training) -> dict[str, Tensor]:
    """Name all tensors that steps change in place."""
    state = training.state
    tensors = {"steps done": training.steps_done}
    for name, network in state.named_networks().items():
        tensors |= {f"{name}/{part}": tensor for part, tensor in network.state_dict().items()}
    for name, optimizer in state.optimizers().items():
        tensors |= {f"{name}/{part}": tensor for part, tensor in named_memory(optimizer).items()}
    return tensors
