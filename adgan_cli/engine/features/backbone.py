"""A pretrained network of timm that turns images into features, and how a model remembers it.

Letters in the shapes: N images, C channels, L the side that they are read at, D features.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adgan_cli.engine.features.backbone_source import BackboneSource, data_config_beside
from adgan_cli.engine.features.timm_import import import_timm
from adgan_cli.engine.features.weight_files import (
    first_mismatch,
    locate_weights,
    pretrained_config,
    read_weights,
    weights_digest,
)
from adgan_cli.errors import ConfigError

MIN_SIDE = 112  # pixels: images that are smaller are enlarged
MIN_REDUCTION = 8  # of the maps that are looked at: finer ones show edges and colours
MAX_LAYERS = 4
MAX_DEPTHS = 5  # layers that a loss compares
MIN_LOSS_SIDE = 64  # pixels


@dataclass(frozen=True)
class BackboneConfig:
    """What a model remembers of a pretrained network, to have the very same one again."""

    name: str  # in timm
    digest: str  # SHA-256 of the weights, as weights_digest has it
    mean: tuple[float, ...]  # of the channels in [0, 1], taken off ...
    std: tuple[float, ...]  # ... and divided by
    side: int  # pixels, of the images that it was trained on
    fixed_side: bool  # whether it takes no others
    interpolation: str
    layers: tuple[int, ...]  # whose maps are looked at, as forward_intermediates counts them

    def settings(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def backbone_config_from(values: Mapping[str, Any]) -> BackboneConfig:
    """Build it from `settings`; KeyError, TypeError or ValueError for what does not fit."""
    config = BackboneConfig(
        name=str(values["name"]),
        digest=str(values["digest"]),
        mean=tuple(map(float, values["mean"])),
        std=tuple(map(float, values["std"])),
        side=int(values["side"]),
        fixed_side=bool(values["fixed_side"]),
        interpolation=str(values["interpolation"]),
        layers=tuple(map(int, values["layers"])),
    )
    if not (len(config.mean) == len(config.std) == 3 and min(config.std) > 0 < config.side):
        raise ValueError("no network prepares images like this")
    return config


@dataclass(frozen=True, eq=False)
class BackboneOutput:
    """What a backbone makes of N images."""

    last: Tensor  # (N, D), pooled, before the classifier
    maps: list[Tensor]  # of each layer: (N, D_l, h_l, w_l)
    logits: Tensor | None  # (N, classes); None without a classifier


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network, frozen, in eval mode."""

    network: nn.Module
    config: BackboneConfig
    given_weights: str = ""  # the file that they were read from, if the user gave one

    def reading_side(self, image_side: int) -> int:
        """Choose the side to read images at: their own, but at least 112, at most the network's.

        A multiple of 16, so that no map is padded; a network of a fixed side has no choice.
        """
        most = self.config.side
        if self.config.fixed_side or image_side >= most:
            return most
        return min(most, max(MIN_SIDE, -(-image_side // 16) * 16))

    def prepare(self, images: np.ndarray, side: int) -> Tensor:
        """Resize and normalise: uint8 (N, L, L, C), C 1 or 3 -> (N, 3, side, side) float32."""
        device = next(self.network.parameters()).device
        x = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        return self.normalize(x.permute(0, 3, 1, 2).float() / 255, side)

    def normalize(self, x: Tensor, side: int) -> Tensor:
        """Resize and normalise (N, C, L, L) in [0, 1], differentiably: (N, 3, side, side)."""
        x = x.expand(-1, 3, -1, -1)  # grey: three times the same
        if x.shape[-1] != side:
            mode = "bilinear" if self.config.interpolation == "bilinear" else "bicubic"
            antialias = x.shape[-1] > side
            x = F.interpolate(x, (side, side), mode=mode, antialias=antialias).clamp(0, 1)
        mean, std = _statistics(self.config.mean, self.config.std, x.device, x.dtype)
        return (x - mean) / std

    def __call__(self, x: Tensor) -> BackboneOutput:
        """Compute features of prepared images: (N, 3, side, side)."""
        final, maps = self.network.forward_intermediates(x, indices=list(self.config.layers))
        last = self.network.forward_head(final, pre_logits=True).flatten(1)
        has_classes = self.network.num_classes > 0
        return BackboneOutput(last, maps, self.network.forward_head(final) if has_classes else None)

    def maps(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Compute the maps of some layers alone: (N, 3, side, side) -> (N, D_l, h_l, w_l) each."""
        return self.network.forward_intermediates(
            x, indices=list(layers), stop_early=True, intermediates_only=True
        )

    @property
    def depths(self) -> tuple[int, ...]:
        """The layers that a loss compares: fine ones too, at most MAX_DEPTHS, down to the last."""
        return _spread(range(len(_feature_info(self.network))), MAX_DEPTHS)

    def loss_side(self, image_side: int) -> int:
        """Choose the side at which a loss compares: the images' own, if it is large enough."""
        return self.config.side if self.config.fixed_side else max(image_side, MIN_LOSS_SIDE)


def load_backbone(
    source: BackboneSource, *, download: bool = False, device: torch.device | str = "cpu"
) -> Backbone:
    """Load a network of timm with its weights; without `download` the network is not touched.

    Raises ConfigError: timm or the weights are missing, or are another network's.
    """
    file = locate_weights(source.name, source.weights, download=download)
    network = _network(source.name, file)
    of_weights = {**pretrained_config(source.name), **data_config_beside(file)}
    data = import_timm().data.resolve_data_config(pretrained_cfg=of_weights)
    if data["input_size"][0] != 3:
        raise ConfigError(f"{source.name} does not take images in colour; choose another network")
    config = BackboneConfig(
        name=source.name,
        digest=weights_digest(network.state_dict()),
        mean=tuple(map(float, data["mean"])),
        std=tuple(map(float, data["std"])),
        side=min(data["input_size"][1:]),
        fixed_side=bool(of_weights.get("fixed_input_size")),
        interpolation=data["interpolation"],
        layers=_layers(network),
    )
    given = "" if source.weights is None else os.path.abspath(source.weights)
    return Backbone(network.to(device), config, given)


def reload_backbone(
    config: BackboneConfig,
    weights: Path | None = None,
    *,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> Backbone:
    """Load the network that a model remembers; ConfigError for any other weights."""
    file = locate_weights(config.name, weights, download=download)
    network = _network(config.name, file)
    digest = weights_digest(network.state_dict())
    if digest != config.digest:
        raise ConfigError(
            f"{file} has other weights of {config.name} ({digest[:12]}) than the model's features "
            f"were learned with ({config.digest[:12]}); give those, or score --by reconstruction"
        )
    return Backbone(network.to(device), config, "" if weights is None else os.path.abspath(weights))


def _network(name: str, file: Path) -> nn.Module:
    """Build a network of timm and fill it with the weights in `file`."""
    weights = read_weights(file)
    timm = import_timm()
    with torch.random.fork_rng(devices=[]):  # random weights, replaced below
        network = timm.create_model(name, num_classes=_class_count(name, weights))
    if not hasattr(network, "forward_intermediates"):
        raise ConfigError(f"{name} does not show what its layers see; choose another network")
    problem = first_mismatch(weights, network.state_dict())
    if problem:
        raise ConfigError(f"{file} is not of {name}: {problem}")
    if not all(one.isfinite().all() for one in weights.values()):
        raise ConfigError(f"{file} holds NaN or infinity; fetch it again")
    network.load_state_dict(weights, strict=False)  # some lack counts of batches
    return network.float().eval().requires_grad_(False)


def _class_count(name: str, weights: Mapping[str, Tensor]) -> int:
    """Count the classes that weights tell apart; 0 where they have no classifier."""
    classifier = pretrained_config(name).get("classifier") or ""
    first = classifier if isinstance(classifier, str) else classifier[0]
    weight = weights.get(f"{first}.weight")
    return 0 if weight is None else len(weight)


def _layers(network: nn.Module) -> tuple[int, ...]:
    """Choose the layers whose maps are looked at: coarse ones, at most 4, down to the last."""
    info = _feature_info(network)
    coarse = [i for i, one in enumerate(info) if one["reduction"] >= MIN_REDUCTION]
    return _spread(coarse or range(len(info)), MAX_LAYERS)


def _feature_info(network: nn.Module) -> list[Any]:
    """Return what timm says of each layer whose map can be looked at."""
    return list(network.feature_info)  # type: ignore[arg-type]


def _spread(layers: Sequence[int], most: int) -> tuple[int, ...]:
    """Take all layers or, of the many blocks of a transformer, those at 1/most, 2/most, ... 1."""
    count = min(most, len(layers))
    return tuple(layers[len(layers) * (i + 1) // count - 1] for i in range(count))


@cache  # a copy to the device, which a captured search may not make
def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Put mean and standard deviation of the channels on a device: (2, C, 1, 1)."""
    return torch.tensor([mean, std], device=device, dtype=dtype)[:, :, None, None]
