"""Train the network that tells how images were turned and shifted, resumable at any step.

Every random draw follows from seed and step, so no random state is kept: with one thread on a CPU,
stopping anywhere and going on gives the same bytes as never having stopped.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adgan_cli.engine.features.muon import muon_step
from adgan_cli.engine.features.transformations import (
    ANSWERS,
    MAX_SIDE,
    SCORED,
    TRANSFORMATIONS,
    WIDTH,
    TransformationNetwork,
    Transformations,
    network_from,
    network_settings,
    network_tensors,
    scored_copies,
    shrink,
    transform,
)
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.images.shrink import at_most
from adgan_cli.stopping import ShouldStop, is_stopped

BATCH = 64  # images in a step
GROUPS = 8  # of them, each under one transformation
RATE = 2e-3  # the highest learning rate of the cycle, of norms and heads (AdamW)
CONVOLUTION_RATE = 0.03  # that of convolutions (Muon): better after 60 s than AdamW after 90 s
WEIGHT_DECAY = 0.01
RISE = 0.3  # share of the steps in which the rate rises
FIRST_SHARE = 0.04  # of RATE: the first rate
MIN_STEPS = 10  # fewer learn nothing
MAX_HELD_OUT = 400  # images that the accuracy is measured on
MARGIN = 0.03  # share of the way from chance to perfection that a head must go to count
MOMENTUM = "momentum"  # in the names of a checkpoint's tensors
_WARM_STEPS, _TIMED_STEPS = 2, 4


@dataclass(eq=False)
class TransformState:
    """All that training needs to go on: what a checkpoint holds."""

    network: TransformationNetwork
    optimizer: torch.optim.AdamW  # of all weights but convolutions
    momenta: dict[str, Tensor]  # of convolutions, by the names of their weights
    n_steps: int  # in all; the learning rates follow it
    seed: int
    step: int = 0  # done


@dataclass(frozen=True)
class TransformStep:
    """What is known after a step."""

    step: int  # steps done
    loss: Tensor  # mean cross-entropy of the heads; a scalar on the device: reading it waits


def new_transform_state(
    size: int, channels: int, *, n_steps: int, seed: int, device: torch.device, width: int = WIDTH
) -> TransformState:
    """Initialise a network from the seed for images (size, size, channels), and its optimizer."""
    network = TransformationNetwork(at_most(size, MAX_SIDE), channels, width)
    _initialise(network, torch.Generator().manual_seed(seed))  # on the CPU: equal on all devices
    network.to(device, memory_format=torch.channels_last)
    momenta = {name: torch.zeros_like(weight) for name, weight in _convolutions(network).items()}
    return TransformState(network, _new_optimizer(network), momenta, n_steps, seed)


def train_transformations(
    state: TransformState,
    pixels: np.ndarray,
    *,
    indices: np.ndarray | None = None,
    should_stop: ShouldStop | None = None,
) -> Iterator[TransformStep]:
    """Train `state` in place until it has done all its steps; yield after each.

    pixels: uint8 (M, S, S, C), possibly a memory map, of which only the images of a step are read;
    indices: (N,), which of them are the training set; None: all.
    """
    state.network.train()
    while state.step < state.n_steps and not is_stopped(should_stop):
        loss = _step(state, pixels, indices)
        state.step += 1
        yield TransformStep(state.step, loss)


def affordable_steps(
    state: TransformState,
    pixels: np.ndarray,
    seconds: float,
    most: int,
    *,
    indices: np.ndarray | None = None,
) -> int:
    """Time a few steps of a copy, and say how many take `seconds`: at most `most`."""
    trial = copy.deepcopy(state)
    trial.network.train()
    begun = 0.0
    for number in range(_WARM_STEPS + _TIMED_STEPS):
        if number == _WARM_STEPS:
            begun = time.monotonic()
        _step(trial, pixels, indices).item()  # waits for the device
        trial.step += 1
    each = (time.monotonic() - begun) / _TIMED_STEPS
    return max(min(MIN_STEPS, most), min(most, int(seconds / each)))


def trained_detector(state: TransformState, held_out: np.ndarray) -> Transformations:
    """Copy the network to the CPU, and decide by images held out, (H, S, S, C), which heads count.

    A head counts if its accuracy is above chance by at least two standard errors, and by at least
    MARGIN of what is left to perfection. So none does without images held out.
    """
    network = copy.deepcopy(state.network).to("cpu").eval().requires_grad_(False)
    number = min(len(held_out), MAX_HELD_OUT)
    chosen = held_out[np.arange(number) * len(held_out) // max(1, number)]
    chances = np.array([1 / count for count in ANSWERS])
    if number < 2:
        return Transformations(network, tuple(chances.tolist()), (False,) * len(ANSWERS))
    right = _right_shares(network, chosen)
    accuracy, error = right.mean(0), right.std(0, ddof=1) / math.sqrt(number)
    above = accuracy - chances
    counts = (above > 2 * error) & (above > MARGIN * (1 - chances))
    return Transformations(network, tuple(accuracy.tolist()), tuple(counts.tolist()))


@torch.no_grad()
def _right_shares(network: TransformationNetwork, images: np.ndarray) -> np.ndarray:
    """Compute how often each head is right on each image, all scored transformations: (H, 3)."""
    answers = torch.tensor(SCORED)  # (12, 3)
    shares = []
    for image in images:
        logits = network(scored_copies(network, image)).split(ANSWERS, dim=1)
        guesses = torch.stack([one.argmax(1) for one in logits], 1)
        shares.append((guesses == answers).double().mean(0).numpy())
    return np.stack(shares)


def checkpoint_tensors(state: TransformState) -> dict[str, Tensor]:
    """Return the network and what is remembered of each weight: {"part/name": tensor}."""
    tensors = {f"network/{name}": one for name, one in network_tensors(state.network).items()}
    moments = {f"{MOMENTUM}/{name}": one for name, one in state.momenta.items()}
    for name, weight in state.network.named_parameters():
        for key, value in state.optimizer.state.get(weight, {}).items():
            moments[f"{key}/{name}"] = value
    copies = {name: one.detach().cpu().clone().contiguous() for name, one in moments.items()}
    return tensors | copies


def checkpoint_settings(state: TransformState) -> dict[str, Any]:
    """Return the rest of a checkpoint, as plain JSON."""
    position = {"step": state.step, "n_steps": state.n_steps, "seed": state.seed}
    return network_settings(state.network) | position


def state_from_checkpoint(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], *, device: torch.device
) -> TransformState:
    """Build the state that both were of; KeyError, TypeError or ValueError for what misfits."""
    weights = {
        name.removeprefix("network/"): one
        for name, one in tensors.items()
        if name.startswith("network/")
    }
    network = network_from(settings, weights).to(device, memory_format=torch.channels_last)
    step, n_steps, seed = (int(settings[name]) for name in ("step", "n_steps", "seed"))
    if not 0 <= step <= n_steps:
        raise ValueError(f"step {step} of {n_steps}")
    momenta = {
        name: _like(weight, tensors[f"{MOMENTUM}/{name}"])
        for name, weight in _convolutions(network).items()
    }
    state = TransformState(network, _new_optimizer(network), momenta, n_steps, seed, step)
    if step:
        for name, weight in network.named_parameters():
            if name not in momenta:
                state.optimizer.state[weight] = {
                    "step": tensors[f"step/{name}"].clone(),
                    "exp_avg": _like(weight, tensors[f"exp_avg/{name}"]),
                    "exp_avg_sq": _like(weight, tensors[f"exp_avg_sq/{name}"]),
                }
    return state


def _like(weight: Tensor, moment: Tensor) -> Tensor:
    """Copy a moment, laid out as its weight is, so that the same kernels go on."""
    if moment.shape != weight.shape:
        raise ValueError(f"a moment is {tuple(moment.shape)}, its weight {tuple(weight.shape)}")
    return torch.empty_like(weight, requires_grad=False).copy_(moment)


def _step(state: TransformState, pixels: np.ndarray, indices: np.ndarray | None) -> Tensor:
    """Update the weights once; return the loss before it."""
    images, answers = _batch(state, pixels, indices)
    share = rate_share(state.step / state.n_steps)
    for group in state.optimizer.param_groups:
        group["lr"] = RATE * share
    logits = state.network(images.to(state.network.device))
    answers = answers.to(logits.device)
    losses = [
        cross_entropy(one, answers[:, head])
        for head, one in enumerate(logits.split(ANSWERS, dim=1))
    ]
    loss = torch.stack(losses).mean()
    state.network.zero_grad(set_to_none=True)
    loss.backward()
    for name, weight in _convolutions(state.network).items():
        assert weight.grad is not None
        muon_step(weight, weight.grad, state.momenta[name], CONVOLUTION_RATE * share)
    state.optimizer.step()
    return loss.detach()


def rate_share(progress: float) -> float:
    """Compute the learning rate's share of its highest, one cycle of cosines (Smith, 2018)."""
    if progress < RISE:
        return FIRST_SHARE + (1 - FIRST_SHARE) * (1 - math.cos(math.pi * progress / RISE)) / 2
    return (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE))) / 2


def _batch(
    state: TransformState, pixels: np.ndarray, indices: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """Draw images, mirror half of them and transform each group: (B, C, s, s), (B, 3)."""
    rng = np.random.default_rng([state.seed, state.step])
    index = rng.integers(len(pixels if indices is None else indices), size=BATCH)
    images = shrink(pixels[index if indices is None else indices[index]], state.network)
    mirrored = rng.random(BATCH) < 0.5
    images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    chosen = [TRANSFORMATIONS[one] for one in rng.permutation(len(TRANSFORMATIONS))[:GROUPS]]
    groups = np.split(images, GROUPS)
    parts = [transform(group, one) for group, one in zip(groups, chosen, strict=True)]
    answers = torch.tensor(chosen).repeat_interleave(BATCH // GROUPS, 0)
    return to_model_range(torch.from_numpy(np.concatenate(parts))), answers


def _initialise(network: nn.Module, rng: torch.Generator) -> None:
    """Draw convolutions as He et al. (2015) do, for layers with ReLU."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=rng)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01, generator=rng)
            nn.init.zeros_(module.bias)


def _convolutions(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in network.named_parameters() if weight.dim() == 4}


def _new_optimizer(network: nn.Module) -> torch.optim.AdamW:
    others = [weight for weight in network.parameters() if weight.dim() != 4]
    return torch.optim.AdamW(others, RATE, weight_decay=WEIGHT_DECAY)
