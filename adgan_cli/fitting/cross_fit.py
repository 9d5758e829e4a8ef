"""Rank the very folder that a model is trained on: no image by a model that has seen it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.config import FeatureConfig, SearchConfig, TrainConfig, from_dict
from adgan_cli.engine.features.pretrained import backbone_of
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.trainer import StepMetrics
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.fitting.data import hold_out, large_reader, load_training_images
from adgan_cli.fitting.feature_run import train_features
from adgan_cli.fitting.run import TrainingRun
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.fitting.stages import StageCallbacks, StageProgress
from adgan_cli.images.find import Listing
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import ScoringRun
from adgan_cli.stopping import ShouldStop, is_stopped

MIN_FOLD_TRAIN = 20  # images that a fold must leave to train on


@dataclass(frozen=True)
class CrossFitCallbacks:
    """Callbacks of a cross-fit, the first three with the number of the fold, from 1."""

    on_step: Callable[[int, StepMetrics], None] | None = None
    on_features: Callable[[int, StageProgress], None] | None = None
    on_scored: Callable[[int, ScoreRow], None] | None = None
    should_stop: ShouldStop | None = None

    def stop_requested(self) -> bool:
        """Ask whether to stop."""
        return is_stopped(self.should_stop)

    def of_features(self, fold: int) -> StageCallbacks:
        """Return those of fitting features in a fold."""
        report = None if self.on_features is None else partial(self.on_features, fold)
        return StageCallbacks(report, self.should_stop)


def cross_fit(
    listing: Listing,
    model: Model,
    config: SearchConfig,
    folds: int,
    folder: Path,
    *,
    callbacks: CrossFitCallbacks = CrossFitCallbacks(),  # noqa: B008  frozen
    reader: Reader | None = None,
) -> list[ScoreRow] | None:
    """Make a row for each image of `listing`, in its order; None where stopped before the end.

    The images are divided into `folds` by their contents; for each fold a model like `model` is
    trained on the others, for as many steps, and kept below `folder`, where an interrupted call
    goes on. Scores of different models differ in scale, so each is given as a share of the median
    that the model gives to images it held out (of adjusted scores: as the difference). p-values
    go by the same images. reader: its threads and its cache are used. Raises ConfigError where
    that cannot be done.
    """
    settings, precision = _settings_of(model, config)
    # deep images: scaled by their range in this folder, whatever it was for `model`
    reader = (reader or Reader(settings.preprocessing())).with_preprocessing(
        settings.preprocessing()
    )
    images = load_training_images(listing, reader)
    if backbone := backbone_of(model.features):
        large = large_reader(listing, reader, images, backbone.config.side)
        settings = settings.with_backbone(backbone, large)
    fold_of = _assign_folds(images, folds)
    rows = {name: ScoreRow(name, None, error=reason) for name, reason in images.failures}
    items = {item.name: item for item in listing.items}
    for fold in range(folds):
        others, out = images.subset(fold_of != fold), folder / f"part-{fold + 1}"
        if len(hold_out(others, settings.train)[1]) < 2:
            raise ConfigError("--cross-fit needs more pictures: none could be held out")
        fitted: Model | None
        if config.by == "features":  # a generator would have no part in it
            report = callbacks.of_features(fold + 1)
            fitted = train_features(
                others, settings, out=out, resume=True, device=model.device, callbacks=report
            )
        else:
            run = TrainingRun.resume_or_start(
                others, settings, out=out, device=model.device, precision=precision
            )
            fitted = _load_finished(run, config) or _train_fold(run, config, fold + 1, callbacks)
        if fitted is None:
            return None
        typical = held_out_scores(fitted, config)
        assert typical is not None
        own = [items[name] for name in images.subset(fold_of == fold).names]
        scoring = ScoringRun(fitted, Listing(listing.root, own, [], 0), config, reader=reader)
        for row in scoring.rows():
            rows[row.path] = _on_one_scale(row, float(np.median(typical)), config)
            if callbacks.on_scored:
                callbacks.on_scored(fold + 1, row)
            if callbacks.stop_requested():
                return None
    order = [*(item.name for item in listing.items), *(name for name, _ in listing.failures)]
    return [rows[name] for name in order]


def _on_one_scale(row: ScoreRow, median: float, config: SearchConfig) -> ScoreRow:
    if row.score is None:
        return row
    is_log = config.by != "reconstruction" or config.adjust != "none"
    score = row.score - median if is_log else row.score / max(median, 1e-12)
    # of the whole folder it is true, of the model that scored it false: p is valid
    return replace(row, score=score, in_training=False)


def _settings_of(model: Model, config: SearchConfig) -> tuple[TrainingSettings, str]:
    """Build the settings, and the precision, that train a model like `model` for such scores."""
    try:
        training: dict[str, Any] = dict(model.provenance["training"])
        precision = str(training.pop("precision"))
        learned = training.pop("features", None)
        features = None if learned is None else from_dict(FeatureConfig, learned)
        if model.generator is None:  # not one step, which is none of the settings
            training["iters"] = TrainConfig.iters
        # as many steps as it took, wherever patience ended it
        training["encoder_iters"] = (model.provenance.get("encoder") or {}).get("iters", 0)
        training["patience"] = 0.0
        training["holdout"] = training["holdout"] or TrainConfig.holdout  # p-values need some
        train = from_dict(TrainConfig, training)
    except (ConfigError, KeyError, TypeError) as error:
        raise ConfigError(
            "--cross-fit trains models like --model, which does not say how it was trained"
        ) from error
    settings = TrainingSettings(
        model.config,
        train,
        model.reading,
        model.search,
        features if config.by != "reconstruction" else None,
        keep_critic=model.critic is not None,
    )
    return settings, precision


def _assign_folds(images: PixelSet, folds: int) -> np.ndarray:
    """Assign each image a fold, (N,): by the contents of files, copies of one stay together."""
    distinct, index = np.unique(images.fingerprints, return_inverse=True)
    if len(distinct) < folds or len(distinct) * (folds - 1) // folds < MIN_FOLD_TRAIN:
        raise ConfigError(
            f"--cross-fit {folds} needs more pictures than {len(distinct)} different ones"
        )
    shuffled = np.random.default_rng(0).permutation(len(distinct))
    fold_of: np.ndarray = (shuffled % folds)[index]
    return fold_of


def _load_finished(run: TrainingRun, config: SearchConfig) -> Model | None:
    """Load the model of a run that has nothing left to do for this search, or None."""
    if not run.resumed or run.out is None:
        return None
    with suppress(ModelFileError):
        model = load_model(run.out, run.state.device)
        training = model.provenance.get("training") or {}
        done = training.get("iters") == run.state.train_config.iters
        if done and model.calibration(config) is not None:
            return model
    return None


def _train_fold(
    run: TrainingRun, config: SearchConfig, fold: int, callbacks: CrossFitCallbacks
) -> Model | None:
    report = callbacks.of_features(fold)
    run.fit_features(report.should_stop, on_progress=report.on_progress)
    for metrics in run.steps(callbacks.should_stop):
        if callbacks.on_step:
            callbacks.on_step(fold, metrics)
    if run.stopped:
        return None
    model = run.finish(callbacks.should_stop, search=config)
    return None if run.stopped else model
