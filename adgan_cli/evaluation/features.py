"""Features of the classical methods, section 4.2: principal components of pixels or AlexNet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from adgan_cli.engine.device import full_float32
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.task import NotApplicableError, Task

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

DIMENSIONS = (20, 40, 60, 80, 100)  # section 4.2
MIN_EXPLAINED = 0.95  # of the variance, where no label may choose: as in Ruff et al., 2018
MAX_TRAIN = 20_000  # images to learn from; the largest class of Table 1 has 6,742
_BLOCK = 250  # images at a time; no score depends on it

Represent = Callable[[np.ndarray], np.ndarray]  # (N, S, S, C) uint8 -> (N, D) float32


@dataclass(frozen=True, eq=False)
class Features:
    """A task's images in the coordinates of their training set's leading components.

    The first d columns are PCA to d dimensions, as it comes: not whitened.
    """

    train: np.ndarray  # (N, D) float64
    test: np.ndarray  # (M, D) float64
    holdout: np.ndarray  # (H, D) float64
    explained: np.ndarray  # (D,) share of the training variance that the first 1 ... D keep

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The paper's, as far as the training set has so many components; else all it has."""
        width = self.train.shape[1]
        return tuple(d for d in DIMENSIONS if d <= width) or (width,)

    @property
    def label_free_dimension(self) -> int:
        """The least of `dimensions` that keeps 95% of the variance; else the largest."""
        good = [d for d in self.dimensions if self.explained[d - 1] >= MIN_EXPLAINED]
        return min(good, default=max(self.dimensions))


def pixel_features(task: Task) -> Features:
    """Compute principal components of the pixels, fitted on the normal class alone."""
    return components(task, pixels)


def alexnet_features(task: Task, weights: Path | None, *, device: torch.device) -> Features:
    """Compute principal components of AlexNet's last convolution; weights: see `load_alexnet`."""
    network = load_alexnet(weights).to(device)
    with full_float32():
        return components(task, lambda images: alexnet(images, network))


def components(task: Task, represent: Represent) -> Features:
    """Apply PCA to any representation. Raises NotApplicableError for constant pictures."""
    learned_from = sample(task.train, task.seed)
    train = np.concatenate([represent(block) for block in blocks(learned_from)])
    if (train == train[0]).all():
        raise NotApplicableError("the training pictures are all the same")
    pca = fit_pca(train, max(DIMENSIONS), seed=task.seed)
    variance = pca.explained_variance_
    count = int(np.sum(variance > 1e-6 * variance[0]))  # the others are rounding

    def project(images: np.ndarray) -> np.ndarray:
        parts = [pca.transform(represent(block)) for block in blocks(images)]
        return np.concatenate([np.empty((0, len(variance))), *parts])[:, :count]

    return Features(
        pca.transform(train)[:, :count].astype(np.float64),
        project(task.test),
        project(task.holdout),
        np.cumsum(pca.explained_variance_ratio_[:count], dtype=np.float64),
    )


def fit_pca(x: np.ndarray, count: int, *, seed: int) -> "PCA":
    """Fit scikit-learn's PCA to x: (N, D), N at least 2, to `count` components or all."""
    from sklearn.decomposition import PCA

    most = min(len(x) - 1, x.shape[1])
    # both are exact, so the first d of 100 components are PCA to d; arpack is many times faster
    solver = "arpack" if count < most else "full"
    return PCA(min(count, most), svd_solver=solver, random_state=seed).fit(x)


def pixels(images: np.ndarray) -> np.ndarray:
    """Flatten (N, S, S, C) uint8 to (N, S*S*C) float32 in [-1, 1] (section 4.1)."""
    flat = images.reshape(len(images), np.prod(images.shape[1:])).astype(np.float32)
    flat /= 127.5
    flat -= 1.0
    return flat


@torch.inference_mode()
def alexnet(images: np.ndarray, network: nn.Module) -> np.ndarray:
    """Compute AlexNet's features at 224 pixels: (N, S, S, C) uint8 -> (N, 9216) float32."""
    device = next(network.parameters()).device
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255.0
    x = x.expand(-1, 3, -1, -1)  # grey: three times the same
    x = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
    mean, std = torch.tensor(_IMAGENET, device=device)[:, :, None, None]
    return network((x - mean) / std).flatten(1).cpu().numpy()  # type: ignore[no-any-return]


def load_alexnet(weights: Path | None) -> nn.Module:
    """Load torchvision's AlexNet up to its last convolution, with rectifier and pooling.

    "The final convolutional layer" (section 4.2) is read as `features`, all that comes before the
    first dense layer: pooling has no weights, and leaves 9,216 numbers of 43,264.
    weights: its parameters as .safetensors, never a pickle. NotApplicableError without one,
    ConfigError for a file that is something else.
    """
    if weights is None:
        raise NotApplicableError("needs --alexnet-weights FILE.safetensors")
    if weights.suffix != ".safetensors":
        raise ConfigError(f"--alexnet-weights {weights}: must be a .safetensors file; {CONVERT}")
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"--alexnet-weights {weights}: cannot be read ({error})") from error
    with torch.device("meta"):  # no random numbers for what is replaced below
        network = _alexnet_layers()
    start = "features."
    layers = {key.removeprefix(start): w for key, w in tensors.items() if key.startswith(start)}
    expected = {key: w.shape for key, w in network.state_dict().items()}
    if {key: w.shape for key, w in layers.items()} != expected:
        raise ConfigError(f"--alexnet-weights {weights}: not torchvision's AlexNet; {CONVERT}")
    network.load_state_dict({key: w.float() for key, w in layers.items()}, assign=True)
    return network.eval().requires_grad_(False)


CONVERT = (
    "to make one: safetensors.torch.save_file("
    'torchvision.models.alexnet(weights="IMAGENET1K_V1").state_dict(), "alexnet.safetensors")'
)

_IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]  # mean, standard deviation: red ... blue


def _alexnet_layers() -> nn.Sequential:
    """Build `features` of torchvision.models.alexnet, which need not be installed."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )


def sample(images: np.ndarray, seed: int) -> np.ndarray:
    """Take all images, or MAX_TRAIN drawn by the seed; NotApplicableError for fewer than two."""
    if len(images) < 2:
        raise NotApplicableError("needs at least 2 training pictures")
    if len(images) <= MAX_TRAIN:
        return images
    drawn = np.random.default_rng(seed).choice(len(images), MAX_TRAIN, replace=False)
    return images[np.sort(drawn)]


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images a few hundred at a time: as floats they take four times the memory."""
    for start in range(0, len(images), _BLOCK):
        yield images[start : start + _BLOCK]
