"""Rank the very folder that a model is trained on: no picture by a model that has seen it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli.config import SearchConfig, TrainConfig, from_dict, to_dict
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import pixel_tensor
from adgan_cli.engine.training.checkpoint import read_checkpoint
from adgan_cli.engine.training.trainer import StepMetrics, TrainState, new_state
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.fitting.directory import resume_state, train_into, with_encoder
from adgan_cli.fitting.held_out import hold_out
from adgan_cli.fitting.run import load_training_pictures
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.calibrate import with_calibration
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import ScoringRun

FEWEST = 20  # pictures that a part must leave to train on


@dataclass(frozen=True)
class CrossFitCallbacks:
    """Callbacks of a cross-fit, each with the number of the part, from 1."""

    on_step: Callable[[int, StepMetrics], None] = lambda part, step: None
    on_scored: Callable[[int, ScoreRow], None] = lambda part, row: None
    should_stop: Callable[[], bool] = lambda: False


def cross_fit(
    listing: Listing,
    model: Model,
    config: SearchConfig,
    parts: int,
    folder: Path,
    *,
    told: CrossFitCallbacks = CrossFitCallbacks(),  # noqa: B008  frozen
    workers: int | None = None,
    place: CacheConfig | None = None,
) -> list[ScoreRow] | None:
    """A row for each picture of `listing`, in its order; None where it was stopped before the end.

    The pictures are divided into `parts` by their contents; for each part a model like `model` is
    trained on the others, for as many steps, and kept below `folder`, where an interrupted call
    goes on. Scores of different models differ in scale, so each is told as a share of the median
    that the model gives to pictures it held out (of adjusted scores: as the difference). p-values
    go by the same pictures. Raises ConfigError where that cannot be done.
    """
    train_config, precision = _as_trained(model)
    device = model.generator.first.weight.device
    pictures = load_training_pictures(
        listing, model.config.size, model.config.channels, model.reading,
        workers=workers, place=place,
    )  # fmt: skip
    part_of = _parts(pictures, parts)
    rows = {name: ScoreRow(name, None, error=reason) for name, reason in pictures.failures}
    items = {item.name: item for item in listing.items}
    for part in range(parts):
        others = pictures.subset(part_of != part)
        out = folder / f"part-{part + 1}"
        fitted = _fitted(
            out, model, others, train_config, precision, device, config,
            on_step=partial(told.on_step, part + 1),
            should_stop=told.should_stop,
        )  # fmt: skip
        if fitted is None:
            return None
        ordinary = held_out_scores(fitted, config)
        assert ordinary is not None
        own = [items[name] for name in pictures.subset(part_of == part).names]
        reader = Reader(fitted.preprocessing(), workers, place)
        run = ScoringRun(fitted, Listing(listing.root, own, [], 0), config, reader=reader)
        for row in run.rows():
            rows[row.path] = _on_one_scale(row, float(np.median(ordinary)), config)
            told.on_scored(part + 1, row)
            if told.should_stop():
                return None
    order = [*(item.name for item in listing.items), *(name for name, _ in listing.failures)]
    return [rows[name] for name in order]


def _on_one_scale(row: ScoreRow, median: float, config: SearchConfig) -> ScoreRow:
    if row.score is None:
        return row
    one = row.score - median if config.adjust != "none" else row.score / max(median, 1e-12)
    # of the whole folder it is true, of the model that scored it false: p is valid
    return replace(row, score=one, in_training=False)


def _as_trained(model: Model) -> tuple[TrainConfig, str]:
    try:
        training: dict[str, Any] = dict(model.provenance["training"])
        precision = str(training.pop("precision"))
        # as many steps as it took, wherever patience ended it
        made = {"encoder_iters": (model.provenance.get("encoder") or {}).get("iters", 0)}
        training = {
            **to_dict(TrainConfig(objective="wgan-gp", encoder_iters=0)),
            **training,
            **made,
            "patience": 0.0,
        }
        return from_dict(TrainConfig, training), precision
    except (ConfigError, KeyError, TypeError) as error:
        raise ConfigError(
            "--cross-fit trains models like --model, which does not say how it was trained"
        ) from error


def _parts(pictures: PixelSet, parts: int) -> np.ndarray:
    """The part of each picture, (N,): by the contents of files, copies of one stay together."""
    distinct, which = np.unique(pictures.fingerprints, return_inverse=True)
    if len(distinct) < parts or len(distinct) * (parts - 1) // parts < FEWEST:
        raise ConfigError(
            f"--cross-fit {parts} needs more pictures than {len(distinct)} different ones"
        )
    shuffled = np.random.default_rng(0).permutation(len(distinct))
    part_of: np.ndarray = (shuffled % parts)[which]
    return part_of


def _fitted(
    out: Path,
    model: Model,
    others: PixelSet,
    train_config: TrainConfig,
    precision: str,
    device: torch.device,
    config: SearchConfig,
    *,
    on_step: Callable[[StepMetrics], None],
    should_stop: Callable[[], bool],
) -> Model | None:
    """A model like `model` of the pictures `others`, with p-values; None where it was stopped."""
    if train_config.holdout == 0:
        train_config = replace(train_config, holdout=TrainConfig.holdout)  # p-values need some
    state, trained_on, held_out = _begun(out, model, others, train_config, precision, device)
    fitted = _finished(out, device, config, train_config.iters) if state.step else None
    if fitted is not None:
        return fitted
    fitted = train_into(
        out, state, trained_on, held_out=held_out, reading=model.reading, on_step=on_step,
        should_stop=should_stop, resumed=state.step > 0, keep_critic=model.critic is not None,
        search=model.search,
    )  # fmt: skip
    if should_stop():
        return None
    fitted = with_encoder(fitted, trained_on, train_config.encoder_iters, should_stop=should_stop)
    fitted = with_calibration(fitted, pixel_tensor(held_out), config, should_stop=should_stop)
    if should_stop():
        return None
    save_model(fitted, out)
    return fitted


def _begun(
    out: Path,
    model: Model,
    others: PixelSet,
    train_config: TrainConfig,
    precision: str,
    device: torch.device,
) -> tuple[TrainState, PixelSet, PixelSet]:
    # whatever is there of other pictures or settings is of no use
    with suppress(ModelFileError, ConfigError, KeyError):
        then = read_checkpoint(out)
        if (then["training"], then["model"]) == (to_dict(train_config), to_dict(model.config)):
            return resume_state(out, others, device, iters=None)
    trained_on, held_out = hold_out(others, train_config)
    if len(held_out) < 2:
        raise ConfigError("--cross-fit needs more pictures: none could be held out for p-values")
    state = new_state(
        model.config, train_config, device=device, precision=precision, pictures=len(trained_on)
    )
    return state, trained_on, held_out


def _finished(out: Path, device: torch.device, config: SearchConfig, iters: int) -> Model | None:
    with suppress(ModelFileError):
        known = load_model(out, device)
        done = (known.provenance.get("training") or {}).get("iters") == iters
        if done and known.calibration(config) is not None:
            return known
    return None
