"""What a training run will take: measured on throw-away networks, and counted, before it starts."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from adgan_cli.config import ModelConfig, SearchConfig, TrainConfig
from adgan_cli.engine.cost import (
    encoder_operations,
    generator_operations,
    search_operations,
    training_operations,
)
from adgan_cli.engine.features.feature_distance import MAX_SIDE
from adgan_cli.engine.features.scattering import scatter
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.encoder import BATCH as ENCODER_BATCH
from adgan_cli.engine.training.encoder import train_encoder
from adgan_cli.engine.training.state import (
    TrainState,
    ema_generator,
    learned_encoder,
    new_state,
    parameter_count,
)
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.errors import DivergedError
from adgan_cli.fitting.data import training_data
from adgan_cli.fitting.plan import Costs, Work
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.shrink import shrunk
from adgan_cli.scoring.calibrate import UNKNOWN, ImagesToScore
from adgan_cli.scoring.scorer import Scorer

PAST_WARM_UP = 25  # steps of wgan, with a hundred critic steps each
WARM = 1  # steps that are not counted: the first is slow
TIMED, TIMED_ON_ACCELERATOR = 2, 20  # steps; a launch takes longer than a small step computes
TIMED_IMAGES = 4
# that batch norm is measured on for a model that is saved; those that are timed
MODEL_BATCHES, TIMED_BATCHES = 32, 2
WRITTEN = 1e8  # bytes a second that go to a disk, slow as it may be
EXIT = 1.0  # second, in which the process starts and ends
MEASURED_STEPS = 10  # as many take about as long as timing every part
# times as long as scattering: it is half of all detectors, before that of transformations comes
OVER_SCATTERING = 3.0
NOISE = 64  # images drawn at random


@dataclass(frozen=True)
class Estimate:
    """What training will take."""

    seconds_per_step: float  # measured
    memory: int  # bytes, counted


def estimate(state: TrainState, images: PixelSet) -> Estimate:
    """Time some generator steps on throw-away networks; count what training holds in memory."""
    data = training_data(images, None, state.device)
    trial = _trial(state, len(images))
    # weights, gradients and two moments of Adam; the generator's average beside them
    weights = parameter_count(state.generator) * 5 + parameter_count(state.auxiliary) * 4
    model = state.model_config
    activations = 12 * state.train_config.batch_size * model.size**2 * model.width
    return Estimate(
        _step_seconds(trial, data, math.inf), data.pixels.nbytes + 4 * (weights + activations)
    )


def step_seconds(
    model: ModelConfig, train: TrainConfig, *, budget: float, device: torch.device, precision: str
) -> float:
    """Time generator steps of such networks, on noise: few where they take longer than `budget`."""
    trial = new_state(model, train, device=device, precision=precision, n_images=NOISE)
    trial.step = PAST_WARM_UP
    return _step_seconds(trial, _noise(model), budget)


def measure_costs(
    state: TrainState, images: PixelSet, work: Work, search: SearchConfig, budget: float
) -> Costs:
    """Time the parts of a run on throw-away networks, those that there is work for.

    search: how images held out are searched for. budget: seconds; where steps are so slow that
    timing all takes longer, the others are counted by them. Leaves the state as it is.
    """
    data, trial = training_data(images, None, state.device), _trial(state, len(images))
    step = _step_seconds(trial, data, budget)
    comparison = _comparison_seconds(images) if work.compared else 0.0
    # to a disk, all that a model and a checkpoint hold
    weights = 6 * parameter_count(state.generator) + 3 * parameter_count(state.auxiliary)
    writing = EXIT + 4 * weights / WRITTEN
    if MEASURED_STEPS * step > budget:
        counted = _counted_costs(step, state, search)
        return replace(counted, comparison=comparison, saving=counted.saving + writing)
    started = time.monotonic()
    generator = ema_generator(trial, batches=TIMED_BATCHES)
    _synchronise(state.device)
    saving = MODEL_BATCHES / TIMED_BATCHES * (time.monotonic() - started)
    encoder, reports = learned_encoder(trial), list[tuple[int, float]]()
    if work.encoder_steps:
        with suppress(DivergedError):
            encoder = train_encoder(
                generator,
                data,
                WARM + TIMED,
                on_step=lambda done, _: reports.append((done, time.monotonic())),
            )
    model = Model(generator, state.model_config, search=search, encoder=encoder)
    return Costs(
        step,
        encoder_step=_least_seconds(reports),
        search=_search_seconds(model) if work.held_out else 0.0,
        comparison=comparison,
        saving=saving + writing,
    )


def _counted_costs(step: float, state: TrainState, search: SearchConfig) -> Costs:
    """Estimate the other parts by what a step takes, in proportion to their operations."""
    model, train = state.model_config, state.train_config
    seconds = step / training_operations(model, train)  # for an operation
    return Costs(
        step,
        encoder_step=encoder_operations(model, ENCODER_BATCH) * seconds,
        search=search_operations(model, search) * seconds,
        saving=MODEL_BATCHES * train.batch_size * generator_operations(model) * seconds,
    )


def scoring_costs(model: Model, search: SearchConfig, images: ImagesToScore) -> Costs:
    """Time how a trained model scores images, a few; its other parts are done."""
    scorer = Scorer(model, search, error_scale=UNKNOWN)
    comparison, count = 0.0, len(images.pixels)
    scoring = _timed(lambda: scorer.measure(images.pixels, images.large)) / count
    if search.by == "features":
        return Costs(comparison=scoring)
    if search.by == "all":
        features = model.require_features()
        comparison = _timed(lambda: features.z_scores(images.pixels, images.large)) / count
    return Costs(search=max(0.0, scoring - comparison), comparison=comparison)


def _least_seconds(reports: Sequence[tuple[int, float]]) -> float:
    """Compute the seconds of a step from (steps done, time), the least between two reports."""
    pairs = itertools.pairwise(reports)
    return min(((end - start) / (last - first) for (first, start), (last, end) in pairs), default=0)


def _search_seconds(model: Model) -> float:
    """Time the search for an image, drawn at random."""
    search = model.default_search()
    # those that compare features need networks that are not there
    loss = "l2" if "features" in search.loss else search.loss
    searcher = Searcher.for_model(model, replace(search, by="reconstruction", loss=loss))
    x = to_model_range(_noise(model.config).pixels[:TIMED_IMAGES])
    return _timed(lambda: searcher(x)) / len(x)


def _comparison_seconds(images: PixelSet) -> float:
    """Estimate the comparison of an image by features that are not fitted yet."""
    pixels = shrunk(np.ascontiguousarray(images.take(slice(TIMED_IMAGES))), MAX_SIDE)
    return OVER_SCATTERING * _timed(lambda: [scatter(image) for image in pixels]) / len(pixels)


def _trial(state: TrainState, n_images: int) -> TrainState:
    """Build networks like those of a state, to throw away."""
    trial = new_state(
        state.model_config,
        state.train_config,
        device=state.device,
        precision=state.precision,
        n_images=n_images,
    )
    trial.step = PAST_WARM_UP
    return trial


def _step_seconds(trial: TrainState, data: TrainingData, budget: float) -> float:
    """Time generator steps, after one that is not counted unless others take too long.

    How good they are does not matter.
    """
    on_cpu = trial.device.type == "cpu"
    timed = TIMED if on_cpu else TIMED_ON_ACCELERATOR
    trial.train_config = replace(trial.train_config, iters=trial.step + WARM + timed)
    # by the step; where graphs are captured, that is before the first report
    reports = [(trial.step, time.monotonic())]
    with suppress(DivergedError):
        for metrics in train_steps(trial, data):
            reports.append((metrics.step, time.monotonic()))
            taken = reports[-1][1] - reports[0][1]
            if on_cpu and len(reports) == 2 and timed * taken > budget:
                break
    (first, began), (last, ended) = reports[min(WARM, len(reports) - 1)], reports[-1]
    if first == last:  # the first is all there is, or it diverged at once
        (first, began), ended = reports[0], time.monotonic()
    return (ended - began) / max(1, last - first)


def _timed(work: Callable[[], object]) -> float:
    """Time some work, done once before."""
    work()
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _noise(model: ModelConfig) -> TrainingData:
    """Draw images at random."""
    shape = NOISE, model.size, model.size, model.channels
    rng = torch.Generator().manual_seed(0)
    return TrainingData(torch.randint(256, shape, dtype=torch.uint8, generator=rng))
