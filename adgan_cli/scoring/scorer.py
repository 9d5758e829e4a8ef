"""The score of an image: Algorithm 1, less what --adjust takes out of it."""

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.images.statistics import image_statistics
from adgan_cli.scoring.adjust import adjustment


class Scorer:
    """Score images with one model and one way to search, as often as there are some."""

    def __init__(self, model: Model, config: SearchConfig, batch_size: int | None = None) -> None:
        self._search = Searcher.for_model(model, config, batch_size=batch_size)
        self._adjust = adjustment(model, config)

    @property
    def batch_size(self) -> int:
        """How many images are searched for at once."""
        return self._search.batch_size

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score pixels: uint8 (N, S, S, C) -> scores (N,) float64, losses (N, n_seed, k + 1)."""
        result = self._search(to_model_range(torch.from_numpy(pixels)))
        scores = result.score.double().numpy()
        if self._adjust is not None:
            scores = self._adjust(scores, np.stack([image_statistics(image) for image in pixels]))
        return scores, result.trace.numpy()
