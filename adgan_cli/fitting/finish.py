"""What follows the training steps: the encoder, and the scores of images held out."""

import time
from dataclasses import replace

import numpy as np

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.encoder import train_encoder
from adgan_cli.fitting.data import ReadLarge, images_to_score
from adgan_cli.fitting.estimate import TIMED_IMAGES, scoring_costs
from adgan_cli.fitting.plan import MIN_ENCODER_STEPS, affordable_images
from adgan_cli.fitting.stages import StageCallbacks
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import with_calibration


def with_learned_encoder(
    model: Model,
    data: TrainingData,
    iters: int,
    callbacks: StageCallbacks,
    *,
    until: float | None = None,
) -> Model:
    """Train an encoder for the model's generator; stopped early, the model is as it was.

    until: when to be done, by time.monotonic(), with fewer steps if need be. With less than 50 an
    encoder would be a worse start than none: then the model has none.
    """
    done = 0

    def on_step(step: int, loss: float) -> None:
        nonlocal done
        done = step
        callbacks.report("encoder", step, iters, loss)

    encoder = train_encoder(
        model.require_generator(),
        data,
        iters,
        on_step=on_step,
        should_stop=callbacks.should_stop,
        on_note=callbacks.on_note,
        is_over=None if until is None else lambda: time.monotonic() >= until,
    )
    if encoder is None or done < min(iters, MIN_ENCODER_STEPS):
        return model
    provenance = {**model.provenance, "encoder": {"iters": done}}
    return replace(model, encoder=encoder, provenance=provenance)


def with_held_out_scores(
    model: Model,
    held_out: PixelSet,
    search: SearchConfig | None,
    callbacks: StageCallbacks,
    *,
    read_large: ReadLarge | None = None,
    until: float | None = None,
) -> Model:
    """Score images held out, for p-values; stopped early, the model is as it was.

    search: how; None: as the model itself does, and by the reconstruction, by features and by both.
    until: when to be done, by time.monotonic(): where scoring all takes longer, as some of them
    show, fewer are drawn, 20 at least.
    """
    if not len(held_out):
        return model

    def on_image(done: int, total: int) -> None:
        callbacks.report("calibrating", done, total)

    config = search or model.default_search()
    if search is None and model.generator is not None and model.features is not None:
        config = replace(config, by="all")
    if until is not None and not callbacks.stop_requested():
        some = images_to_score(drawn(held_out, TIMED_IMAGES), read_large)
        costs = scoring_costs(model, config, some)
        most = affordable_images(until - time.monotonic(), costs, len(held_out))
        held_out = drawn(held_out, most)
    return with_calibration(
        model,
        images_to_score(held_out, read_large),
        config,
        on_image=on_image,
        should_stop=callbacks.should_stop,
    )


def drawn(images: PixelSet, count: int) -> PixelSet:
    """Draw so many of the images, always the same ones; all where there are no more."""
    if count >= len(images):
        return images
    selected = np.zeros(len(images), bool)
    selected[np.random.default_rng(0).permutation(len(images))[:count]] = True
    return images.subset(selected)
