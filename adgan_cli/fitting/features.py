"""Fit the detectors of features to a training set, and weigh them without a label."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli.config import FeatureConfig, to_dict
from adgan_cli.engine.features.altered import ALTERATIONS, drawn_copies
from adgan_cli.engine.features.backbone import Backbone
from adgan_cli.engine.features.components import fit_components
from adgan_cli.engine.features.detector import Detector
from adgan_cli.engine.features.ensemble import FeatureModel, score_images
from adgan_cli.engine.features.feature_distance import fit_histograms, fit_patches, fit_scattering
from adgan_cli.engine.features.local import fit_local
from adgan_cli.engine.features.pretrained import fit_pretrained
from adgan_cli.engine.features.samples import MAX_STORED
from adgan_cli.engine.features.transform_training import (
    BATCH,
    TransformState,
    affordable_steps,
    new_transform_state,
    train_transformations,
    trained_detector,
)
from adgan_cli.engine.features.weights import scales
from adgan_cli.errors import ConfigError
from adgan_cli.fitting.data import ReadLarge, images_to_score
from adgan_cli.fitting.stages import FEWER, StageCallbacks
from adgan_cli.fitting.transform_checkpoint import (
    load_transform_checkpoint,
    save_transform_checkpoint,
)
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.shrink import resized
from adgan_cli.scoring.calibrate import ImagesToScore

MAX_VALIDATION = 500  # images that detectors are standardised and weighed by
VALIDATION_SHARE = 0.1
MAX_ALTERED = 60  # validation images that altered copies are made of, of each kind
MAX_EPOCHS = 100  # of the network of transformations: more teach it a small set by heart
TIMED = 8  # images that the time of scoring is measured by
# times as long with the network of transformations, which is not there when it is measured
TRANSFORMATIONS_FACTOR = 1.5
SAVE_EVERY = 60.0  # seconds between checkpoints of the network that is trained
PILOT = 64  # references that tell how long others take, where there is a limit
QUICK_SHARE = 2 / 3  # of the time, for all but the network of transformations
RELIABLE = 0.9  # of the time that is left: steps once counted are all taken, however fast they are
LATE = 1.25  # times the time that steps were to take, after which they end as they are
CALIBRATION_SHARE = 0.15  # of the time, for images that are scored after it, at most
MIN_VALIDATION, MIN_ALTERED = 20, 8  # however short the time is

SCORED_AT_ONCE = 32  # images, between two looks whether to stop

Fit = Callable[[np.ndarray, int], Detector]  # references (R, S, S, C), seed
# the detectors that take seconds
QUICK_FITS: Mapping[str, Fit] = {
    "patches": fit_patches,
    "scattering": fit_scattering,
    "histograms": fit_histograms,
    "components": fit_components,
    "local": fit_local,
}


@dataclass(frozen=True, eq=False)
class FeatureSplit:
    """Which images of a training set are learned from, compared with, and kept to weigh by."""

    learned: np.ndarray  # (L,) indices, all but those of validation
    references: np.ndarray  # (R,) indices, among them
    validation: np.ndarray  # (V,) indices
    n_altered: int = MAX_ALTERED  # validation images that altered copies are made of, at most

    @property
    def n_weighed(self) -> int:
        """Count the images that detectors score to be weighed, altered copies with them."""
        count = len(self.validation)
        return count + len(ALTERATIONS) * min(self.n_altered, count)

    def smaller(self, share: float, seed: int) -> "FeatureSplit":
        """Draw a share of all that take time, but for a few that are there in any case."""
        return replace(
            self,
            references=_some(self.references, max(PILOT, int(share * len(self.references))), seed),
            validation=_some(
                self.validation, max(MIN_VALIDATION, int(share * len(self.validation))), seed
            ),
            n_altered=max(MIN_ALTERED, int(share * min(MAX_ALTERED, len(self.validation)))),
        )


def split_for_features(images: PixelSet, seed: int) -> FeatureSplit:
    """Draw validation images and references; copies of a file stay on one side.

    Drawn, not strided: neighbours in a folder are relatives. A set of fewer than 4 different images
    has none to spare: there the references are the validation images too.
    """
    contents = images.fingerprints if len(images.fingerprints) else np.arange(len(images))
    _, first, index = np.unique(contents, return_index=True, return_inverse=True)
    count, position = len(first), np.random.default_rng(seed).permutation(len(first))
    n_validation = 0
    if count > 3:
        n_validation = max(2, min(MAX_VALIDATION, round(VALIDATION_SHARE * count)))
    n_references = min(MAX_STORED, count - n_validation)
    drawn = first[np.argsort(position)]
    validation, references = np.split(drawn[: n_validation + n_references], [n_validation])
    return FeatureSplit(
        learned=np.flatnonzero(position[index] >= n_validation),
        references=np.sort(references),
        validation=np.sort(validation if n_validation else references),
    )


def _some(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw so many indices, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(indices)[:count])


def share_in_time(seconds: float, needed: float) -> float:
    """Compute which share of what needs so many seconds fits: 0 to 1."""
    return 1.0 if needed <= 0 else min(1.0, max(0.0, seconds / needed))


class _Interrupted(Exception):
    """The fit was stopped before its end."""


def fit_features(
    images: PixelSet,
    config: FeatureConfig,
    *,
    seed: int = 0,
    until: float | None = None,
    scored_after: int = 0,
    device: torch.device = torch.device("cpu"),  # noqa: B008
    backbone: Backbone | None = None,
    read_large: ReadLarge | None = None,
    checkpoint: Path | None = None,
    on_fewer: Callable[[np.ndarray], None] | None = None,
    callbacks: StageCallbacks = StageCallbacks(),  # noqa: B008  frozen
) -> FeatureModel | None:
    """Fit every detector to images, and weigh them; None where stopped before the end.

    until: when to be done, by time.monotonic(), and with scoring `scored_after` images too: where
    a few images show that it is too short, fewer are compared with, which on_fewer(indices) is then
    called with, and weighed by; the network of transformations gets what is left, if anything is.
    None: all its steps. backbone: a pretrained network; read_large: how images are read for it.
    checkpoint: a file that keeps a network half trained, which a later call with equal images and
    settings goes on with, exactly.
    """
    if config.backbone and backbone is None:
        raise ConfigError(
            f"the features are to be compared by {config.backbone} too: give --features "
            f"{config.backbone}, or start anew with --overwrite"
        )
    split = split_for_features(images, seed)
    fit = _Fit(images, config, seed, device, backbone, read_large, split, callbacks)
    try:
        if until is None:
            detectors = fit.quick_detectors()
        else:
            fit, detectors, until = fit.in_time(until, scored_after)
            if len(fit.split.references) < len(split.references):
                fit.report(FEWER, len(fit.split.references), len(split.references))
                if on_fewer is not None:
                    on_fewer(fit.split.references)
        seconds = None if until is None else fit.seconds_left(detectors, until)
        if config.transform_iters and seconds != 0:
            detectors["transformations"] = fit.transformations(seconds, checkpoint)
        return fit.weighed(detectors)
    except _Interrupted:
        return None


@dataclass(frozen=True, eq=False)
class _Fit:
    """The images of a fit, how they are divided, and what is asked of it."""

    images: PixelSet
    config: FeatureConfig
    seed: int
    device: torch.device
    backbone: Backbone | None
    read_large: ReadLarge | None
    split: FeatureSplit
    callbacks: StageCallbacks

    @cached_property
    def validation(self) -> ImagesToScore:
        """The images that detectors are standardised and weighed by."""
        return self._images(self.split.validation)

    def quick_detectors(self) -> dict[str, Detector]:
        """Fit all detectors but the network of transformations, to the references."""
        references = self.images.take(self.split.references)
        detectors: dict[str, Detector] = {}
        for done, (name, fit) in enumerate(QUICK_FITS.items()):
            self.report(name, done, len(QUICK_FITS))
            detectors[name] = fit(references, self.seed)
        if self.backbone is not None:
            detectors["pretrained"] = self.pretrained(self.backbone)
        return detectors

    def in_time(self, until: float, scored_after: int) -> tuple["_Fit", dict[str, Detector], float]:
        """Fit the quick detectors to as many images as the time allows, by what a few take.

        Returns the fit with those images, the detectors, and when to be done but for the scoring.
        """
        started, split = time.monotonic(), self.split
        few = replace(split, references=_some(split.references, PILOT, self.seed))
        pilot = replace(self, split=few)
        detectors = pilot.quick_detectors()
        fixed = time.monotonic() - started  # mostly whatever the images are
        each = pilot.scoring_seconds(detectors)
        until -= min(each * scored_after, CALIBRATION_SHARE * (until - started))
        share = share_in_time(
            QUICK_SHARE * (until - time.monotonic()) - fixed,
            len(split.references) * each / TRANSFORMATIONS_FACTOR + split.n_weighed * each,
        )
        split = split if share == 1 else split.smaller(share, self.seed)
        fit = replace(self, split=split)
        if len(split.references) > len(few.references):
            detectors = fit.quick_detectors()
        return fit, detectors, until

    def scoring_seconds(self, detectors: Mapping[str, Detector]) -> float:
        """Estimate the scoring of an image by all detectors, from that by these."""
        images = self._images(self.split.validation[:TIMED])
        started = time.monotonic()
        score_images(detectors, images.pixels, images.large)
        return TRANSFORMATIONS_FACTOR * (time.monotonic() - started) / len(images.pixels)

    def seconds_left(self, detectors: Mapping[str, Detector], until: float) -> float:
        """Subtract from the time until then what weighing will take, as measured."""
        each = self.scoring_seconds(detectors)
        # once more for validation, by which it is decided what of the network counts
        count = self.split.n_weighed + len(self.split.validation)
        return max(0.0, RELIABLE * (until - time.monotonic() - each * count))

    def transformations(self, seconds: float | None, checkpoint: Path | None) -> Detector:
        """Train the network of transformations, or go on with it."""
        indices = self.split.learned
        if self.images.indices is not None:
            indices = self.images.indices[indices]
        state = self._transform_state(indices, seconds, checkpoint)
        started = saved_at = time.monotonic()
        for done in train_transformations(
            state, self.images.pixels, indices=indices, should_stop=self.callbacks.stop_requested
        ):
            self.callbacks.report("transformations", done.step, state.n_steps)
            if seconds is not None and time.monotonic() - started > LATE * seconds:
                state.n_steps = state.step  # the machine is slower than it was
            if checkpoint and time.monotonic() - saved_at >= SAVE_EVERY:
                save_transform_checkpoint(checkpoint, state, self._about())
                saved_at = time.monotonic()
        if checkpoint:  # also of what is complete: weighing may be stopped
            save_transform_checkpoint(checkpoint, state, self._about())
        if state.step < state.n_steps:
            raise _Interrupted
        detector = trained_detector(state, self.validation.pixels)
        return detector.with_references(self.images.take(self.split.references))

    def _transform_state(
        self, indices: np.ndarray, seconds: float | None, checkpoint: Path | None
    ) -> TransformState:
        """Load what a checkpoint holds, or begin with as many steps as fit the time."""
        if checkpoint is not None:
            kept = load_transform_checkpoint(checkpoint, self._about(), device=self.device)
            if kept is not None:
                return kept
        _, size, _, channels = self.images.pixels.shape
        most = math.ceil(MAX_EPOCHS * len(indices) / BATCH)
        steps = min(self.config.transform_iters, most)
        state = new_transform_state(
            size, channels, n_steps=steps, seed=self.seed, device=self.device
        )
        if seconds is not None:
            pixels = self.images.pixels
            state.n_steps = affordable_steps(state, pixels, seconds, steps, indices=indices)
        return state

    def _about(self) -> dict[str, Any]:
        """Say what the network of transformations depends on."""
        return {"images": self.images.digest, "seed": self.seed, **to_dict(self.config)}

    def _scores(
        self, detectors: Mapping[str, Detector], pixels: np.ndarray, large: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Score images by all detectors, a few at a time, so that a stop is heeded."""
        parts = []
        for start in range(0, len(pixels), SCORED_AT_ONCE):
            self.report("weighing", start, len(pixels))
            part = slice(start, start + SCORED_AT_ONCE)
            parts.append(
                score_images(detectors, pixels[part], large if large is None else large[part])
            )
        return {name: np.concatenate([part[name] for part in parts]) for name in detectors}

    def report(self, stage: str, done: int, total: int) -> None:
        """Report how far a stage has come; _Interrupted where it is to stop."""
        self.callbacks.report(stage, done, total)
        if self.callbacks.stop_requested():
            raise _Interrupted

    def pretrained(self, backbone: Backbone) -> Detector:
        """Fit the comparison by a pretrained network."""
        self.report("pretrained", 0, 1)
        references = self._images(self.split.references).largest
        side = backbone.reading_side(references.shape[1])
        return fit_pretrained(
            backbone, references, self.validation.largest, side=side, seed=self.seed
        )

    def weighed(self, detectors: Mapping[str, Detector]) -> FeatureModel:
        """Standardise and weigh detectors by validation images and altered copies of some."""
        validation, large = self.validation.pixels, self.validation.large
        scores = self._scores(detectors, validation, large)
        rng = np.random.default_rng(self.seed)
        chosen, of_kinds = drawn_copies(self.validation.largest, self.split.n_altered, rng)
        originals, large = validation[chosen], None if large is None else large[chosen]
        altered = {}
        for kind, copies in of_kinds.items():
            small = copies if large is None else resized(copies, originals.shape[1])
            altered[kind] = self._scores(detectors, small, copies)
        of_originals = {name: values[chosen] for name, values in scores.items()}
        if large is not None:  # shrunk as the copies are, so that this is no difference
            small = resized(large, originals.shape[1])
            of_originals = self._scores(detectors, small, large)
        size = None if large is None else large.shape[1]
        channels = originals.shape[3]
        return FeatureModel(detectors, scales(scores, of_originals, altered, channels), size)

    def _images(self, indices: np.ndarray) -> ImagesToScore:
        """Gather images, (n,) ascending indices, at the backbone's size too if there is a way."""
        selected = np.zeros(len(self.images), bool)
        selected[indices] = True
        read_large = None if self.backbone is None else self.read_large
        return images_to_score(self.images.subset(selected), read_large)
