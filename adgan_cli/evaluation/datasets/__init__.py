"""The data of an evaluation by name or folder: mnist, cifar10, ./my-pictures."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from adgan_cli.config import SIZES
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets.adapt import adapt
from adgan_cli.evaluation.datasets.cifar import CIFAR_SETS, load_cifar
from adgan_cli.evaluation.datasets.digits import load_digits
from adgan_cli.evaluation.datasets.folders import load_folder, load_pair
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, did_you_mean
from adgan_cli.evaluation.datasets.lsun import load_lsun
from adgan_cli.evaluation.datasets.mnist import MNIST_SETS, load_mnist
from adgan_cli.images.find import Listing
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection

DATASETS = (*MNIST_SETS, *CIFAR_SETS, "lsun", "digits")
FOLDER_SIZE = 64  # pixels of images in folders, unless --size says otherwise


@dataclass(frozen=True)
class DataConfig:
    """Which labelled images to evaluate on: one of DATASETS, a folder of classes, or two folders.

    size: None is the set's own; images in folders become 64 pixels, and grey if all of them are.
    """

    dataset: str = ""  # empty: `normal` and `anomalous` are given
    normal: Path | None = None
    anomalous: Path | None = None
    normal_class: str | None = None  # leave out what other classes of a folder have to train on
    size: int | None = None
    seed: int = 0  # of the split, where a set comes without one
    root: Path | None = None  # of the sets that have a name; None: `default_data_root`
    download: bool = False
    selection: Selection = Selection()

    def __post_init__(self) -> None:
        if self.size is not None and self.size not in SIZES:
            sizes = ", ".join(map(str, SIZES))
            raise ConfigError(f"--size must be one of {sizes}, got {self.size}")
        given = [self.normal is not None, self.anomalous is not None]
        if given != [not self.dataset] * 2:
            raise ConfigError("give --normal and --anomalous together, or --dataset alone")


def load_labelled(
    data: DataConfig, reader: Reader, *, on_progress: Callable[[int, int], None] | None = None
) -> LabelledDataset:
    """Read the images and labels that `data` names.

    reader: of images in folders, but for their size. on_progress: gets how many files
    are read, and of how many. Raises ConfigError for what is not there or not what it should be,
    and what load_pixels raises.
    """
    preprocessing = replace(reader.preprocessing, size=data.size or FOLDER_SIZE, channels=3)

    def read(listing: Listing) -> PixelSet:
        total = len(listing.items)
        return load_pixels(
            listing,
            reader.with_preprocessing(preprocessing),
            detect_grey=True,
            on_progress=on_progress and (lambda done: on_progress(done, total)),
        )

    root = data.root or default_data_root()
    if data.normal is not None and data.anomalous is not None:
        return load_pair(
            data.normal, data.anomalous, read, seed=data.seed, selection=data.selection
        )
    if data.dataset in MNIST_SETS:
        return adapt(load_mnist(data.dataset, root, data.download), data.size)
    if data.dataset in CIFAR_SETS:
        return adapt(load_cifar(data.dataset, root, data.download), data.size)
    if data.dataset == "digits":
        return adapt(load_digits(data.seed), data.size)
    if data.dataset == "lsun":
        return load_lsun(root, read, normal_class=data.normal_class)
    if not os.path.lexists(data.dataset):
        raise ConfigError(
            f"no data set and no folder {data.dataset!r}{did_you_mean(data.dataset, DATASETS)}; "
            f"known are {', '.join(DATASETS)}"
        )
    return load_folder(
        Path(data.dataset),
        read,
        seed=data.seed,
        selection=data.selection,
        normal_class=data.normal_class,
    )


def default_data_root() -> Path:
    """Name the folder that holds data sets: ADGAN_DATA_ROOT, else ./data."""
    return Path(os.environ.get("ADGAN_DATA_ROOT") or "data")
