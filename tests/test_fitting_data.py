"""The images of a run: what is held out, what is left, and where they lie."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adgan_cli.config import TrainConfig
from adgan_cli.errors import NoImagesError
from adgan_cli.fitting.data import hold_out, load_training_images, training_data
from adgan_cli.images.find import list_inputs
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.calibration import MAX_HELD_OUT


def pictures(count: int, seed: int = 0, copies: int = 1) -> PixelSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 1), np.uint8)
    pixels = np.repeat(pixels, copies, 0)
    prints = np.repeat(np.arange(count, dtype=np.uint64) * 7919 % 10007, copies)
    return PixelSet(pixels, tuple(f"{i}.png" for i in range(len(pixels))), (), None, prints)


def loaded(folder: Path) -> PixelSet:
    reader = Reader(Preprocessing(16, 3))
    return load_training_images(list_inputs([folder]), reader, detect_grey=True)


def test_a_share_is_held_out_and_nothing_is_lost():
    trained, held = hold_out(pictures(50), TrainConfig(holdout=0.2))
    assert len(held) == 10
    assert sorted(trained.names + held.names) == sorted(pictures(50).names)


def test_the_choice_goes_by_content_not_by_order():
    whole = pictures(50)
    turned = whole.subset(np.ones(50, bool))
    order = np.arange(50)[::-1]
    turned = PixelSet(
        whole.pixels[order], tuple(whole.names[i] for i in order), (), None,
        whole.fingerprints[order],
    )  # fmt: skip
    assert sorted(hold_out(whole, TrainConfig())[1].names) == sorted(
        hold_out(turned, TrainConfig())[1].names
    )
    assert hold_out(whole, TrainConfig())[1].names != hold_out(whole, TrainConfig(seed=1))[1].names


def test_copies_of_a_picture_are_never_on_both_sides():
    trained, held = hold_out(pictures(30, copies=3), TrainConfig(holdout=0.3))
    assert len(trained) == 63 and not set(trained.fingerprints) & set(held.fingerprints)


def test_copies_of_a_picture_that_is_held_out_count_once():
    _, held = hold_out(pictures(30, copies=3), TrainConfig(holdout=0.3))
    assert len(held) == len(set(held.fingerprints)) == 9
    assert pictures(30, copies=3).count_copies() == 60


@pytest.mark.parametrize(("count", "share"), [(10, 0.1), (50, 0.0)])
def test_one_picture_is_not_held_out_alone(count, share):
    trained, held = hold_out(pictures(count), TrainConfig(holdout=share))
    assert (len(trained), len(held)) == (count, 0)


def test_no_more_are_held_out_than_p_values_need():
    many = PixelSet(
        np.zeros((3 * MAX_HELD_OUT, 1, 1, 1), np.uint8), tuple(map(str, range(3 * MAX_HELD_OUT))),
        (), None,
        np.arange(3 * MAX_HELD_OUT, dtype=np.uint64),
    )  # fmt: skip
    assert len(hold_out(many, TrainConfig(holdout=0.9))[1]) == MAX_HELD_OUT


def test_grey_and_colour_are_told_apart_by_content(discs):
    folder = discs(3)
    assert loaded(folder).pixels.shape == (3, 16, 16, 1)
    Image.new("RGB", (16, 16), (0, 0, 9)).save(folder / "blue.png")
    assert loaded(folder).pixels.shape == (4, 16, 16, 3)


@pytest.mark.parametrize(
    "content, said",
    [
        ({}, "no pictures"),
        ({"a.txt": b"hi"}, "no pictures"),
        ({"a.png": b""}, "all 1 failed.*a.png"),
    ],
)
def test_a_folder_without_usable_pictures_is_an_error(tmp_path, content, said):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(NoImagesError, match=said):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("mode", "colours", "said"),
    [
        ("RGB", ["red", "blue"], "all of 2 pictures are of one colour"),
        ("RGBA", ["#ff000000", "#00ff0000"], "all of 2 pictures are fully transparent; --alpha"),
        ("I;16", [7, 9], "of one colour.*I;16 values 7..9; --range"),
    ],
)
def test_a_set_without_variety_is_an_error_that_says_what_was_read(tmp_path, mode, colours, said):
    for index, colour in enumerate(colours):
        Image.new(mode, (16, 16), colour).save(tmp_path / f"{index}.png")
    with pytest.raises(NoImagesError, match=f"nothing to learn from .*{said}"):
        loaded(tmp_path)


def test_training_samples_the_pictures_of_the_set_wherever_they_lie():
    whole = pictures(6)
    odd = whole.subset(np.arange(6) % 2 == 1)
    data = training_data(odd, whole.subset(np.arange(6) == 0), torch.device("cpu"))
    assert len(data) == 3 and data.indices is not None and data.indices.tolist() == [1, 3, 5]
    assert data.held_out is not None and len(data.held_out) == 1
    real = data.images(torch.tensor([2, 0]), torch.device("cpu"))
    levels = ((real + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert torch.equal(levels, torch.from_numpy(whole.pixels[[5, 1]]))
