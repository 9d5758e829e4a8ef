"""The settings of an evaluation: of generators, searches and autoencoders. No torch."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from adgan_cli.config import (
    PAPER_SEARCH,
    SEED_LIMIT,
    FeatureConfig,
    ModelConfig,
    SearchConfig,
    TrainConfig,
)
from adgan_cli.errors import ConfigError
from adgan_cli.presets import PRESETS


@dataclass(frozen=True)
class GanConfig:
    """How a generator is built and trained, but for size and channels, which the data set gives."""

    train: TrainConfig = TrainConfig()
    latent_dim: int = ModelConfig.latent_dim


# the paper's GAN, by gradient penalty instead of weight clipping: examples/results used this
PAPER_GAN = GanConfig(
    TrainConfig(objective="wgan-gp", encoder_iters=0), PRESETS["paper"].model.latent_dim
)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < SEED_LIMIT:
        raise ConfigError(f"seed must be at least 0 and below 2^63, got {seed}")


@dataclass(frozen=True)
class AnoganConfig:
    """AnoGAN's search, Schlegl et al. (2017): L(z) = (1 - weight) R(z) + weight D(z)."""

    steps: int = 100  # theirs: 500, five times the time
    lr: float = 0.05  # not in their paper; of 0.01 ... 0.25 it fits training pictures as the best
    weight: float = 0.1  # lambda, their section 2.2
    seed: int = 0  # of the starting point

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigError(f"steps must be at least 0, got {self.steps}")
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.weight <= 1:
            raise ConfigError(f"weight must be between 0 and 1, got {self.weight}")
        _check_seed(self.seed)


@dataclass(frozen=True)
class AutoencoderConfig:
    """How an autoencoder is built and trained; the paper says nothing on any of these."""

    iters: int = 5_000  # batches, with replacement: some 50 times each digit of an MNIST class
    batch_size: int = 64
    lr: float = 1e-3  # of Adam; vae-torch
    latent_dim: int = PAPER_GAN.latent_dim  # vae-torch, and d' of section 4.2
    width: int = ModelConfig.width  # feature maps next to the image, as in the generator
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iters < 1:
            raise ConfigError(f"iters must be at least 1, got {self.iters}")
        if self.batch_size < 2:
            raise ConfigError(f"batch_size must be at least 2 (batch norm), got {self.batch_size}")
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"lr must be above 0, got {self.lr}")
        _check_seed(self.seed)
        ModelConfig(latent_dim=self.latent_dim, width=self.width)  # checks these two


@dataclass(frozen=True)
class Settings:
    """Everything that the methods are run with, apart from the data."""

    gan: GanConfig = PAPER_GAN  # of all methods that need a GAN but adgan-tuned
    search: SearchConfig = PAPER_SEARCH  # of adgan, adgan-1 and latent-prior
    tuned_gan: GanConfig = GanConfig()  # of adgan-tuned: what train, score and rank do
    tuned: SearchConfig = SearchConfig(by="reconstruction")
    features: FeatureConfig = FeatureConfig()  # of features, and of its members
    backbone: str = ""  # pretrained, as --features names it; empty: none
    download: bool = False  # whether its weights may be fetched
    anogan: AnoganConfig = AnoganConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    width: int = ModelConfig.width
    max_seconds: float = math.inf  # of training, for each model that is trained
    precision: str = "fp32"  # of the GANs' training
    device: str = "cpu"
    model: Path | None = None  # an existing GAN instead of one trained here
    alexnet_weights: Path | None = None

    @property
    def time_limit(self) -> float | None:
        """Seconds of training as JSON knows them: None is no limit."""
        return self.max_seconds if math.isfinite(self.max_seconds) else None

    def with_seed(self, seed: int) -> "Settings":
        """Return the same settings with another seed everywhere."""
        return replace(
            self,
            gan=replace(self.gan, train=replace(self.gan.train, seed=seed)),
            tuned_gan=replace(self.tuned_gan, train=replace(self.tuned_gan.train, seed=seed)),
            search=replace(self.search, seed=seed),
            tuned=replace(self.tuned, seed=seed),
            anogan=replace(self.anogan, seed=seed),
            autoencoder=replace(self.autoencoder, seed=seed),
        )
