"""What is held out, the verdict it gives, and the scores it leaves."""

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
from adgan_cli.engine.training.trainer import new_state, run
from adgan_cli.fitting.held_out import hold_out, verdict, verdict_numbers, with_verdict
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import MAX_HELD_OUT, score_pixels, with_calibration

SEARCH = replace(PAPER_SEARCH, n_seed=2, k=1)


def pictures(count: int, seed: int = 0, copies: int = 1) -> PixelSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 1), np.uint8)
    pixels = np.repeat(pixels, copies, 0)
    prints = np.repeat(np.arange(count, dtype=np.uint64) * 7919 % 10007, copies)
    return PixelSet(pixels, tuple(f"{i}.png" for i in range(len(pixels))), (), None, prints)


def model() -> Model:
    generator = make_generator(channels=1)
    return Model(generator, generator.config, search=SEARCH)


def test_a_share_is_held_out_and_nothing_is_lost() -> None:
    trained, held = hold_out(pictures(50), TrainConfig(holdout=0.2))
    assert len(held) == 10
    assert sorted(trained.names + held.names) == sorted(pictures(50).names)


def test_the_choice_goes_by_content_not_by_order() -> None:
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


def test_copies_of_a_picture_are_never_on_both_sides() -> None:
    trained, held = hold_out(pictures(30, copies=3), TrainConfig(holdout=0.3))
    assert len(held) == 27 and not set(trained.fingerprints) & set(held.fingerprints)


@pytest.mark.parametrize(("count", "share"), [(10, 0.1), (50, 0.0)])
def test_one_picture_is_not_held_out_alone(count: int, share: float) -> None:
    trained, held = hold_out(pictures(count), TrainConfig(holdout=share))
    assert (len(trained), len(held)) == (count, 0)


def test_no_more_are_held_out_than_p_values_need() -> None:
    many = PixelSet(
        np.zeros((3 * MAX_HELD_OUT, 1, 1, 1), np.uint8), tuple(map(str, range(3 * MAX_HELD_OUT))),
        (), None,
        np.arange(3 * MAX_HELD_OUT, dtype=np.uint64),
    )  # fmt: skip
    assert len(hold_out(many, TrainConfig(holdout=0.9))[1]) == MAX_HELD_OUT


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"variety": 0.2}, "collapsed"),
        ({"trained_on": 50}, "too few pictures"),
        ({"gap": 0.8}, "too few pictures"),
        ({"reconstruction": 1.6}, "too few pictures"),
        ({"no_improvement_for": 0.6}, "converged"),
        ({}, "train longer"),
    ],
)
def test_the_verdict_names_the_gravest_thing(told: dict[str, Any], word: str) -> None:
    fine = {"variety": 0.9, "trained_on": 900, "gap": 0.1, "no_improvement_for": 0.0}
    fine["reconstruction"] = 1.05
    found, advice = verdict(fine | told, 2000)
    assert found == word and advice and not advice.endswith(".")


def test_a_generator_that_draws_one_picture_is_called_collapsed() -> None:
    config = TrainConfig(iters=2, batch_size=4)
    state = new_state(
        ModelConfig(16, 1, 4, 4), config, device=torch.device("cpu"), precision="fp32", pictures=40
    )
    run(state, pixel_tensor(pictures(40)))
    flat = make_generator(channels=1)
    for norm in flat.norms:
        norm.weight.data.zero_()  # type: ignore[union-attr,operator]
    told = with_verdict(Model(flat, flat.config), state, pictures(40), pictures(5, seed=1))
    assert told.provenance["verdict"]["verdict"] == "collapsed"
    assert math.isfinite(told.provenance["verdict"]["gap"])
    assert told.provenance["verdict"]["held_out"] == 5
    assert "reconstruction" not in told.provenance["verdict"], "nothing tells what they score"


def test_reconstruction_compares_pictures_held_out_with_those_trained_on() -> None:
    config = TrainConfig(iters=1, batch_size=4)
    state = new_state(
        ModelConfig(16, 1, 4, 4), config, device=torch.device("cpu"), precision="fp32", pictures=40
    )
    run(state, pixel_tensor(pictures(40)))
    flat = PixelSet(np.full((5, 16, 16, 1), 255, np.uint8), tuple("abcde"), ())
    known = with_calibration(model(), pixel_tensor(flat))
    found = with_verdict(known, state, pictures(40), flat).provenance["verdict"]
    seen = score_pixels(known, pixel_tensor(pictures(40)), SEARCH)
    odd = score_pixels(known, pixel_tensor(flat), SEARCH)
    assert found["reconstruction"] == round(float(np.median(odd) / np.median(seen)), 3) > 1.3
    numbers = verdict_numbers(found)
    assert f"{found['reconstruction']:.2f} of those trained on" in numbers
