"""Every set of pictures with classes becomes the same: training, test, labels, names."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adgan_cli.config import ReadConfig
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation import labelled as module
from adgan_cli.evaluation.labelled import (
    DATASETS,
    LabelledDataset,
    class_index,
    default_data_root,
    load_labelled,
)
from adgan_cli.evaluation.packed_sets import adapted
from adgan_cli.evaluation.vision import torchvision
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.selection import Selection


def load(dataset: str | Path = "", **options: Any) -> LabelledDataset:
    settings: dict[str, Any] = dict(
        size=None,
        channels=None,
        seed=0,
        data_root=None,
        download=False,
        reading=ReadConfig(),
        workers=1,
        place=None,
    )
    return load_labelled(str(dataset), **{**settings, **options})


@pytest.fixture
def datasets(monkeypatch):
    """torchvision's data sets, with no way out; skips where torchvision cannot be imported."""
    try:
        found = torchvision().datasets
    except ConfigError as error:
        pytest.skip(str(error))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return found


def everything_below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# MNIST and Fashion-MNIST

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
def mnist(tmp_path) -> Path:
    """The folder with MNIST's four .gz files, a few pictures in them."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, values in idx_arrays().items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
    return raw


def test_the_gz_files_of_mnist_alone_are_enough(datasets, mnist, tmp_path):
    before = everything_below(tmp_path)
    digits = load("mnist", data_root=tmp_path)
    assert digits.classes == tuple("0123456789")
    assert digits.train.shape == (12, 32, 32, 1) and digits.train.dtype == np.uint8
    assert digits.test.shape == (5, 32, 32, 1)
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert digits.train_labels.tolist() == [*range(10), 0, 1]
    assert digits.test_labels.tolist() == [9, 8, 0, 0, 1]
    assert digits.test_names == ("0", "1", "2", "3", "4")
    assert everything_below(tmp_path) == before  # nothing is left behind


def test_28_pixels_are_padded_with_black_to_32(datasets, mnist, tmp_path):
    digits = load("mnist", data_root=tmp_path)
    inner = digits.train[:, 2:30, 2:30, 0]
    np.testing.assert_array_equal(inner, idx_arrays()[PICTURES])
    assert digits.train.sum() == inner.sum()
    assert digits.note == "padded from 28 to 32 pixels"


def test_unpacked_files_come_before_packed_ones(datasets, mnist, tmp_path):
    (mnist / LABELS).write_bytes(idx(np.full(12, 7)))
    (mnist / f"{PICTURES}.gz").unlink()
    (mnist / PICTURES).write_bytes(idx(np.zeros((12, 28, 28))))
    digits = load("mnist", data_root=tmp_path)
    assert set(digits.train_labels) == {7}
    assert not digits.train.any()


def test_what_an_old_torchvision_kept_is_not_unpickled(datasets, mnist, tmp_path):
    kept = tmp_path / "MNIST" / "processed"
    kept.mkdir()
    for name in ("training.pt", "test.pt"):
        (kept / name).write_bytes(b"not to be opened")
    assert len(load("mnist", data_root=tmp_path).train) == 12


def test_fashion_has_its_own_folder_and_classes(datasets, mnist, tmp_path):
    mnist.parent.rename(tmp_path / "FashionMNIST")
    clothes = load("fashion-mnist", data_root=tmp_path)
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
def test_a_file_that_is_not_what_it_says_is_named(datasets, mnist, tmp_path, damage):
    path = mnist / f"{PICTURES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        load("mnist", data_root=tmp_path)
    assert str(caught.value).startswith(f"{path} is not what it should be: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [np.arange(11) % 10, np.arange(12)], ids=["fewer", "above 9"])
def test_labels_must_fit_the_pictures(datasets, mnist, tmp_path, labels):
    (mnist / f"{LABELS}.gz").write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(ConfigError, match=f"{LABELS}.gz is not what it should be.* label"):
        load("mnist", data_root=tmp_path)


def test_an_absent_set_says_what_to_put_where(datasets, mnist, tmp_path):
    (mnist / f"{LABELS}.gz").unlink()
    with pytest.raises(ConfigError) as caught:
        load("mnist", data_root=tmp_path)
    message = str(caught.value)
    assert str(mnist / f"{LABELS}.gz") in message
    assert "--download" in message and "--data-root" in message and "\n" not in message


def test_nothing_is_downloaded_where_all_is_there(datasets, mnist, tmp_path):
    assert len(load("mnist", data_root=tmp_path, download=True).train) == 12


def test_a_download_that_fails_is_one_line_and_stdout_stays_clean(
    datasets, tmp_path, monkeypatch, capsys
):
    def download(self: object) -> None:
        print("Downloading")
        raise RuntimeError("Error downloading a.gz:\nTried here, got:\nno route")

    monkeypatch.setattr(datasets.MNIST, "download", download)
    with pytest.raises(ConfigError, match="cannot get mnist: .* got: no route; put its four files"):
        load("mnist", data_root=tmp_path, download=True)
    assert capsys.readouterr().out == ""


def test_a_download_is_read(datasets, mnist, tmp_path, monkeypatch):
    packed = everything_below(mnist)
    for name in packed:
        (mnist / name).unlink()

    (tmp_path / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):  # of an old torchvision: not to be opened
        (tmp_path / "MNIST" / "processed" / name).write_bytes(b"")

    def download(self: Any) -> None:
        for name, content in packed.items():
            Path(self.raw_folder, name.removesuffix(".gz")).write_bytes(gzip.decompress(content))

    monkeypatch.setattr(datasets.MNIST, "download", download)
    assert len(load("mnist", data_root=tmp_path, download=True).train) == 12


# CIFAR


class Trap:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def old_pickle(value: object) -> bytes:
    """As Python 2 and an old NumPy wrote: 0 and 1 where dtypes now have False and True."""
    written = pickle.dumps(value, protocol=2)
    return written.replace(b"X\x02\x00\x00\x00u1q", b"U\x02u1q").replace(
        b"\x89\x88\x87", b"K\0K\1\x87"
    )


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, datasets, tmp_path, monkeypatch):
    """Name, class and folder of a CIFAR of a few pictures, with its sums in torchvision."""
    kind = getattr(datasets, {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}[request.param])
    key = "labels" if request.param == "cifar10" else "fine_labels"
    folder = tmp_path / kind.base_folder
    folder.mkdir()

    def batch(seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        return {"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8), key: [0, 1, 1]}

    def write(name: str, value: object) -> list[str]:
        (folder / name).write_bytes(old_pickle(value))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    monkeypatch.setattr(kind, "train_list", [write("one", batch(0)), write("two", batch(1))])
    monkeypatch.setattr(kind, "test_list", [write("three", batch(2))])
    name, md5 = write("meta", {kind.meta["key"]: ["airplane", "bird"]})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": name, "md5": md5})
    return request.param, kind, folder


def test_cifar_is_read_in_its_order(cifar, tmp_path):
    name, _, _ = cifar
    pictures = load(name, data_root=tmp_path)
    assert pictures.train.shape == (6, 32, 32, 3) and pictures.test.shape == (3, 32, 32, 3)
    first = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    planes = first[0].reshape(3, 32, 32)
    np.testing.assert_array_equal(pictures.train[0], planes.transpose(1, 2, 0))
    assert pictures.classes == ("airplane", "bird")
    assert pictures.train_labels.tolist() == [0, 1, 1, 0, 1, 1]
    assert pictures.train_names == tuple("012345")
    assert pictures.train.flags.c_contiguous and pictures.note == ""


@pytest.mark.parametrize("file", ["one", "three", "meta"])
def test_no_pickle_is_opened_whose_sum_is_another(cifar, tmp_path, file):
    name, _, folder = cifar
    sprung = tmp_path / "sprung"
    (folder / file).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ConfigError, match="MD5") as caught:
        load(name, data_root=tmp_path)
    assert str(caught.value).startswith(f"{folder / file} is not")
    assert not sprung.exists()
    pickle.loads((folder / file).read_bytes())
    assert sprung.exists()  # the trap works


def packed_cifar(folder: Path, archive: Path) -> str:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return hashlib.md5(archive.read_bytes()).hexdigest()


# Python 3.12 and 3.13 warn of how torchvision unpacks
@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
def test_the_archive_of_cifar_alone_is_enough(cifar, tmp_path, monkeypatch):
    name, kind, folder = cifar
    md5 = packed_cifar(folder, tmp_path / kind.filename)
    monkeypatch.setattr(kind, "tgz_md5", md5)
    assert len(load(name, data_root=tmp_path).train) == 6


def test_an_archive_of_another_sum_is_not_unpacked(cifar, tmp_path):
    name, kind, folder = cifar
    packed_cifar(folder, tmp_path / kind.filename)
    with pytest.raises(ConfigError, match=f"{kind.filename} is not what it should be: its MD5"):
        load(name, data_root=tmp_path)
    assert not folder.exists()


def test_a_missing_part_of_cifar_is_named(cifar, tmp_path):
    name, kind, folder = cifar
    (folder / "two").unlink()
    with pytest.raises(ConfigError) as caught:
        load(name, data_root=tmp_path)
    message = str(caught.value)
    assert str(folder / "two") in message and f"put {kind.filename} into" in message


# digits, sizes and channels


def test_digits_are_always_there_and_split_by_seed():
    digits = load("digits")
    assert digits.classes == tuple("0123456789")
    assert digits.train.shape[1:] == (16, 16, 1)
    assert len(digits.train) + len(digits.test) == 1797
    assert sorted(map(int, digits.train_names + digits.test_names)) == list(range(1797))
    counts = np.bincount(digits.test_labels) / np.bincount(digits.train_labels)
    assert (abs(counts - 0.25) < 0.01).all()
    assert digits.train.max() == 255 and digits.train.min() == 0
    assert digits.note == "split by seed 0; enlarged from 8 to 16 pixels"


def test_the_split_of_digits_depends_on_the_seed_alone():
    first, again, other = load("digits"), load("digits"), load("digits", seed=1)
    assert first.test_names == again.test_names != other.test_names
    np.testing.assert_array_equal(first.train, again.train)


def tiny_set(pixels: np.ndarray) -> LabelledDataset:
    labels = np.zeros(len(pixels), np.int64)
    names = tuple(map(str, range(len(pixels))))
    return LabelledDataset("tiny", ("a",), pixels, labels, pixels, labels, names, names)


def test_pictures_are_enlarged_without_smoothing_and_reduced_by_averaging():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    larger = adapted(tiny_set(pixels), 64, None)
    np.testing.assert_array_equal(larger.train, np.kron(pixels, np.ones((1, 2, 2, 1), np.uint8)))
    smaller = adapted(tiny_set(pixels), 16, None)
    corner = pixels[1, 2:4, 4:6, 2].astype(float).mean()
    assert smaller.test.dtype == np.uint8 and smaller.test.shape == (3, 16, 16, 3)
    assert smaller.test[1, 1, 2, 2] == int(corner + 0.5)
    assert smaller.note == "reduced from 32 to 16 pixels"


def test_colour_becomes_grey_as_pillow_makes_it_and_grey_is_repeated():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    grey = adapted(tiny_set(pixels), None, 1)
    expected = np.asarray(Image.fromarray(pixels[1]).convert("L"))
    np.testing.assert_array_equal(grey.train[1, ..., 0], expected)
    colour = adapted(tiny_set(pixels[..., :1]), None, 3)
    np.testing.assert_array_equal(colour.train, pixels[..., [0, 0, 0]])
    assert adapted(tiny_set(pixels), 32, 3).note == ""


# folders


def fill(folder: Path, count: int, level: int = 0, colour: bool = False) -> Path:
    """`count` pictures of 4 pixels; their grey level tells the class and the number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        value = level + number
        picture = Image.new("RGB" if colour else "L", (4, 4), (value, 0, 0) if colour else value)
        picture.save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def rooms(tmp_path) -> Path:
    """Training pictures of one class only, as of rooms."""
    root = tmp_path / "rooms"
    fill(root / "train" / "bedroom", 12, 100)
    for level, scene in enumerate(["kitchen", "bedroom", "bathroom"]):
        fill(root / "val" / scene, 3, 10 * level)
    return root


def test_a_folder_with_a_split_keeps_it(rooms):
    got = load(rooms, size=16)
    assert got.name == "rooms" and got.classes == ("bathroom", "bedroom", "kitchen")
    assert got.train.shape == (12, 16, 16, 1) and got.test.shape == (9, 16, 16, 1)
    assert got.train_labels.tolist() == [1] * 12
    assert got.test_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert got.train_names[:2] == ("train/bedroom/00.png", "train/bedroom/01.png")
    assert got.test_names[-1] == "val/kitchen/02.png"
    assert got.train[:, 0, 0, 0].tolist() == list(range(100, 112))
    assert got.test[:, 0, 0, 0].tolist() == [20, 21, 22, 10, 11, 12, 0, 1, 2]
    assert got.note == ""


def test_pictures_in_folders_become_64_pixels_unless_asked(rooms):
    assert load(rooms).train.shape[1:] == (64, 64, 1)
    assert load(rooms, channels=3).train.shape[1:] == (64, 64, 3)


def test_training_and_test_have_equally_many_channels(rooms):
    fill(rooms / "val" / "kitchen", 1, 9, colour=True)
    got = load(rooms, size=16)
    assert got.train.shape[3] == got.test.shape[3] == 3


def test_test_comes_before_val_and_what_is_in_neither_is_counted(rooms):
    fill(rooms / "test" / "bedroom", 2)
    fill(rooms / "test" / "kitchen", 1)
    fill(rooms / "train", 1)  # in no class's folder
    got = load(rooms, size=16)
    assert got.test_names[-1] == "test/kitchen/00.png" and len(got.test) == 3
    assert got.note == "10 files in no class's folder"


def test_an_archive_is_a_folder_too(rooms, tmp_path):
    with zipfile.ZipFile(tmp_path / "rooms.zip", "w") as archive:
        for name, content in everything_below(rooms).items():
            archive.writestr(name, content)
    packed, plain = load(tmp_path / "rooms.zip", size=16), load(rooms, size=16)
    assert packed.test_names == plain.test_names
    np.testing.assert_array_equal(packed.test, plain.test)


@pytest.fixture
def shapes(tmp_path) -> Path:
    """Classes without a split."""
    root = tmp_path / "shapes"
    fill(root / "disc", 20, 0)
    fill(root / "square", 10, 50)
    fill(root / "square" / "deeper", 10, 60)
    fill(root / "train", 5, 100)  # on rails
    return root


def test_a_folder_without_a_split_is_split_by_seed(shapes):
    got = load(shapes, size=16)
    assert got.classes == ("disc", "square", "train")
    assert np.bincount(got.train_labels).tolist() == [16, 16, 4]
    assert np.bincount(got.test_labels).tolist() == [4, 4, 1]
    assert len({*got.train_names, *got.test_names}) == 45
    assert list(got.train_names) == sorted(got.train_names)
    assert got.note == "split by seed 0"
    assert load(shapes, size=16).test_names == got.test_names
    assert load(shapes, size=16, seed=1).test_names != got.test_names


def test_each_name_has_its_own_pixels_and_label(shapes):
    got = load(shapes, size=16)
    levels = {"disc": 0, "square": 50, "square/deeper": 60, "train": 100}
    for pixels, labels, names in (
        (got.train, got.train_labels, got.train_names),
        (got.test, got.test_labels, got.test_names),
    ):
        for picture, label, name in zip(pixels, labels, names, strict=True):
            folder, _, file = name.rpartition("/")
            assert set(picture.ravel()) == {levels[folder] + int(file[:2])}
            assert got.classes[label] == folder.split("/")[0]


def test_a_class_is_split_the_same_whatever_the_others_hold(shapes):
    before = load(shapes, size=16).test_names
    fill(shapes / "square", 12, 50)
    after = load(shapes, size=16).test_names
    assert [n for n in after if n.startswith("disc")] == [n for n in before if n.startswith("disc")]


def test_classes_of_equal_size_are_not_split_at_the_same_places(tmp_path):
    fill(tmp_path / "a", 20)
    fill(tmp_path / "b", 20)
    names = load(tmp_path, size=16).test_names
    assert [n[2:] for n in names if n[0] == "a"] != [n[2:] for n in names if n[0] == "b"]


@pytest.mark.parametrize("wanted", ["disc", "0"])
def test_what_other_classes_have_to_train_on_need_not_be_read(shapes, wanted, monkeypatch):
    whole = load(shapes, size=16)
    totals = []
    part = load(
        shapes,
        size=16,
        normal_class=wanted,
        on_picture=lambda done, total: totals.append((done, total)),
    )
    assert set(part.train_labels) == {0} and part.classes == whole.classes
    assert part.train_names == whole.train_names[:16] and part.test_names == whole.test_names
    assert totals[-1] == (25, 25) and len(totals) == 25


def test_of_a_set_with_a_split_too(rooms):
    fill(rooms / "train" / "kitchen", 12)
    assert set(load(rooms, size=16).train_labels) == {1, 2}
    got = load(rooms, size=16, normal_class="kitchen")
    assert set(got.train_labels) == {2} and set(got.test_labels) == {0, 1, 2}


def test_a_wrong_class_is_refused_before_anything_is_read(shapes, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pictures were read")

    monkeypatch.setattr(module, "load_pixels", refuse)
    with pytest.raises(ConfigError, match="did you mean square"):
        load(shapes, normal_class="sqare")


def test_unreadable_files_are_left_out_and_counted(rooms):
    for name in ("train/bedroom/03.png", "val/kitchen/00.png"):
        (rooms / name).write_bytes(b"damaged")
    got = load(rooms, size=16)
    assert len(got.train) == len(got.train_labels) == len(got.train_names) == 11
    assert got.test_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 2
    assert got.train[3, 0, 0, 0] == 104 and got.test[-1, 0, 0, 0] == 2
    assert got.note.startswith("2 files unreadable and left out, the first train/bedroom/03.png: ")


def test_links_are_left_alone_and_counted_or_followed(rooms, tmp_path):
    target = fill(tmp_path / "elsewhere", 2)
    try:
        (rooms / "val" / "attic").symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    got = load(rooms, size=16)
    assert "attic" not in got.classes and "symbolic links left alone: 1" in got.note
    followed = load(rooms, size=16, selection=Selection(follow_links=True))
    assert "attic" in followed.classes and followed.note == ""


@pytest.mark.parametrize("twice", [False, True], ids=["new cache", "known cache"])
def test_a_set_larger_than_memory_comes_out_of_the_cache(shapes, tmp_path, twice):
    plain = load(shapes, size=16)
    place = CacheConfig(tmp_path / "cache", 10**8, map_above=1)
    if twice:  # pictures lie in the file in another order
        load(shapes, size=16, place=place, normal_class="square")
    mapped = load(shapes, size=16, place=place)
    assert mapped.train.flags.owndata == twice  # a view of the file where they lie in a row
    np.testing.assert_array_equal(mapped.train, plain.train)
    np.testing.assert_array_equal(mapped.test, plain.test)
    assert mapped.test_names == plain.test_names


def test_a_folder_without_classes_or_test_is_refused(tmp_path):
    fill(tmp_path / "flat", 3)
    with pytest.raises(ConfigError, match="no folders of pictures.*ROOT/"):
        load(tmp_path / "flat")
    fill(tmp_path / "half" / "train" / "a", 3)
    with pytest.raises(ConfigError, match="train but neither test nor val"):
        load(tmp_path / "half")


# a normal and an anomalous folder


def test_two_folders_become_two_classes(tmp_path):
    normal, anomalous = fill(tmp_path / "good", 20), fill(tmp_path / "bad", 5, 100)
    got = load(normal=normal, anomalous=anomalous, size=16)
    assert got.classes == ("normal", "anomalous")
    assert got.train_labels.tolist() == [0] * 16
    assert got.test_labels.tolist() == [0] * 4 + [1] * 5
    assert got.test_names[-1] == "bad/04.png" and got.test[-1, 0, 0, 0] == 104
    assert got.train.max() < 100
    assert got.note == "normal pictures split by seed 0"
    assert class_index(got, "normal") == 0


def test_equal_names_in_both_folders_are_told_apart(tmp_path):
    (tmp_path / "a").mkdir()
    normal, anomalous = fill(tmp_path / "a" / "x", 12), fill(tmp_path / "b" / "x", 3, 100)
    got = load(normal=normal, anomalous=anomalous, size=16)
    assert len(got.train) == 10 and got.test_labels.tolist() == [0, 0, 1, 1, 1]
    assert got.test_names[-1] == "b/x/02.png"


def test_folders_that_overlap_are_refused(tmp_path):
    inner = fill(fill(tmp_path / "all", 12) / "bad", 3)
    for normal, anomalous in (
        (inner.parent, inner),
        (inner, inner.parent),
        (inner, inner),
        (inner.parent, inner / ".." / "bad"),
    ):
        with pytest.raises(ConfigError, match="overlap"):
            load(normal=normal, anomalous=anomalous)


def test_two_folders_are_needed_and_no_data_set_beside_them(tmp_path):
    folder, other = fill(tmp_path / "a", 1), fill(tmp_path / "b", 1)
    for dataset, normal, anomalous in (
        ("", folder, None),
        ("", None, folder),
        ("digits", folder, other),
    ):
        with pytest.raises(ConfigError, match="--normal and --anomalous together, or --dataset"):
            load(dataset, normal=normal, anomalous=anomalous)
    with pytest.raises(ConfigError, match="--anomalous: .*00.png is a file"):
        load(normal=folder, anomalous=other / "00.png")
    with pytest.raises(ConfigError, match="missing does not exist"):
        load(normal=folder, anomalous=tmp_path / "missing")


# LSUN


def database(path: Path, count: int, level: int) -> None:
    """An LMDB database as LSUN's: the values are pictures."""
    lmdb = pytest.importorskip("lmdb")
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**20) as environment:
        with environment.begin(write=True) as transaction:
            for number in range(count):
                buffer = io.BytesIO()
                Image.new("L", (4, 4), level + number).save(buffer, "PNG")
                transaction.put(f"{number:04}".encode(), buffer.getvalue())


@pytest.mark.parametrize("below", ["lsun", "."])
def test_lsun_is_read_from_its_own_databases(tmp_path, below):
    root = tmp_path / below
    database(root / "bedroom_train_lmdb", 12, 100)
    for level, scene in enumerate(["bridge", "bedroom", "dining_room"]):
        database(root / f"{scene}_val_lmdb", 3, 10 * level)
    before = sorted(everything_below(tmp_path))
    got = load("lsun", data_root=tmp_path, size=16, normal_class="bedroom")
    assert got.classes == ("bedroom", "bridge", "dining_room")
    assert got.train_labels.tolist() == [0] * 12
    assert got.train[:, 0, 0, 0].tolist() == list(range(100, 112))
    assert dict(zip(got.test_names, got.test_labels, strict=True))["bridge_val_lmdb/0002"] == 1
    assert np.bincount(got.test_labels).tolist() == [3, 3, 3]
    assert class_index(got, "bedroom") == 0
    assert sorted(everything_below(tmp_path)) == before  # torchvision would pickle the keys


def test_training_pictures_of_other_scenes_stay_closed(tmp_path):
    for scene in ("bedroom", "bridge"):
        database(tmp_path / f"{scene}_train_lmdb", 12, 0)
        database(tmp_path / f"{scene}_val_lmdb", 2, 0)
    assert len(load("lsun", data_root=tmp_path, size=16).train) == 24
    (tmp_path / "bridge_train_lmdb" / "data.mdb").write_bytes(b"not to be opened")
    assert len(load("lsun", data_root=tmp_path, size=16, normal_class="bedroom").train) == 12


def test_absent_lsun_says_what_to_put_where(tmp_path):
    with pytest.raises(ConfigError, match="no database in .*lsun; put .*bedroom_train_lmdb"):
        load("lsun", data_root=tmp_path, download=True)


# names


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="'minst', did you mean .*mnist") as caught:
        load("minst")
    assert all(name in str(caught.value) for name in DATASETS)
    with pytest.raises(ConfigError, match="no folder 'nothing/there'; known"):
        load("nothing/there")


def test_a_size_no_network_has_is_refused():
    with pytest.raises(ConfigError, match="--size must be one of 16, 32"):
        load("digits", size=28)


def test_the_data_root_can_stand_in_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("ADGAN_DATA_ROOT", raising=False)
    assert default_data_root() == Path("data")
    monkeypatch.setenv("ADGAN_DATA_ROOT", str(tmp_path))
    assert default_data_root() == tmp_path
    with pytest.raises(ConfigError) as caught:
        load("lsun")
    assert str(tmp_path / "lsun") in str(caught.value)


def with_classes(classes: list[str], train: list[int], test: list[int]) -> LabelledDataset:
    """A set of nothing but labels: so many pictures a class."""
    labels = [np.repeat(np.arange(len(counts)), counts) for counts in (train, test)]
    pixels = [np.zeros((len(part), 16, 16, 1), np.uint8) for part in labels]
    names = [tuple(map(str, range(len(part)))) for part in labels]
    return LabelledDataset(
        "set", tuple(classes), pixels[0], labels[0], pixels[1], labels[1], *names
    )


def test_a_class_is_found_by_name_in_any_case_or_by_index():
    birds = with_classes(["Owl", "owl", "Wren", "0"], [10] * 4, [1] * 4)
    found = {text: class_index(birds, text) for text in ("Owl", "owl", "wren", "2", "0")}
    assert found == {"Owl": 0, "owl": 1, "wren": 2, "2": 2, "0": 3}  # a name before an index


@pytest.mark.parametrize("text", ["10", "-1", "1.0", "", "²", "cats"])
def test_an_unknown_class_is_refused_with_what_there_is(text):
    ten = with_classes(["cat", "dog", *"abcdefgh"], [10] * 10, [1] * 10)
    with pytest.raises(ConfigError, match="it has 0 to 9: cat, dog, a, b") as caught:
        class_index(ten, text)
    assert ("did you mean cat" in str(caught.value)) == (text == "cats")


def test_a_class_needs_ten_pictures_to_train_on():
    classes = ["a", "b", "c"]
    assert class_index(with_classes(classes, [10, 9, 1], [1, 1, 1]), "a") == 0
    for text, said in (("b", "has 9 pictures"), ("c", "has 1 picture to")):
        with pytest.raises(ConfigError, match=said):
            class_index(with_classes(classes, [10, 9, 1], [1, 1, 1]), text)


def test_a_test_set_needs_pictures_of_the_class_and_of_others():
    with pytest.raises(ConfigError, match="no picture of class a"):
        class_index(with_classes(["a", "b"], [10, 10], [0, 3]), "a")
    with pytest.raises(ConfigError, match="class a only; add pictures of others"):
        class_index(with_classes(["a", "b"], [10, 10], [3, 0]), "a")
