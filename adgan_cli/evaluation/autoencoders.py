"""The two autoencoders of section 4.2: DCAE, scored by reconstruction, and VAE, by its ELBO.

Both have "a convolutional architecture similar to that of DCGAN, with batch norm and ReLU in each
layer": the decoder is our generator, the encoder its mirror. What the paper leaves open is taken
from its authors' own VAE (github.com/ldeecke/vae-torch): 256 latents, Adam(1e-3, 0.5, 0.999), a
Bernoulli likelihood of pixels moved to [0, 1], an ELBO averaged over 8 samples. No label chose
any of it.

Letters in the shapes: N pictures, Z latent dimensions, C channels, S size.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Adam

from adgan_cli.atomic import replacing
from adgan_cli.config import ModelConfig, to_dict
from adgan_cli.engine.losses import l2
from adgan_cli.engine.models.dcgan import Encoder, Generator, init_weights
from adgan_cli.engine.models.files import load_tensors, read_tensors, state_tensors
from adgan_cli.engine.models.header import metadata, read_header
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.errors import ConfigError, DivergedError, ModelFileError
from adgan_cli.evaluation.batches import BATCH, score_in_batches
from adgan_cli.evaluation.settings import AutoencoderConfig

BETAS = 0.5, 0.999  # of Adam; vae-torch
ELBO_SAMPLES = 8  # of z for each picture; vae-torch's num_searches


@dataclass(frozen=True)
class AutoencoderStep:
    """What there is to tell after some steps of training."""

    step: int
    loss: float  # mean over the batch
    seconds: float


class Dcae(nn.Module):
    """Deep convolutional autoencoder: x: (N, C, S, S) -> its reconstruction."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(shape, shape.latent_dim)
        self.decoder = Generator(shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]

    def loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """What training minimises, one value a picture; nothing in it is random."""
        return l2(self(x), x)


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
        """z: (N, Z) -> (N, C, S, S): log p / (1 - p) of each pixel's chance p of being white.

        tanh(h) in [-1, 1] is the sigmoid of 2 h in [0, 1]; this is the decoder up to its tanh,
        because logarithms of chances rounded to 0 or 1 would be lost.
        """
        h: Tensor = self.decoder.first(z[:, :, None, None])
        for norm, up in zip(self.decoder.norms, self.decoder.ups, strict=True):
            h = up(norm(h).relu())
        return 2 * h

    def loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """The negative ELBO with one sample of z, (N,)."""
        shape = len(x), self.decoder.config.latent_dim
        logits, mean, log_var = self(x, torch.randn(shape, generator=rng).to(x.device))
        return cross_entropy(logits, x) + kl_divergence(mean, log_var)


Network = TypeVar("Network", Dcae, Vae)


@dataclass(frozen=True, eq=False)
class Trained(Generic[Network]):
    """A trained autoencoder, in eval mode, and how it came to be."""

    network: Network
    config: AutoencoderConfig
    steps: int  # done; below config.iters where the clock or the caller ended training
    seconds: float
    digest: str  # of the pictures it learned from


def train_dcae(
    train: np.ndarray,
    config: AutoencoderConfig = AutoencoderConfig(),  # noqa: B008  frozen
    *,
    device: torch.device,
    max_seconds: float = math.inf,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[AutoencoderStep], None] | None = None,
) -> Trained[Dcae]:
    """Learn to copy train: (N, S, S, C) uint8, minimising the squared error (section 4.2).

    Ends after config.iters steps, max_seconds, or when should_stop says so, whichever is first;
    at least one step is made. Raises DivergedError when the loss is no longer a number.
    """
    return _train(Dcae, train, config, device, max_seconds, should_stop, on_step)


def train_vae(
    train: np.ndarray,
    config: AutoencoderConfig = AutoencoderConfig(),  # noqa: B008  frozen
    *,
    device: torch.device,
    max_seconds: float = math.inf,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[AutoencoderStep], None] | None = None,
) -> Trained[Vae]:
    """Learn the distribution of train: (N, S, S, C) uint8, maximising the ELBO; as train_dcae."""
    return _train(Vae, train, config, device, max_seconds, should_stop, on_step)


def dcae_scores(network: Dcae, test: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Squared reconstruction error of test: (M, S, S, C) uint8 -> (M,)."""

    @torch.no_grad()
    def score(x: Tensor) -> Tensor:
        return l2(network(x), x)

    network.eval()  # batch norm as learned: a score must not depend on its batch mates
    return score_in_batches(test, score, device=_device(network), batch_size=batch_size)


def vae_scores(
    network: Vae, test: np.ndarray, batch_size: int = BATCH, *, seed: int = 0
) -> np.ndarray:
    """Negative ELBO of test: (M, S, S, C) uint8 -> (M,), in nats.

    Its expectation is a mean over 8 samples, made with the same noise for every picture, so that
    a score depends on the picture alone.
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
    """-log p(x | z) of a Bernoulli likelihood: (N, C, S, S), x in [-1, 1] -> (N,), at least 0.

    A grey level, moved to [0, 1], is taken for the share of white: not 0 even at its best.
    """
    white = (x + 1) / 2
    return F.binary_cross_entropy_with_logits(logits, white, reduction="none").flatten(1).sum(1)


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) | N(0, 1)), summed over Z: (N, Z) each -> (N,)."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)


def save_autoencoder(trained: Trained[Dcae] | Trained[Vae], path: Path) -> None:
    """Write a safetensors file, whole or not at all. Raises OutputError."""
    shape = trained.network.decoder.config
    content = {
        "config": to_dict(trained.config),
        "size": shape.size,
        "channels": shape.channels,
        "steps": trained.steps,
        "seconds": trained.seconds,
        "pictures": trained.digest,
    }
    kind = _kind(type(trained.network))
    with replacing(path) as temporary:
        temporary.write_bytes(save(state_tensors(trained.network), metadata(kind, content)))


def load_dcae(path: Path, device: torch.device) -> Trained[Dcae]:
    """What save_autoencoder wrote. Raises ModelFileError."""
    return _load(Dcae, path, device)


def load_vae(path: Path, device: torch.device) -> Trained[Vae]:
    """What save_autoencoder wrote. Raises ModelFileError."""
    return _load(Vae, path, device)


def pictures_digest(pixels: np.ndarray) -> str:
    """A digest of pictures and their order, to tell whether a kept model learned from them."""
    state = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(pixels).data)
    return state.hexdigest()


def _train(
    kind: type[Network],
    train: np.ndarray,
    config: AutoencoderConfig,
    device: torch.device,
    max_seconds: float,
    should_stop: Callable[[], bool],
    on_step: Callable[[AutoencoderStep], None] | None,
) -> Trained[Network]:
    network, rng = _new(kind, train.shape[1], train.shape[3], config), torch.Generator()
    init_weights(
        network, rng.manual_seed(config.seed)
    )  # on the CPU: the same start on every device
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Adam(network.parameters(), lr=config.lr, betas=BETAS)
    pixels = torch.from_numpy(np.ascontiguousarray(train)).to(device)
    report_every = 1 if device.type == "cpu" else 10  # each report waits for an accelerator
    started, step, seconds = time.monotonic(), 0, 0.0
    network.train()
    while step < config.iters:
        index = torch.randint(len(pixels), (config.batch_size,), generator=rng)
        loss = network.loss(to_model_range(pixels[index.to(device)]), rng).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step, seconds = step + 1, time.monotonic() - started
        if step % report_every == 0 or step == config.iters:
            told = AutoencoderStep(step, loss.item(), seconds)
            if not math.isfinite(told.loss):
                raise DivergedError(
                    f"the {_kind(kind)} diverged at step {step}: its loss is not a number"
                )
            if on_step:
                on_step(told)
        if seconds >= max_seconds or should_stop():
            break
    network.eval().requires_grad_(False)
    return Trained(network, config, step, round(seconds, 1), pictures_digest(train))


def _load(kind: type[Network], path: Path, device: torch.device) -> Trained[Network]:
    content = read_header(path, _kind(kind)).content
    try:
        config = AutoencoderConfig(**content["config"])
        network = _new(kind, content["size"], content["channels"], config)
        steps, seconds, digest = content["steps"], content["seconds"], content["pictures"]
    except (ConfigError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is corrupt: its settings do not hold ({error})") from error
    load_tensors(network, read_tensors(path), path)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval().requires_grad_(False)
    return Trained(network, config, steps, seconds, digest)


def _new(kind: type[Network], size: Any, channels: Any, config: AutoencoderConfig) -> Network:
    return kind(ModelConfig(size, channels, config.latent_dim, config.width))


def _kind(kind: type[nn.Module]) -> str:
    return kind.__name__.lower()


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
