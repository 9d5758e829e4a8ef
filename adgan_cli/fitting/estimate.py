"""What a training run will take, measured and counted before it starts."""

import time
from dataclasses import dataclass, replace

from adgan_cli.engine.training.state import TrainState, new_state, parameter_count
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.fitting.data import training_data
from adgan_cli.images.pixels import PixelSet

PAST_WARM_UP = 25  # steps of wgan, with a hundred critic steps each


@dataclass(frozen=True)
class Estimate:
    """What training will take."""

    seconds_per_step: float  # measured
    memory: int  # bytes, counted


def estimate(state: TrainState, images: PixelSet) -> Estimate:
    """Time two generator steps on throw-away networks; count what training holds in memory."""
    trial = new_state(
        state.model_config,
        replace(state.train_config, iters=PAST_WARM_UP + 3),
        device=state.device,
        precision=state.precision,
        n_images=len(images),
    )
    trial.step = PAST_WARM_UP
    data = training_data(images, None, state.device)
    started = time.monotonic()
    seconds = [time.monotonic() - started for _ in train_steps(trial, data)]
    # the first and the last are reported everywhere; before the first, graphs are captured
    per_step = (seconds[-1] - seconds[0]) / 2
    # weights, gradients and two moments of Adam; the generator's average beside them
    weights = parameter_count(state.generator) * 5 + parameter_count(state.auxiliary) * 4
    model = state.model_config
    activations = 12 * state.train_config.batch_size * model.size**2 * model.width
    return Estimate(per_step, data.pixels.nbytes + 4 * (weights + activations))
