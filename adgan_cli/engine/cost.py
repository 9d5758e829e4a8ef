"""What training and the search cost in operations, and so, roughly, in time. No torch here."""

import time

import numpy as np

from adgan_cli.config import ModelConfig, SearchConfig, TrainConfig

# Shares of the speed of a float32 matrix product on the same cores, as measured on two machines:
# training reaches more than 1 where the CPU multiplies bfloat16 and half of it elsewhere; a search
# that moves theta is bound by memory. Good for a factor of two.
_TRAINING_SHARE = 0.8
_SEARCH_SHARE, _FIXED_SEARCH_SHARE = 0.25, 0.6


def generator_operations(config: ModelConfig) -> int:
    """Floating-point operations of one picture's forward pass; the critic's are nearly the same."""
    maps = config.feature_maps()
    products = config.latent_dim * maps[0] * 16
    side = 4
    for taken, given in zip(maps, [*maps[1:], config.channels], strict=True):
        products += taken * given * 16 * side**2  # a 4 x 4 kernel for every input pixel
        side *= 2
    return 2 * products


def training_operations(model: ModelConfig, train: TrainConfig) -> int:
    """Of one generator step with its critic steps, counted in forward passes.

    A backward pass costs two; the gradient penalty takes a forward pass, a backward one to the
    picture, and the way back through both.
    """
    critic_step = 1 + (12 if train.objective == "wgan-gp" else 6)
    critic_steps = train.critic_steps if train.objective in ("wgan", "wgan-gp") else 1
    generator_step = 3 + 2
    passes = critic_steps * critic_step + generator_step
    return passes * train.batch_size * generator_operations(model)


def search_operations(model: ModelConfig, search: SearchConfig) -> int:
    """Of one picture: k steps from each starting point, and a last look.

    The first pass is the same for every picture. A step back to z alone costs one pass, to theta
    as well two.
    """
    passes = search.k * (3 if search.moves_theta else 2)
    return search.n_points * passes * generator_operations(model)


def training_seconds(model: ModelConfig, train: TrainConfig, speed: float) -> float:
    """Of one generator step on a CPU where `product_speed` is `speed`: good to a factor of two."""
    return training_operations(model, train) / (_TRAINING_SHARE * speed)


def search_seconds(model: ModelConfig, search: SearchConfig, speed: float) -> float:
    """Of one picture on a CPU where `product_speed` is `speed`: good to a factor of two."""
    share = _SEARCH_SHARE if search.moves_theta else _FIXED_SEARCH_SHARE
    return search_operations(model, search) / (share * speed)


def product_speed(side: int = 1024, repeats: int = 5) -> float:
    """Floating-point operations a second of a float32 matrix product here, the best of a few."""
    a = np.ones((side, side), np.float32)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)
