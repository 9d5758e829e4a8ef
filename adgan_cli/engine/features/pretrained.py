"""How far an image lies from those of a training set in the features of a pretrained network.

Three distances are joined: to the nearest training images in the last layer (Bergman et al., 2020),
from the subspace of the training images in pooled maps (Rippel et al., 2021: the signal is in the
components of little variance), and of the classes that the network believes to see.

Letters in the shapes: N images, M stored training images, C channels, D features.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adgan_cli.engine.features.backbone import (
    Backbone,
    BackboneConfig,
    backbone_config_from,
    reload_backbone,
)
from adgan_cli.engine.features.detector import TINY
from adgan_cli.engine.features.ensemble import FeatureModel
from adgan_cli.engine.features.local_features import (
    CandidateSample,
    LocalFeatures,
    fit_local_features,
    local_features_from,
)
from adgan_cli.engine.features.samples import MAX_STORED
from adgan_cli.engine.features.weight_files import WEIGHTS_VARIABLE
from adgan_cli.errors import ConfigError

MAX_NUMBERS = 4_096_000  # stored in all, as of 2,000 images of 2,048 features: fewer of wider ones
NEIGHBOURS = 5
EXPLAINED = 0.95  # of the variance, by the components that are taken out
PARTS = "neighbours", "residual", "classes"
MAX_SIDE = 4_096  # pixels
LOCAL = "local."  # before the names of the tensors of places
MAX_Z = 50.0  # beyond it, standard deviations say no more
_MIN_DEVIATION = 1e-3  # of logarithms of a part
_SPARE = 8  # candidates measured exactly beyond those that are needed
_BATCH = 32  # images at once while fitting

Images = np.ndarray | Iterable[np.ndarray]  # uint8 (N, L, L, C), or batches of them


@dataclass(frozen=True, eq=False)
class PretrainedFeatures:
    """What a pretrained network sees in N images."""

    last: np.ndarray  # (N, D) float32 of unit length, the last layer's
    pooled: np.ndarray  # (N, D') float32, the means of its maps, side by side
    classes: np.ndarray | None  # (N, classes) square roots of probabilities; None without classes
    places: np.ndarray  # (N, h, w, D'') float32, the map of a middle layer


@dataclass(frozen=True, eq=False)
class PretrainedDetector:
    """Training images in the features of a pretrained network, which has to be at hand to score."""

    config: BackboneConfig
    side: int  # pixels, at which the network reads images
    references: np.ndarray  # (M, D) float32, rounded to float16; of unit length
    center: np.ndarray  # (D',) float32, of pooled maps
    deviation: np.ndarray  # (D',) float32
    components: np.ndarray  # (D', Q) float32, of standardised pooled maps
    classes: np.ndarray | None  # (classes,) float32, the mean direction; None without classes
    local: LocalFeatures  # places of training images
    scale: np.ndarray  # (parts, 2) float64, mean and deviation of logarithms of ordinary images
    weights: str = ""  # the file that the network was read from, if the user gave one
    backbone: Backbone | None = None

    @property
    def reads_large(self) -> bool:
        """True: images are scored at `side`, or at any other and resized."""
        return True

    def score(self, image: np.ndarray) -> float:
        """Score an image, uint8 (L, L, C): the exponential of the mean z-score of its parts."""
        parts = self.part_scores(self.features(image[None]))
        logarithms = np.log(np.maximum(parts[0], TINY))
        z = (logarithms - self.scale[:, 0]) / self.scale[:, 1]
        return float(np.exp(np.clip(z, -MAX_Z, MAX_Z).mean()))

    def part_scores(self, seen: PretrainedFeatures) -> np.ndarray:
        """Compute each distance: (N, parts), larger = more anomalous, in the order of PARTS."""
        to_nearest = [nearest_references(self.references, one, NEIGHBOURS)[1] for one in seen.last]
        columns = [np.array([one.mean() for one in to_nearest]), self.residuals(seen.pooled)]
        if self.classes is not None and seen.classes is not None:
            columns.append(np.square(seen.classes - self.classes).sum(1) / 2)
        return np.stack(columns, axis=1).astype(np.float64)

    def residuals(self, pooled: np.ndarray) -> np.ndarray:
        """Square what the components leave of standardised features: (N, D') -> (N,)."""
        z = (pooled - self.center) / self.deviation
        left = z - (z @ self.components) @ self.components.T
        return np.square(left).sum(1)

    def features(self, images: np.ndarray) -> PretrainedFeatures:
        """Compute features of images, uint8 (N, L, L, C); ConfigError without the network."""
        if self.backbone is None:
            raise ConfigError(f"the pretrained network {self.config.name} is not at hand")
        return pretrained_features(self.backbone, images, self.side)

    def nearest(self, image: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the stored training images nearest to an image, uint8 (L, L, C), nearest first.

        -> their numbers among those stored and their cosine distances, (count,) each.
        """
        return nearest_references(self.references, self.features(image[None]).last[0], count)

    def reference_distances(self, image: np.ndarray) -> np.ndarray:
        """Compute the cosine distance to each image stored: uint8 (L, L, C) -> (M,)."""
        distances: np.ndarray = 1 - self.references @ self.features(image[None]).last[0]
        return distances

    def anomaly_map(self, image: np.ndarray) -> np.ndarray:
        """Compute how far each place is from all stored: uint8 (L, L, C) -> (h, w), at least 0.

        The largest value is PatchCore's score of the image.
        """
        return self.local.distances(self.features(image[None]).places[0])

    def with_backbone(
        self,
        weights: Path | None = None,
        *,
        download: bool = False,
        device: torch.device | str = "cpu",
    ) -> "PretrainedDetector":
        """Load the network, from a file or where its weights were or are kept.

        Raises ConfigError where timm or the weights are missing, or other weights are there.
        """
        is_remembered = self.weights and Path(self.weights).is_file()
        if weights is None and is_remembered and not os.environ.get(WEIGHTS_VARIABLE):
            weights = Path(self.weights)
        loaded = reload_backbone(self.config, weights, download=download, device=device)
        return replace(self, backbone=loaded)

    def settings(self) -> dict[str, Any]:
        """Return the network's name, digest and layers, and how the parts are scaled."""
        return {
            "backbone": self.config.settings(),
            "side": self.side,
            "weights": self.weights,
            "scale": self.scale.tolist(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the stored training images' features, the components and the mean classes."""
        arrays = {
            "references": self.references.astype(np.float16),
            "center": self.center,
            "deviation": self.deviation,
            "components": self.components,
        }
        if self.classes is not None:
            arrays["classes"] = self.classes
        arrays |= {LOCAL + name: one for name, one in self.local.arrays().items()}
        return {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in arrays.items()}


def fit_pretrained(
    backbone: Backbone, references: Images, validation: Images, *, side: int, seed: int = 0
) -> PretrainedDetector:
    """Fit to images, of which at most MAX_STORED are kept, drawn by the seed.

    validation: others like them, by which the parts are brought to one scale. side: pixels, as
    Backbone.reading_side chooses it.
    """
    sample = CandidateSample(seed)
    learned = gather_features(backbone, references, side, sample)
    kept = stored_indices(len(learned.last), learned.last.shape[1], seed)
    center, deviation, components = principal_components(learned.pooled)
    classes = None if learned.classes is None else _unit(learned.classes.mean(0))
    detector = PretrainedDetector(
        config=backbone.config,
        side=side,
        references=learned.last[kept].astype(np.float16).astype(np.float32),
        center=center,
        deviation=deviation,
        components=components,
        classes=classes,
        local=fit_local_features(sample.candidates, seed),
        scale=np.zeros((0, 2)),
        weights=backbone.given_weights,
        backbone=backbone,
    )
    parts = detector.part_scores(gather_features(backbone, validation, side))
    logarithms = np.log(np.maximum(parts, TINY))
    spread = np.maximum(logarithms.std(0), _MIN_DEVIATION)
    return replace(detector, scale=np.stack([logarithms.mean(0), spread], axis=1))


def pretrained_from(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> PretrainedDetector:
    """Build the detector of `settings` and `tensors`, without its network; see with_backbone.

    Raises KeyError, TypeError or ValueError for what does not fit.
    """
    arrays = {name: one.numpy() for name, one in tensors.items()}
    references = arrays["references"].astype(np.float32)
    center, deviation = arrays["center"], arrays["deviation"]
    components, classes = arrays["components"], arrays.get("classes")
    local = {n.removeprefix(LOCAL): one for n, one in arrays.items() if n.startswith(LOCAL)}
    scale = np.array(settings["scale"], np.float64)
    n_parts = len(PARTS) - (classes is None)
    shapes = [
        references.ndim == 2 and len(references) > 0,
        center.shape == deviation.shape,
        components.ndim == 2 and components.shape[:1] == center.shape,
        classes is None or classes.ndim == 1,
        scale.shape == (n_parts, 2) and bool((scale[:, 1] > 0).all()),
        0 < settings["side"] <= MAX_SIDE,
    ]
    if not all(shapes) or not all(np.isfinite(one).all() for one in (*arrays.values(), scale)):
        raise ValueError("these are not the features of a pretrained network")
    return PretrainedDetector(
        config=backbone_config_from(settings["backbone"]),
        side=int(settings["side"]),
        references=references,
        center=center,
        deviation=deviation,
        components=components,
        classes=classes,
        local=local_features_from(local),
        scale=scale,
        weights=str(settings["weights"]),
    )


@torch.inference_mode()
def pretrained_features(backbone: Backbone, images: np.ndarray, side: int) -> PretrainedFeatures:
    """Compute a network's features of images: uint8 (N, L, L, C), C 1 or 3."""
    seen = backbone(backbone.prepare(images, side))
    classes = None
    if seen.logits is not None:
        classes = seen.logits.float().softmax(1).sqrt().cpu().numpy()
    pooled = torch.cat([one.float().mean((2, 3)) for one in seen.maps], 1)
    middle = seen.maps[(len(seen.maps) - 1) // 2].float()
    return PretrainedFeatures(
        last=_unit(seen.last.float().cpu().numpy()),
        pooled=pooled.cpu().numpy(),
        classes=classes,
        places=middle.permute(0, 2, 3, 1).cpu().numpy(),
    )


def gather_features(
    backbone: Backbone, images: Images, side: int, sample: CandidateSample | None = None
) -> PretrainedFeatures:
    """Compute features of many images, some at once; ValueError for none.

    Their places would fill the memory: none are returned, but `sample` draws some of them.
    """
    parts = []
    for batch in _batches(images):
        seen = pretrained_features(backbone, batch, side)
        if sample is not None:
            sample.add(seen.places)
        parts.append(replace(seen, places=seen.places[:, :0]))
    classes = [one.classes for one in parts if one.classes is not None]
    return PretrainedFeatures(
        np.concatenate([one.last for one in parts]),
        np.concatenate([one.pooled for one in parts]),
        np.concatenate(classes) if classes else None,
        np.concatenate([one.places for one in parts]),
    )


def nearest_references(
    references: np.ndarray, vector: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the `count` nearest of M unit vectors to one: (M, D), (D,) -> indices and distances.

    Cosine distances, 1 - a b = |a - b|^2 / 2, the least first; of equal ones the first.
    """
    candidates = np.argsort(-(references @ vector), kind="stable")[: count + _SPARE]
    distances = np.square(references[candidates] - vector).sum(1) / 2  # exact for near ones, too
    order = np.argsort(distances, kind="stable")[:count]
    return candidates[order], distances[order]


def stored_indices(count: int, width: int, seed: int) -> np.ndarray:
    """Draw which of `count` images are stored, of `width` numbers each: sorted indices."""
    most = min(count, MAX_STORED, max(NEIGHBOURS, MAX_NUMBERS // width))
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def principal_components(pooled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardise (N, D') and find the components of 95% of its variance: (D', Q).

    -> means (D',), deviations (D',), components. A feature that hardly varies counts as varying by
    a hundredth of what others do.
    """
    center, deviation = pooled.mean(0), pooled.std(0)
    deviation = np.maximum(deviation, 0.01 * deviation.mean())
    deviation[deviation == 0] = 1.0
    _, singular, rows = np.linalg.svd((pooled - center) / deviation, full_matrices=False)
    variance = np.square(singular, dtype=np.float64)
    is_needed = np.cumsum(variance) - variance < EXPLAINED * variance.sum()
    return center, deviation, np.ascontiguousarray(rows[is_needed].T)


def _batches(images: Images) -> Iterator[np.ndarray]:
    for batch in [images] if isinstance(images, np.ndarray) else images:
        for start in range(0, len(batch), _BATCH):
            yield batch[start : start + _BATCH]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (..., D) to length 1; those of none stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, TINY)


def backbone_of(features: FeatureModel | None) -> Backbone | None:
    """Return the pretrained network that a model compares by; None where none is at hand."""
    if features is None:
        return None
    detectors = features.detectors.values()
    return next((d.backbone for d in detectors if isinstance(d, PretrainedDetector)), None)
