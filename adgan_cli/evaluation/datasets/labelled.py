"""A set of images with classes, split into training and test, and the choice of a class."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.text import plural

_LEAST_TRAIN = 10  # images; whatever is learnt from fewer is luck
_TEST_SHARE = 0.2  # of sets that come without a split
_LISTED = 12  # names in an error message


@dataclass(frozen=True, eq=False)
class Split:
    """The images to train on, or those to test on."""

    pixels: np.ndarray  # (N, S, S, C) uint8
    labels: np.ndarray  # (N,) int64, indices into the set's classes
    names: tuple[str, ...]  # an item's index in its split, or its path

    def of_class(self, index: int) -> np.ndarray:
        """Copy the images of one class: (n, S, S, C) uint8."""
        return np.ascontiguousarray(self.pixels[self.labels == index])


@dataclass(frozen=True, eq=False)
class LabelledDataset:
    """Images of several classes to train and to test on."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    note: str = ""  # what was done to the images, and what was left out


def numbered(pixels: np.ndarray, labels: np.ndarray) -> Split:
    """Make a split whose items are called by their index: (N, S, S, C) uint8 and (N,) labels."""
    return Split(pixels, labels.astype(np.int64), tuple(map(str, range(len(pixels)))))


def class_index(labelled: LabelledDataset, text: str) -> int:
    """Find the class that is to be normal; ConfigError if it has too few images, or the others."""
    index = index_of(text, labelled.classes, labelled.name)
    name = labelled.classes[index]
    count = int((labelled.train.labels == index).sum())
    if count < _LEAST_TRAIN:
        raise ConfigError(
            f"class {name} of {labelled.name} has {plural(count, 'picture')} to train on; "
            f"at least {_LEAST_TRAIN} are needed"
        )
    normal = labelled.test.labels == index
    if not normal.any():
        raise ConfigError(f"the test set of {labelled.name} has no picture of class {name}")
    if normal.all():
        raise ConfigError(
            f"the test set of {labelled.name} has class {name} only; add pictures of others"
        )
    return index


def index_of(text: str, classes: Sequence[str], where: str) -> int:
    """Find a class by its name, in any case if need be, or else by its index."""
    lowered = [name.lower() for name in classes]
    if text in classes:
        return classes.index(text)
    if lowered.count(text.lower()) == 1:
        return lowered.index(text.lower())
    if text.isascii() and text.isdigit() and int(text) < len(classes):
        return int(text)
    listed = ", ".join(classes[:_LISTED]) + (", ..." if len(classes) > _LISTED else "")
    raise ConfigError(
        f"no class {text!r} in {where}{did_you_mean(text, classes)}; "
        f"it has 0 to {len(classes) - 1}: {listed}"
    )


def did_you_mean(text: str, names: Sequence[str]) -> str:
    """Write the part of a message that names what might have been meant, or nothing."""
    lowered = {name.lower(): name for name in names}
    close = [lowered[match] for match in get_close_matches(text.lower(), lowered, cutoff=0.5)]
    return f", did you mean {' or '.join(close)}" if close else ""


def split_by_seed(count: int, seed: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Split `count` items by the seed: sorted indices to train on and, a fifth, to test on."""
    order = np.random.default_rng([seed, label]).permutation(count)
    tests = max(1, round(_TEST_SHARE * count)) if count > 1 else 0
    return np.sort(order[tests:]), np.sort(order[:tests])
