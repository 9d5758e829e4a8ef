"""Methods that keep everybody honest: none of them learns more than means and a few components."""

from collections.abc import Callable

import numpy as np
from PIL import features as pillow

from adgan_cli.engine.losses import GREY_LEVEL
from adgan_cli.evaluation.features import blocks, fit_pca, pixels, sample
from adgan_cli.evaluation.task import MethodResult, NotApplicableError, Task
from adgan_cli.images.statistics import png_size

COMPONENTS = 16  # of the reconstruction


def mean_image(task: Task, *, relative: bool = False) -> MethodResult:
    """Score by the squared distance to the mean training image; relative: see `deviation`."""
    if len(task.train) == 0:
        raise NotApplicableError("needs training pictures")
    total = sum(pixels(block).sum(0, dtype=np.float64) for block in blocks(task.train))
    mean = total / len(task.train)
    return MethodResult(_errors(task.test, lambda x: mean, relative), {"relative": relative})


def pca(task: Task, *, relative: bool = False) -> MethodResult:
    """Score by the squared error of a reconstruction from 16 components; relative: as above."""
    train = sample(task.train, task.seed)
    fitted = fit_pca(pixels(train), COMPONENTS, seed=task.seed)

    def reconstruct(x: np.ndarray) -> np.ndarray:
        rebuilt: np.ndarray = fitted.inverse_transform(fitted.transform(x))
        return rebuilt

    settings = {
        "components": int(fitted.n_components_),
        "relative": relative,
        "train_pictures": len(train),
    }
    return MethodResult(_errors(task.test, reconstruct, relative), settings)


def file_complexity(task: Task) -> MethodResult:
    """Score by the bytes of the image as PNG, best compression: no training at all."""
    scores = np.array([png_size(image) for image in task.test], dtype=np.float64)
    # zlib and its successors do not agree to the byte
    zlib = pillow.version_feature("zlib_ng") or pillow.version_codec("zlib")
    return MethodResult(scores, {"format": "PNG", "compress_level": 9, "zlib": zlib})


def deviation(images: np.ndarray) -> np.ndarray:
    """Sum the squared deviations from the channel means: (N, S, S, C) uint8 -> (N,) float64.

    The same as squared_deviation, which adds up in another order: scores stay what they were, to
    the last digit.
    """
    x = images / 127.5  # (N, S, S, C), a shift from [-1, 1]
    squares = np.square(x - x.mean((1, 2), keepdims=True)).sum((1, 2, 3))
    least = np.prod(images.shape[1:]) * GREY_LEVEL**2
    return np.maximum(squares, least)  # type: ignore[no-any-return]


def _errors(
    images: np.ndarray, reconstruct: Callable[[np.ndarray], np.ndarray], relative: bool
) -> np.ndarray:
    parts = [np.empty(0)]
    for block in blocks(images):
        x = pixels(block)  # (N, D)
        error = np.square(x - reconstruct(x), dtype=np.float64).sum(1)
        parts.append(error / deviation(block) if relative else error)
    return np.concatenate(parts)
