"""The data sets everybody measures on, each from its own few files: torchvision's and digits."""

import gzip
import math
import struct
import sys
import tarfile
import warnings
import zlib
from contextlib import redirect_stdout
from dataclasses import replace
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.labels import LabelledDataset, joined_notes, split_by_seed
from adgan_cli.evaluation.vision import torchvision

_IDX = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's names
_CIFAR = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
TORCHVISION_SETS = (*_IDX, *_CIFAR)

_SIDE = 28  # pixels, of the idx sets


def load_torchvision(name: str, *, root: Path, download: bool) -> LabelledDataset:
    """Read one of TORCHVISION_SETS below `root`, in its own pixels and its own order.

    Raises ConfigError for files that are missing and cannot be downloaded, or are not what they
    should be, naming the first of them.
    """
    datasets = torchvision().datasets
    try:
        if name in _IDX:
            return _from_idx(name, getattr(datasets, _IDX[name]), root, download)
        return _from_cifar(name, getattr(datasets, _CIFAR[name]), root, download)
    except OSError as error:
        where = error.filename or root
        raise ConfigError(f"cannot read {name} in {where}: {error.strerror or error}") from error


def load_digits(seed: int) -> LabelledDataset:
    """scikit-learn's 1,797 handwritten digits of 8 pixels, of each class a fifth to test on."""
    from sklearn.datasets import load_digits as digits

    images, targets = digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)  # levels 0 to 16
    labels = targets.astype(np.int64)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        for part, chosen in zip(parts, split_by_seed(len(of_class), seed, label), strict=True):
            part.append(of_class[chosen])
    train, test = (np.sort(np.concatenate(part)) for part in parts)
    return LabelledDataset(
        "digits",
        tuple("0123456789"),
        *(pixels[train], labels[train]),
        *(pixels[test], labels[test]),
        *(tuple(map(str, train)), tuple(map(str, test))),
        note=f"split by seed {seed}",
    )


def adapted(labelled: LabelledDataset, size: int | None, channels: int | None) -> LabelledDataset:
    """Bring small pictures to a size and number of channels, and note what was done.

    size: 16, 32, 64, ... pixels; None is the set's own, padded or enlarged to the next of these.
    28 pixels become 32 with two of black on every side. From there by whole factors: enlarged
    without smoothing, reduced by averaging.
    """
    train, test = labelled.train, labelled.test
    notes = [labelled.note]
    if train.shape[1] == _SIDE:
        edge = (32 - _SIDE) // 2
        frame = ((0, 0), (edge, edge), (edge, edge), (0, 0))
        train, test = np.pad(train, frame), np.pad(test, frame)
        notes.append("padded from 28 to 32 pixels")
    side = train.shape[1]
    size = size or max(16, side)
    if size != side:
        train, test = _resized(train, size), _resized(test, size)
        notes.append(f"{'enlarged' if size > side else 'reduced'} from {side} to {size} pixels")
    if channels is not None and channels != train.shape[3]:
        train, test = _in_channels(train, channels), _in_channels(test, channels)
        notes.append("grey" if channels == 1 else "grey repeated in 3 channels")
    return replace(labelled, train=train, test=test, note=joined_notes(*notes))


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    count, side, _, channels = pixels.shape
    if size > side:
        return pixels.repeat(size // side, axis=1).repeat(size // side, axis=2)
    by = side // size
    blocks = pixels.reshape(count, size, by, size, by, channels)
    area = by * by
    means: np.ndarray = (blocks.sum(axis=(2, 4), dtype=np.uint32) + area // 2) // area
    return means.astype(np.uint8)


def _in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3:
        return pixels.repeat(3, axis=3)
    # ITU-R 601 in fixed point, as Pillow makes L of RGB
    red, green, blue = (pixels[..., i : i + 1].astype(np.uint32) for i in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16).astype(np.uint8)


def _from_idx(name: str, kind: Any, root: Path, download: bool) -> LabelledDataset:
    raw = root / kind.__name__ / "raw"
    files = [filename.removesuffix(".gz") for filename, _ in kind.resources]
    if download and not all(_idx_file(raw, file) for file in files):
        _download(name, kind, root, f"its four files into {raw}")
    paths = {file: _idx_file(raw, file) for file in files}
    for file, path in paths.items():
        if path is None:
            raise _absent(
                name, raw / f"{file}.gz", f"it and the three that belong to it into {raw}"
            )
    # In a folder of its own, torchvision meets neither a .gz alone, which it does not unpack
    # without a download, nor what an old version of it cached: that would be unpickled.
    with TemporaryDirectory(prefix="adgan-") as folder:
        copy = Path(folder) / kind.__name__ / "raw"
        copy.mkdir(parents=True)
        for file, path in paths.items():
            assert path is not None
            (copy / file).write_bytes(_idx_content(path, 3 if "idx3" in file else 1))
        train, test = kind(folder, train=True), kind(folder, train=False)
    classes = tuple(entry.split(" - ")[0] for entry in kind.classes)  # MNIST's are "0 - zero"
    for part, path in ((train, paths[files[1]]), (test, paths[files[3]])):
        assert path is not None
        if len(part.data) != len(part.targets):
            raise _wrong(path, f"{len(part.targets)} labels for {len(part.data)} pictures")
        if len(part.targets) and part.targets.max() >= len(classes):
            raise _wrong(path, f"a label {int(part.targets.max())} where 0 to 9 are possible")
    return _in_order(
        name,
        classes,
        *(train.data.numpy()[..., None], train.targets.numpy().astype(np.int64)),
        *(test.data.numpy()[..., None], test.targets.numpy().astype(np.int64)),
    )


def _idx_file(raw: Path, file: str) -> Path | None:
    """Find a file, as it is or packed, in the order in which torchvision would take them."""
    return next((path for path in (raw / file, raw / f"{file}.gz") if path.is_file()), None)


def _idx_content(path: Path, dimensions: int) -> bytes:
    """Read an idx file of bytes, unpacked if need be."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            content = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _wrong(path, f"damaged or cut short: {error}") from error
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise _wrong(path, f"no idx file of bytes in {dimensions} dimension(s)")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if shape[1:] not in ((), (_SIDE, _SIDE)):
        raise _wrong(path, f"pictures of {shape[1]} x {shape[2]} pixels, not {_SIDE} x {_SIDE}")
    if len(content) != start + math.prod(shape):
        raise _wrong(path, f"{len(content)} bytes, its header says {start + math.prod(shape)}")
    return content


def _from_cifar(name: str, kind: Any, root: Path, download: bool) -> LabelledDataset:
    folder, archive = root / kind.base_folder, root / kind.filename
    meta = (kind.meta["filename"], kind.meta["md5"])
    sums = {folder / file: md5 for file, md5 in [*kind.train_list, *kind.test_list, meta]}
    missing = [path for path in sums if not path.is_file()]
    if missing:
        if archive.is_file():
            _require_md5(archive, kind.tgz_md5)
        elif not download:
            raise _absent(name, missing[0], f"{archive.name} into {root}")
        # with the archive in place this only unpacks it
        _download(name, kind, root, f"{archive.name} into {root}")
    # These files are pickles. Nothing else here is ever read as one, and these only if their
    # MD5 sums are the ones torchvision knows: what anybody else could have written is refused.
    # torchvision looks itself before it reads; here, the file that is wrong is named.
    for path, md5 in sums.items():
        _require_md5(path, md5)
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4: these pickles say 0 where it wants False
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        train, test = kind(str(root), train=True), kind(str(root), train=False)
    return _in_order(
        name,
        tuple(train.classes),
        *(np.ascontiguousarray(train.data), np.asarray(train.targets, np.int64)),
        *(np.ascontiguousarray(test.data), np.asarray(test.targets, np.int64)),
    )


def _require_md5(path: Path, md5: str) -> None:
    if not import_module("torchvision.datasets.utils").check_integrity(path, md5):
        raise _wrong(path, f"its MD5 is not {md5}")


def _in_order(
    name: str,
    classes: tuple[str, ...],
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> LabelledDataset:
    """A set whose items are called by their index in their split."""
    return LabelledDataset(
        name,
        classes,
        *(train, train_labels),
        *(test, test_labels),
        train_names=tuple(map(str, range(len(train)))),
        test_names=tuple(map(str, range(len(test)))),
    )


def _download(name: str, kind: Any, root: Path, by_hand: str) -> None:
    dataset = kind.__new__(kind)  # its constructor would also load what is there
    dataset.root = str(root)
    try:
        with redirect_stdout(sys.stderr):  # torchvision talks, and stdout is for data
            dataset.download()
    except (OSError, RuntimeError, EOFError, HTTPException, tarfile.TarError, zlib.error) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"cannot get {name}: {reason}; put {by_hand} yourself") from error


def _absent(name: str, path: Path, remedy: str) -> ConfigError:
    return ConfigError(
        f"{name}: there is no {path}; put {remedy}, name another --data-root, or add --download"
    )


def _wrong(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is not what it should be: {why}; remove it and get it again")
