"""A model directory can always be used and gone on with."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_disc

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.models.files import file_digest, load_model
from adgan_cli.engine.training import trainer as training
from adgan_cli.engine.training.trainer import new_state
from adgan_cli.errors import ConfigError, DivergedError, NoImagesError
from adgan_cli.fitting.directory import resume_state, train_into
from adgan_cli.fitting.run import estimate, load_training_pictures, train
from adgan_cli.images.find import list_inputs
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.run import score

CPU = torch.device("cpu")
TINY = ModelConfig(16, 1, latent_dim=4, width=4)
RUN = TrainConfig(objective="wgan-gp", encoder_iters=0, iters=4, batch_size=4)


def pictures(count=10, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 1), np.uint8)
    return PixelSet(pixels, tuple(f"{i}.png" for i in range(count)), ())


def fresh(config=RUN):
    return new_state(TINY, config, device=CPU, precision="fp32")


def history(out):
    with open(out / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_a_model_a_checkpoint_a_history_and_samples(tmp_path):
    model = train_into(tmp_path, fresh(), pictures())
    assert {p.name for p in tmp_path.iterdir()} == {
        "model.safetensors", "config.json", "checkpoint.safetensors", "history.csv", "samples",
        "neighbours.safetensors",
    }  # fmt: skip
    assert {p.name for p in (tmp_path / "samples").iterdir()} == {"real.png", "000004.png"}
    assert [row["step"] for row in history(tmp_path)] == ["1", "2", "3", "4"]
    loaded = load_model(tmp_path)
    assert loaded.digest == model.digest
    assert loaded.provenance["training"]["iters"] == 4
    assert loaded.provenance["data"]["pictures"] == 10


def test_equal_runs_give_equal_bytes(tmp_path):
    digests = {train_into(tmp_path / name, fresh(), pictures()).digest for name in "ab"}
    assert len(digests) == 1


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path):
    whole = train_into(tmp_path / "whole", fresh(), pictures())
    calls = iter(range(9))
    train_into(
        tmp_path / "parts", fresh(), pictures(), should_stop=lambda: next(calls, None) is None
    )
    assert load_model(tmp_path / "parts").provenance["training"]["iters"] == 1
    state, *_ = resume_state(tmp_path / "parts", pictures(), CPU, iters=None)
    assert train_into(tmp_path / "parts", state, pictures()).digest == whole.digest
    assert [row["step"] for row in history(tmp_path / "parts")] == ["1", "2", "3", "4"]


def test_history_after_a_kill_continues_from_the_checkpoint(tmp_path):
    train_into(tmp_path, fresh(replace(RUN, iters=2)), pictures())
    with open(tmp_path / "history.csv", "a") as file:
        file.write("3,0.5,0.5,1.0\n4,0.5")  # after the checkpoint, and torn
    state, trained_on, held_out = resume_state(tmp_path, pictures(), CPU, iters=3)
    assert (len(trained_on), len(held_out)) == (10, 0), "one picture is none to judge by"
    train_into(tmp_path, state, trained_on)
    assert [row["step"] for row in history(tmp_path)] == ["1", "2", "3"]
    assert all(row["distance"] != "0.5" for row in history(tmp_path))


def test_other_pictures_cannot_be_resumed_with(tmp_path):
    train_into(tmp_path, fresh(), pictures())
    with pytest.raises(ConfigError, match="other pictures"):
        resume_state(tmp_path, pictures(seed=1), CPU, iters=None)


def test_a_diverged_run_keeps_the_last_good_model(tmp_path, monkeypatch):
    good = train_into(tmp_path, fresh(replace(RUN, iters=2)), pictures())
    checkpoint = file_digest(tmp_path / "checkpoint.safetensors")
    state, *_ = resume_state(tmp_path, pictures(), CPU, iters=4)

    def explode(*args):
        with torch.no_grad():
            state.critic.last.weight.fill_(float("inf"))

    monkeypatch.setattr(training, "_average", explode)
    with pytest.raises(DivergedError, match="the model of step 2 is kept"):
        train_into(tmp_path, state, pictures())
    assert load_model(tmp_path).digest == good.digest
    assert file_digest(tmp_path / "checkpoint.safetensors") == checkpoint


def test_a_generator_with_nan_is_never_saved(tmp_path, monkeypatch):
    state = fresh()

    def spoil(state):
        state.averaged.first.weight.fill_(float("nan"))

    monkeypatch.setattr(training, "_average", torch.no_grad()(spoil))
    with pytest.raises(DivergedError):
        train_into(tmp_path, state, pictures())
    assert not (tmp_path / "model.safetensors").exists()


def test_starting_anew_removes_what_the_last_run_left_and_nothing_else(tmp_path):
    train_into(tmp_path, fresh(), pictures())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "samples" / "favourite.png").write_text("mine")
    train_into(tmp_path, fresh(replace(RUN, iters=1)), pictures())
    assert (tmp_path / "notes.txt").exists()
    names = {p.name for p in (tmp_path / "samples").iterdir()}
    assert names == {"real.png", "000001.png", "favourite.png"}


def test_training_from_python_gives_a_model(discs):
    model = train(discs(8), TINY, replace(RUN, iters=2), device="cpu", precision="fp32")
    assert len(list(score(model, [discs(8)]))) == 8


def test_grey_and_colour_are_told_apart_by_content(discs, tmp_path):
    from PIL import Image

    folder = discs(3)
    assert load_training_pictures(list_inputs([folder]), 16, None).pixels.shape == (3, 16, 16, 1)
    Image.new("RGB", (16, 16), (0, 0, 9)).save(folder / "blue.png")
    assert load_training_pictures(list_inputs([folder]), 16, None).pixels.shape == (4, 16, 16, 3)


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
        load_training_pictures(list_inputs([tmp_path]), 16, None)


def test_the_estimate_counts_the_pictures_and_does_not_touch_the_state():
    state, untouched = fresh(), fresh()
    few, many = estimate(state, pictures(10)), estimate(state, pictures(1000))
    assert many.memory - few.memory == 990 * 256
    assert few.seconds_per_step > 0
    assert torch.equal(state.generator.first.weight, untouched.generator.first.weight)
    assert torch.equal(state.rng.get_state(), untouched.rng.get_state())


def adgan(*args, **changes):
    """A command in a process of its own, one thread, as the promise of equal bytes has it."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    return [sys.executable, "-m", "adgan_cli", *map(str, args)], env


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_bytes_of_one_that_was_never_stopped(tmp_path):
    folder = tmp_path / "discs"
    folder.mkdir()
    for index in range(30):
        draw_disc(folder / f"{index}.png", index)
    options = [
        folder, "--size", 16, "--width", 4, "--latent-dim", 8, "--iters", 120, "--batch-size", 8,
        "--max-time", "none", "--save-every", "0s", "--device", "cpu", "-q",
    ]  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command, env = adgan("train", *options, "-o", whole)
    subprocess.run(command, env=env, check=True, timeout=120)

    command, env = adgan("train", *options, "-o", parts)
    process = subprocess.Popen(command, env=env)
    deadline = time.monotonic() + 60
    while steps_in(parts) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert 20 <= steps_in(parts) < 120, "killed too late to tell anything"
    load_model(parts)  # whole, whenever the kill came

    command, env = adgan("train", *options, "-o", parts, "--resume")
    subprocess.run(command, env=env, check=True, timeout=120)
    assert file_digest(parts / "model.safetensors") == file_digest(whole / "model.safetensors")


def steps_in(out: Path) -> int:
    path = out / "history.csv"
    return path.read_text().count("\n") - 1 if path.exists() else 0


@pytest.mark.slow
def test_bars_outrank_discs_after_training_on_discs(tmp_path):
    """The point of it all, once, small and honest: AUC above 0.9 with a fixed seed."""
    from adgan_cli.evaluation.metrics import roc_auc

    for name, start, count, shape in (
        ("train", 0, 200, "disc"), ("val", 1000, 20, "disc"), ("val", 2000, 20, "bars"),
    ):  # fmt: skip
        (tmp_path / name).mkdir(exist_ok=True)
        for index in range(start, start + count):
            draw_disc(tmp_path / name / f"{shape}-{index}.png", index, shape=shape)
    model = train(
        tmp_path / "train",
        ModelConfig(16, 1, latent_dim=8, width=16),
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=300),
        device="cpu",
        precision="fp32",
    )
    rows = list(score(model, [tmp_path / "val"]))
    auc = roc_auc([row.path.startswith("bars") for row in rows], [row.score for row in rows])
    assert auc > 0.9
