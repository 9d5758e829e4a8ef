"""The data of an evaluation by name or folder: mnist, cifar10, ./my-pictures."""

import os
from collections.abc import Callable
from pathlib import Path

from adgan_cli.config import SIZES, ReadConfig
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.labelled_folders import load_folder, load_lsun, load_pair
from adgan_cli.evaluation.labels import LabelledDataset, class_index, nearest
from adgan_cli.evaluation.packed_sets import (
    TORCHVISION_SETS,
    adapted,
    load_digits,
    load_torchvision,
)
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.images.selection import Selection

__all__ = ["DATASETS", "LabelledDataset", "class_index", "default_data_root", "load_labelled"]

DATASETS = (*TORCHVISION_SETS, "lsun", "digits")
_FOLDER_SIZE = 64  # pixels, where nothing else is asked for


def load_labelled(
    dataset: str,
    *,
    size: int | None,
    channels: int | None,
    seed: int,
    data_root: Path | None,
    download: bool,
    reading: ReadConfig,
    workers: int,
    place: CacheConfig | None,
    selection: Selection = Selection(),  # noqa: B008  frozen
    normal: Path | None = None,
    anomalous: Path | None = None,
    normal_class: str | None = None,
    on_picture: Callable[[int, int], None] | None = None,
    on_cache_disabled: Callable[[str], None] | None = None,
) -> LabelledDataset:
    """Read one of DATASETS, a folder of classes, or (`dataset` empty) a normal and an anomalous.

    size, channels: None is the set's own; pictures in folders become 64 pixels and grey if all
    of them are. seed: of the split, where a set comes without. normal_class: pictures in folders
    that other classes have to train on are then not read. on_picture: hears how many files are
    done and how many there are; on_cache_disabled: see Reader.

    Raises ConfigError for what is not known, not there or not what it should be, and whatever
    load_pixels raises.
    """
    if size is not None and size not in SIZES:
        raise ConfigError(f"--size must be one of {', '.join(map(str, SIZES))}, got {size}")

    def read(listing: Listing) -> PixelSet:
        total = len(listing.items)
        preprocessing = Preprocessing(
            size or _FOLDER_SIZE, channels or 3, reading.fit, reading.alpha
        )
        return load_pixels(
            listing,
            Reader(preprocessing, workers, place, on_cache_disabled),
            detect_grey=channels is None,
            on_progress=on_picture and (lambda done: on_picture(done, total)),
        )

    if normal is not None and anomalous is not None and not dataset:
        return load_pair(normal, anomalous, read, seed=seed, selection=selection)
    if normal is not None or anomalous is not None:
        raise ConfigError("give --normal and --anomalous together, or --dataset alone")
    root = data_root or default_data_root()
    if dataset in TORCHVISION_SETS:
        return adapted(load_torchvision(dataset, root=root, download=download), size, channels)
    if dataset == "digits":
        return adapted(load_digits(seed), size, channels)
    if dataset == "lsun":
        return load_lsun(root, read, normal_class=normal_class)
    if not os.path.lexists(dataset):
        near = nearest(dataset, DATASETS)
        raise ConfigError(
            f"no data set and no folder {dataset!r}{near}; known are {', '.join(DATASETS)}"
        )
    return load_folder(
        Path(dataset), read, seed=seed, selection=selection, normal_class=normal_class
    )


def default_data_root() -> Path:
    """Name the folder that holds data sets: ADGAN_DATA_ROOT, else ./data."""
    return Path(os.environ.get("ADGAN_DATA_ROOT") or "data")
