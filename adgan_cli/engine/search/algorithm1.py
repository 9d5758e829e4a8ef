"""Algorithm 1 of the ADGAN paper: score pictures by searching the generator's latent space.

Every pair of a picture and a starting point has a latent vector, a copy of theta and Adam moments
of its own, so a score depends on the picture alone. On a CPU each pair is computed by itself, on
one core, always in the same shapes: neither order nor companions nor the number of cores can
change one bit of it.

Letters in the shapes: N pictures, S starting points, P pairs, Z latent dimensions.
"""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.device import free_memory, full_float32
from adgan_cli.engine.losses import Loss, make_loss
from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.search.generators import Adam, GeneratorBank, make_bank
from adgan_cli.errors import ConfigError

PairResult = tuple[
    Tensor, Tensor, Tensor
]  # of a picture: trace (S, k + 1), z (S, Z), best y (C, H, W)

MAX_BATCH = 256  # pictures at once on a GPU; more gains nothing
MAX_FIRST_PASSES = 64  # starting points whose first pass is kept, a megabyte each at 64 pixels


@dataclass(frozen=True)
class SearchResult:
    """What the search found for N pictures, on the CPU."""

    score: Tensor  # (N,), line 8: the mean of `losses` over the starting points, or the least
    losses: Tensor  # (N, S), after k steps
    reconstruction: Tensor  # (N, C, H, W), of the starting point with the least loss
    z: Tensor  # (N, S, Z), where the search ended
    trace: Tensor  # (N, S, k + 1), the losses at the starting points and after each step: Fig. 1


def starting_points(n_seed: int, latent_dim: int, seed: int) -> Tensor:
    """z_0 of line 1: (S, Z), standard normal, the same for every picture, device and run."""
    return torch.randn(n_seed, latent_dim, generator=torch.Generator().manual_seed(seed))


def search(
    generator: nn.Module,
    x: Tensor,
    config: SearchConfig = PAPER_SEARCH,
    *,
    z0: Tensor | None = None,
    loss: Loss | None = None,
    encoder: nn.Module | None = None,
    batch_size: int | None = None,
) -> SearchResult:
    """Run Algorithm 1 for the pictures x: (N, C, H, W) in [-1, 1].

    See Searcher, which keeps its memory from one call to the next.
    """
    return Searcher(generator, config, z0=z0, loss=loss, encoder=encoder, batch_size=batch_size)(x)


class Searcher:
    """Algorithm 1 for one generator: call it with pictures, as often as there are some.

    generator: adgan's own, or any nn.Module that maps (P, Z) to (P, C, H, W), is differentiable,
    and has batch norm, if any, with running statistics; that one goes through torch.func, slower.
    z0: (S, Z), instead of starting_points(...); needed where the generator has no `config`.
    loss: instead of the one that the settings name; (N, C, H, W), same -> (N,).
    encoder: (N, C, H, W) -> (N, Z), in eval mode; gives each picture the last of its points, where
    the settings ask for it.
    batch_size: pictures at once; a matter of memory only. It is halved when memory runs out.
    The generator is left as it was, to the bit.
    """

    def __init__(
        self,
        generator: nn.Module,
        config: SearchConfig = PAPER_SEARCH,
        *,
        z0: Tensor | None = None,
        loss: Loss | None = None,
        encoder: nn.Module | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.device = next(generator.parameters()).device
        if z0 is None:
            z0 = starting_points(config.n_seed, latent_dim(generator), config.seed)
        if config.init != "prior" and encoder is None:
            raise ConfigError(
                f"--init {config.init} needs an encoder, which this model has not; train with "
                "--encoder-iters, or choose --init prior"
            )
        if config.init == "encoder":
            z0 = z0[:0]
        self.z0 = z0.to(self.device, torch.float32)  # (S, Z), those that all pictures share
        self.encoder = encoder if config.init != "prior" else None
        self.points = len(z0) + (self.encoder is not None)
        self.generator, self.config = generator, config
        self.loss = loss or make_loss(config.loss)
        self.batch_size = batch_size or default_batch(generator, config, self.device)
        self.idle: list[_Pairs] = []  # memory for pairs that nobody is searching with
        self.firsts: list[Any] = []  # theta and z_0 are the same for every picture at first

    @classmethod
    def for_model(
        cls, model: Model, config: SearchConfig, *, batch_size: int | None = None
    ) -> "Searcher":
        """Search in a model's generator with its own critic, for the loss, and encoder."""
        loss = make_loss(config.loss, model.critic)
        return cls(model.generator, config, loss=loss, encoder=model.encoder, batch_size=batch_size)

    def __call__(self, x: Tensor) -> SearchResult:
        """x: (N, C, H, W) in [-1, 1], N at least 1. ConfigError when one picture does not fit."""
        while True:
            try:
                with full_float32():
                    found = self._on_cpu(x) if self.device.type == "cpu" else self._in_batches(x)
                break
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
            self._halve()
        trace, z, best = (torch.stack(part) for part in zip(*found, strict=True))
        losses = trace[..., -1]
        score = losses.mean(1) if self.config.reduce == "mean" else losses.amin(1)
        return SearchResult(score, losses, best, z, trace)

    def _on_cpu(self, x: Tensor) -> list[PairResult]:
        """Pictures side by side, one a core, each of them always computed in the same shapes."""
        # pair after pair where each moves a theta: its weights, moments and gradients then stay in
        # the core's cache; else all points of a picture at once
        at_once = 1 if self._apart() else self.points
        # the first pass of starting points that all pictures share is made once
        shared = len(self.z0) > 0 and (self._apart() or self.encoder is None)
        common = self.z0.split(at_once) if shared else ()
        cancelled = threading.Event()

        def one(picture: Tensor) -> PairResult:
            pairs, z0 = self._pairs(at_once), self._starts(picture[None])[0]
            tried = [
                pairs.search(picture[None], z, self._first(pairs, place, z), cancelled)
                for place, z in enumerate(z0.split(at_once))
            ]
            self.idle.append(pairs)
            trace, z, y = (torch.cat(part) for part in zip(*tried, strict=True))
            return trace, z, y[trace[:, -1].argmin()]

        with single_threaded_torch(), ThreadPoolExecutor(self.batch_size, "adgan-search") as pool:
            if not self.firsts and common:
                pairs = self._pairs(at_once)
                self.firsts = [pairs.copies.first_pass(z) for z in common[:MAX_FIRST_PASSES]]
                self.idle.append(pairs)
            running = [pool.submit(one, picture) for picture in x.to(self.device)]
            try:
                for ended in as_completed(running):
                    ended.result()  # the first error, whichever picture it came with
            except BaseException:  # Ctrl-C too: the threads must not search on
                cancelled.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [ended.result() for ended in running]

    def _in_batches(self, x: Tensor) -> list[PairResult]:
        """As many pairs at once as memory holds, always in the one shape that this makes."""
        points, full = self.points, self.batch_size
        pairs = self._pairs(full * points)
        found: list[PairResult] = []
        for part in x.split(full):
            padded = torch.cat([part, part[:1].expand(full - len(part), *part.shape[1:])])
            padded = padded.to(self.device)
            z0 = self._starts(padded).flatten(0, 1)
            if self.encoder is not None or not self.firsts:
                self.firsts = [pairs.copies.first_pass(z0)]
            spread = padded.repeat_interleave(points, 0)  # (P, C, H, W)
            trace, z, y = (
                told.unflatten(0, (full, points))
                for told in pairs.search(spread, z0, self.firsts[0])
            )
            best = y[torch.arange(full, device=y.device), trace[..., -1].argmin(1)]
            found += list(zip(trace.cpu(), z.cpu(), best.cpu(), strict=True))[: len(part)]
        self.idle.append(pairs)
        return found

    def _pairs(self, count: int) -> "_Pairs":
        try:
            return self.idle.pop()  # one operation: threads cannot get the same one
        except IndexError:
            sharing = 1 if self._apart() else self.points
            copies = make_bank(self.generator, count // sharing, sharing, self.config)
            return _Pairs(copies, self.config, self.loss)

    @torch.no_grad()
    def _starts(self, x: Tensor) -> Tensor:
        """z_0 of line 1 for the pictures x: (N, C, H, W) -> (N, points, Z)."""
        shared = self.z0.expand(len(x), -1, -1)
        if self.encoder is None:
            return shared
        return torch.cat([shared, self.encoder(x).float()[:, None]], 1)

    def _apart(self) -> bool:
        """Whether each starting point of a picture has a theta of its own."""
        return self.config.moves_theta and self.config.theta == "per-point"

    def _first(self, pairs: "_Pairs", place: int, z0: Tensor) -> Any:
        """The first pass from the starting point at `place`, or points."""
        return self.firsts[place] if place < len(self.firsts) else pairs.copies.first_pass(z0)

    def _halve(self) -> None:
        self.idle.clear()
        self.firsts.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.batch_size == 1:
            raise ConfigError("no memory to search for one picture; try a smaller --n-seed")
        self.batch_size //= 2


def latent_dim(generator: nn.Module) -> int:
    """Z of one of adgan's own generators; ConfigError for others, which must bring z0."""
    if isinstance(generator, Generator):
        return generator.config.latent_dim
    raise ConfigError(
        "a generator that is not adgan's own needs z0=starting_points(n_seed, latent_dim, seed)"
    )


def default_batch(generator: nn.Module, config: SearchConfig, device: torch.device) -> int:
    """Pictures to search for at once: one a core, or what fills half of a GPU's free memory."""
    weights = sum(4 * weight.numel() for weight in generator.parameters())
    copies = 4 if config.moves_theta else 0  # theta, its gradient, two moments
    # activations and their gradients: about as much again as the weights at 64 pixels, so twice
    picture = (copies + 2) * weights * (1 if device.type == "cpu" else config.points)
    fitting = int(free_memory(device) / 2 / picture)
    most = torch.get_num_threads() if device.type == "cpu" else MAX_BATCH
    return max(1, min(fitting, most))


class _Pairs:
    """P pairs searched side by side; their memory is kept from one search to the next."""

    def __init__(self, copies: GeneratorBank, config: SearchConfig, loss: Loss) -> None:
        self.copies, self.config, self.loss = copies, config, loss

    @torch.no_grad()
    def search(
        self, x: Tensor, z0: Tensor, first: Any, cancelled: threading.Event | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x: (P or 1, C, H, W), z0: (P, Z) -> losses (P, k + 1) at each step, last z, last y.

        first: the copies' first pass, from z0.
        """
        z, pace, trace = z0.clone(), 1.0, []
        adam = Adam(z, self.config.lr_z)
        y = self.copies.begin(first)  # line 1
        for _ in range(self.config.k):  # line 3
            if cancelled and cancelled.is_set():
                raise RuntimeError("the search was cancelled")
            # both gradients at the old (z, theta)
            losses, dy = self._gradient(y, x)
            trace.append(losses)
            dz = self.copies.step(dy, pace)  # line 5
            adam.step(z, dz, pace)  # line 4
            if self.config.z_radius:
                project_to_shell(z, self.config.z_radius)
            pace *= self.config.lr_decay
            y = self.copies.generate(z)
        trace.append(self.loss(y, x))  # line 8
        # a copy of y, because the next search writes where this one wrote
        return torch.stack(trace, 1), z, y.clone(memory_format=torch.contiguous_format)

    def _gradient(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Losses, (P,), and dL/dy, (P, C, H, W), of their sum: no pair has a part in another's."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            losses = self.loss(y, x)
            (dy,) = torch.autograd.grad(losses.sum(), y)
        return losses.detach(), dy


def project_to_shell(z: Tensor, radius: float) -> None:
    """Scale each z: (P, Z) in place so that | |z| - sqrt(Z) | is at most radius * sqrt(Z).

    Nearly all of the prior lies there, the more so the larger Z; a generator knows nothing else.
    """
    norm, shell = z.norm(dim=1, keepdim=True), math.sqrt(z.shape[1])
    near = norm.clamp(max(0.0, 1 - radius) * shell, (1 + radius) * shell)
    z.mul_(near / norm.clamp(min=torch.finfo(z.dtype).tiny))


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """One torch thread in each of our own threads: pairs share no sums, so nothing is gained
    by splitting one, and a sum split differently would be another sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _out_of_memory(error: RuntimeError) -> bool:
    # the CPU allocator has no error class of its own
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
