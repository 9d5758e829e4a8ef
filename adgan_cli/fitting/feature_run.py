"""Train features alone, without a generator: a first answer within minutes."""

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from adgan_cli import __version__
from adgan_cli.config import to_dict
from adgan_cli.engine.device import pick_device
from adgan_cli.engine.features.ensemble import FeatureModel
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.header import MODEL_FILE
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import write_neighbours
from adgan_cli.errors import ModelFileError
from adgan_cli.fitting.data import data_provenance, hold_out
from adgan_cli.fitting.directory import prepare_output_dir
from adgan_cli.fitting.features import fit_features, split_for_features
from adgan_cli.fitting.finish import with_held_out_scores
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.fitting.stages import StageCallbacks
from adgan_cli.fitting.transform_checkpoint import TRANSFORMATIONS_FILE
from adgan_cli.images.pixels import PixelSet


def train_features(
    images: PixelSet,
    settings: TrainingSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    device: torch.device | str = "auto",
    callbacks: StageCallbacks = StageCallbacks(),  # noqa: B008  frozen
) -> Model | None:
    """Fit features to images and calibrate them; None where it was stopped before the end.

    out: the model directory; resume: go on with what a stopped call left there, exactly.
    """
    device = pick_device(device) if isinstance(device, str) else device
    limit = settings.max_time
    until = None if limit is None else time.monotonic() + limit
    trained_on, held_out = hold_out(images, settings.train)
    if out is not None and resume:
        finished = _finished(out, trained_on, settings)
        if finished is not None:
            return finished
    if out is not None:
        references = split_for_features(trained_on, settings.train.seed).references
        prepare_output_dir(out, trained_on, clear=not resume, references=references)
    checkpoint = None if out is None else out / TRANSFORMATIONS_FILE
    assert settings.features is not None
    features = fit_features(
        trained_on,
        settings.features,
        seed=settings.train.seed,
        until=until,
        scored_after=len(held_out),
        device=device,
        backbone=settings.backbone,
        read_large=settings.read_large,
        checkpoint=checkpoint,
        on_fewer=None if out is None else partial(write_neighbours, out, trained_on),
        callbacks=callbacks,
    )
    if features is None:
        return None
    model = _features_model(features, trained_on, settings)
    model = with_held_out_scores(
        model, held_out, None, callbacks, read_large=settings.read_large, until=until
    )
    if len(held_out) and not model.calibrations:
        return None
    if out is None or checkpoint is None:
        return model
    model = replace(model, digest=save_model(model, out), file=out / MODEL_FILE)
    checkpoint.unlink(missing_ok=True)
    return model


def _features_model(features: FeatureModel, images: PixelSet, settings: TrainingSettings) -> Model:
    """Build the model without a generator that features of images amount to."""
    _, size, _, channels = images.pixels.shape
    return Model(
        None,
        replace(settings.model, size=size, channels=channels),
        search=replace(settings.search, by="features"),
        reading=settings.reading,
        ranges=images.ranges,
        training_fingerprints=np.sort(images.fingerprints),
        features=features,
        provenance={"adgan": __version__, **_history(images, settings)},
    )


def _history(images: PixelSet, settings: TrainingSettings) -> dict[str, object]:
    """Say what a model is trained on and how, as its provenance has it."""
    assert settings.features is not None
    training = {**to_dict(settings.train), "iters": 0, "precision": "fp32"}
    training["features"] = to_dict(settings.features)
    return {"training": training, "data": data_provenance(images)}


def _finished(out: Path, images: PixelSet, settings: TrainingSettings) -> Model | None:
    """Load the model in `out` if it is what this run would come to."""
    with suppress(ModelFileError):
        model = load_model(out)
        history = {key: model.provenance.get(key) for key in ("training", "data")}
        if history == _history(images, settings):
            return model
    return None
