"""Features as tensors and plain JSON, in which a model's file keeps them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from adgan_cli.engine.features.components import components_from
from adgan_cli.engine.features.detector import Detector
from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.features.feature_distance import (
    histograms_from,
    patches_from,
    scattering_from,
)
from adgan_cli.engine.features.local import local_from
from adgan_cli.engine.features.pretrained import PretrainedDetector, pretrained_from
from adgan_cli.engine.features.transformations import transformations_from
from adgan_cli.errors import ConfigError

Load = Callable[[Mapping[str, Any], Mapping[str, Tensor]], Detector]

LOADERS: Mapping[str, Load] = {
    "patches": patches_from,
    "scattering": scattering_from,
    "histograms": histograms_from,
    "components": components_from,
    "local": local_from,
    "pretrained": pretrained_from,
    "transformations": transformations_from,
}
MAX_PRIOR = 1_000.0
MAX_SIDE = 4_096  # pixels at which a backbone may read images


def feature_settings(features: FeatureModel) -> dict[str, Any]:
    """Return all but the tensors, as plain JSON."""
    return {
        "detectors": {name: one.settings() for name, one in features.detectors.items()},
        "order": list(features.detectors),  # JSON is written with sorted keys
        "scales": {name: asdict(scale) for name, scale in features.scales.items()},
        "large_size": features.large_size,
    }


def feature_tensors(features: FeatureModel) -> dict[str, Tensor]:
    """Return the tensors of all detectors: {"detector/name": tensor}."""
    return {
        f"{name}/{key}": tensor.contiguous()
        for name, one in features.detectors.items()
        for key, tensor in one.tensors().items()
    }


def features_from(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device | str = "cpu"
) -> FeatureModel:
    """Build features from both; a pretrained network that cannot be had is among the missing.

    Raises KeyError, TypeError, ValueError, ... for what does not fit.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
    detectors: dict[str, Detector] = {}
    missing: dict[str, str] = {}
    rest = dict(tensors)
    for name in settings["order"]:
        if name in detectors:
            raise ValueError(f"there is {name} twice")
        own = {key: rest.pop(key) for key in tensors if key.startswith(f"{name}/")}
        of_detector = {key.removeprefix(f"{name}/"): tensor for key, tensor in own.items()}
        detectors[name] = load_detector(name, settings["detectors"][name], of_detector)
        try:
            detectors[name] = connect(detectors[name], device)
        except ConfigError as error:
            missing[name] = str(error)
    if rest or not detectors:
        raise ValueError(f"no detector has {min(rest, default='anything')}")
    scales = {name: scale_from(settings["scales"][name]) for name in detectors}
    large_size = settings["large_size"]
    if large_size is not None and not (type(large_size) is int and 0 < large_size <= MAX_SIDE):
        raise ValueError(f"images are not read at {large_size} pixels")
    return FeatureModel(detectors, scales, large_size, missing)


def load_detector(
    name: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Detector:
    """Build the detector of that name; KeyError, TypeError or ValueError for what does not fit."""
    if name not in LOADERS:
        raise ValueError(f"no detector is called {name}")
    try:
        return LOADERS[name](settings, tensors)
    except KeyError as error:
        raise ValueError(f"{name} lacks {error}") from error


def connect(detector: Detector, device: torch.device | str) -> Detector:
    """Load what a detector needs from outside a model's file; ConfigError where it is not there."""
    if isinstance(detector, PretrainedDetector):
        return detector.with_backbone(device=device)
    return detector


def scale_from(values: Mapping[str, Any]) -> Scale:
    """Read how scores lie; TypeError or ValueError for values that it cannot have."""
    scale = Scale(**{key: float(value) for key, value in values.items()})
    is_finite = math.isfinite(scale.mean) and math.isfinite(scale.deviation)
    if not (is_finite and scale.deviation >= 0):
        raise ValueError(f"scores cannot lie as {scale} says")
    if not (0 <= scale.weight <= 1 and 0 <= scale.evidence <= 1):
        raise ValueError(f"a weight or an evidence is not from 0 to 1: {scale}")
    if not 0 <= scale.prior <= MAX_PRIOR:
        raise ValueError(f"no evidence counts so much: {scale}")
    return scale
