"""Features as tensors and plain JSON, in which a model's file keeps them."""

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
from adgan_cli.engine.features.pretrained import PretrainedDetector, pretrained_from
from adgan_cli.engine.features.transformations import transformations_from
from adgan_cli.errors import ConfigError

Load = Callable[[Mapping[str, Any], Mapping[str, Tensor]], Detector]

LOADERS: Mapping[str, Load] = {
    "patches": patches_from,
    "scattering": scattering_from,
    "histograms": histograms_from,
    "components": components_from,
    "pretrained": pretrained_from,
    "transformations": transformations_from,
}


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

    Raises KeyError, TypeError or ValueError for what does not fit.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
    detectors: dict[str, Detector] = {}
    missing: dict[str, str] = {}
    for name in settings["order"]:
        own = {
            key.removeprefix(f"{name}/"): tensor
            for key, tensor in tensors.items()
            if key.startswith(f"{name}/")
        }
        detector = LOADERS[name](settings["detectors"][name], own)
        if isinstance(detector, PretrainedDetector):
            try:
                detector = detector.with_backbone(device=device)
            except ConfigError as error:
                missing[name] = str(error)
        detectors[name] = detector
    scales = {name: _scale(settings["scales"][name]) for name in detectors}
    large_size = settings["large_size"]
    if large_size is not None and not (type(large_size) is int and 0 < large_size <= 4096):
        raise ValueError(f"images are not read at {large_size} pixels")
    return FeatureModel(detectors, scales, large_size, missing)


def _scale(values: Mapping[str, Any]) -> Scale:
    scale = Scale(**{name: float(value) for name, value in values.items()})
    if not all(map(torch.isfinite, map(torch.tensor, asdict(scale).values()))):
        raise ValueError("a scale is not a number")
    return scale
