"""adgan score: a row for every file found, as they come, and nothing else on stdout."""

import csv
import errno
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from commands import FAST, SLOW, TINY, adgan, one_error, refused, started, wait_until
from conftest import draw_disc, make_exploding_generator, make_generator
from feature_models import save_joined_model
from PIL import Image

from adgan_cli.cli.console import INTERRUPTED
from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine import device
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError, OutputError
from adgan_cli.scoring.rows import COLUMNS, read_scores
from adgan_cli.scoring.run import ScoringResult, ScoringRun
from adgan_cli.scoring.scorer import Scorer

# the modules: in the package `cli` itself, a command hides the module of its name
score = import_module("adgan_cli.cli.score")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_rows_come_in_input_order_under_the_promised_header(discs, tiny_model):
    result = adgan("score", discs(5), "-m", tiny_model, *FAST)
    assert result.stdout.splitlines()[0] == "path,score,p_value,in_training,width,height,mode,error"
    rows = rows_of(result.stdout)
    assert [row["path"] for row in rows] == [f"disc-00{index}.png" for index in range(5)]
    assert all(float(row["score"]) > 0 and row["width"] == "16" for row in rows)
    assert result.stderr == "5 found, 5 scored, 0 failed\n"


def test_quiet_says_nothing(discs, tiny_model):
    assert adgan("score", discs(1), "-m", tiny_model, *FAST, "-q").stderr == ""


def test_a_score_does_not_depend_on_company_batch_or_threads(discs, tiny_model):
    folder = discs(5)
    together = rows_of(adgan("score", folder, "-m", tiny_model, *FAST, "-b", "2").stdout)
    threads = rows_of(adgan("score", folder, "-m", tiny_model, *FAST, "-b", "5", "-j", "3").stdout)
    alone = rows_of(adgan("score", folder / "disc-003.png", "-m", tiny_model, *FAST).stdout)
    assert together == threads
    assert alone == [together[3]]


def test_options_reach_the_search(discs, tiny_model):
    folder = discs(1)
    told = ["--n-seed 1 --k 1", "--n-seed 2 --k 1", "--n-seed 1 --k 2", "--n-seed 1 --k 1 --seed 3",
            "--n-seed 1 --k 1 --lr-z 1", "--n-seed 1 --k 1 --lr-theta 0.1"]  # fmt: skip
    scores = {
        rows_of(adgan("score", folder, "-m", tiny_model, *given.split(), "--device", "cpu").stdout)[
            0
        ]["score"]
        for given in told
    }
    assert len(scores) == len(told)


# what is given


def test_everything_found_is_a_scored_row_or_an_error_row(tmp_path, tiny_model):
    folder = tmp_path / "odd"
    folder.mkdir()
    names = "q'u\"ote.png new\nline.png <b>&.png 😀.png \udcff.png -dash.png a,b.png".split(" ")
    for index, name in enumerate(names):
        draw_disc(tmp_path / "plain.png", index)
        shutil.copy(tmp_path / "plain.png", folder / name)
    Image.new("L", (1, 1), 9).save(folder / "dot.png")
    Image.new("L", (20000, 3), 9).save(folder / "line.png")
    whole = (tmp_path / "plain.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "readme.txt").write_text("not meant as one")

    out = tmp_path / "scores.csv"
    result = adgan("score", folder, "-m", tiny_model, *FAST, "-o", out)
    rows = {row.path: row for row in read_scores(out)}  # read back: names survive
    assert set(rows) == {
        *names, "dot.png", "line.png", "cut.png", "empty.png", "text.jpg"
    }  # fmt: skip
    failed = {name for name, row in rows.items() if row.score is None}
    assert failed == {"cut.png", "empty.png", "text.jpg"}
    assert all(rows[name].error for name in failed)
    assert (rows["dot.png"].width, rows["line.png"].width) == (1, 20000)
    passed_over, counts = result.stderr.splitlines()
    assert passed_over == "note: passed over 1 file of other kinds: 1 .txt"
    assert counts.startswith("12 found, 9 scored, 3 failed into ")


def test_colour_pictures_are_reduced_for_a_model_with_one_channel(tmp_path, tiny_model):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.png")
    Image.new("L", (16, 16), 76).save(tmp_path / "grey.png")  # the luma of red
    rows = rows_of(adgan("score", tmp_path, "-m", tiny_model, *FAST).stdout)
    grey, red = rows
    assert red["mode"] == "RGB>L" and grey["mode"] == "L"
    assert red["score"] == grey["score"]


def test_grey_pictures_are_spread_for_a_model_with_three(discs, tmp_path):
    generator = make_generator(channels=3)
    save_model(Model(generator, generator.config), tmp_path / "rgb")
    rows = rows_of(adgan("score", discs(2), "-m", tmp_path / "rgb", *FAST).stdout)
    assert all(row["score"] and not row["error"] for row in rows)


def test_a_file_given_twice_is_scored_once(discs, tiny_model):
    folder = discs(3)
    result = adgan("score", folder, folder, folder / "disc-001.png", "-m", tiny_model, *FAST)
    assert len(rows_of(result.stdout)) == 3


def test_a_file_named_explicitly_is_a_row_whatever_it_is(tmp_path, tiny_model):
    (tmp_path / "notes.txt").write_text("no picture")
    draw_disc(tmp_path / "disc.png", 0)
    paths = tmp_path / "notes.txt", tmp_path / "disc.png"
    rows = rows_of(adgan("score", *paths, "-m", tiny_model, *FAST).stdout)
    assert [(row["path"], bool(row["error"])) for row in rows] == [
        ("notes.txt", True), ("disc.png", False)
    ]  # fmt: skip


def test_pictures_that_all_fail_are_rows_and_an_exit_code(tmp_path, tiny_model):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").write_text("no picture")
    result = adgan("score", tmp_path, "-m", tiny_model, *FAST, code=3)
    assert "all 2 failed" in one_error(result.stderr)
    assert [row["error"] for row in rows_of(result.stdout)] == [
        "empty file", "not a picture Pillow can read"
    ]  # fmt: skip


def test_a_path_that_is_not_there_is_refused_by_name(discs, tiny_model):
    line = refused("score", discs(), "nowhere", "-m", tiny_model, *FAST, code=2)
    assert line.startswith("nowhere does not exist")


def test_a_folder_without_pictures_is_refused(tmp_path, tiny_model):
    (tmp_path / "a.txt").write_text("no picture")
    line = refused("score", tmp_path, "-m", tiny_model, *FAST, code=3)
    assert line.startswith(f"no pictures in {tmp_path}, but 1 .txt; give others")


def test_a_search_that_leaves_the_numbers_is_an_error_row(discs, tmp_path):
    generator = make_exploding_generator()
    save_model(Model(generator, generator.config, PAPER_SEARCH), tmp_path / "model")
    result = adgan("score", discs(2), "-m", tmp_path / "model", *FAST, code=3)
    assert {row["score"] for row in rows_of(result.stdout)} == {""}
    assert all("smaller --lr-z" in row["error"] for row in rows_of(result.stdout))


# the model


def test_a_model_that_is_missing_or_something_else_is_refused(discs, tmp_path):
    folder, model = discs(4), tmp_path / "model"
    adgan("train", folder, *TINY, "-o", model)
    (tmp_path / "config-only").mkdir()
    shutil.copy(model / "config.json", tmp_path / "config-only")
    (tmp_path / "text.safetensors").write_text("not one of ours")
    nothing = tmp_path / "nothing"
    for path, said in {
        nothing: f"no model at {nothing / 'model.safetensors'}; train one with `adgan train",
        tmp_path / "config-only": "no model at",
        model / "checkpoint.safetensors": "is a checkpoint, not a model",
        tmp_path / "text.safetensors": "is corrupt or truncated",
        folder / "disc-000.png": "disc-000.png is no model",
    }.items():
        assert said in refused("score", folder, "-m", path, *FAST, code=4)


def test_the_model_can_come_from_the_environment(discs, tiny_model):
    env = {"ADGAN_MODEL": str(tiny_model)}
    assert rows_of(adgan("score", discs(1), *FAST, env=env).stdout)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("--n-seed 0", "--n-seed must be 1 to "),
        ("--k -1", "--k must be 0 to 1000000"),
        ("--lr-z nan", "--lr-z must be at least 0"),
        ("--lr-theta -1", "--lr-theta must be at least 0"),
        ("--loss l3", "--loss must be one of l2, relative"),
        ("--seed -1", "--seed must be at least 0"),
        ("--format xml", "Invalid value for '--format': 'xml' is not one of 'csv', 'jsonl'"),
        ("--device abacus", "--device must be auto, cpu"),
        ("-b 0", "Invalid value for '-b' / '--batch-size'"),
        ("-j 0", "Invalid value for '-j' / '--workers'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_flag(discs, tiny_model, given, line):
    result = adgan("score", discs(1), "-m", tiny_model, *given.split(), code=2)
    assert one_error(result.stderr).startswith(line)
    assert result.stdout == ""


# where the rows go


def test_a_trace_holds_every_step_and_ends_with_the_score(discs, tiny_model, tmp_path):
    trace, settings = tmp_path / "trace.csv", ["--n-seed", "2", "--k", "3", "--device", "cpu"]
    ended = adgan("score", discs(2), "-m", tiny_model, *settings, "--trace", trace)
    with open(trace, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == 4 * ["0", "1", "2", "3"]
    for scored in csv.DictReader(ended.stdout.splitlines()):
        last = [row for row in rows if (row["path"], row["step"]) == (scored["path"], "3")]
        losses = [float(row["loss"]) for row in last]
        assert len(losses) == 2
        assert sum(losses) / 2 == pytest.approx(float(scored["score"]))


def test_json_lines_hold_the_same_rows(discs, tiny_model):
    folder = discs(2)
    (folder / "empty.png").touch()
    words = ["score", folder, "-m", tiny_model, *FAST]
    objects = [json.loads(line) for line in adgan(*words, "--format", "jsonl").stdout.splitlines()]
    table = rows_of(adgan(*words).stdout)
    assert [tuple(o) for o in objects] == [COLUMNS] * 3
    assert [o["path"] for o in objects] == [row["path"] for row in table]
    assert [o["score"] for o in objects] == [
        float(r["score"]) if r["score"] else None for r in table
    ]


def test_a_file_appears_only_when_it_is_complete(discs, tiny_model):
    folder = discs(2)
    out = folder.parent / "scores.csv"
    out.write_text("old")
    adgan("score", folder, "-m", folder.parent / "nothing", *FAST, "-o", out, code=4)
    assert out.read_text() == "old", "a command that failed left the old table alone"
    adgan("score", folder, "-m", tiny_model, *FAST, "-o", out)
    assert len(read_scores(out)) == 2
    assert not list(folder.parent.glob("*.partial"))


def test_a_folder_is_no_file_for_rows(discs, tiny_model, tmp_path):
    folder = discs(1)
    for out in (tmp_path, ""):
        line = refused("score", folder, "-m", tiny_model, *FAST, "-o", out, code=2)
        assert "is a folder; give a file" in line
    line = refused(
        "score", folder, "-m", tiny_model, *FAST, "-o", tiny_model / "config.json" / "a", code=1
    )
    assert f"cannot write {tiny_model / 'config.json' / 'a'}" in line


def test_a_folder_that_is_missing_is_made_for_rows(discs, tiny_model, tmp_path):
    adgan("score", discs(1), "-m", tiny_model, *FAST, "-o", tmp_path / "no" / "a.csv")
    assert len(read_scores(tmp_path / "no" / "a.csv")) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_to_and_never_replaced(discs, tiny_model, tmp_path):
    # os.replace would put a file in the place of /dev/null
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        adgan("score", discs(2), "-m", tiny_model, *FAST, "-o", pipe)
        assert len(rows_of(os.read(reader, 65536).decode())) == 2
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert not (tmp_path / "pipe.partial").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(discs, tiny_model, tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # root could replace the device itself
    line = refused("score", discs(1), "-m", tiny_model, *FAST, "-o", full, code=1)
    assert line.startswith(f"cannot write {full}: No space left on device")


def test_a_disk_that_fills_up_at_the_end_keeps_the_rows(discs, tiny_model, monkeypatch):
    folder = discs(2)
    out = folder.parent / "scores.csv"

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    line = refused("score", folder, "-m", tiny_model, *FAST, "-o", out, code=1)
    assert line.startswith(f"cannot write {out}: No space left on device")
    assert len(read_scores(Path(f"{out}.partial"))) == 2


def test_stopping_keeps_the_rows_so_far(discs, tiny_model, monkeypatch):
    folder = discs(3)
    out = folder.parent / "scores.csv"
    results = ScoringRun.results

    def stopped(run: ScoringRun) -> Iterator[ScoringResult]:
        for result in results(run):
            signal.raise_signal(signal.SIGINT)
            yield result

    monkeypatch.setattr(ScoringRun, "results", stopped)
    result = adgan("score", folder, "-m", tiny_model, *FAST, "-o", out, code=INTERRUPTED)
    assert f"stopped after 1 of 3 pictures; the rows so far are in {out}.partial" in result.stderr
    assert len(read_scores(Path(f"{out}.partial"))) == 1
    assert not out.exists()


def test_a_closed_standard_output_is_an_output_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # what Python makes of `>&-`
    with pytest.raises(OutputError, match="standard output is closed; give a file with -o"):
        score._open(None)


def test_stdout_is_utf_8_with_plain_line_ends_whatever_the_locale_says(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", stream)
    with score._open(None) as file:
        file.write("é😀\n")
        file.flush()
    assert stream.buffer.getvalue() == "é😀\n".encode()  # type: ignore[attr-defined]


# in a process of its own


def test_a_reader_that_leaves_ends_the_command_quietly(discs, tiny_model):
    process = started("score", discs(), "-m", tiny_model, *FAST)
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith("path,score")
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 1)
    assert "Traceback" not in stderr and "Exception" not in stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_is_one_line(discs, tiny_model):
    with open("/dev/full", "w") as full:
        process = started("score", discs(1), "-m", tiny_model, *FAST, stdout=full)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert one_error(stderr).startswith("cannot write to standard output: No space left on device")


@pytest.mark.slow
def test_a_killed_command_leaves_the_rows_so_far(discs, tiny_model):
    folder = discs(200)
    out = folder.parent / "scores.csv"
    partial = Path(f"{out}.partial")
    process = started("score", folder, "-m", tiny_model, *SLOW, "-o", out)
    wait_until(lambda: partial.exists() and partial.read_text().count("\n") > 3, process)
    process.kill()
    process.communicate()
    assert len(read_scores(partial)) >= 3
    assert not out.exists()


def test_presets_replace_the_model_s_own_search_and_options_win_over_them(
    discs, tiny_model, tmp_path
):
    def scored(model: Path, *options: str) -> str:
        ended = adgan("score", discs(3), "-m", model, "--device", "cpu", "-q", *options)
        return ended.stdout

    model = tmp_path / "model"
    save_model(replace(load_model(tiny_model), search=replace(PAPER_SEARCH, n_seed=1, k=0)), model)
    paper = "--n-seed 8 --k 5 --lr-z 0.25 --theta per-point --lr-theta 5e-5 --loss l2".split()
    tuned = "--n-seed 3 --k 5 --theta none --z-radius 0.1 --loss ssim+gradient+relative".split()
    assert scored(model, "--preset", "paper") == scored(model, *paper)
    assert scored(model, "--preset", "tuned") == scored(model, *tuned)
    assert len({scored(model), scored(model, *paper), scored(model, *tuned)}) == 3
    ended = scored(model, "--preset", "paper", "--k", "1")
    assert ended == scored(model, *paper, "--k", "1")
    line = refused("score", discs(3), "-m", model, "--preset", "mine", code=2)
    assert line.startswith("Invalid value for '--preset': 'mine' is not one of 'paper', 'tuned'")


# joined scores


@pytest.fixture(scope="module")
def joined_model(tmp_path_factory):
    return save_joined_model(tmp_path_factory.mktemp("joined"))


def test_by_features_parts_are_columns_and_the_search_has_no_part(discs, joined_model):
    folder = discs(4)
    result = adgan("score", folder, "-m", joined_model, "--device", "cpu")
    rows = rows_of(result.stdout)
    assert list(rows[0]) == [*COLUMNS, "z_histograms", "z_components"]
    for row in rows:
        z = np.array([float(row["z_histograms"]), float(row["z_components"])])
        parts = np.logaddexp(0, z) @ [0.75, 0.25]
        assert float(row["score"]) == pytest.approx(parts, abs=1e-4) and row["p_value"]
    other = adgan("score", folder, "-m", joined_model, "--k", "9", "--loss", "l1")
    assert other.stdout == result.stdout
    assert "note: --k and --loss do nothing --by features" in other.stderr


def test_by_all_the_reconstruction_is_one_more_column(discs, joined_model):
    folder = discs(4)
    rows = rows_of(adgan("score", folder, "-m", joined_model, "--by", "all").stdout)
    assert list(rows[0])[-1] == "z_reconstruction" and all(row["p_value"] for row in rows)
    plain = rows_of(adgan("score", folder, "-m", joined_model, "--by", "reconstruction").stdout)
    assert list(plain[0]) == list(COLUMNS) and all(row["p_value"] for row in plain)
    by_paper = adgan("score", folder, "-m", joined_model, "--preset", "paper", "--k", "0").stdout
    assert list(rows_of(by_paper)[0]) == list(COLUMNS)


@pytest.mark.parametrize("by", ["features", "all"])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_joined_scores_that_are_gone_on_with_are_the_same_bytes(
    discs, joined_model, tmp_path, by, format
):
    folder = discs(3)
    words = ["score", folder, "-m", joined_model, "--by", by, "--format", format]
    adgan(*words, "-o", tmp_path / "scores")
    for number in (1, 2):
        draw_disc(folder / f"a-new-{number}.png", 20 + number)
    adgan(*words, "-o", tmp_path / "scores", "--resume")
    adgan(*words, "-o", tmp_path / "whole")
    assert (tmp_path / "scores").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "reconstruction"], "has no generator (trained with --no-gan)"),
        (["--by", "all"], "has no generator"),
        (["--preset", "paper"], "has no generator"),
        (["--trace", "losses.csv"], "--trace: scores --by features have no losses"),
    ],
)
def test_without_a_generator_what_needs_one_is_refused(discs, tmp_path, words, said):
    model = save_joined_model(tmp_path / "model", generator=False)
    assert said in refused("score", discs(2), "-m", model, *words, code=2)
    assert rows_of(adgan("score", discs(2), "-m", model).stdout)[0]["z_components"]


def test_all_joined_needs_errors_to_compare_with(discs, joined_model):
    words = ["score", discs(2), "-m", joined_model, "--by", "all", "--k", "2"]
    assert "adgan calibrate PATHS --by all adds them" in refused(*words, code=2)


def test_a_model_without_features_says_so(discs, tiny_model):
    line = refused("score", discs(2), "-m", tiny_model, "--by", "features", code=2)
    assert "has learned no features; score --by reconstruction" in line


def test_a_network_that_is_not_here_is_one_warning_and_the_others_score(
    discs, joined_model, monkeypatch
):
    def connect(detector, device):
        if type(detector).__name__ == "Components":
            raise ConfigError("it needs what is not here: install it")
        return detector

    monkeypatch.setattr("adgan_cli.engine.features.files.connect", connect)
    result = adgan("score", discs(2), "-m", joined_model, "-q")
    said = "warning: scoring without the components features: it needs what is not here: install it"
    assert result.stderr.splitlines() == [said]
    rows = rows_of(result.stdout)
    assert "z_components" not in rows[0] and all(row["p_value"] for row in rows)
    plain = adgan("score", discs(2), "-m", joined_model, "-q", "--by", "reconstruction")
    assert plain.stderr == ""


def test_bf16_where_it_is_slow_is_warned_of(discs, tiny_model, monkeypatch):
    words = ["score", discs(1), "-m", tiny_model, *FAST, "--theta", "none"]
    for native, said in ((False, True), (True, False)):
        monkeypatch.setattr(device, "multiplies_bf16", lambda device, result=native: result)
        assert ("takes many times as long" in adgan(*words, "--precision", "bf16").stderr) is said
        assert "warning" not in adgan(*words).stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [("--theta none --precision tf32", "cpu does not"), ("--precision bf16", "--theta none")],
)
def test_a_precision_that_does_not_go_is_refused(discs, tiny_model, words, reason):
    assert reason in refused("score", discs(1), "-m", tiny_model, *FAST, *words.split(), code=2)


@pytest.mark.parametrize("command", ["score", "rank"])
def test_a_search_that_could_not_be_captured_is_mentioned_once(
    discs, tiny_model, tmp_path, monkeypatch, command
):
    monkeypatch.setattr(Scorer, "eager_reason", property(lambda self: "it cannot be captured: no"))
    words = [command, discs(3), "-m", tiny_model, *FAST, "-b", "1", "-o", tmp_path / "out"]
    lines = adgan(*words).stderr.splitlines()
    said = "note: the search ran step by step, not as one CUDA graph: it cannot be captured: no"
    assert lines.count(said) == 1
    assert said not in adgan(*words[:-1], tmp_path / "other", "-q").stderr
