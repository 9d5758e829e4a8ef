"""Score images by Algorithm 1: the search as callers see it.

Letters in the shapes: N images, S starting points, Z latent dimensions, (C, H, W) an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.device import deterministic_convolutions, full_float32
from adgan_cli.engine.losses import LossFunction, loss_for, make_loss
from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.execution import Execution, ImageResult, SearchProblem, execution_for
from adgan_cli.engine.search.memory import default_batch
from adgan_cli.engine.search.precision import effective_precision
from adgan_cli.errors import ConfigError


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The search of N images, on the CPU."""

    score: Tensor  # (N,), line 8: the mean of `losses` over the starting points, or the least
    losses: Tensor  # (N, S), after k steps
    reconstruction: Tensor  # (N, C, H, W), of the starting point with the least loss
    z: Tensor  # (N, S, Z), where the search ended
    trace: Tensor  # (N, S, k + 1), the losses at the starting points and after each step: Fig. 1


def search(
    generator: nn.Module,
    x: Tensor,
    config: SearchConfig = PAPER_SEARCH,
    *,
    z0: Tensor | None = None,
    loss: LossFunction | None = None,
    encoder: nn.Module | None = None,
    batch_size: int | None = None,
) -> SearchResult:
    """Run Algorithm 1 for the images x: (N, C, H, W) in [-1, 1]; see Searcher."""
    return Searcher(generator, config, z0=z0, loss=loss, encoder=encoder, batch_size=batch_size)(x)


class Searcher:
    """Algorithm 1 for one generator, to be called with images as often as there are some.

    generator: adgan's own, or any nn.Module that maps (P, Z) to (P, C, H, W), is differentiable,
    and has batch norm, if any, with running statistics; that one goes through torch.func, slower.
    It is left as it was, to the bit.
    z0: (S, Z), instead of starting_points(...); needed where the generator has no `config`.
    loss: instead of the one that the settings name: x -> (y -> (N,)), both (N, C, H, W).
    encoder: (N, C, H, W) -> (N, Z), in eval mode; gives each image the last of its points, where
    the settings ask for it.
    batch_size: images at once; a matter of memory only. It is halved when memory runs out. On a GPU
    scores are equal to the bit for one batch size, and up to rounding for two.
    execution: instead of the one that suits the generator's device.
    """

    def __init__(
        self,
        generator: nn.Module,
        config: SearchConfig = PAPER_SEARCH,
        *,
        z0: Tensor | None = None,
        loss: LossFunction | None = None,
        encoder: nn.Module | None = None,
        batch_size: int | None = None,
        execution: type[Execution] | None = None,
    ) -> None:
        self.device = next(generator.parameters()).device
        if config.init != "prior" and encoder is None:
            raise ConfigError(
                f"--init {config.init} needs an encoder, which this model has not; train with "
                "--encoder-iters, or choose --init prior"
            )
        if z0 is None:
            if not isinstance(generator, Generator):
                remedy = "z0=starting_points(n_seed, latent_dim, seed)"
                raise ConfigError(f"a generator that is not adgan's own needs {remedy}")
            z0 = starting_points(config.n_seed, generator.config.latent_dim, config.seed)
        self.config = config
        self.problem = SearchProblem(
            generator,
            config,
            loss or make_loss(config.loss),
            z0=(z0[:0] if config.init == "encoder" else z0).to(self.device, torch.float32),
            encoder=None if config.init == "prior" else encoder,
            precision=effective_precision(config, self.device),
        )
        with full_float32(), deterministic_convolutions():
            self.batch_size = batch_size or default_batch(self.problem)
        self._execution_type = execution or execution_for(self.device)
        self._execution = self._execution_type(self.problem, self.batch_size)

    @classmethod
    def for_model(
        cls, model: Model, config: SearchConfig, *, batch_size: int | None = None
    ) -> "Searcher":
        """Search in a model's generator with its own critic, for the loss, and encoder."""
        loss = loss_for(model, config.loss)
        generator = model.require_generator()
        return cls(generator, config, loss=loss, encoder=model.encoder, batch_size=batch_size)

    def __call__(self, x: Tensor) -> SearchResult:
        """Search for the images x, (N, C, H, W); ConfigError when memory is too small for one."""
        while True:
            try:
                with full_float32(), deterministic_convolutions():
                    return self._stack(self._execution(x))
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
            # out here, where the error's frames hold no memory any more
            self._halve_batch()

    @property
    def eager_reason(self) -> str | None:
        """Why the steps of a batch are not replayed as one CUDA graph where they could be."""
        return self._execution.eager_reason

    def _stack(self, images: Sequence[ImageResult]) -> SearchResult:
        trace = torch.stack([image.trace for image in images])
        losses = trace[..., -1]
        return SearchResult(
            score=losses.mean(1) if self.config.reduce == "mean" else losses.amin(1),
            losses=losses,
            reconstruction=torch.stack([image.reconstruction for image in images]),
            z=torch.stack([image.z for image in images]),
            trace=trace,
        )

    def _halve_batch(self) -> None:
        if self.batch_size == 1:
            raise ConfigError("no memory to search for one picture; try a smaller --n-seed")
        self.batch_size //= 2
        self._execution = self._execution_type(self.problem, self.batch_size)  # drops the old banks
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _out_of_memory(error: RuntimeError) -> bool:
    # the allocators of CPU and MPS have no error class of their own
    texts = "can't allocate memory", "MPS backend out of memory"
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)
