"""CIFAR-10 and CIFAR-100 from their published archive, packed or unpacked.

The files in it are pickles. Nothing else is ever read as one, and these only if they have the MD5
sums that were published, and then only dicts, lists, numbers, text and arrays are built.
"""

import io
import pickle
import tarfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.evaluation.datasets.download import absent, fetch, reading, require_md5
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split, numbered


@dataclass(frozen=True)
class _CifarSource:
    archive: str  # in the data root
    archive_md5: str
    folder: str  # in the archive, and in the data root where that is unpacked
    md5: Mapping[str, str]  # of its files: training images in order, test images, names
    prefix: str = ""  # of the keys "labels" and "label_names"


URL = "https://www.cs.toronto.edu/~kriz/"
_SOURCES = {
    "cifar10": _CifarSource(
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        folder="cifar-10-batches-py",
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    "cifar100": _CifarSource(
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        folder="cifar-100-python",
        md5={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
        prefix="fine_",
    ),
}
CIFAR_SETS = tuple(_SOURCES)

_REBUILD = np.empty(0).__reduce__()[0]  # NumPy's own function; its module has moved since
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def load_cifar(name: str, root: Path, download: bool = False) -> LabelledDataset:
    """Read one of CIFAR_SETS below `root`, in its own pixels and its own order."""
    source = _SOURCES[name]
    with reading(name, root):
        *train, test, meta = _contents(name, source, root, download)

    def split(batches: Sequence[Mapping[str, Any]]) -> Split:
        planes = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([batch[f"{source.prefix}labels"] for batch in batches])
        return numbered(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)

    classes = tuple(meta[f"{source.prefix}label_names"])
    return LabelledDataset(name, classes, split(train), split([test]))


def _contents(
    name: str, source: _CifarSource, root: Path, download: bool
) -> Iterator[dict[str, Any]]:
    """Read the files of a set in order: from the folder if it is whole, else from the archive."""
    folder, archive = root / source.folder, root / source.archive
    missing = [folder / file for file in source.md5 if not (folder / file).is_file()]
    if not missing:
        for file, md5 in source.md5.items():
            yield _unpickled((folder / file).read_bytes(), md5, folder / file)
        return
    if not archive.is_file():
        if not download:
            raise absent(name, missing[0], f"{archive.name} into {root}")
        fetch(name, URL + source.archive, archive, source.archive_md5)
    require_md5(archive.read_bytes(), source.archive_md5, archive)
    with tarfile.open(archive) as tar:
        for file, md5 in source.md5.items():
            member = tar.extractfile(f"{source.folder}/{file}")
            assert member is not None
            yield _unpickled(member.read(), md5, archive / source.folder / file)


def _unpickled(content: bytes, md5: str, path: Path) -> dict[str, Any]:
    require_md5(content, md5, path)
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4: these pickles say 0 where it wants False
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        loaded: dict[str, Any] = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return loaded


class _ArraysOnly(pickle.Unpickler):
    """Refuse whatever is not needed to build NumPy arrays: nothing that is read can run."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here") from None
