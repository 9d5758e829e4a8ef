"""CIFAR's own files are read, and no pickle but them."""

import hashlib
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_images import load

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets import cifar


class Trap:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def old_pickle(value: object) -> bytes:
    """Pickle as Python 2 and an old NumPy did: bytes are text, and dtypes say 0 and 1."""
    new = pickle.dumps(value, protocol=3)
    for now, then in (
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"X\x02\x00\x00\x00u1q", b"U\x02u1q"),
        (b"C\x01b", b"U\x01b"),
        (b"\x89\x88\x87", b"K\0K\1\x87"),
        (b"B" + struct.pack("<I", 3 * 3072), b"T" + struct.pack("<I", 3 * 3072)),
    ):
        new = new.replace(now, then)
    return new


Fake = tuple[str, cifar._CifarSource, Path]


@pytest.fixture(params=["cifar10", "cifar100"])
def fake(request, tmp_path, monkeypatch) -> Fake:
    """Name, source and folder of a CIFAR of a few images, with its own sums."""
    source = cifar._SOURCES[request.param]
    folder = tmp_path / source.folder
    folder.mkdir()

    def batch(seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        data = rng.integers(0, 256, (3, 3072), dtype=np.uint8)
        return {"data": data, f"{source.prefix}labels": [0, 1, 1]}

    meta = {f"{source.prefix}label_names": ["airplane", "bird"]}
    md5 = {}
    for name, value in (("one", batch(0)), ("two", batch(1)), ("three", batch(2)), ("meta", meta)):
        content = old_pickle(value)
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
    source = replace(source, md5=md5)
    monkeypatch.setitem(cifar._SOURCES, request.param, source)
    return request.param, source, folder


def test_cifar_is_read_in_its_order(fake, tmp_path):
    name, _, _ = fake
    images = load(name, root=tmp_path)
    assert images.train.pixels.shape == (6, 32, 32, 3)
    assert images.test.pixels.shape == (3, 32, 32, 3)
    first = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    planes = first[0].reshape(3, 32, 32)
    np.testing.assert_array_equal(images.train.pixels[0], planes.transpose(1, 2, 0))
    assert images.classes == ("airplane", "bird")
    assert images.train.labels.tolist() == [0, 1, 1, 0, 1, 1]
    assert images.train.names == tuple("012345")
    assert images.train.pixels.flags.c_contiguous and images.note == ""


@pytest.mark.parametrize("file", ["one", "three", "meta"])
def test_no_pickle_is_opened_whose_sum_is_another(fake, tmp_path, file):
    name, _, folder = fake
    sprung = tmp_path / "sprung"
    (folder / file).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ConfigError, match="MD5") as caught:
        load(name, root=tmp_path)
    assert str(caught.value).startswith(f"{folder / file} is not")
    assert not sprung.exists()
    pickle.loads((folder / file).read_bytes())
    assert sprung.exists()  # the trap works


def test_of_a_pickle_of_the_right_sum_only_arrays_are_built(tmp_path):
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(sprung))
    with pytest.raises(pickle.UnpicklingError, match="Path"):
        cifar._unpickled(content, hashlib.md5(content).hexdigest(), tmp_path / "file")
    assert not sprung.exists()


def pack(folder: Path, archive: Path) -> str:
    """Move a folder into an archive, and return its MD5."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    shutil.rmtree(folder)
    return hashlib.md5(archive.read_bytes()).hexdigest()


@pytest.mark.parametrize("downloaded", [False, True])
def test_the_archive_of_cifar_alone_is_enough(fake, tmp_path, monkeypatch, downloaded):
    name, source, folder = fake
    whole = load(name, root=tmp_path)
    origin = tmp_path / "mirror" if downloaded else tmp_path
    origin.mkdir(exist_ok=True)
    md5 = pack(folder, origin / source.archive)
    monkeypatch.setitem(cifar._SOURCES, name, replace(source, archive_md5=md5))
    monkeypatch.setattr(cifar, "URL", origin.as_uri() + "/")
    packed = load(name, root=tmp_path, download=downloaded)
    np.testing.assert_array_equal(packed.train.pixels, whole.train.pixels)
    assert (tmp_path / source.archive).exists() and not folder.exists()


def test_an_archive_of_another_sum_is_not_opened(fake, tmp_path):
    name, source, folder = fake
    pack(folder, tmp_path / source.archive)
    with pytest.raises(ConfigError, match=f"{source.archive} is not what it should be: its MD5"):
        load(name, root=tmp_path)


def test_a_missing_part_of_cifar_is_named(fake, tmp_path):
    name, source, folder = fake
    (folder / "two").unlink()
    with pytest.raises(ConfigError) as caught:
        load(name, root=tmp_path)
    message = str(caught.value)
    assert str(folder / "two") in message and f"put {source.archive} into" in message
