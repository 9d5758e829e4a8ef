"""MNIST's own files, packed or not, are read; what is missing or damaged is named."""

import gzip
import hashlib
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_images import everything_below, load

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets import mnist

PICTURES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def idx_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        PICTURES: rng.integers(1, 256, (12, 28, 28)),
        LABELS: np.arange(12) % 10,
        "t10k-images-idx3-ubyte": rng.integers(1, 256, (5, 28, 28)),
        "t10k-labels-idx1-ubyte": np.array([9, 8, 0, 0, 1]),
    }


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """The folder with MNIST's four .gz files, a few images in them; downloads come from mirror/."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, values in idx_arrays().items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
    source = mnist._SOURCES["mnist"]
    md5 = {n: hashlib.md5((raw / f"{n}.gz").read_bytes()).hexdigest() for n in idx_arrays()}
    mirror = (tmp_path / "mirror").as_uri() + "/"
    monkeypatch.setitem(mnist._SOURCES, "mnist", replace(source, url=mirror, md5=md5))
    return raw


def test_the_gz_files_of_mnist_alone_are_enough(raw, tmp_path):
    before = everything_below(tmp_path)
    digits = load("mnist", root=tmp_path)
    assert digits.classes == tuple("0123456789")
    assert digits.train.pixels.shape == (12, 32, 32, 1) and digits.train.pixels.dtype == np.uint8
    assert digits.test.pixels.shape == (5, 32, 32, 1)
    assert digits.train.labels.dtype == digits.test.labels.dtype == np.int64
    assert digits.train.labels.tolist() == [*range(10), 0, 1]
    assert digits.test.labels.tolist() == [9, 8, 0, 0, 1]
    assert digits.test.names == ("0", "1", "2", "3", "4")
    assert everything_below(tmp_path) == before  # nothing is left behind


def test_28_pixels_are_padded_with_black_to_32(raw, tmp_path):
    digits = load("mnist", root=tmp_path)
    inner = digits.train.pixels[:, 2:30, 2:30, 0]
    np.testing.assert_array_equal(inner, idx_arrays()[PICTURES])
    assert digits.train.pixels.sum() == inner.sum()
    assert digits.note == "padded from 28 to 32 pixels"


def test_unpacked_files_come_before_packed_ones(raw, tmp_path):
    (raw / LABELS).write_bytes(idx(np.full(12, 7)))
    (raw / f"{PICTURES}.gz").unlink()
    (raw / PICTURES).write_bytes(idx(np.zeros((12, 28, 28))))
    digits = load("mnist", root=tmp_path)
    assert set(digits.train.labels) == {7}
    assert not digits.train.pixels.any()


def test_what_an_old_torchvision_kept_is_not_unpickled(raw, tmp_path):
    kept = tmp_path / "MNIST" / "processed"
    kept.mkdir()
    for name in ("training.pt", "test.pt"):
        (kept / name).write_bytes(b"not to be opened")
    assert len(load("mnist", root=tmp_path).train.pixels) == 12


def test_fashion_has_its_own_folder_and_classes(raw, tmp_path):
    raw.parent.rename(tmp_path / "FashionMNIST")
    clothes = load("fashion-mnist", root=tmp_path)
    assert clothes.classes[0] == "T-shirt/top" and len(clothes.classes) == 10


def cut(content: bytes) -> bytes:
    return content[:-20]


def of_another_kind(content: bytes) -> bytes:
    return gzip.compress(b"PK" + bytes(10_000))


def of_another_size(content: bytes) -> bytes:
    return gzip.compress(idx(np.zeros((12, 32, 32))))


def shorter_than_it_says(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-1])


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def not_packed(content: bytes) -> bytes:
    return gzip.decompress(content)


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    "damage",
    [cut, of_another_kind, of_another_size, shorter_than_it_says, flipped, not_packed, empty],
)
def test_a_file_that_is_not_what_it_says_is_named(raw, tmp_path, damage):
    path = raw / f"{PICTURES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        load("mnist", root=tmp_path)
    assert str(caught.value).startswith(f"{path} is not what it should be: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [np.arange(11) % 10, np.arange(12)], ids=["fewer", "above 9"])
def test_labels_must_fit_the_pictures(raw, tmp_path, labels):
    (raw / f"{LABELS}.gz").write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(ConfigError, match=f"{LABELS}.gz is not what it should be.* label"):
        load("mnist", root=tmp_path)


def test_an_absent_set_says_what_to_put_where(raw, tmp_path):
    (raw / f"{LABELS}.gz").unlink()
    with pytest.raises(ConfigError) as caught:
        load("mnist", root=tmp_path)
    message = str(caught.value)
    assert str(raw / f"{LABELS}.gz") in message
    assert "--download" in message and "--data-root" in message and "\n" not in message


def test_nothing_is_downloaded_where_all_is_there(raw, tmp_path):
    assert len(load("mnist", root=tmp_path, download=True).train.pixels) == 12


@pytest.fixture
def mirror(raw) -> Path:
    """The folder that downloads come from, with what `raw` then lacks."""
    return Path(shutil.move(raw, raw.parents[1] / "mirror"))


def test_a_download_is_checked_and_kept_packed(raw, mirror, tmp_path):
    assert len(load("mnist", root=tmp_path, download=True).train.pixels) == 12
    assert everything_below(raw) == everything_below(mirror)


@pytest.mark.parametrize("damage", [cut, empty])
def test_a_download_that_is_not_the_published_file_is_not_kept(raw, mirror, tmp_path, damage):
    path = mirror / f"{LABELS}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=f"cannot get mnist from .*{LABELS}.gz: what came has"):
        load("mnist", root=tmp_path, download=True)
    assert {file.name for file in raw.iterdir()} == {f"{PICTURES}.gz"}


def test_a_download_that_fails_is_one_line(raw, mirror, tmp_path):
    shutil.rmtree(mirror)
    with pytest.raises(ConfigError, match="cannot get mnist from file.*; put it into .*raw") as no:
        load("mnist", root=tmp_path, download=True)
    assert "\n" not in str(no.value)
    assert not any(raw.iterdir())
