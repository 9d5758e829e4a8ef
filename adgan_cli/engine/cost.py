"""Count the operations of training and of the search, and estimate times from them. No torch."""

import time

import numpy as np

from adgan_cli.config import ModelConfig, SearchConfig, TrainConfig

# Shares of the speed of a float32 matrix product on the same cores, as measured on two machines:
# training reaches more than 1 where the CPU multiplies bfloat16 and half of it elsewhere; a search
# that moves theta is bound by memory. Good for a factor of two.
_TRAINING_SHARE = 0.8
_SEARCH_SHARE, _FIXED_SEARCH_SHARE = 0.25, 0.6


def generator_operations(config: ModelConfig) -> int:
    """Count a forward pass of one image; its mirror images, critic and encoder, take as many."""
    maps = config.feature_maps()
    products = config.latent_dim * maps[0] * 16
    side = 4
    for inputs, outputs in zip(maps, [*maps[1:], config.channels], strict=True):
        products += inputs * outputs * 16 * side**2  # a 4 x 4 kernel for every input pixel
        side *= 2
    return 2 * products


def training_operations(model: ModelConfig, train: TrainConfig) -> int:
    """Count one generator step with its critic steps; a backward pass is worth two forward ones."""
    # a fake image; the critic forward and back for it and for a real one
    critic_step = 1 + 2 * 3
    if train.objective == "wgan-gp":
        critic_step += 6  # forward, back to the image, and the way back through both
    generator_step = 3
    if train.n_critic:
        generator_step += 2  # through the critic, forward and back to the image
    elif train.objective == "vae":
        generator_step += 3  # the encoder
    passes = train.n_critic * critic_step + generator_step
    return passes * train.batch_size * generator_operations(model)


def encoder_operations(model: ModelConfig, batch_size: int) -> int:
    """Count one step of an encoder: it sees generated and real images, and what these become."""
    passes = 1 + 2 * 3 + 2  # generated; the encoder twice, forward and back; through the generator
    return passes * batch_size * generator_operations(model)


def search_operations(model: ModelConfig, search: SearchConfig) -> int:
    """Count one image's search; a backward pass to z is worth one forward pass, to theta two."""
    passes = search.k * (3 if search.moves_theta else 2)
    return search.n_points * passes * generator_operations(model)


def training_seconds(model: ModelConfig, train: TrainConfig, speed: float) -> float:
    """Estimate the seconds of a generator step where product_speed() is `speed`."""
    return training_operations(model, train) / (_TRAINING_SHARE * speed)


def search_seconds(model: ModelConfig, search: SearchConfig, speed: float) -> float:
    """Estimate the seconds of an image's search where product_speed() is `speed`."""
    share = _SEARCH_SHARE if search.moves_theta else _FIXED_SEARCH_SHARE
    return search_operations(model, search) / (share * speed)


def product_speed(side: int = 1024, repeats: int = 5) -> float:
    """Measure operations a second of a float32 matrix product here, the best of a few."""
    a = np.ones((side, side), np.float32)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)
