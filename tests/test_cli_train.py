"""adgan train: a model, or one line that says why not; nothing that was there is lost."""

import errno
import json
import os
import subprocess
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import FAST, TINY, adgan, one_error, refused, started, wait_until
from conftest import draw_disc
from PIL import Image
from safetensors.torch import load_file, save_file

from adgan_cli.cli.console import STOP_SIGNALS
from adgan_cli.config import OBJECTIVES, PAPER_SEARCH, ReadConfig, SearchConfig
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.header import metadata
from adgan_cli.engine.training import trainer as training
from adgan_cli.engine.training.checkpoint import CUDA_STATE, read_checkpoint
from adgan_cli.fitting import directory as model_directory
from adgan_cli.fitting.plan import Costs


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "model"


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def without_time(model: dict[str, bytes]) -> dict[str, bytes]:
    """A model directory without history.csv, which tells seconds."""
    return {name: data for name, data in model.items() if name != "history.csv"}


@pytest.fixture
def trained(discs, out):
    """The folder of twelve discs that the model in `out` was trained on."""
    adgan("train", discs(), *TINY, "-o", out)
    return discs()


def test_a_model_directory_holds_all_that_is_promised(discs, out):
    result = adgan("train", discs(), *TINY, "-o", out)
    assert set(content(out)) == {
        "model.safetensors", "config.json", "checkpoint.safetensors", "history.csv",
        "neighbours.safetensors", "samples/real.png", "samples/000003.png",
    }  # fmt: skip
    model = load_model(out)
    assert model.digest[:12] in result.stderr
    assert (model.config.size, model.config.channels, model.config.latent_dim) == (16, 1, 8)
    told = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert told["data"]["pictures"] == 12 and told["training"]["iters"] == 3
    assert len((out / "history.csv").read_text().splitlines()) == 1 + 3
    assert result.stdout == "", "stdout is data, and there is none"


def test_a_critic_that_was_kept_can_be_searched_with(discs, out):
    loss = ["--loss", "0.9*l1+0.1*critic-features", "--device", "cpu"]
    folder = discs()
    adgan("train", folder, *TINY, "-o", out)
    assert "--keep-critic" in one_error(adgan("score", folder, "-m", out, *loss, code=2).stderr)
    adgan("train", folder, *TINY, "-o", out, "--overwrite", "--keep-critic")
    rows = adgan("score", folder, "-m", out, *loss).stdout.splitlines()
    plain = adgan("score", folder, "-m", out, "--loss", "l1", "--device", "cpu").stdout.splitlines()
    assert len(rows) == len(plain) == 1 + 12
    assert not set(rows[1:]) & set(plain[1:])


def test_an_objective_without_a_critic_has_none_to_keep(discs, out):
    args = ["train", discs(), *TINY, "-o", out, "--objective", "mmd", "--keep-critic"]
    assert "mmd trains no critic" in one_error(adgan(*args, code=2).stderr)
    assert not out.exists()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gives_a_model_that_scores(discs, out, objective):
    folder = discs()
    steps = ["--iters", "1"] if objective == "wgan" else []
    told = adgan("train", folder, *TINY, *steps, "-o", out, "--objective", objective)
    assert f"training {objective}" in told.stderr
    scored = adgan("score", folder, "-m", out, "--k", "1", "--device", "cpu").stdout.splitlines()
    assert len(scored) == 1 + 12


def test_an_encoder_is_trained_and_started_from(trained, out):
    model = load_model(out)
    assert model.encoder is not None and model.provenance["encoder"] == {"iters": 2}
    assert model.search == SearchConfig()
    assert model.default_search() == replace(SearchConfig(), by="reconstruction"), "no features"
    assert len(adgan("score", trained, "-m", out, "--device", "cpu").stdout.splitlines()) == 1 + 12
    assert "encoder" in adgan("info", out).stdout


def test_without_an_encoder_the_search_starts_from_the_prior_alone(discs, out):
    folder, asked = discs(), ["-m", out, "--n-seed", "1", "--k", "0", "--device", "cpu"]
    adgan("train", folder, *TINY, "-o", out)
    whole = load_model(out)
    adgan("train", folder, *TINY, "-o", out, "--overwrite", "--encoder-iters", "0")
    model = load_model(out)
    assert model.encoder is None
    assert model.default_search() == SearchConfig(by="reconstruction", init="prior")
    assert torch.equal(model.generator.first.weight, whole.generator.first.weight)
    prior = adgan("score", folder, *asked, "--init", "prior").stdout
    for preset in ([], ["--preset", "tuned"]):
        assert adgan("score", folder, *asked, *preset).stdout == prior
    line = one_error(adgan("score", folder, *asked, "--init", "both", code=2).stderr)
    assert "--encoder-iters" in line


def test_an_objective_that_brings_an_encoder_gets_no_other(discs, out):
    tiny = [*TINY[: TINY.index("--encoder-iters")], "--device", "cpu"]
    adgan("train", discs(), *tiny, "--objective", "vae", "-o", out)
    model = load_model(out)
    assert model.encoder is not None and "encoder" not in model.provenance


def test_quiet_says_nothing(discs, out):
    result = adgan("train", discs(), *TINY, "-o", out, "-q")
    assert (result.stdout, result.stderr) == ("", "")


def test_equal_commands_give_equal_bytes(discs, tmp_path):
    folder = discs()
    for name in ("one", "two"):
        adgan("train", folder, *TINY, "-o", tmp_path / name)
    one, two = (without_time(content(tmp_path / name)) for name in ("one", "two"))
    assert one == two


def test_another_seed_is_another_model(discs, tmp_path):
    folder = discs()
    for seed in "01":
        adgan("train", folder, *TINY, "--seed", seed, "-o", tmp_path / seed)
    assert load_model(tmp_path / "0").digest != load_model(tmp_path / "1").digest


@pytest.mark.parametrize(("options", "channels"), [([], 3), (["--channels", "1"], 1)])
def test_colour_is_kept_when_one_picture_has_it_unless_one_channel_is_asked(
    discs, out, options, channels
):
    folder = discs()
    Image.new("RGB", (16, 16), "red").save(folder / "red.png")
    adgan("train", folder, *TINY, *options, "-o", out)
    assert load_model(out).config.channels == channels


def test_a_single_picture_is_enough_but_warned_about(discs, out):
    result = adgan("train", discs(1), *TINY, "-o", out)
    assert "1 picture in" in result.stderr and "warning: that is few" in result.stderr
    assert load_model(out)


# what is in the folder


def test_an_empty_folder_has_no_pictures(tmp_path, out):
    (tmp_path / "empty").mkdir()
    line = refused("train", tmp_path / "empty", *TINY, "-o", out, code=3)
    assert line.startswith(f"no pictures in {tmp_path / 'empty'};")


def test_a_folder_of_broken_pictures_names_the_first(tmp_path, out):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_text("text")
    (folder / "b.jpg").touch()
    line = refused("train", folder, *TINY, "-o", out, code=3)
    assert "all 2 failed, the first is a.png: not a picture" in line


def test_the_shape_of_pictures_is_kept_with_the_model_and_cannot_change(discs, out):
    folder = discs()
    adgan("train", folder, *TINY, "-o", out, "--fit", "pad", "--alpha", "#102030")
    assert load_model(out).reading == ReadConfig("pad", "#102030")
    line = refused("train", folder, "-o", out, "--resume", "--fit", "crop", code=2)
    assert "--fit crop differs from the pad" in line
    adgan("train", folder, "-o", out, "--resume", "--iters", "4", "--device", "cpu")
    assert load_model(out).reading == ReadConfig("pad", "#102030")


def test_deep_pictures_keep_their_range_with_the_model(tmp_path, out):
    folder = tmp_path / "deep"
    folder.mkdir()
    for index in range(4):
        values = np.linspace(100 + 50 * index, 4000 + 50 * index, 256).reshape(16, 16)
        Image.fromarray(values.astype(np.uint16)).save(folder / f"{index}.png")
    adgan("train", folder, *TINY, "-o", out)
    model = load_model(out)
    assert model.ranges == (("I;16", 100.0, 4150.0),)
    beyond = tmp_path / "beyond.png"
    Image.new("I;16", (16, 16), 5000).save(beyond)
    rows = [line.split(",") for line in adgan(
        "score", folder, beyond, "-m", out, *FAST
    ).stdout.splitlines()[1:]]  # fmt: skip
    assert [row[6] for row in rows] == ["I;16[100..4150]"] * 4 + ["I;16[100..4150]+clip"]


def test_a_range_by_hand_is_kept_also_by_a_run_that_is_resumed(tmp_path, out):
    for index in range(9):
        values = np.random.default_rng(index).integers(0, 1000, (16, 16)).astype(np.uint16)
        values[index:] += 60_000 * (index == 8)  # takes the levels of all others
        Image.fromarray(values).save(tmp_path / f"{index}.png")
    args = ["train", tmp_path, *TINY, "-o", out]
    said = adgan(*args).stderr
    assert "values that became black to white: I;16 from " in said
    assert "warning: the typical picture keeps 5 of 256 levels" in said and " with 8.png; " in said
    said = adgan(*args, "--overwrite", "--range", "0..1000").stderr
    assert "values that became black to white: F, I, I;16, RGB;16 from 0 to 1000" in said
    assert "levels" not in said
    assert load_model(out).ranges[2] == ("I;16", 0, 1000)
    before = without_time(content(out))
    adgan(*args, "--resume")
    assert without_time(content(out)) == before
    line = refused(*args, "--resume", "--range", "0..999", code=2)
    assert line.startswith("--range differs from that of the run to resume; leave it out")
    adgan(*args, "--resume", "--range", "0..1000", "--iters", "4")
    assert "--range must be LOW..HIGH" in refused(*args, "--range", "9..1", code=2)


def test_what_was_trained_on_is_recognised_whatever_it_is_called(discs, out, tmp_path):
    folder = discs(3)
    adgan("train", folder, *TINY, "-o", out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "renamed.png").write_bytes((folder / "disc-001.png").read_bytes())
    draw_disc(other / "unseen.png", 99)
    (other / "torn.png").write_bytes(b"damaged")
    lines = adgan("score", other, "-m", out, *FAST).stdout.splitlines()[1:]
    told = {line.split(",")[0]: line.split(",")[3] for line in lines}
    assert told == {"renamed.png": "true", "unseen.png": "false", "torn.png": ""}


def test_several_folders_and_a_list_are_learnt_from_together(discs, out, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, discs(3, name="c").iterdir())))
    result = adgan(
        "train", discs(4, name="a"), discs(5, name="b"), "--files-from", listed, *TINY, "-o", out
    )
    assert "12 pictures" in result.stderr


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path, out):
    line = refused("train", tmp_path / "no\nfolder\udcff", *TINY, "-o", out, code=2)
    assert r"no\nfolder\udcff does not exist" in line


def test_broken_pictures_are_named_and_the_others_learnt_from(discs, out):
    folder = discs()
    whole = (folder / "disc-000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    result = adgan("train", folder, *TINY, "-o", out)
    assert "warning: left out cut.png: truncated or damaged" in result.stderr
    assert "warning: left out empty.png: empty file" in result.stderr
    assert "warning: left out text.jpg: not a picture" in result.stderr
    assert load_model(out).provenance["data"]["pictures"] == 12


def test_many_broken_pictures_do_not_fill_the_screen(discs, out):
    folder = discs()
    for index in range(9):
        (folder / f"empty-{index}.png").touch()
    result = adgan("train", folder, *TINY, "-o", out)
    assert result.stderr.count("warning: left out empty-") == 5
    assert "warning: left out 4 more files" in result.stderr


def test_pictures_of_any_shape_and_name_are_learnt_from(tmp_path, out):
    folder = tmp_path / "odd"
    folder.mkdir()
    Image.new("L", (1, 1), 9).save(folder / "dot.png")
    Image.new("L", (20000, 3), 9).save(folder / "line.png")
    for index, name in enumerate(
        ["q'u\"ote.png", "new\nline.png", "<b>.png", "😀.png", "\udcff.png"]
    ):
        draw_disc(tmp_path / "plain.png", index)
        os.replace(tmp_path / "plain.png", folder / name)
    adgan("train", folder, *TINY, "-o", out)
    assert load_model(out).provenance["data"]["pictures"] == 7


def test_a_model_among_the_pictures_is_not_learnt_from(discs):
    folder = discs()
    adgan("train", folder, *TINY, "-o", folder / "model")
    adgan("train", folder, *TINY, "-o", folder / "again")
    assert load_model(folder / "again").digest == load_model(folder / "model").digest


# where the model goes


def test_a_folder_with_files_is_left_alone(discs, out):
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    line = refused("train", discs(), *TINY, "-o", out, code=2)
    assert line.startswith(f"{out} is not empty; use --resume")
    assert content(out) == {"thesis.txt": b"mine"}


def test_overwrite_replaces_the_model_and_keeps_other_files(discs, out):
    folder = discs()
    adgan("train", folder, *TINY, "--iters", "4", "-o", out)
    before = load_model(out).digest
    (out / "thesis.txt").write_text("mine")
    (out / "samples" / "favourite.png").write_bytes(b"mine")
    adgan("train", folder, *TINY, "-o", out, "--overwrite")
    after = content(out)
    assert load_model(out).digest != before
    assert after["thesis.txt"] == after["samples/favourite.png"] == b"mine"
    assert "samples/000004.png" not in after, "a grid of the model that is gone"


def test_overwrite_does_not_touch_a_folder_without_a_model(discs, out):
    # named as ours are, but somebody else's
    (out / "samples").mkdir(parents=True)
    for name in ("config.json", "history.csv", "samples/001.png", "samples/real.png"):
        (out / name).write_text("mine")
    before = content(out)
    line = refused("train", discs(), *TINY, "-o", out, "--overwrite", code=2)
    assert "holds no model to overwrite" in line
    assert content(out) == before


def test_overwrite_starts_anew_after_a_run_that_was_killed_early(trained, out):
    for name in ("model.safetensors", "config.json", "checkpoint.safetensors"):
        (out / name).unlink()  # as kill -9 leaves it before the first save
    adgan("train", trained, *TINY, "-o", out, "--overwrite")
    assert load_model(out)


def test_a_run_cut_short_by_the_clock_says_that_its_model_is_weak(discs, out):
    options = [*TINY, "--iters", "100000", "--max-time", "2s"]
    said = adgan("train", discs(), *options, "-o", out).stderr
    assert "weak model" in said and "--resume" in said
    said = adgan("train", discs(), *TINY, "-o", out, "--overwrite").stderr
    assert "weak model" not in said  # three steps are what was asked for


def test_a_file_in_place_of_the_model_is_refused(discs, out):
    out.write_text("mine")
    line = refused("train", discs(), *TINY, "-o", out, code=2)
    assert line.startswith(f"-o {out} is a file")
    assert out.read_text() == "mine"


def test_a_read_only_place_is_found_out_before_any_work(discs, out, monkeypatch):
    # permissions do not bind root, who may run this
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    result = adgan("train", discs(), *TINY, "-o", out, code=1)
    assert f"cannot write to {out.parent}" in one_error(result.stderr)
    assert not out.exists()
    assert "pictures in" not in result.stderr, "pictures were read in vain"


def test_a_full_disk_costs_the_new_model_and_not_the_old_one(trained, out, monkeypatch):
    before = {name: data for name, data in content(out).items() if name.endswith("safetensors")}
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "model.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    line = refused("train", trained, *TINY, "--iters", "5", "-o", out, "--resume", code=1)
    assert f"cannot write {out / 'model.safetensors'}: No space left on device" in line
    after = content(out)
    assert before == {name: after[name] for name in before}
    assert not [name for name in after if name.endswith(".tmp")]
    monkeypatch.undo()
    adgan("train", trained, *TINY, "--iters", "5", "-o", out, "--resume")
    assert load_model(out).provenance["training"]["iters"] == 5


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_history_that_cannot_grow_is_one_line(discs, out, monkeypatch):
    monkeypatch.setattr(model_directory, "_cut_history", lambda out, step: (Path("/dev/full"), 0.0))
    line = refused("train", discs(), *TINY, "-o", out, code=1)
    assert line.startswith("cannot write /dev/full: No space left on device")


# what is in the folder


@pytest.mark.parametrize("way", [[], ["--no-gan"], ["--dry-run"]])
def test_a_folder_without_variety_is_refused_before_the_first_step(tmp_path, out, way):
    for index in range(12):
        image = Image.new("RGBA", (16, 16), (20 * index, 0, 0, 0))
        image.save(tmp_path / f"{index}.png")
    args = [*TINY[:-2], *way, "-o", out]
    line = refused("train", tmp_path, *args, code=3)
    assert line.startswith(f"nothing to learn from {tmp_path}: all of 12 pictures are fully trans")
    assert "--alpha drop" in line and not (out / "model.safetensors").exists()


def test_copies_and_transparent_pictures_are_mentioned(discs, out):
    folder = discs()
    (folder / "copy.png").write_bytes((folder / "disc-000.png").read_bytes())
    Image.new("LA", (16, 16), (255, 0)).save(folder / "clear.png")
    said = adgan("train", folder, *TINY, "-o", out).stderr
    assert "note: exact copies of others: 1; held out they count once" in said
    assert "warning: fully transparent, and so read as one colour: 1; --alpha drop" in said


# settings


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("--batch-size 0", "--batch-size must be 2 (batch norm) to "),
        ("--batch-size 1", "--batch-size must be 2 (batch norm) to "),
        ("--size 17", "Invalid value for '--size': '17' is not one of '16', '32'"),
        ("--width 0", "--width must be 1 to "),
        ("--latent-dim -1", "--latent-dim must be 1 to "),
        ("--iters 0", "--iters must be 1 to "),
        ("--seed -1", "--seed must be at least 0"),
        ("--ema 1", "--ema must be at least 0 and below 1"),
        ("--ema nan", "--ema must be at least 0 and below 1"),
        ("--penalty 0", "--penalty must be above 0"),
        ("--clip -1", "--clip must be above 0"),
        (
            "--objective gun",
            "Invalid value for '--objective': 'gun' is not one of 'wgan', 'wgan-gp'",
        ),
        ("--channels 2", "Invalid value for '--channels': '2' is not one of 'auto', '1', '3'"),
        ("--preset best", "Invalid value for '--preset': 'best' is not one of 'quick'"),
        ("--max-time soon", "--max-time must be like 90s"),
        ("--save-every often", "--save-every must be like 90s"),
        ("--device tpu", "--device must be auto, cpu"),
        ("--device cuda:99", "--device cuda:99: this machine shows"),
        (
            "--precision fp16",
            "Invalid value for '--precision': 'fp16' is not one of 'auto', 'fp32'",
        ),
        ("--resume --overwrite", "--resume goes on and --overwrite starts anew"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_flag(discs, out, given, line):
    said = refused("train", discs(), *TINY, "-o", out, *given.split(), code=2)
    assert said.startswith(line)
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_was_asked_for_is_never_replaced_by_the_cpu(discs, out):
    line = refused("train", discs(), *TINY, "--device", "cuda", "-o", out, code=2)
    assert "this machine shows 0 CUDA devices; try cpu" in line


def test_the_device_can_come_from_the_environment(discs, out):
    given = [word for word in TINY if word not in ("--device", "cpu")]
    line = refused("train", discs(), *given, "-o", out, code=2, env={"ADGAN_DEVICE": "abacus"})
    assert "got abacus" in line


@pytest.mark.parametrize("words", [[], ["a", "--no-such-option"], ["a", "--seed", "x"]])
def test_a_command_line_that_makes_no_sense_is_a_usage_error(words):
    result = adgan("train", *words, code=2)
    assert one_error(result.stderr)
    assert "adgan train --help" in result.stderr


def test_no_time_at_all_still_leaves_a_model_to_go_on_with(discs, out):
    folder = discs()
    result = adgan("train", folder, *TINY, "--max-time", "0s", "-o", out)
    assert "0 of 3 steps" in result.stderr and "with --resume" in result.stderr
    assert "learnt nothing" in result.stderr
    assert load_model(out).provenance["training"]["iters"] == 0
    adgan("train", folder, *TINY, "--resume", "-o", out)
    assert load_model(out).provenance["training"]["iters"] == 3


def test_dry_run_prints_the_plan_and_writes_nothing(discs, out):
    result = adgan("train", discs(), *TINY, "-o", out, "--dry-run")
    plan = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if "  " in line)
    assert plan["pictures"] == "12 to train on, 0 held out"
    assert plan["iters"] == "3" and plan["device"] == "cpu"
    assert plan["parts"].startswith("plan for 30 min: ")
    assert not out.exists()


CHOOSING = (
    "--latent-dim 4 --encoder-iters 2 --holdout 0.2 --device cpu --precision fp32 --features none"
).split()


def test_size_width_and_batch_are_chosen_unless_given_and_said(discs, out, monkeypatch):
    folder = discs()
    slow = "adgan_cli.fitting.choice.step_seconds"
    monkeypatch.setattr(slow, lambda *_, **__: 10.0)
    options = [*CHOOSING, "--max-time", "60s", "--dry-run", "-o", out]
    result = adgan("train", folder, *options)
    assert "chosen 32 px, width 16, batches of 32: the quickest" in result.stderr
    plan = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if "  " in line)
    assert (plan["size"], plan["width"]) == ("32", "16")
    assert " generator (about " in plan["parts"]
    monkeypatch.setattr(slow, lambda *_, **__: 1e-6)
    result = adgan("train", folder, *options, "--width", "4")
    assert "chosen 64 px, width 4, batches of 64: the largest of which 2,000" in result.stderr


@pytest.mark.parametrize(
    "given", ["--size 16 --width 4 --batch-size 4", "--max-time none", "--preset paper", "--no-gan"]
)
def test_nothing_is_chosen_where_all_is_given_or_there_is_no_limit(discs, out, given, monkeypatch):
    monkeypatch.setattr("adgan_cli.fitting.choice.step_seconds", None)
    monkeypatch.setattr("adgan_cli.cli.train.print_plan", lambda *_: None)
    options = CHOOSING[: -2 if given == "--no-gan" else None]
    result = adgan("train", discs(), *options, *given.split(), "--dry-run", "-o", out)
    assert "batches of" not in result.stderr


def test_a_run_that_is_resumed_keeps_what_was_chosen(discs, out, monkeypatch):
    folder = discs()
    monkeypatch.setattr("adgan_cli.fitting.choice.WIDTHS", (4,))
    monkeypatch.setattr("adgan_cli.fitting.choice.SIZES", (16,))
    monkeypatch.setattr("adgan_cli.fitting.choice.BATCHES", (8, 4))
    monkeypatch.setattr("adgan_cli.fitting.choice.step_seconds", lambda *_, **__: 10.0)
    adgan("train", folder, *CHOOSING, "--iters", "2", "-o", out)
    told = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert told["model"]["width"] == 4 and told["training"]["batch_size"] == 4
    monkeypatch.setattr("adgan_cli.fitting.choice.step_seconds", None)
    adgan("train", folder, *CHOOSING, "--iters", "3", "--resume", "-o", out)
    assert load_model(out).provenance["training"]["iters"] == 3


def test_the_plan_says_what_time_goes_where_and_what_was_left_out(discs, out, monkeypatch):
    costs = {"step": 1e-4, "encoder_step": 1e-4, "search": 30.0, "comparison": 0.0, "saving": 5.0}
    monkeypatch.setattr("adgan_cli.fitting.run.measure_costs", lambda *_: Costs(**costs))
    monkeypatch.setattr("adgan_cli.fitting.plan.MIN_CALIBRATED", 3)
    monkeypatch.setattr("adgan_cli.fitting.finish.scoring_costs", lambda *_: Costs(search=30.0))
    options = [*TINY, "--holdout", "0.5", "--max-time", "600s", "-o", out]
    said = adgan("train", discs(), *options).stderr
    assert "plan for 10 min: " in said and "p-values (6 pictures)" in said
    options[options.index("600s")] = "280s"
    said = adgan("train", discs(), *options, "--overwrite").stderr
    assert "p-values (4 drawn from 6 pictures)" in said and "5 s writing" in said
    assert "p-values go by 4 drawn from 6 pictures held out, as the time was short" in said
    calibrations = load_model(out).calibrations
    assert {len(one.scores) for one in calibrations} == {4}


def test_an_encoder_for_which_no_time_is_left_is_missed_in_words(discs, out, monkeypatch):
    monkeypatch.setattr("adgan_cli.fitting.finish.MIN_ENCODER_STEPS", 10**6)
    said = adgan("train", discs(), *TINY, "-o", out, "--encoder-iters", "1000000",
                 "--max-time", "3s").stderr  # fmt: skip
    assert "no encoder: the time was too short" in said
    assert load_model(out).encoder is None


def test_bfloat16_that_the_cpu_lacks_is_warned_of_and_taken(discs, out, monkeypatch):
    monkeypatch.setattr("adgan_cli.engine.device.multiplies_bf16", lambda device: False)
    options = [*TINY, "-o", out, "--overwrite"]
    warning = "has no arithmetic of its own for bfloat16"
    assert warning in adgan("train", discs(), *options, "--precision", "bf16").stderr
    assert load_model(out).provenance["training"]["precision"] == "bf16"
    assert warning not in adgan("train", discs(), *options, "--precision", "auto").stderr
    assert load_model(out).provenance["training"]["precision"] == "fp32"


def test_a_plan_for_a_folder_with_an_odd_name_can_be_printed(tmp_path, out):
    folder = tmp_path / "new\nline\udcff"
    folder.mkdir()
    draw_disc(folder / "disc.png", 0)
    result = adgan("train", folder, *TINY, "-o", out, "--dry-run")
    assert r"new\nline\udcff" in result.stdout


def test_a_run_that_diverges_keeps_the_model_there_was(discs, out, monkeypatch):
    monkeypatch.setattr("adgan_cli.config.MAX_FLOAT", 1e60)  # three steps within it do not
    folder, wild = discs(), [*TINY, "--objective", "wgan-gp", "--penalty", "1e60"]
    first = refused("train", folder, *wild, "-o", out, code=5)
    assert "diverged" in first and "no model was saved yet" in first
    adgan("train", folder, *wild, "--max-time", "0s", "--overwrite", "-o", out)
    before = without_time(content(out))
    second = refused("train", folder, *wild, "--resume", "-o", out, code=5)
    assert f"the model of step 0 is kept in {out}" in second
    assert without_time(content(out)) == before


# going on


def test_a_run_from_another_kind_of_device_goes_on_and_says_so_once(trained, out):
    file = out / "checkpoint.safetensors"
    tensors, saved = load_file(file), read_checkpoint(out)
    tensors["rng"] = torch.zeros(CUDA_STATE, dtype=torch.uint8)
    save_file(tensors, file, metadata("checkpoint", saved))
    said = adgan("train", trained, *TINY, "--iters", "5", "-o", out, "--resume").stderr
    (line,) = [line for line in said.splitlines() if line.startswith("note: random numbers")]
    assert "were drawn on CUDA before" in line


@pytest.mark.parametrize("options", [["--resume"], ["--overwrite", "--dry-run"]])
def test_resuming_a_finished_run_and_a_dry_run_change_nothing(trained, out, options):
    before = content(out)
    adgan("train", trained, *TINY, "-o", out, *options)
    assert content(out) == before


def test_resuming_is_the_same_as_never_having_stopped(discs, tmp_path):
    folder, halves, whole = discs(), tmp_path / "halves", tmp_path / "whole"
    adgan("train", folder, *TINY, "-o", halves)
    adgan("train", folder, "--resume", "--iters", "5", "--device", "cpu", "-o", halves)
    adgan("train", folder, *TINY, "--iters", "5", "-o", whole)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        assert (halves / name).read_bytes() == (whole / name).read_bytes()
    steps = [line.split(",")[0] for line in (halves / "history.csv").read_text().splitlines()]
    assert steps == ["step", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("--size 32", "--size 32 differs from the 16 of the run to resume"),
        ("--seed 7", "--seed 7 differs from the 0"),
        ("--objective wgan", "--objective wgan differs from the gan"),
        ("--channels 3", "--channels 3 differs from the 1"),
        ("--precision bf16", "--precision bf16 differs from the fp32"),
        ("--iters 2", "--iters 2: 3 steps are done already"),
    ],
)
def test_resuming_with_other_settings_is_refused(trained, out, given, line):
    before = content(out)
    said = refused(
        "train", trained, "--device", "cpu", "-o", out, "--resume", *given.split(), code=2
    )
    assert said.startswith(line)
    assert content(out) == before


def test_resuming_on_other_pictures_is_refused(trained, out):
    (trained / "disc-000.png").unlink()
    line = refused("train", trained, *TINY, "-o", out, "--resume", code=2)
    assert "trained on other pictures (12 then, 11 now" in line


def test_resuming_where_there_is_nothing_is_refused(discs, out):
    line = refused("train", discs(), *TINY, "-o", out, "--resume", code=4)
    assert f"no checkpoint at {out / 'checkpoint.safetensors'}" in line


@pytest.mark.parametrize("left", [0, 7, 1000])
def test_resuming_from_a_truncated_checkpoint_is_refused(trained, out, left):
    os.truncate(out / "checkpoint.safetensors", left)
    line = refused("train", trained, *TINY, "-o", out, "--resume", code=4)
    assert "checkpoint.safetensors is corrupt or truncated" in line
    assert load_model(out), "the model is still there"


def test_a_spoilt_history_does_not_keep_a_run_from_going_on(trained, out):
    with open(out / "history.csv", "ab") as file:
        file.write(b"\xff not a row\n4,half of one")
    adgan("train", trained, *TINY, "--iters", "4", "-o", out, "--resume")
    steps = [line.split(",")[0] for line in (out / "history.csv").read_text().splitlines()]
    assert steps == ["step", "1", "2", "3", "4"]


# signals


def endless(folder: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    """Training that would run for hours, already some steps into it."""
    process = started("train", folder, *TINY, "--iters", "1000000", "-o", out, *more)
    history = out / "history.csv"
    wait_until(lambda: history.exists() and history.read_text().count("\n") > 3, process)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stopped_run_saves_and_can_go_on(discs, out, number):
    folder = discs()
    process = endless(folder, out)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == "" and "Traceback" not in stderr
    assert "stopping: saving the model" in stderr and "with --resume" in stderr
    model = load_model(out)
    done = model.provenance["training"]["iters"]
    assert done >= 3 and model.encoder is None
    assert f"--resume --iters {done}" in stderr, "the way to finish what there is"
    adgan("train", folder, "--resume", "--iters", str(done), "--device", "cpu", "-o", out)
    finished = load_model(out)
    assert finished.provenance["training"]["iters"] == done
    assert finished.encoder is not None
    adgan("train", folder, "--resume", "--iters", str(done + 2), "--device", "cpu", "-o", out)
    assert load_model(out).provenance["training"]["iters"] == done + 2


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_save(discs, tmp_path):
    folder, out = discs(), tmp_path / "model"
    process = endless(folder, out, "--save-every", "0s")
    process.kill()
    process.communicate()
    told = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert load_model(out), "what kill -9 left is whole"
    goal = str(told["training"]["iters"] + 5)
    adgan("train", folder, *TINY, "--resume", "--iters", goal, "-o", out)
    adgan("train", folder, *TINY, "--iters", goal, "-o", tmp_path / "whole")
    assert load_model(out).digest == load_model(tmp_path / "whole").digest


def test_a_model_is_searched_as_its_preset_says_also_after_it_was_resumed(trained, out):
    assert load_model(out).search == SearchConfig()
    adgan("train", trained, *TINY, "-o", out, "--overwrite", "--preset", "paper")
    assert load_model(out).search == PAPER_SEARCH
    longer = [*TINY[: TINY.index("--iters")], "--iters", "4", *TINY[TINY.index("--iters") + 2 :]]
    adgan("train", trained, *longer, "-o", out, "--resume")
    assert load_model(out).search == PAPER_SEARCH


def test_iters_auto_stops_when_pictures_held_out_fare_no_better(discs, out, monkeypatch):
    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(import_module("adgan_cli.cli.train_options"), "AUTO_PATIENCE", 0.1)
    tiny = [*TINY[: TINY.index("--iters")], *TINY[TINY.index("--iters") + 2 :]]
    options = ["--iters", "auto", "--objective", "mmd", "--max-time", "none", "--holdout", "0.4"]
    said = adgan("train", discs(20), *tiny, *options, "-o", out).stderr
    assert "until it gets no better" in said and "verdict: " in said
    assert 40 <= load_model(out).provenance["training"]["iters"] < 10_000
    line = refused("train", discs(), *tiny, "--iters", "x", "-o", out, code=2)
    assert line == "--iters must be a number or auto, got x"


FEATURES = "--size 16 --transform-iters 2 --device cpu --holdout 0.2 --no-gan".split()


def test_features_alone_are_trained_and_rank_without_a_generator(discs, out, tmp_path):
    folder = discs(20)
    result = adgan("train", folder, *FEATURES, "-o", out)
    assert "without a generator" in result.stderr and "what counts: " in result.stderr
    model = load_model(out)
    assert model.generator is None and model.default_search().by == "features"
    digest = model.digest
    adgan("train", folder, *FEATURES, "-o", out, "--resume")
    assert load_model(out).digest == digest, "nothing was left to do"
    report = tmp_path / "report"
    adgan("rank", discs(4, shape="bars", name="bars"), "-m", out, "-o", report, "--device", "cpu")
    header, first = (report / "ranking.csv").read_text(encoding="utf-8").splitlines()[:2]
    assert "z_patches" in header and float(first.split(",")[2]) > 0
    line = refused("score", folder, "-m", out, "--by", "reconstruction", code=2)
    assert "--no-gan" in line and "--by features" in line


def test_features_alone_can_be_planned_and_need_something_to_learn(discs, out):
    result = adgan("train", discs(), *FEATURES, "-o", out, "--dry-run")
    assert "transform iters" in result.stdout and not out.exists()
    line = refused("train", discs(), *FEATURES, "--features", "none", "-o", out, code=2)
    assert "nothing to learn" in line
    line = refused("train", discs(), *TINY, "--features", "resnet5", "-o", out, code=2)
    assert "--features resnet5" in line
