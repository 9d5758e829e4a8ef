"""How images held out fare in a training that never sees them; nothing of it is changed."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from adgan_cli.engine.capture import CaptureContext, Outputs, Record, capture
from adgan_cli.engine.distributed import all_reduce_sum_
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.training.objectives import Adversarial
from adgan_cli.engine.training.objectives.kinds import Batch
from adgan_cli.engine.training.steps import Training, autocast

VALIDATION_IMAGES = 128

Validate = Callable[[], float]  # the distance of images held out; less is better


def new_validation(training: Training, *, record: Record | None = None) -> Validate | None:
    """Return what measures the distance of images held out; None where there are not two.

    record: how to capture it, and why it could not be is added to the notes of the state; None: not
    at all.
    """
    state, held_out = training.state, training.data.held_out
    if held_out is None or len(held_out) < 2:
        return None
    # copies, as batch norm would remember the images; in training mode, as they were trained
    generator = copy.deepcopy(state.ema).train()
    auxiliary = None if state.auxiliary is None else copy.deepcopy(state.auxiliary).train()

    @torch.no_grad()
    def measure(pixels: Tensor, noise: Tensor) -> Outputs:
        _copy_weights(state.ema, generator)
        _copy_weights(state.auxiliary, auxiliary)
        value = _distance(training, (generator, auxiliary), to_model_range(pixels), noise)
        return (value,)

    run = measure
    if record is not None:
        context = CaptureContext(state.device, {})
        captured = capture(measure, _held_out_batch(training, held_out), context, record=record)
        run = captured.run
        if captured.reason is not None:
            state.notes.append(f"validation is not captured, and slower: {captured.reason}")

    def validate() -> float:
        (value,) = run(*_held_out_batch(training, held_out))
        # all have the same value, but for the last digits, and patience must end for all at once
        if training.processes.world_size > 1:
            value = all_reduce_sum_(value * training.processes.is_main)
        return value.item()

    return validate


def _held_out_batch(training: Training, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Draw images, uint8 (n, S, S, C), and latents, (n, Z), as the step alone decides."""
    state = training.state
    rng = torch.Generator().manual_seed(state.step)
    index = torch.randint(len(held_out), (min(len(held_out), VALIDATION_IMAGES),), generator=rng)
    noise = torch.randn(len(index), state.model_config.latent_dim, generator=rng)
    return held_out[index].to(state.device), noise.to(state.device)


def _distance(
    training: Training, networks: tuple[nn.Module, nn.Module | None], real: Tensor, noise: Tensor
) -> Tensor:
    generator, auxiliary = networks
    recipe = training.recipe
    with autocast(training.state):
        if isinstance(recipe, Adversarial):
            assert auxiliary is not None
            _, value = recipe.critic_loss(auxiliary, real, generator(noise).float())
            return value
        loss = recipe.validation_loss or recipe.loss
        return loss(generator, auxiliary, Batch(real, noise))


def _copy_weights(network: nn.Module | None, to: nn.Module | None) -> None:
    if network is not None and to is not None:
        for copied, weight in zip(to.parameters(), network.parameters(), strict=True):
            copied.copy_(weight)
