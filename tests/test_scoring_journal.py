"""Rows that outlive a run: believed while nothing has changed, and never mixed with others."""

import json
import os
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from commands import FAST, SLOW, adgan, refused, started, wait_until
from conftest import draw_disc, make_generator

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.search import precision
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.images.find import list_inputs
from adgan_cli.images.refs import FileStamp, ImageRef
from adgan_cli.reports.rank import rank
from adgan_cli.scoring import run
from adgan_cli.scoring.journal import (
    JournalEntry,
    journal_writer,
    read_journal,
    scoring_key,
    stamp_of,
)
from adgan_cli.scoring.rows import read_scores


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The images that are read to be scored and, as their number in a batch, searched for."""
    done: dict[str, list[str]] = {"read": [], "searched": []}
    search = Searcher.__call__

    def counted(self, x):  # type: ignore[no-untyped-def]
        done["searched"] += ["?"] * len(x)
        return search(self, x)

    def noted(item: ImageRef) -> FileStamp | None:  # taken of each image just before it is read
        done["read"].append(item.name)
        return stamp_of(item)

    monkeypatch.setattr(Searcher, "__call__", counted)
    monkeypatch.setattr(run, "stamp_of", noted)
    return done


def scored_in_full(folder: Path, model: Path, tmp_path: Path) -> bytes:
    adgan("score", folder, "-m", model, *FAST, "-o", tmp_path / "full.csv")
    return (tmp_path / "full.csv").read_bytes()


def test_a_folder_that_has_grown_costs_what_is_new(discs, tiny_model, tmp_path, work):
    folder, out = discs(5), tmp_path / "scores.csv"
    words = ["score", folder, "-m", tiny_model, *FAST, "-o", out, "--resume"]
    adgan(*words)
    assert len(work["searched"]) == 5
    draw_disc(folder / "a-new.png", 7)  # sorted before the others
    (folder / "disc-002.png").unlink()
    draw_disc(folder / "disc-003.png", 9)
    os.utime(folder / "disc-003.png", (1, 1))
    work["read"].clear()
    adgan(*words)
    assert work["read"] == ["a-new.png", "disc-003.png"]
    assert len(work["searched"]) == 5 + 2
    assert out.read_bytes() == scored_in_full(folder, tiny_model, tmp_path)


def test_a_report_of_a_folder_that_has_grown_is_that_of_a_full_run(
    discs, tiny_model, tmp_path, work
):
    words = ["rank", discs(4), "-m", tiny_model, *FAST]
    adgan(*words, "-o", tmp_path / "report")
    draw_disc(tmp_path / "discs" / "disc-0025.png", 7)
    work["read"].clear()
    adgan(*words, "-o", tmp_path / "report", "--resume")
    assert work["read"] == ["disc-0025.png"]
    adgan(*words, "-o", tmp_path / "other")
    for name in ("ranking.csv", "index.html", "summary.json", "figure.png"):
        whole = (tmp_path / "other" / name).read_bytes()
        assert (tmp_path / "report" / name).read_bytes() == whole, name


def test_rank_in_python_goes_on_from_the_journal_of_its_report(discs, tiny_model, tmp_path, work):
    folder, out, model = discs(4), tmp_path / "report", load_model(tiny_model)
    config = replace(PAPER_SEARCH, n_seed=1, k=1)
    rank(model, [folder], out, config, explain=False)
    draw_disc(folder / "disc-004.png", 4)
    work["read"].clear()
    ranked = rank(model, [folder], out, config, explain=False, resume=True)
    assert work["read"] == ["disc-004.png"] and len(ranked) == 5
    assert rank(model, [folder], tmp_path / "other", config, explain=False) == ranked


def test_what_was_only_touched_or_moved_is_read_and_not_searched(discs, tiny_model, tmp_path, work):
    folder, out = discs(4), tmp_path / "scores.csv"
    words = ["-m", tiny_model, *FAST, "-o", out, "--resume"]
    adgan("score", folder, *words)
    before = out.read_bytes()
    os.utime(folder / "disc-001.png", (1, 1))
    adgan("score", folder, *words)
    assert work["read"][4:] == ["disc-001.png"]
    adgan("score", folder.rename(tmp_path / "elsewhere"), *words)
    assert len(work["read"]) == 4 + 1 + 4, "in another folder, stamps alone are not believed"
    assert len(work["searched"]) == 4
    assert out.read_bytes() == before


def test_another_content_of_the_same_size_and_time_elsewhere_is_another_image(tmp_path, tiny_model):
    # as unpacked by a tool that sets all times alike: names, sizes and times agree
    for name, index in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        draw_disc(tmp_path / name / "disc.bmp", index)
        os.utime(tmp_path / name / "disc.bmp", (1, 1))
    sizes = {(tmp_path / name / "disc.bmp").stat().st_size for name in "ab"}
    assert len(sizes) == 1
    words = ["-m", tiny_model, *FAST, "-o", tmp_path / "scores.csv", "--resume"]
    scores = []
    for name in "ab":
        adgan("score", tmp_path / name, *words)
        scores.append(read_scores(tmp_path / "scores.csv")[0].score)
    assert scores[0] != scores[1]


def test_a_file_that_failed_is_tried_again(discs, tiny_model, tmp_path, work):
    folder, out = discs(3), tmp_path / "scores.csv"
    shutil.copy(folder / "disc-001.png", tmp_path / "whole.png")
    (folder / "disc-001.png").write_bytes(b"x" * 40)
    words = ["score", folder, "-m", tiny_model, *FAST, "-o", out, "--resume"]
    adgan(*words)
    adgan(*words)
    assert work["read"][3:] == ["disc-001.png"]
    shutil.copy(tmp_path / "whole.png", folder / "disc-001.png")
    adgan(*words)
    assert out.read_bytes() == scored_in_full(folder, tiny_model, tmp_path)


@pytest.mark.parametrize(("cut", "lost"), [(1, 0), (3, 1), (30, 1), (None, 4)])
def test_torn_lines_cost_their_picture_and_nothing_else(
    discs, tiny_model, tmp_path, work, cut, lost
):
    folder, out = discs(4), tmp_path / "scores.csv"
    words = ["score", folder, "-m", tiny_model, *FAST, "-o", out, "--resume"]
    adgan(*words)
    before = out.read_bytes()
    file = tmp_path / "scores.csv.journal" / "process-0.jsonl"
    whole = file.read_bytes()
    header = whole.index(b"\n")
    file.write_bytes(whole[: header // 2 if cut is None else -cut])
    for _ in range(2):
        adgan(*words)
        assert len(work["searched"]) == 4 + lost, "scored again once, and then cached"
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--k", "2"], "was scored with search k 1, this is search k 2"),
        (["--seed", "3"], "search seed 0, this is search seed 3"),
        (["--model"], "was scored with model "),
    ],
)
def test_rows_of_another_model_or_settings_are_refused(discs, tiny_model, tmp_path, given, message):
    folder, out = discs(2), tmp_path / "scores.csv"
    adgan("score", folder, "-m", tiny_model, *FAST, "-o", out)
    before, model = out.read_bytes(), tiny_model
    if given == ["--model"]:
        generator = make_generator(channels=1, seed=1)
        save_model(Model(generator, generator.config), tmp_path / "other")
        given, model = [], tmp_path / "other"
    words = ["score", folder, "-m", model, *FAST, *given, "-o", out]
    line = refused(*words, "--resume", code=2)
    assert message in line and "leave out --resume" in line and f"{out}.journal" in line
    assert out.read_bytes() == before
    adgan(*words)  # without it: all anew
    adgan(*words, "--resume")


def test_a_journal_that_is_not_ours_is_refused_and_kept(discs, tiny_model, tmp_path):
    file = tmp_path / "scores.csv.journal" / "process-0.jsonl"
    file.parent.mkdir()
    file.write_text("my own notes\n")
    words = ["score", discs(1), "-m", tiny_model, *FAST, "-o", tmp_path / "scores.csv"]
    assert f"{file} is no journal of adgan" in refused(*words, "--resume", code=1)
    assert file.read_text() == "my own notes\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score"], "--resume does not go with -o -"),
        (["score", "-o", "s.csv", "--trace", "t.csv"], "--resume does not go with --trace"),
        (["rank", "--from", "s.csv"], "leave out --resume"),
    ],
)
def test_resume_is_refused_where_it_means_nothing(discs, tiny_model, words, message):
    assert message in refused(*words, discs(1), "-m", tiny_model, "--resume", code=2)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(discs, tiny_model, tmp_path):
    folder, out = discs(120), tmp_path / "scores.csv"
    words = ["score", folder, "-m", tiny_model, *SLOW, "--resume"]
    journal = tmp_path / "scores.csv.journal" / "process-0.jsonl"
    process = started(*words, "-o", out)
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 20, process)
    process.kill()
    process.communicate()
    lines = journal.read_bytes()
    assert not out.exists() and lines.count(b"\n") < 120
    adgan(*words, "-o", out)
    assert journal.read_bytes().startswith(lines), "nothing is scored a second time"
    adgan(*words, "-o", tmp_path / "other.csv")
    assert out.read_bytes() == (tmp_path / "other.csv").read_bytes()


# lines


@pytest.fixture
def line(tmp_path):
    """A journal of one image with two parts, what it is about, and the entry."""
    folder, about = tmp_path / "journal", {"detectors": "patches, components"}
    draw_disc(tmp_path / "a.png", 0)
    (item,) = list_inputs([tmp_path / "a.png"]).items
    entry = JournalEntry(b"12345678", -1.5, 64, 48, "RGB", (0.25, -3.0))
    with journal_writer(folder, about, tmp_path) as append:
        append(item, (100, 5), entry)
    return folder, about, entry


def test_an_entry_comes_back_with_its_parts(line):
    folder, about, entry = line
    journal = read_journal(folder, about)
    assert len(journal) == 1 and journal[0] == entry
    assert journal.entry_of_content(b"12345678") == entry
    assert journal.entry_of_content(b"87654321") is None


def test_no_flipped_bit_changes_an_entry(line):
    folder, about, entry = line
    file = folder / "process-0.jsonl"
    header, body = file.read_bytes().splitlines(keepends=True)
    for index in range(len(body) - 1):
        for bit in range(8):
            flipped = bytearray(body)
            flipped[index] ^= 1 << bit
            file.write_bytes(header + bytes(flipped))
            journal = read_journal(folder, about)
            assert len(journal) == 0 or journal[0] == entry, (index, bit)


@pytest.mark.parametrize(
    "values",
    [
        [],
        "[" * 100_000,
        ["f" * 16, "f" * 16, 1.0, 4, 4, "L", [1.0], "a.png"],  # a part too few
        ["f" * 16, "f" * 16, float("nan"), 4, 4, "L", [1.0, 2.0], "a.png"],
        ["f" * 16, "f" * 16, 1.0, 4, 2**64, "L", [1.0, 2.0], "a.png"],
        ["f" * 16, "f" * 16, 1.0, 4.5, 4, "L", [1.0, 2.0], "a.png"],
        ["f" * 16, "f" * 16, 1.0, 4, 4, 7, [1.0, 2.0], "a.png"],
        ["f" * 18, "f" * 16, 1.0, 4, 4, "L", [1.0, 2.0], "a.png"],
        ["-" + "f" * 15, "f" * 16, 1.0, 4, 4, "L", [1.0, 2.0], "a.png"],
        ["f" * 16, "f" * 16, 10**400, 4, 4, "L", [1.0, 2.0], "a.png"],
        ["f" * 16, 5, 1.0, 4, 4, "L", [1.0, 2.0], "a.png"],
        ["f" * 16, "f" * 16, 1.0, 4, 4, "L", "12", "a.png"],
        ["f" * 16, "f" * 16, 1.0, 4, 4, "L", [1.0, None], "a.png"],
    ],
)
def test_a_line_of_another_shape_is_passed_over(line, values):
    folder, about, _ = line
    body = (values if isinstance(values, str) else json.dumps(values)).encode().removesuffix(b"]")
    with open(folder / "process-0.jsonl", "ab") as file:
        file.write(body + b",%d]\n" % zlib.crc32(body))
    assert len(read_journal(folder, about)) == 1


def test_a_journal_is_of_one_precision_as_it_was_computed(tiny_model, monkeypatch):
    model, config = load_model(tiny_model), replace(PAPER_SEARCH, theta="none")

    def key(name: str) -> dict[str, object]:
        return scoring_key(model, replace(config, precision=name))

    assert key("auto") == key("fp32") != key("bf16")  # on a CPU
    monkeypatch.setattr(precision, "multiplies_tf32", lambda device: True)
    assert key("auto") == key("tf32") != key("fp32")
