"""Which images of a training set are kept or learned from, where all are too many."""

import numpy as np

MAX_STORED = 2_000  # images: what is kept of them in a model's file is bounded


def drawn(images: np.ndarray, seed: int) -> np.ndarray:
    """Draw at most MAX_STORED of N images at random, in their order: (N, ...) -> (M, ...).

    Never the first ones: neighbours in a folder are relatives.
    """
    if len(images) <= MAX_STORED:
        return images
    rng = np.random.default_rng(seed)
    return images[np.sort(rng.choice(len(images), MAX_STORED, replace=False))]
