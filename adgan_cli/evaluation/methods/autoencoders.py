"""The two autoencoders of section 4.2: DCAE, scored by reconstruction, and VAE, by its ELBO.

Both have "a convolutional architecture similar to that of DCGAN, with batch norm and ReLU in each
layer": the decoder is our generator, the encoder its mirror. What the paper leaves open is taken
from its authors' own VAE (github.com/ldeecke/vae-torch): 256 latents, Adam(1e-3, 0.5, 0.999), a
Bernoulli likelihood of pixels moved to [0, 1], an ELBO averaged over 8 samples. No label chose
any of it.

Letters in the shapes: N images, Z latent dimensions, C channels, S size.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from adgan_cli.config import ModelConfig, to_dict
from adgan_cli.engine.losses import l2
from adgan_cli.engine.models.dcgan import Encoder, Generator, init_weights
from adgan_cli.engine.models.files import state_tensors
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.training.objectives.autoencoding import kl_divergence
from adgan_cli.errors import DivergedError
from adgan_cli.evaluation.batches import BATCH, score_in_batches
from adgan_cli.evaluation.settings import AutoencoderConfig
from adgan_cli.evaluation.task import Cell, MethodResult, pixels_digest
from adgan_cli.store import KeyedStore

BETAS = (0.5, 0.999)  # of Adam; vae-torch
ELBO_SAMPLES = 8  # of z for each image; vae-torch's num_searches


class Dcae(nn.Module):
    """Deep convolutional autoencoder: x: (N, C, S, S) -> its reconstruction."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(shape, shape.latent_dim)
        self.decoder = Generator(shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]

    def loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Compute the squared error, (N,); nothing in it is random."""
        return l2(x)(self(x))


class Vae(nn.Module):
    """Variational autoencoder: q(z | x) = N(mean, exp(log_var)), p(z) = N(0, 1)."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(shape, 2 * shape.latent_dim)
        self.decoder = Generator(shape)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (N, C, S, S), noise: (N, Z) normal -> logits, mean, log_var: (N, Z) each."""
        mean, log_var = self.encoder(x).chunk(2, 1)
        return self.logits(mean + (0.5 * log_var).exp() * noise), mean, log_var

    def logits(self, z: Tensor) -> Tensor:
        """Compute log p / (1 - p) of each pixel's chance p of being white: (N, Z) -> (N, C, S, S).

        tanh(h) in [-1, 1] is the sigmoid of 2 h in [0, 1]; this is the decoder up to its tanh,
        because logarithms of chances rounded to 0 or 1 would be lost.
        """
        h: Tensor = self.decoder.first(z[:, :, None, None])
        for norm, up in zip(self.decoder.norms, self.decoder.ups, strict=True):
            h = up(norm(h).relu())
        return 2 * h

    def loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Compute the negative ELBO with one sample of z, (N,)."""
        shape = len(x), self.decoder.config.latent_dim
        logits, mean, log_var = self(x, torch.randn(shape, generator=rng).to(x.device))
        return cross_entropy(logits, x) + kl_divergence(mean, log_var)


Network = TypeVar("Network", Dcae, Vae)


@dataclass(frozen=True, eq=False)
class TrainedAutoencoder(Generic[Network]):
    """An autoencoder in eval mode, and what its training took."""

    network: Network
    steps: int  # below the config's iters where the clock ended training
    seconds: float


def dcae(cell: Cell) -> MethodResult:
    """Score by the DCAE's squared reconstruction error."""
    trained = trained_autoencoder(Dcae, cell)
    return MethodResult(dcae_scores(trained.network, cell.task.test), _settings(cell, trained))


def vae(cell: Cell) -> MethodResult:
    """Score by the VAE's negative ELBO."""
    trained = trained_autoencoder(Vae, cell)
    seed = cell.settings.autoencoder.seed
    scores = vae_scores(trained.network, cell.task.test, seed=seed)
    return MethodResult(scores, _settings(cell, trained))


def dcae_scores(network: Dcae, test: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Compute the squared reconstruction error of test: (M, S, S, C) uint8 -> (M,)."""

    @torch.no_grad()
    def score(x: Tensor) -> Tensor:
        return l2(x)(network(x))

    network.eval()  # batch norm as learned: a score must not depend on its batch mates
    return score_in_batches(test, score, device=_device(network), batch_size=batch_size)


def vae_scores(
    network: Vae, test: np.ndarray, batch_size: int = BATCH, *, seed: int = 0
) -> np.ndarray:
    """Compute the negative ELBO of test: (M, S, S, C) uint8 -> (M,), in nats.

    Its expectation is a mean over 8 samples, with the same noise for every image, so that a
    score depends on the image alone.
    """
    device = _device(network)
    noises = starting_points(ELBO_SAMPLES, network.decoder.config.latent_dim, seed).to(device)

    @torch.no_grad()
    def score(x: Tensor) -> Tensor:
        mean, log_var = network.encoder(x).chunk(2, 1)
        deviation = (0.5 * log_var).exp()
        samples = (mean + deviation * noise for noise in noises)
        likelihoods = [-cross_entropy(network.logits(z), x) for z in samples]
        return kl_divergence(mean, log_var) - torch.stack(likelihoods).mean(0)

    network.eval()
    return score_in_batches(test, score, device=device, batch_size=batch_size)


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """Compute -log p(x | z) of a Bernoulli likelihood: (N, C, S, S), x in [-1, 1] -> (N,).

    A grey level, moved to [0, 1], is taken for the share of white: not 0 even at its best.
    """
    white = (x + 1) / 2
    return F.binary_cross_entropy_with_logits(logits, white, reduction="none").flatten(1).sum(1)


def trained_autoencoder(kind: type[Network], cell: Cell) -> TrainedAutoencoder[Network]:
    """Return the cell's autoencoder of a kind: trained before and kept, or trained now."""
    config, max_seconds = cell.settings.autoencoder, cell.settings.max_seconds
    what = kind.__name__.lower()
    file = f"{what}.safetensors"
    key = {"kind": what, "config": to_dict(config), "pictures": pixels_digest(cell.task.train)}
    store = KeyedStore(cell.folder, key)
    device = torch.device(cell.settings.device)
    kept = store.load_arrays(file)
    if kept is not None:
        arrays, record = kept
        if record["steps"] == config.iters or record["seconds"] >= max_seconds:
            network = _build(kind, cell.task.train, config)
            network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
            return TrainedAutoencoder(_ready(network, device), **record)
    trained = train_autoencoder(
        kind,
        cell.task.train,
        config,
        device=device,
        max_seconds=max_seconds,
        on_step=lambda step, loss: cell.report(f"training the {what}", step / config.iters),
    )
    arrays = {name: tensor.numpy() for name, tensor in state_tensors(trained.network).items()}
    record = {"steps": trained.steps, "seconds": trained.seconds}
    store.save_arrays(file, arrays, record)
    return trained


def train_autoencoder(
    kind: type[Network],
    train: np.ndarray,
    config: AutoencoderConfig = AutoencoderConfig(),  # noqa: B008  frozen
    *,
    device: torch.device,
    max_seconds: float = math.inf,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainedAutoencoder[Network]:
    """Minimise the loss of a Dcae or Vae on train: (N, S, S, C) uint8.

    Ends after config.iters steps or max_seconds, whichever is first; at least one step is done.
    on_step: gets the step and the mean loss of its batch; every tenth step on an accelerator.
    Raises DivergedError when the loss is no longer a number.
    """
    rng = torch.Generator().manual_seed(config.seed)
    network = _build(kind, train, config)
    init_weights(network, rng)  # on the CPU: the same start on every device
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Adam(network.parameters(), lr=config.lr, betas=BETAS)
    pixels = torch.from_numpy(np.ascontiguousarray(train)).to(device)
    check_every = 1 if device.type == "cpu" else 10  # each check waits for an accelerator
    started, step, seconds = time.monotonic(), 0, 0.0
    network.train()
    while step < config.iters and (step == 0 or seconds < max_seconds):
        indices = torch.randint(len(pixels), (config.batch_size,), generator=rng)
        loss = network.loss(to_model_range(pixels[indices.to(device)]), rng).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step, seconds = step + 1, time.monotonic() - started
        if step % check_every == 0 or step == config.iters:
            value = loss.item()
            if not math.isfinite(value):
                name = kind.__name__.lower()
                raise DivergedError(f"the {name} diverged at step {step}: its loss is not a number")
            if on_step:
                on_step(step, value)
    return TrainedAutoencoder(_ready(network, device), step, round(seconds, 1))


def _build(kind: type[Network], images: np.ndarray, config: AutoencoderConfig) -> Network:
    _, size, _, channels = images.shape
    return kind(ModelConfig(size, channels, config.latent_dim, config.width))


def _ready(network: Network, device: torch.device) -> Network:
    """Prepare a network for scoring: on its device, in eval mode, without gradients."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def _settings(cell: Cell, trained: TrainedAutoencoder[Any]) -> dict[str, Any]:
    values = to_dict(cell.settings.autoencoder)
    return values | {"steps": trained.steps, "train_seconds": trained.seconds}


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
