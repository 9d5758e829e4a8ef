"""Folders of classes, or a normal and an anomalous one, become training and test images."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from labelled_images import everything_below, fill, load

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation import datasets
from adgan_cli.evaluation.datasets.labelled import class_index
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.selection import Selection


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
    assert got.train.pixels.shape == (12, 16, 16, 1) and got.test.pixels.shape == (9, 16, 16, 1)
    assert got.train.labels.tolist() == [1] * 12
    assert got.test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert got.train.names[:2] == ("train/bedroom/00.png", "train/bedroom/01.png")
    assert got.test.names[-1] == "val/kitchen/02.png"
    assert got.train.pixels[:, 0, 0, 0].tolist() == list(range(100, 112))
    assert got.test.pixels[:, 0, 0, 0].tolist() == [20, 21, 22, 10, 11, 12, 0, 1, 2]
    assert got.note == ""


def test_pictures_in_folders_become_64_pixels_unless_asked(rooms):
    assert load(rooms).train.pixels.shape[1:] == (64, 64, 1)


def test_training_and_test_have_equally_many_channels(rooms):
    fill(rooms / "val" / "kitchen", 1, 9, colour=True)
    got = load(rooms, size=16)
    assert got.train.pixels.shape[3] == got.test.pixels.shape[3] == 3


def test_test_comes_before_val_and_what_is_in_neither_is_counted(rooms):
    fill(rooms / "test" / "bedroom", 2)
    fill(rooms / "test" / "kitchen", 1)
    fill(rooms / "train", 1)  # in no class's folder
    got = load(rooms, size=16)
    assert got.test.names[-1] == "test/kitchen/00.png" and len(got.test.pixels) == 3
    assert got.note == "10 files in no class's folder"


def test_an_archive_is_a_folder_too(rooms, tmp_path):
    with zipfile.ZipFile(tmp_path / "rooms.zip", "w") as archive:
        for name, content in everything_below(rooms).items():
            archive.writestr(name, content)
    packed, plain = load(tmp_path / "rooms.zip", size=16), load(rooms, size=16)
    assert packed.test.names == plain.test.names
    np.testing.assert_array_equal(packed.test.pixels, plain.test.pixels)


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
    assert np.bincount(got.train.labels).tolist() == [16, 16, 4]
    assert np.bincount(got.test.labels).tolist() == [4, 4, 1]
    assert len({*got.train.names, *got.test.names}) == 45
    assert list(got.train.names) == sorted(got.train.names)
    assert got.note == "split by seed 0"
    assert load(shapes, size=16).test.names == got.test.names
    assert load(shapes, size=16, seed=1).test.names != got.test.names


def test_each_name_has_its_own_pixels_and_label(shapes):
    got = load(shapes, size=16)
    levels = {"disc": 0, "square": 50, "square/deeper": 60, "train": 100}
    for pixels, labels, names in (
        (got.train.pixels, got.train.labels, got.train.names),
        (got.test.pixels, got.test.labels, got.test.names),
    ):
        for picture, label, name in zip(pixels, labels, names, strict=True):
            folder, _, file = name.rpartition("/")
            assert set(picture.ravel()) == {levels[folder] + int(file[:2])}
            assert got.classes[label] == folder.split("/")[0]


def test_a_class_is_split_the_same_whatever_the_others_hold(shapes):
    before = load(shapes, size=16).test.names
    fill(shapes / "square", 12, 50)
    after = load(shapes, size=16).test.names
    assert [n for n in after if n.startswith("disc")] == [n for n in before if n.startswith("disc")]


def test_classes_of_equal_size_are_not_split_at_the_same_places(tmp_path):
    fill(tmp_path / "a", 20)
    fill(tmp_path / "b", 20)
    names = load(tmp_path, size=16).test.names
    assert [n[2:] for n in names if n[0] == "a"] != [n[2:] for n in names if n[0] == "b"]


@pytest.mark.parametrize("wanted", ["disc", "0"])
def test_what_other_classes_have_to_train_on_need_not_be_read(shapes, wanted, monkeypatch):
    whole = load(shapes, size=16)
    totals = []
    options = {"normal_class": wanted, "on_progress": lambda *progress: totals.append(progress)}
    part = load(shapes, size=16, **options)
    assert set(part.train.labels) == {0} and part.classes == whole.classes
    assert part.train.names == whole.train.names[:16] and part.test.names == whole.test.names
    assert totals[-1] == (25, 25) and len(totals) == 25


def test_of_a_set_with_a_split_too(rooms):
    fill(rooms / "train" / "kitchen", 12)
    assert set(load(rooms, size=16).train.labels) == {1, 2}
    got = load(rooms, size=16, normal_class="kitchen")
    assert set(got.train.labels) == {2} and set(got.test.labels) == {0, 1, 2}


def test_a_wrong_class_is_refused_before_anything_is_read(shapes, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pictures were read")

    monkeypatch.setattr(datasets, "load_pixels", refuse)
    with pytest.raises(ConfigError, match="did you mean square"):
        load(shapes, normal_class="sqare")


def test_unreadable_files_are_left_out_and_counted(rooms):
    for name in ("train/bedroom/03.png", "val/kitchen/00.png"):
        (rooms / name).write_bytes(b"damaged")
    got = load(rooms, size=16)
    assert len(got.train.pixels) == len(got.train.labels) == len(got.train.names) == 11
    assert got.test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 2
    assert got.train.pixels[3, 0, 0, 0] == 104 and got.test.pixels[-1, 0, 0, 0] == 2
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


@pytest.mark.parametrize("twice", [False, True], ids=["new cache", "old cache"])
def test_a_set_larger_than_memory_comes_out_of_the_cache(shapes, tmp_path, twice):
    plain = load(shapes, size=16)
    cache = CacheConfig(tmp_path / "cache", 10**8, map_above=1)
    if twice:  # pictures lie in the file in another order
        load(shapes, size=16, cache=cache, normal_class="square")
    mapped = load(shapes, size=16, cache=cache)
    assert mapped.train.pixels.flags.owndata == twice  # a view of the file where they lie in a row
    np.testing.assert_array_equal(mapped.train.pixels, plain.train.pixels)
    np.testing.assert_array_equal(mapped.test.pixels, plain.test.pixels)
    assert mapped.test.names == plain.test.names


def test_a_folder_without_classes_or_test_is_refused(tmp_path):
    fill(tmp_path / "flat", 3)
    with pytest.raises(ConfigError, match="no folders of pictures.*ROOT/"):
        load(tmp_path / "flat")
    fill(tmp_path / "half" / "train" / "a", 3)
    with pytest.raises(ConfigError, match="train but neither test nor val"):
        load(tmp_path / "half")


def test_two_folders_become_two_classes(tmp_path):
    normal, anomalous = fill(tmp_path / "good", 20), fill(tmp_path / "bad", 5, 100)
    got = load(normal=normal, anomalous=anomalous, size=16)
    assert got.classes == ("normal", "anomalous")
    assert got.train.labels.tolist() == [0] * 16
    assert got.test.labels.tolist() == [0] * 4 + [1] * 5
    assert got.test.names[-1] == "bad/04.png" and got.test.pixels[-1, 0, 0, 0] == 104
    assert got.train.pixels.max() < 100
    assert got.note == "normal pictures split by seed 0"
    assert class_index(got, "normal") == 0


def test_equal_names_in_both_folders_are_told_apart(tmp_path):
    (tmp_path / "a").mkdir()
    normal, anomalous = fill(tmp_path / "a" / "x", 12), fill(tmp_path / "b" / "x", 3, 100)
    got = load(normal=normal, anomalous=anomalous, size=16)
    assert len(got.train.pixels) == 10 and got.test.labels.tolist() == [0, 0, 1, 1, 1]
    assert got.test.names[-1] == "b/x/02.png"


def test_folders_that_overlap_are_refused(tmp_path):
    inner = fill(fill(tmp_path / "all", 12) / "bad", 3)
    outer, again = inner.parent, inner / ".." / "bad"
    for normal, anomalous in ((outer, inner), (inner, outer), (inner, inner), (outer, again)):
        with pytest.raises(ConfigError, match="overlap"):
            load(normal=normal, anomalous=anomalous)


def test_two_folders_are_needed_and_no_data_set_beside_them(tmp_path):
    folder, other = fill(tmp_path / "a", 1), fill(tmp_path / "b", 1)
    for dataset, normal, anomalous in (
        ("", folder, None), ("", None, folder), ("digits", folder, other)
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="--normal and --anomalous together, or --dataset"):
            load(dataset, normal=normal, anomalous=anomalous)
    with pytest.raises(ConfigError, match="--anomalous: .*00.png is a file"):
        load(normal=folder, anomalous=other / "00.png")
    with pytest.raises(ConfigError, match="missing does not exist"):
        load(normal=folder, anomalous=tmp_path / "missing")
