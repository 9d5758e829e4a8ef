"""Batches of a training set, drawn where its images are: on the device, or prefetched from memory.

Letters in the shapes: M images in memory, N of the training set, n of a batch, S size, C channels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adgan_cli.engine.pixels import to_model_range

Position = tuple[int, int]  # generator steps done, critic steps done since
DrawnBatch = tuple[Tensor, Tensor]  # images, (n, S, S, C) uint8, and their indices in the set, (n,)


@dataclass(frozen=True)
class TrainingData:
    """The images of a training set, and those held out of it, on any device."""

    pixels: Tensor  # (M, S, S, C) uint8
    indices: Tensor | None = None  # (N,): image i is pixels[indices[i]]; None: i itself, N = M
    held_out: Tensor | None = None  # (H, S, S, C) uint8

    def __len__(self) -> int:
        return len(self.pixels if self.indices is None else self.indices)

    def take(self, index: Tensor) -> Tensor:
        """Copy images where they are, index: (n,) on their device -> (n, S, S, C) uint8."""
        return self.pixels[index if self.indices is None else self.indices[index]]

    def images(self, index: Tensor, device: torch.device) -> Tensor:
        """Fetch images, index: (n,) -> (n, C, S, S) in [-1, 1] on `device`."""
        return to_model_range(self.take(index.to(self.pixels.device)).to(device))


def new_rng(device: torch.device, seed: int) -> torch.Generator:
    """Make the generator that training on `device` draws from: on CUDA its own, else the CPU's."""
    return torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(seed)


def are_drawn_in_steps(data: TrainingData, rng: torch.Generator) -> bool:
    """Tell whether the images are where random numbers are drawn, so that a step can choose."""
    return data.pixels.device == rng.device


def host_batches(
    data: TrainingData,
    positions: Iterable[Position],
    *,
    batch_size: int,
    share: slice,
    seed: int,
    device: torch.device,
) -> Iterator[DrawnBatch]:
    """Draw batches on the CPU and bring them to `device`, each while the one before is used.

    share: this process's, of each batch. They follow from seed and position alone: no random state
    is kept, and what was fetched in advance and not used is drawn again by a resumed run.
    """
    bring = _prefetch if device.type == "cuda" else _copy

    def batches() -> Iterator[DrawnBatch]:
        for step, critic_step in positions:
            rng = np.random.default_rng([seed, step, critic_step])
            indices = torch.from_numpy(rng.integers(len(data), size=batch_size)[share])
            yield data.take(indices.to(data.pixels.device)), indices

    return bring(batches(), device)


def _copy(batches: Iterator[DrawnBatch], device: torch.device) -> Iterator[DrawnBatch]:
    for pixels, indices in batches:
        yield pixels.to(device), indices.to(device)


def _prefetch(batches: Iterator[DrawnBatch], device: torch.device) -> Iterator[DrawnBatch]:
    """Copy each batch on a stream of its own, one ahead of what is yielded."""
    side, ahead = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(side):
            pinned = [one if one.is_cuda else one.pin_memory() for one in batch]
            copies = [one.to(device, non_blocking=True) for one in pinned]
            coming = copies[0], copies[1], side.record_event()
        if ahead is not None:
            yield _arrived(*ahead)
        ahead = coming
    if ahead is not None:
        yield _arrived(*ahead)


def _arrived(pixels: Tensor, indices: Tensor, event: torch.cuda.Event) -> DrawnBatch:
    """Let the current stream wait for a copy, and keep its memory until that stream is done."""
    current = torch.cuda.current_stream(pixels.device)
    current.wait_event(event)
    for one in (pixels, indices):
        one.record_stream(current)
    return pixels, indices
