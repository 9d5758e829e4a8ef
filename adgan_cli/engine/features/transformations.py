"""How surely a small network tells how an image was turned and shifted.

Geometric transformations (GEOM: Golan and El-Yaniv, 2018) with one head for each part of a
transformation, of which one tells quarter turns (RotNet: Gidaris et al., 2018). To tell them the
network learns what lies where in the images of a training set; in an image of another kind it is
less sure.

Letters in the shapes: N images, C channels, S size, s the side that the network reads, D features.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, normalize

from adgan_cli.engine.pixels import to_model_range
from adgan_cli.images.shrink import at_most, block_means

MAX_SIDE = 64  # pixels: larger images are shrunk by whole blocks
WIDTH = 24  # feature maps of the first blocks; twice and four times as many in deeper layers
ANSWERS = (3, 3, 4)  # of the heads: shift across, shift down, quarter turns
HEADS = ("across", "down", "turns")
# (across, down, turns): answers of the three heads; shifts by (answer - 1) quarters of the side
TRANSFORMATIONS = tuple(product(*(range(count) for count in ANSWERS)))
# of the 36, those by which an image is scored: every turn with three shifts, every pair but few
SCORED = tuple(
    (across, (across + turn) % 3, turn) for turn in range(ANSWERS[2]) for across in range(3)
)
REFERENCES = "references"  # the name of their tensor
_BATCH = 64  # images whose features are kept, computed at once
Transformation = tuple[int, ...]


def transform(pixels: np.ndarray, transformation: Transformation) -> np.ndarray:
    """Shift images, reflected at the borders, then turn them: (N, s, s, C), the shape kept."""
    across, down, turns = transformation
    side = pixels.shape[1]
    shifted = pixels[:, _reflected(side, down)][:, :, _reflected(side, across)]
    return np.rot90(shifted, turns, axes=(1, 2))


def _reflected(side: int, answer: int) -> np.ndarray:
    """Index the rows of an image shifted by answer - 1 quarters of its side: (s,)."""
    position = np.abs(np.arange(side) - (answer - 1) * (side // 4))
    return np.minimum(position, 2 * (side - 1) - position)


class _Block(nn.Module):
    """Two convolutions beside a shortcut, norm and ReLU before each (He et al., 2016b)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.stride = stride
        is_equal = inputs == outputs and stride == 1
        self.shortcut = None if is_equal else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](x).relu_()
        # pooled before it (He et al., 2019, ResNet-D): no value is passed over, and oneDNN writes
        # beside its memory in some strided 1 x 1 convolutions of few channels
        shortcut = x if self.shortcut is None else self.shortcut(avg_pool2d(h, self.stride))
        return self.second(self.norms[1](self.first(h)).relu_()) + shortcut


class TransformationNetwork(nn.Module):
    """A residual network with a head for each part of a transformation.

    x: (N, C, s, s) in [-1, 1] -> (N, 10) logits, those of the three heads side by side. Its first
    layers halve the side until 31 pixels are not exceeded: where a network may be trained for
    minutes on a CPU, steps by the thousand are worth more than details.
    """

    def __init__(self, side: int, channels: int, width: int = WIDTH) -> None:
        super().__init__()
        self.side, self.channels, self.width = side, channels, width
        self.stem = _stem(side, channels, width)
        self.blocks = nn.Sequential(
            _Block(width, width, 1), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2)
        )
        self.norm = nn.BatchNorm2d(4 * width)
        self.heads = nn.Linear(4 * width, sum(ANSWERS))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.heads.weight.device

    def features(self, x: Tensor) -> Tensor:
        """Compute what the heads are linear in, x: (N, C, s, s) -> (N, D)."""
        return self.norm(self.blocks(self.stem(x))).relu_().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(self.features(x))


def _stem(side: int, channels: int, width: int) -> nn.Sequential:
    """Stack what comes before the blocks: two halvings at 64 pixels, one at 32, none at 16."""
    halvings = 0
    while side >> halvings >= 32:
        halvings += 1
    if not halvings:
        return nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False))
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False)]
    for _ in range(halvings - 1):
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers)


def log_probabilities(logits: Tensor, transformations: Sequence[Transformation]) -> Tensor:
    """Compute each head's log-probability of the right answer, (N, 10) -> (N, 3), N given."""
    columns = []
    answers = torch.tensor(transformations, device=logits.device)  # (N, 3)
    for head, one in enumerate(logits.split(ANSWERS, dim=1)):
        columns.append(one.log_softmax(1).gather(1, answers[:, head, None]))
    return torch.cat(columns, 1)


@dataclass(frozen=True, eq=False)
class Transformations:
    """A trained network as a detector: the less surely it tells transformations, the higher.

    A head counts only if it was right more often than by chance among images held out: digits that
    look alike upside down tell nothing by their turns, and guesses would only add noise. No label
    is needed for that (transform_training.trained_detector). `is_useful` is False where no head
    counts: then the detector is to have no weight.
    """

    network: TransformationNetwork  # in eval mode, on the CPU
    accuracy: tuple[float, ...]  # of each head, among images held out
    counts: tuple[bool, ...]  # which heads count
    references: Tensor | None = None  # (M, D) float16, features of training images, of length 1

    @property
    def reads_large(self) -> bool:
        """False: images are scored at the generator's size."""
        return False

    @property
    def is_useful(self) -> bool:
        """Whether any head counts; if none does, all scores are 0."""
        return any(self.counts)

    @torch.no_grad()
    def score(self, image: np.ndarray) -> float:
        """Sum minus the log-probabilities of the right answers to 12 transformations.

        image: uint8 (S, S, C) -> at least 0 (Golan and El-Yaniv, 2018, section 4, simplified).
        """
        logits = self.network(scored_copies(self.network, image))
        logs = log_probabilities(logits, SCORED).double().sum(0).tolist()
        return -math.fsum(one for one, counts in zip(logs, self.counts, strict=True) if counts)

    @torch.no_grad()
    def features(self, image: np.ndarray) -> np.ndarray:
        """Compute the network's features of an image as it is: uint8 (S, S, C) -> (D,) float32."""
        small = shrink(image[None], self.network)
        return self.network.features(to_model_range(torch.from_numpy(small)))[0].numpy()

    def reference_distances(self, image: np.ndarray) -> np.ndarray | None:
        """Compute the cosine distance to each training image kept: uint8 (S, S, C) -> (M,).

        None where none is kept.
        """
        if self.references is None:
            return None
        features = torch.from_numpy(self.features(image))
        return (1 - self.references.float() @ normalize(features, dim=0)).numpy()

    @torch.no_grad()
    def with_references(self, images: np.ndarray) -> "Transformations":
        """Keep the features of training images, uint8 (M, S, S, C), to find the nearest by."""
        parts = []
        for start in range(0, len(images), _BATCH):
            small = shrink(images[start : start + _BATCH], self.network)
            parts.append(self.network.features(to_model_range(torch.from_numpy(small))))
        kept = normalize(torch.cat(parts))
        return replace(self, references=kept.half())

    def settings(self) -> dict[str, Any]:
        """Return the network's shape and each head's accuracy, as plain JSON."""
        return network_settings(self.network) | {
            "accuracy": list(self.accuracy),
            "counts": list(self.counts),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the network's weights and batch norm statistics, and the features kept."""
        kept = {} if self.references is None else {REFERENCES: self.references}
        return network_tensors(self.network) | kept


def transformations_from(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Transformations:
    """Build the detector that has these settings and tensors; KeyError, ... for what misfits."""
    weights = {name: tensor for name, tensor in tensors.items() if name != REFERENCES}
    network = network_from(settings, weights).eval().requires_grad_(False)
    references = tensors.get(REFERENCES)
    shape = (None if references is None else len(references), 4 * network.width)
    if references is not None and (references.dtype, references.shape) != (torch.float16, shape):
        raise ValueError(f"{REFERENCES}: rows of {4 * network.width} numbers of float16")
    accuracy = tuple(float(one) for one in settings["accuracy"])
    counts = tuple(bool(one) for one in settings["counts"])
    if not len(accuracy) == len(counts) == len(ANSWERS):
        raise ValueError(f"{len(ANSWERS)} heads are expected, not {len(accuracy)}, {len(counts)}")
    return Transformations(network, accuracy, counts, references)


def shrink(pixels: np.ndarray, network: TransformationNetwork) -> np.ndarray:
    """Shrink images to the side that a network reads: uint8 (N, S, S, C) -> (N, s, s, C)."""
    if at_most(pixels.shape[1], MAX_SIDE) != network.side:
        raise ValueError(f"the network reads {network.side} pixels, not {pixels.shape[1]}")
    return block_means(pixels, network.side)


def scored_copies(network: TransformationNetwork, image: np.ndarray) -> Tensor:
    """Transform an image in every way that it is scored by: (S, S, C) -> (12, C, s, s)."""
    small = shrink(image[None], network)[0]
    copies = small.reshape(-1, small.shape[-1])[_scored_places(network.side)]
    return to_model_range(torch.from_numpy(copies))


@cache
def _scored_places(side: int) -> np.ndarray:
    """Find which pixel of an image stands at each place of its scored copies: (12, s, s)."""
    places = np.arange(side**2).reshape(1, side, side, 1)
    return np.concatenate([transform(places, one) for one in SCORED])[..., 0]


def network_settings(network: TransformationNetwork) -> dict[str, Any]:
    """Return a network's shape as plain JSON."""
    return {"side": network.side, "channels": network.channels, "width": network.width}


def network_tensors(network: TransformationNetwork) -> dict[str, Tensor]:
    """Copy a network's weights and statistics to the CPU."""
    tensors = network.state_dict()
    return {name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}


def network_from(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> TransformationNetwork:
    """Build a network from both; KeyError, TypeError or ValueError for what does not fit."""
    side, channels, width = (int(settings[name]) for name in ("side", "channels", "width"))
    if not (1 <= side <= MAX_SIDE and channels in (1, 3) and 1 <= width <= 1024):
        raise ValueError(f"no network reads {side} pixels, {channels} channels at width {width}")
    network = TransformationNetwork(side, channels, width).to(memory_format=torch.channels_last)
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ValueError(f"tensors do not fit ({error})") from error
    return network
