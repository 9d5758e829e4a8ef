"""Data sets are called by name, adapted to a size, and one of their classes becomes the normal."""

from pathlib import Path

import numpy as np
import pytest
from labelled_images import load

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets import DATASETS, default_data_root
from adgan_cli.evaluation.datasets.adapt import adapt
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split, class_index, numbered


def test_digits_are_always_there_and_split_by_seed():
    digits = load("digits")
    assert digits.classes == tuple("0123456789")
    assert digits.train.pixels.shape[1:] == (16, 16, 1)
    assert len(digits.train.pixels) + len(digits.test.pixels) == 1797
    assert sorted(map(int, digits.train.names + digits.test.names)) == list(range(1797))
    counts = np.bincount(digits.test.labels) / np.bincount(digits.train.labels)
    assert (abs(counts - 0.25) < 0.01).all()
    assert digits.train.pixels.max() == 255 and digits.train.pixels.min() == 0
    assert digits.note == "split by seed 0; enlarged from 8 to 16 pixels"


def test_the_split_of_digits_depends_on_the_seed_alone():
    first, again, other = load("digits"), load("digits"), load("digits", seed=1)
    assert first.test.names == again.test.names != other.test.names
    np.testing.assert_array_equal(first.train.pixels, again.train.pixels)


def tiny_set(pixels: np.ndarray) -> LabelledDataset:
    split = numbered(pixels, np.zeros(len(pixels)))
    return LabelledDataset("tiny", ("a",), split, split)


def test_pictures_are_enlarged_without_smoothing_and_reduced_by_averaging():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    larger = adapt(tiny_set(pixels), 64)
    np.testing.assert_array_equal(
        larger.train.pixels, np.kron(pixels, np.ones((1, 2, 2, 1), np.uint8))
    )
    smaller = adapt(tiny_set(pixels), 16)
    corner = pixels[1, 2:4, 4:6, 2].astype(float).mean()
    assert smaller.test.pixels.dtype == np.uint8 and smaller.test.pixels.shape == (3, 16, 16, 3)
    assert smaller.test.pixels[1, 1, 2, 2] == int(corner + 0.5)
    assert smaller.note == "reduced from 32 to 16 pixels"


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
    """Make a set of nothing but labels: so many images a class."""

    def split(counts: list[int]) -> Split:
        labels = np.repeat(np.arange(len(counts)), counts)
        return numbered(np.zeros((len(labels), 16, 16, 1), np.uint8), labels)

    return LabelledDataset("set", tuple(classes), split(train), split(test))


def test_a_class_is_found_by_name_in_any_case_or_by_index():
    birds = with_classes(["Owl", "owl", "Wren", "0"], [10] * 4, [1] * 4)
    indices = {text: class_index(birds, text) for text in ("Owl", "owl", "wren", "2", "0")}
    assert indices == {"Owl": 0, "owl": 1, "wren": 2, "2": 2, "0": 3}  # a name before an index


@pytest.mark.parametrize("text", ["10", "-1", "1.0", "", "²", "cats"])
def test_an_unknown_class_is_refused_with_what_there_is(text):
    ten = with_classes(["cat", "dog", *"abcdefgh"], [10] * 10, [1] * 10)
    with pytest.raises(ConfigError, match="it has 0 to 9: cat, dog, a, b") as caught:
        class_index(ten, text)
    assert ("did you mean cat" in str(caught.value)) == (text == "cats")


def test_a_class_needs_ten_pictures_to_train_on():
    classes = ["a", "b", "c"]
    assert class_index(with_classes(classes, [10, 9, 1], [1, 1, 1]), "a") == 0
    for text, message in (("b", "has 9 pictures"), ("c", "has 1 picture to")):
        with pytest.raises(ConfigError, match=message):
            class_index(with_classes(classes, [10, 9, 1], [1, 1, 1]), text)


def test_a_test_set_needs_pictures_of_the_class_and_of_others():
    with pytest.raises(ConfigError, match="no picture of class a"):
        class_index(with_classes(["a", "b"], [10, 10], [0, 3]), "a")
    with pytest.raises(ConfigError, match="class a only; add pictures of others"):
        class_index(with_classes(["a", "b"], [10, 10], [3, 0]), "a")
