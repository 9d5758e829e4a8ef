"""The scores of features: each detector alone, all joined, joined without each, and with the GAN's.

One fit serves them all, and what it gave is kept: from standardised scores and evidence any subset
is joined in no time.

Letters in the shapes: M test images, K detectors, V validation images.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from adgan_cli.config import to_dict
from adgan_cli.engine.features.backbone import Backbone, load_backbone
from adgan_cli.engine.features.backbone_source import parse_backbone_source
from adgan_cli.engine.features.ensemble import FeatureModel, Scale, joined_z_scores
from adgan_cli.engine.features.weights import evidence, weights
from adgan_cli.engine.models.files import load_model
from adgan_cli.evaluation.methods.adgan import (
    TUNED_SEARCH_FILE,
    run_search,
    search_key,
    search_scores,
)
from adgan_cli.evaluation.methods.gan import gan_identity, trained_gan
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import Cell, Method, MethodResult, NotApplicableError, pixels_digest
from adgan_cli.fitting.data import data_provenance
from adgan_cli.fitting.features import fit_features, split_for_features
from adgan_cli.fitting.stages import StageCallbacks, StageProgress
from adgan_cli.fitting.transform_checkpoint import TRANSFORMATIONS_FILE
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import copies_to_weigh_by
from adgan_cli.scoring.joining import RECONSTRUCTION, fit_error_scale, with_reconstruction
from adgan_cli.store import KeyedStore

FORMAT = 3  # of what is kept; raised when detectors change what they amount to
FEATURES_FILE = "features.safetensors"
VALIDATION_SEARCH_FILE = "search-validation.safetensors"
OF_VALIDATION = "validation/"  # before the names of arrays
ALTERED_SEARCH_FILE = "search-altered.safetensors"
DETECTORS = (
    *("transformations", "patches", "scattering", "histograms", "components", "local"),
    "pretrained",
)
_BLOCK = 64  # images between two reports


@dataclass(frozen=True, eq=False)
class MemberScores:
    """What detectors say of a cell's test images, and what they are weighed by."""

    z_scores: dict[str, np.ndarray]  # of each detector: (M,) float64
    validation: dict[str, np.ndarray]  # (V,) float64, of images that they were not fitted to
    scales: dict[str, Scale]

    def weights(self, names: Sequence[str]) -> dict[str, float]:
        """Weigh some of the detectors as if there were no others."""
        table = np.stack([self.validation[name] for name in names], axis=1)
        return weights({name: self.scales[name] for name in names}, table)

    def joined(self, names: Sequence[str]) -> MethodResult:
        """Join some of the detectors, weighed as if there were no others."""
        shares = self.weights(names)
        table = np.stack([self.z_scores[name] for name in shares], axis=1)  # (M, K)
        settings = {"weights": shares, "evidence": self.evidence(names)}
        return MethodResult(joined_z_scores(table, list(shares.values())), settings)

    def evidence(self, names: Sequence[str]) -> dict[str, float]:
        """Return how well some of the detectors told altered copies."""
        return {name: self.scales[name].evidence for name in names}


def features(cell: Cell) -> MethodResult:
    """Score by all detectors joined, as `train`, `score` and `rank` do by default."""
    members = detector_scores(cell)
    return members.joined(list(members.z_scores))


def everything(cell: Cell) -> MethodResult:
    """Score by all detectors and adgan-tuned's reconstruction error joined: --by all.

    The reconstruction's evidence is that of its errors, as detectors' is that of their scores.
    """
    members, of_search = detector_scores(cell), reconstruction_errors(cell)
    names = list(members.z_scores)
    validation = np.stack([members.validation[name] for name in names], axis=1)
    scale = fit_error_scale(members.scales, validation, of_search.validation, of_search.evidence)
    shares = with_reconstruction(members.weights(names), scale.weight)
    z_scores = {**members.z_scores, RECONSTRUCTION: scale.z_scores(of_search.test)}
    table = np.stack([z_scores[name] for name in shares], axis=1)
    settings = {
        "weights": shares,
        "evidence": {**members.evidence(names), RECONSTRUCTION: scale.evidence},
        **gan_identity(trained_gan(cell, tuned=True)),
    }
    return MethodResult(joined_z_scores(table, list(shares.values())), settings)


def alone(name: str) -> Method:
    """Make the method that scores by one detector alone."""

    def method(cell: Cell) -> MethodResult:
        members = detector_scores(cell)
        _require(name, members)
        return members.joined([name])

    return method


def without(name: str) -> Method:
    """Make the method that joins all detectors but one."""

    def method(cell: Cell) -> MethodResult:
        members = detector_scores(cell)
        _require(name, members)
        others = [other for other in members.z_scores if other != name]
        if not others:
            raise NotApplicableError(f"{name} is the only detector")
        return members.joined(others)

    return method


FEATURE_METHODS: dict[str, Method] = {
    **{name: alone(name) for name in DETECTORS},
    "features": features,
    **{f"features-without-{name}": without(name) for name in DETECTORS},
}


def detector_scores(cell: Cell) -> MemberScores:
    """Return what each detector says of the test images: kept before, or computed now."""
    store = KeyedStore(cell.folder, feature_key(cell))
    kept = store.load_arrays(FEATURES_FILE)
    if kept is None:
        model = feature_model(cell)
        # in order, which a dict loses
        listed = [(name, asdict(model.scales[name])) for name in model.names]
        arrays = _z_scores(cell, model, cell.task.test)
        of_validation = _z_scores(cell, model, validation_images(cell))
        arrays |= {OF_VALIDATION + name: z for name, z in of_validation.items()}
        store.save_arrays(FEATURES_FILE, arrays, {"scales": listed})
    else:
        arrays, record = kept
        listed = record["scales"]
    return MemberScores(
        {name: arrays[name] for name, _ in listed},
        {name: arrays[OF_VALIDATION + name] for name, _ in listed},
        {name: Scale(**values) for name, values in listed},
    )


def feature_model(cell: Cell) -> FeatureModel:
    """Fit the detectors to the cell's training images; those of --model are there already."""
    settings = cell.settings
    if settings.model is not None:
        model = load_model(settings.model, torch.device("cpu"))
        if model.features is None:
            raise NotApplicableError("the model has no features; train it with adgan 0.6 or later")
        return model.features
    until = None if settings.time_limit is None else time.monotonic() + settings.time_limit

    def report(progress: StageProgress) -> None:
        cell.report(progress.stage, progress.done / max(1, progress.total))

    fitted = fit_features(
        training_set(cell),
        settings.features,
        seed=cell.task.seed,
        until=until,
        device=torch.device(settings.device),
        backbone=cell_backbone(settings),
        checkpoint=cell.folder / TRANSFORMATIONS_FILE,
        callbacks=StageCallbacks(on_progress=report),
    )
    assert fitted is not None  # nothing stops it
    return fitted


def cell_backbone(settings: Settings) -> Backbone | None:
    """Load the pretrained network of --features, if one is named."""
    if not settings.backbone:
        return None
    source = parse_backbone_source(settings.backbone)
    return load_backbone(source, download=settings.download, device=settings.device)


@dataclass(frozen=True, eq=False)
class ReconstructionErrors:
    """The errors of a search for test images and those of validation, and its evidence."""

    test: np.ndarray  # (M,) float64
    validation: np.ndarray  # (V,) float64
    evidence: float  # AUC of altered copies of some of these


def reconstruction_errors(cell: Cell) -> ReconstructionErrors:
    """Score by adgan-tuned what detectors are weighed by, and the test images.

    The generator has seen the validation images: all of a class is trained on. That moves the mean,
    which no AUC depends on.
    """
    model = trained_gan(cell, tuned=True)
    config = model.default_search(cell.settings.tuned)
    validation = validation_images(cell)

    def errors(pixels: np.ndarray, name: str) -> np.ndarray:
        store = KeyedStore(cell.folder, search_key(model, pixels, config))
        arrays = run_search(
            model, pixels, config, store=store, name=name, on_progress=cell.report_searched
        )
        return search_scores(arrays)["adgan"]

    ordinary = errors(validation, VALIDATION_SEARCH_FILE)
    chosen, altered = copies_to_weigh_by(validation, cell.task.seed)
    of_copies = errors(np.concatenate(list(altered.values())), ALTERED_SEARCH_FILE)
    by_kind = dict(zip(altered, of_copies.reshape(len(altered), -1), strict=True))
    test = errors(cell.task.test, TUNED_SEARCH_FILE)
    return ReconstructionErrors(test, ordinary, evidence(ordinary[chosen], by_kind))


def training_set(cell: Cell) -> PixelSet:
    """Name the cell's training images by their index."""
    train = cell.task.train
    return PixelSet(train, tuple(map(str, range(len(train)))), ())


def validation_images(cell: Cell) -> np.ndarray:
    """Take the training images that detectors are weighed by: (V, S, S, C) uint8."""
    images = training_set(cell)
    return images.take(split_for_features(images, cell.task.seed).validation)


def feature_key(cell: Cell) -> dict[str, Any]:
    """List what the scores of the detectors depend on, as plain JSON."""
    settings, task = cell.settings, cell.task
    return {
        "format": FORMAT,
        **feature_settings(settings),
        "seed": task.seed,
        "train": data_provenance(training_set(cell)),
        "test": pixels_digest(task.test),
    }


def feature_settings(settings: Settings) -> dict[str, Any]:
    """List what the fit of features depends on besides its images, as plain JSON."""
    return {
        "features": to_dict(settings.features),
        "backbone": settings.backbone,
        "model": str(settings.model or ""),
        "max_seconds": settings.time_limit,
    }


def _z_scores(cell: Cell, model: FeatureModel, images: np.ndarray) -> dict[str, np.ndarray]:
    parts = []
    for start in range(0, len(images), _BLOCK):
        parts.append(model.z_scores(images[start : start + _BLOCK]))
        cell.report("comparing", start / len(images))
    table = np.concatenate(parts)  # (N, K)
    return {
        name: np.ascontiguousarray(column)
        for name, column in zip(model.names, table.T, strict=True)
    }


def _require(name: str, members: MemberScores) -> None:
    if name not in members.z_scores:
        remedy = "--features NAME|FILE" if name == "pretrained" else "--transform-iters above 0"
        raise NotApplicableError(f"needs {remedy}")
