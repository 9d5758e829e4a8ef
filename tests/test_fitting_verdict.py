"""What the pictures held out say of a training, and the scores that they leave."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_generator

from adgan_cli.config import PAPER_SEARCH, ModelConfig, TrainConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import pixel_tensor
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.state import TrainState, new_state
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.fitting.verdict import verdict, verdict_numbers, with_verdict
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import ImagesToScore, score_pixels, with_calibration

SEARCH = replace(PAPER_SEARCH, n_seed=2, k=1)


def pictures(count: int, seed: int = 0, copies: int = 1) -> PixelSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 1), np.uint8)
    pixels = np.repeat(pixels, copies, 0)
    prints = np.repeat(np.arange(count, dtype=np.uint64) * 7919 % 10007, copies)
    return PixelSet(pixels, tuple(f"{i}.png" for i in range(len(pixels))), (), None, prints)


def model() -> Model:
    generator = make_generator(channels=1)
    return Model(generator, generator.config, search=SEARCH)


def trained_state(**changes: Any) -> TrainState:
    config = TrainConfig(iters=2, batch_size=4, **changes)
    shape = ModelConfig(16, 1, 4, 4)
    state = new_state(shape, config, device=torch.device("cpu"), precision="fp32", n_images=40)
    list(train_steps(state, TrainingData(pixel_tensor(pictures(40)))))
    return state


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"variety": 0.2}, "collapsed"),
        ({"variety": 30.0}, "almost equal pictures"),
        ({"trained_on": 50}, "too few pictures"),
        ({"gap": 0.8}, "too few pictures"),
        ({"reconstruction": 1.6}, "too few pictures"),
        ({"no_improvement_for": 0.6}, "converged"),
        ({}, "train longer"),
    ],
)
def test_the_verdict_names_the_gravest_thing(numbers, word):
    harmless = {"variety": 0.9, "trained_on": 900, "gap": 0.1, "no_improvement_for": 0.0}
    harmless["reconstruction"] = 1.05
    chosen, advice = verdict(harmless | numbers, 2000)
    assert chosen == word and advice and not advice.endswith(".")


def test_a_generator_that_draws_one_picture_is_called_collapsed():
    state = trained_state()
    flat = make_generator(channels=1)
    for norm in flat.norms:
        norm.weight.data.zero_()  # type: ignore[union-attr,operator]
    judged = with_verdict(Model(flat, flat.config), state, pictures(40), pictures(5, seed=1))
    assert judged.provenance["verdict"]["verdict"] == "collapsed"
    assert math.isfinite(judged.provenance["verdict"]["gap"])
    assert judged.provenance["verdict"]["held_out"] == 5
    assert "reconstruction" not in judged.provenance["verdict"], "nothing tells what they score"


def test_variety_beyond_that_of_almost_equal_pictures_has_an_end_and_is_explained():
    equal = PixelSet(np.full((9, 16, 16, 1), 7, np.uint8), tuple("abcdefghi"), ())
    found = with_verdict(model(), trained_state(), equal, pictures(5, seed=1)).provenance["verdict"]
    assert found["variety"] == 1000 and "almost equal; adgan scan" in found["advice"]


def test_reconstruction_compares_pictures_held_out_with_those_trained_on():
    state = trained_state()
    flat = PixelSet(np.full((5, 16, 16, 1), 255, np.uint8), tuple("abcde"), ())
    known = with_calibration(model(), ImagesToScore(flat.pixels))
    found = with_verdict(known, state, pictures(40), flat).provenance["verdict"]
    seen = score_pixels(known, pictures(40).pixels, SEARCH)
    odd = score_pixels(known, flat.pixels, SEARCH)
    assert found["reconstruction"] == round(float(np.median(odd) / np.median(seen)), 3) > 1.3
    numbers = verdict_numbers(found)
    assert f"{found['reconstruction']:.2f} of those trained on" in numbers


def test_as_few_are_compared_as_of_those_held_out_are_scored():
    state, held_out = trained_state(), pictures(30, seed=1)
    few = with_calibration(model(), ImagesToScore(held_out.pixels[:4]))
    found = with_verdict(few, state, pictures(40), held_out).provenance["verdict"]
    seen = score_pixels(few, pictures(40).pixels[::10], SEARCH)
    odd = few.calibration(SEARCH).scores
    assert found["reconstruction"] == round(float(np.median(odd) / np.median(seen)), 3)


@pytest.mark.parametrize("objective", ["mmd", "vae", "glo"])
def test_without_a_critic_there_is_no_gap_to_go_by(objective):
    state = trained_state(objective=objective)
    numbers = with_verdict(model(), state, pictures(40), pictures(5, seed=1)).provenance["verdict"]
    assert "gap" not in numbers and "variety" in numbers
