"""scikit-learn's 1,797 handwritten digits of 8 pixels: always there."""

import numpy as np

from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split, split_by_seed


def load_digits(seed: int) -> LabelledDataset:
    """Read the digits, a fifth of each class to test on; an item's name is its index in the set."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)  # levels 0 to 16
    train, test = [], []
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        train_part, test_part = split_by_seed(len(of_class), seed, label)
        train.append(of_class[train_part])
        test.append(of_class[test_part])

    def split(parts: list[np.ndarray]) -> Split:
        indices = np.sort(np.concatenate(parts))
        names = tuple(map(str, indices))
        return Split(pixels[indices], labels[indices].astype(np.int64), names)

    classes = tuple("0123456789")
    return LabelledDataset("digits", classes, split(train), split(test), f"split by seed {seed}")
