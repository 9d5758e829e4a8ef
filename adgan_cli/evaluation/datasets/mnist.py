"""MNIST and Fashion-MNIST from their four idx files, where torchvision keeps them too."""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adgan_cli.evaluation.datasets.download import absent, damaged, fetch, reading
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split, numbered

SIDE = 28  # pixels


@dataclass(frozen=True)
class _IdxSource:
    folder: str  # below the data root
    url: str
    classes: tuple[str, ...]
    md5: Mapping[str, str]  # of each published .gz


_SOURCES = {
    "mnist": _IdxSource(
        "MNIST/raw",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        tuple("0123456789"),
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": _IdxSource(
        "FashionMNIST/raw",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
}
MNIST_SETS = tuple(_SOURCES)


def load_mnist(name: str, root: Path, download: bool = False) -> LabelledDataset:
    """Read one of MNIST_SETS below `root`, in its own pixels and its own order."""
    source = _SOURCES[name]
    with reading(name, root):
        paths = [_path(name, source, file, root, download=download) for file in source.md5]
        train, test = _read_split(*paths[:2]), _read_split(*paths[2:])
    return LabelledDataset(name, source.classes, train, test)


def _path(name: str, source: _IdxSource, file: str, root: Path, *, download: bool) -> Path:
    """Find a file of the set, unpacked or packed, or fetch it packed."""
    unpacked = root / source.folder / file  # torchvision leaves both, and reads this one
    packed = root / source.folder / f"{file}.gz"
    if unpacked.is_file():
        return unpacked
    if not packed.is_file():
        if not download:
            raise absent(name, packed, f"it and the three that belong to it into {packed.parent}")
        fetch(name, f"{source.url}{packed.name}", packed, source.md5[file])
    return packed


def _read_split(images_path: Path, labels_path: Path) -> Split:
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        size = " x ".join(map(str, images.shape[1:]))
        raise damaged(images_path, f"pictures of {size} pixels, not {SIDE} x {SIDE}")
    if len(images) != len(labels):
        raise damaged(labels_path, f"{len(labels)} labels for {len(images)} pictures")
    if labels.max(initial=0) > 9:
        raise damaged(labels_path, f"a label {labels.max()} where 0 to 9 are possible")
    return numbered(images[..., None], labels)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an idx file of bytes: 0, 0, type 8, dimensions, each size as a big-endian int, data."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            content = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path, f"damaged or cut short: {error}") from error
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise damaged(path, f"no idx file of bytes in {dimensions} dimension(s)")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise damaged(path, f"{len(content)} bytes, its header says {start + math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
