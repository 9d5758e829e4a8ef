"""Which pairs of an image and a starting point are searched together, on a CPU and on a GPU.

Either way always in the same shapes, whatever the number of images: a sum over other shapes would
be another sum, and a score must depend on its image alone.

Letters in the shapes: N images, S starting points, P = N S pairs, Z latent dimensions, (C, H, W) an
image.
"""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from adgan_cli.config import SearchConfig
from adgan_cli.engine.capture import CaptureContext, Captured, capture
from adgan_cli.engine.device import single_threaded_torch
from adgan_cli.engine.losses import LossFunction
from adgan_cli.engine.search.algorithm1 import search_pairs
from adgan_cli.engine.search.generators import FirstForward, GeneratorBank, make_bank

MAX_FIRST_PASSES = 64  # starting points whose first pass is kept, a megabyte each at 64 pixels
# batches before the steps are captured as one graph: capture and check take as long as about ten,
# so that a few pictures do not wait for what only many gain by
CAPTURE_AFTER = 10
MAX_CAPTURED_STEPS = 200  # k beyond which a graph, of some hundred kernels a step, grows too large


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The search of one image, on the CPU."""

    trace: Tensor  # (S, k + 1), the losses at the starting points and after each step
    z: Tensor  # (S, Z), where the search ended
    reconstruction: Tensor  # (C, H, W), of the point with the least loss


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """What is the same for every image: generator, settings, loss and starting points."""

    generator: nn.Module
    config: SearchConfig
    loss: LossFunction
    z0: Tensor  # (S or S - 1, Z) on the generator's device, the points that all images share
    encoder: nn.Module | None  # (N, C, H, W) -> (N, Z), the last point of each image
    precision: str = "fp32"  # fp32, tf32 or bf16, of the networks' products

    @property
    def n_points(self) -> int:
        """Starting points of an image, S."""
        return len(self.z0) + (self.encoder is not None)

    @property
    def per_point(self) -> bool:
        """Whether each starting point of an image moves a theta of its own."""
        return self.config.moves_theta and self.config.theta == "per-point"

    def make_bank(self, n_pairs: int) -> GeneratorBank:
        """Make a bank for pairs that stand image by image."""
        pairs_per_copy = 1 if self.per_point else self.n_points
        n_copies = n_pairs // pairs_per_copy
        return make_bank(
            self.generator, n_copies, pairs_per_copy, self.config, precision=self.precision
        )

    @torch.no_grad()
    def starting_points(self, x: Tensor) -> Tensor:
        """Give z_0 of line 1 for the images x: (N, C, H, W) -> (N, S, Z)."""
        shared = self.z0.expand(len(x), -1, -1)
        if self.encoder is None:
            return shared
        return torch.cat([shared, self.encoder(x).float()[:, None]], 1)


class Execution(Protocol):
    """An order to search for many images in; it keeps its memory from one call to the next."""

    @property
    def eager_reason(self) -> str | None:
        """Why steps are not replayed as one CUDA graph where they could be; else None."""

    def __init__(self, problem: SearchProblem, batch_size: int) -> None: ...

    def __call__(self, x: Tensor) -> list[ImageResult]:
        """Search for the images x: (N, C, H, W) in [-1, 1], batch_size of them at once."""


def execution_for(device: torch.device) -> type[Execution]:
    """Choose the execution that is fastest on a device."""
    return ThreadPerImage if device.type == "cpu" else PaddedBatches


class ThreadPerImage:
    """Search for images side by side, each of them on one core."""

    eager_reason = None  # graphs are CUDA's

    def __init__(self, problem: SearchProblem, batch_size: int) -> None:
        self.problem, self.batch_size = problem, batch_size
        # pair after pair where each moves a theta: its weights, moments and gradients then stay in
        # the core's cache; else all points of an image at once
        self.pairs_at_once = 1 if problem.per_point else problem.n_points
        self.idle_banks: list[GeneratorBank] = []
        self.first_passes: list[FirstForward] = []

    def __call__(self, x: Tensor) -> list[ImageResult]:
        """Search for the images x: (N, C, H, W); the first error of any thread ends all."""
        cancelled = threading.Event()
        with single_threaded_torch(), ThreadPoolExecutor(self.batch_size, "adgan-search") as pool:
            self._prepare_first_passes()
            running = [pool.submit(self._search_image, image, cancelled) for image in x]
            try:
                for ended in as_completed(running):
                    ended.result()
            except BaseException:  # Ctrl-C too: the threads must not search on
                cancelled.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [ended.result() for ended in running]

    def _search_image(self, image: Tensor, cancelled: threading.Event) -> ImageResult:
        problem, bank = self.problem, self._take_bank()
        x = image[None]
        loss = problem.loss(x)
        results = []
        for index, z0 in enumerate(problem.starting_points(x)[0].split(self.pairs_at_once)):
            is_cached = index < len(self.first_passes)
            first = self.first_passes[index] if is_cached else bank.first_forward(z0)
            result = search_pairs(
                bank, z0, first, config=problem.config, loss=loss, cancelled=cancelled
            )
            results.append(result)
        self.idle_banks.append(bank)
        trace = torch.cat([result.trace for result in results])
        z = torch.cat([result.z for result in results])
        y = torch.cat([result.y for result in results])
        return ImageResult(trace, z, y[trace[:, -1].argmin()])

    def _prepare_first_passes(self) -> None:
        """Compute once what all images share: theta and z_0 are the same for them at first."""
        problem = self.problem
        if self.first_passes or not len(problem.z0):
            return
        if problem.encoder is not None and not problem.per_point:
            return  # the image's own point goes through the generator with the others
        bank = self._take_bank()
        chunks = problem.z0.split(self.pairs_at_once)
        self.first_passes = [bank.first_forward(z0) for z0 in chunks[:MAX_FIRST_PASSES]]
        self.idle_banks.append(bank)

    def _take_bank(self) -> GeneratorBank:
        try:
            return self.idle_banks.pop()  # one operation: threads cannot get the same one
        except IndexError:
            return self.problem.make_bank(self.pairs_at_once)


class PaddedBatches:
    """Search for batch_size images at once, the last batch filled up to the one shape.

    On a CUDA device that has many batches to search the steps of one are captured as a graph.
    """

    def __init__(self, problem: SearchProblem, batch_size: int) -> None:
        self.problem, self.batch_size = problem, batch_size
        self.bank: GeneratorBank | None = None
        self.first_pass: FirstForward = None
        self.batches_searched = 0
        self.captured: Captured | None = None

    @property
    def eager_reason(self) -> str | None:
        return None if self.captured is None else self.captured.reason

    def __call__(self, x: Tensor) -> list[ImageResult]:
        """Search for the images x: (N, C, H, W)."""
        return [
            result for batch in x.split(self.batch_size) for result in self._search_batch(batch)
        ]

    def _search_batch(self, batch: Tensor) -> list[ImageResult]:
        padding = batch[:1].expand(self.batch_size - len(batch), *batch.shape[1:])
        x = torch.cat([batch, padding]).to(self.problem.z0.device)  # (N, C, H, W)
        if self.captured is None and self._is_worth_capturing() and can_capture(x):
            # no tolerance: a score must not depend on which batch its image was in
            self.captured = capture(self._search, [x], CaptureContext(x.device, {}), tolerance=0.0)
        run = self._search if self.captured is None else self.captured.run
        self.batches_searched += 1
        results = map(ImageResult, *(tensor.cpu() for tensor in run(x)))
        return list(results)[: len(batch)]

    def _is_worth_capturing(self) -> bool:
        has_few_steps = self.problem.config.k <= MAX_CAPTURED_STEPS
        return has_few_steps and self.batches_searched >= CAPTURE_AFTER

    @torch.no_grad()
    def _search(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Search for x: (N, C, H, W), N = batch_size: trace (N, S, k + 1), z, reconstructions.

        A function of x on its device alone, as a graph needs it.
        """
        problem = self.problem
        count, n_points = self.batch_size, problem.n_points
        if self.bank is None:
            self.bank = problem.make_bank(count * n_points)
        z0 = problem.starting_points(x).flatten(0, 1)  # (P, Z)
        if problem.encoder is not None:
            first = self.bank.first_forward(z0)
        else:
            if self.first_pass is None:
                self.first_pass = self.bank.first_forward(z0)
            first = self.first_pass
        of_pairs = x[:, None].expand(-1, n_points, -1, -1, -1).flatten(0, 1)  # (P, C, H, W)
        loss = problem.loss(of_pairs)
        pairs = search_pairs(self.bank, z0, first, config=problem.config, loss=loss)
        trace, z, y = (t.unflatten(0, (count, n_points)) for t in (pairs.trace, pairs.z, pairs.y))
        best = y[torch.arange(count, device=y.device), trace[..., -1].argmin(1)]
        return trace, z, best


def can_capture(x: Tensor) -> bool:
    """Say whether computations with x can be captured as a graph."""
    return x.device.type == "cuda"
