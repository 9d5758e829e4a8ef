"""Images in folders, one a class: a user's own, or a normal and an anomalous one side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split, index_of, split_by_seed
from adgan_cli.images.archives import is_archive_name
from adgan_cli.images.find import Listing, find_inputs
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.refs import ImageRef
from adgan_cli.images.selection import Selection
from adgan_cli.text import plural

Read = Callable[[Listing], PixelSet]  # load_pixels with everything but the listing settled

_TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that is there counts
_LAYOUT = "make it ROOT/{train,test}/<class>/ or ROOT/<class>/"


@dataclass
class ReadingPlan:
    """The images to read, each with its label.

    All of a set are read in one go, so that training and test are preprocessed alike.
    """

    name: str
    classes: tuple[str, ...]
    listing: Listing  # of all there is, wanted or not
    train: list[tuple[ImageRef, int]] = field(default_factory=list)
    test: list[tuple[ImageRef, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_split(
        self, label: int, items: Sequence[ImageRef], seed: int, *, with_train: bool = True
    ) -> None:
        """Add the images of a class that came without a split."""
        train, test = split_by_seed(len(items), seed, label)
        if with_train:
            self.train += [(items[i], label) for i in train]
        self.test += [(items[i], label) for i in test]

    def load(self, read: Read) -> LabelledDataset:
        """Read the images, and leave out and count those that cannot be read."""
        planned = self.train + self.test
        images = read(replace(self.listing, items=[item for item, _ in planned]))
        readable = set(images.names)
        is_read = np.array([item.name in readable for item, _ in planned], bool)
        labels = np.array([label for _, label in planned], np.int64)[is_read]
        n_train = int(is_read[: len(self.train)].sum())

        def split(start: int, end: int) -> Split:
            return Split(_slice(images, start, end), labels[start:end], images.names[start:end])

        train, test = split(0, n_train), split(n_train, len(images))
        notes = [*self.notes, *self._left_out(images.failures)]
        return LabelledDataset(self.name, self.classes, train, test, "; ".join(notes))

    def _left_out(self, failures: Sequence[tuple[str, str]]) -> list[str]:
        notes = []
        if self.listing.links:
            notes.append(f"symbolic links left alone: {self.listing.links}, see --follow-links")
        if failures:
            name, reason = failures[0]
            count = plural(len(failures), "file")
            notes.append(f"{count} unreadable and left out, the first {name}: {reason}")
        return notes


def load_folder(
    root: Path, read: Read, *, seed: int, selection: Selection, normal_class: str | None = None
) -> LabelledDataset:
    """Read ROOT/{train,test}/<class>/, ROOT/{train,val}/<class>/ or ROOT/<class>/, or an archive.

    Without train and test every class is split by the seed. normal_class: leave out what other
    classes have to train on. Raises ConfigError where there are no classes, or not that one.
    """
    listing = find_inputs([root], selection)
    test_folder = _test_folder(root, listing)
    depth = 1 if test_folder is None else 2
    groups: dict[tuple[str, ...], list[ImageRef]] = {}
    for item in listing.items:
        folders = tuple(item.name.split("/")[:-1][:depth])
        in_class = len(folders) == depth and (depth == 1 or folders[0] in ("train", test_folder))
        if in_class:
            groups.setdefault(folders, []).append(item)
    classes = tuple(sorted({folders[-1] for folders in groups}))
    if not classes:
        raise ConfigError(f"{root} holds no folders of pictures, one a class; {_LAYOUT}")
    plan = ReadingPlan(_name_of(root), classes, listing)
    normal = None if normal_class is None else index_of(normal_class, classes, plan.name)
    for folders, items in groups.items():
        label = classes.index(folders[-1])
        wanted = normal is None or label == normal
        if depth == 1:
            plan.add_split(label, items, seed, with_train=wanted)
        elif folders[0] != "train":
            plan.test += [(item, label) for item in items]
        elif wanted:
            plan.train += [(item, label) for item in items]
    if depth == 1:
        plan.notes.append(f"split by seed {seed}")
    if stray := len(listing.items) - sum(map(len, groups.values())):
        plan.notes.append(f"{plural(stray, 'file')} in no class's folder")
    return plan.load(read)


def load_pair(
    normal: Path, anomalous: Path, read: Read, *, seed: int, selection: Selection
) -> LabelledDataset:
    """Read two folders, archives or databases as the classes `normal` and `anomalous`.

    The first is split by the seed, the second is all to test on. Raises ConfigError for other
    paths, and if one of the two lies in the other.
    """
    for option, path in (("--normal", normal), ("--anomalous", anomalous)):
        if path.is_file() and not is_archive_name(path.name):
            raise ConfigError(f"{option}: {path} is a file; give a folder of pictures")
    if normal.exists() and anomalous.exists():
        one, other = normal.resolve(), anomalous.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise ConfigError(
                f"--normal {normal} and --anomalous {anomalous} overlap; keep them apart"
            )
    listing = find_inputs([normal, anomalous], selection)
    name = f"{_name_of(normal)} against {_name_of(anomalous)}"
    plan = ReadingPlan(name, ("normal", "anomalous"), listing)
    plan.add_split(0, [item for item in listing.items if item.container.path == normal], seed)
    plan.test += [(item, 1) for item in listing.items if item.container.path != normal]
    plan.notes.append(f"normal pictures split by seed {seed}")
    return plan.load(read)


def _test_folder(root: Path, listing: Listing) -> str | None:
    """Name the folder of test images beside train/; None where the set comes without a split."""
    tops = {item.name.partition("/")[0] for item in listing.items if "/" in item.name}
    test_folder = next((name for name in _TEST_FOLDERS if name in tops), None)
    if "train" in tops and test_folder:
        return test_folder
    if any(item.name.startswith("train/") and item.name.count("/") > 1 for item in listing.items):
        raise ConfigError(f"{root} has train but neither test nor val; {_LAYOUT}")
    return None


def _slice(images: PixelSet, start: int, end: int) -> np.ndarray:
    """Take a range of the images: a view where they are adjacent, as in a large new cache."""
    indices = images.indices
    if indices is not None and end > start and (np.diff(indices[start:end]) == 1).all():
        return images.pixels[indices[start] : indices[end - 1] + 1]
    return images.take(slice(start, end))


def _name_of(path: Path) -> str:
    return path.resolve().name or str(path)
