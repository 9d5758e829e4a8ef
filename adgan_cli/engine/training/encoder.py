"""An approximate inverse of a trained generator: where the search may start, section 5.

The paper proposes ALI (Dumoulin et al., 2017), which learns the inverse with the generator. Ours is
learned after it, so that any generator can have one, and from both sides: E(G(z)) has to be z (the
latent regressor of Donahue et al., 2017), and G(E(x)) has to be x for a real image x (izi of
f-AnoGAN, Schlegl et al., 2019).
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adgan_cli.engine.capture import (
    CaptureContext,
    Function,
    Outputs,
    Record,
    capture,
    record_cuda_graph,
)
from adgan_cli.engine.models.dcgan import Encoder, Generator, fold_batch_norm, init_weights
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.training.batches import (
    TrainingData,
    are_drawn_in_steps,
    host_batches,
    new_rng,
)
from adgan_cli.engine.training.optimizers import adam, named_memory, start_memory, take_step
from adgan_cli.engine.training.reports import Reports
from adgan_cli.errors import DivergedError
from adgan_cli.stopping import ShouldStop, is_stopped

BATCH = 64
LR, BETAS = 1e-3, (0.5, 0.999)  # as our autoencoders are trained


def train_encoder(
    generator: Generator,
    data: TrainingData,
    iters: int,
    *,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    should_stop: ShouldStop | None = None,
    is_over: Callable[[], bool] | None = None,
    on_note: Callable[[str], None] | None = None,
    record: Record | None = None,
) -> Encoder | None:
    """Learn E with G(E(x)) near x and E(G(z)) near z; the generator stays as it is.

    on_step(steps done, loss): the loss is the mean squared error of z, plus that of x in [-1, 1];
    after each step on a CPU, a few times a second on an accelerator. is_over: asked before each
    step whether to end with the steps done so far. record: how to capture the step; None: as a
    CUDA graph, on CUDA; on_note(line): why it could not be. Returns E in eval mode, without
    gradients, or None where it was stopped before its end. Raises DivergedError.
    """
    training = _new_training(generator, data, seed)
    batches = _batches(training, seed)
    if record is None and generator.device.type == "cuda":
        record = record_cuda_graph
    step: Function = partial(encoder_step, training)
    if record is not None:
        first = next(batches)
        batches = itertools.chain([first], batches)
        captured = capture(step, first, _context(training), record=record)
        if captured.reason is not None and on_note is not None:
            on_note(f"the encoder's training is not captured, and slower: {captured.reason}")
        step = captured.run
    reports, done = Reports(generator.device, 0, iters), 0
    loss = torch.zeros((), device=generator.device)
    while done < iters:
        if is_stopped(should_stop):
            return None
        if is_over and is_over():
            break
        (loss,) = step(*next(batches))
        done += 1
        if reports.are_due(done):
            _report(done, loss, on_step)
            reports.note(done)
    if reports.step < done:  # it was over before the last was due
        _report(done, loss, on_step)
    return training.encoder.eval().requires_grad_(False)


@dataclass(frozen=True)
class EncoderTraining:
    """What the steps work on, and change in place."""

    encoder: Encoder
    generator: nn.Sequential  # as it is in eval mode, without gradients
    optimizer: Optimizer
    data: TrainingData
    rng: torch.Generator


def encoder_step(training: EncoderTraining, *batch: Tensor) -> Outputs:
    """Update E once; return the loss before it.

    batch: images (n, S, S, C), uint8, and their indices; without it images are drawn here.
    """
    encoder, generator, rng = training.encoder, training.generator, training.rng
    device = encoder.last.weight.device
    if batch:
        pixels, _ = batch
    else:
        index = torch.randint(len(training.data), (BATCH,), generator=rng, device=rng.device)
        pixels = training.data.take(index).to(device)
    real = to_model_range(pixels)
    shape = BATCH, encoder.last.out_channels
    z = torch.randn(shape, generator=rng, device=rng.device).to(device)
    with torch.no_grad():
        generated = generator(z)
    # one after the other, so that batch norm sees real and generated images apart
    loss_z = (encoder(generated) - z).square().mean()
    loss = loss_z + (generator(encoder(real)) - real).square().mean()
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    take_step(training.optimizer)
    return (loss.detach(),)


def _new_training(generator: Generator, data: TrainingData, seed: int) -> EncoderTraining:
    config, device = generator.config, generator.device
    rng = new_rng(torch.device("cpu"), seed)
    encoder = Encoder(config, config.latent_dim)
    init_weights(encoder, rng)  # on the CPU: the same start on every device
    encoder.to(device, memory_format=torch.channels_last).train()
    if device.type == "cuda":
        rng = new_rng(device, seed)
    optimizer = adam(encoder.parameters(), lr=LR, betas=BETAS)
    fixed = fold_batch_norm(copy.deepcopy(generator))
    return EncoderTraining(encoder, fixed, optimizer, data, rng)


def _context(training: EncoderTraining) -> CaptureContext:
    start_memory(training.optimizer)
    tensors = training.encoder.state_dict() | named_memory(training.optimizer)
    return CaptureContext(training.encoder.last.weight.device, tensors, [training.rng])


def _batches(training: EncoderTraining, seed: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield, without end, what the next step takes."""
    if are_drawn_in_steps(training.data, training.rng):
        return itertools.repeat(())
    return host_batches(
        training.data,
        ((step, 0) for step in itertools.count()),
        batch_size=BATCH,
        share=slice(0, BATCH),
        seed=seed,
        device=training.encoder.last.weight.device,
    )


def _report(done: int, loss: Tensor, on_step: Callable[[int, float], None] | None) -> None:
    value = loss.item()
    if not value < math.inf:
        raise DivergedError(f"the encoder diverged at step {done}; try another --seed")
    if on_step:
        on_step(done, value)
