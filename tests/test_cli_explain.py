"""adgan explain: Figure 1 for the pictures given, in a folder that is never a surprise."""

import csv
import itertools
from pathlib import Path

import pytest
from commands import FAST, adgan, one_error, refused
from conftest import draw_disc
from feature_models import save_joined_model

from adgan_cli.reports import trajectory


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "explanation"


def test_an_explanation_holds_all_that_is_promised(discs, tiny_model, out):
    folder = discs(3)
    (folder / "empty.png").touch()
    given = [folder / name for name in ("disc-002.png", "disc-000.png", "empty.png")]
    result = adgan("explain", *given, "-m", tiny_model, "--n-seed", "2", "--k", "1", "-o", out)
    assert {path.name for path in out.iterdir()} == {
        "index.html", "losses.csv", "explanation-1.png", "explanation-2.png",
    }  # fmt: skip
    page = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="../discs/disc-002.png"' in page and "<bdi>empty.png</bdi>" in page
    with open(out / "losses.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = itertools.product(("disc-002.png", "disc-000.png"), "01", "01")
    assert [(row["path"], row["point"], row["step"]) for row in rows] == list(expected)
    table = adgan("score", *given, "-m", tiny_model, "--n-seed", "2", "--k", "1").stdout
    scored = {row["path"]: row["score"] for row in csv.DictReader(table.splitlines())}
    last = [float(row["loss"]) for row in rows[:4] if row["step"] == "1"]
    assert float(scored["disc-002.png"]) == pytest.approx(sum(last) / 2)
    assert result.stdout == "" and "empty.png: empty file" in result.stderr
    assert result.stderr.splitlines()[-1] == str(out / "index.html")


def test_figures_of_an_earlier_explanation_go_and_other_files_stay(discs, tiny_model, out):
    folder = discs(2)
    adgan("explain", folder, "-m", tiny_model, *FAST, "-o", out, "-q")
    (out / "explanation-mine.png").write_text("mine")
    result = adgan("explain", folder / "disc-000.png", "-m", tiny_model, *FAST, "-o", out, "-q")
    assert (result.stdout, result.stderr) == ("", "")
    assert {path.name for path in out.iterdir()} == {
        "index.html", "losses.csv", "explanation-1.png", "explanation-mine.png",
    }  # fmt: skip


def test_an_explanation_below_the_pictures_is_not_ranked(discs, tiny_model):
    folder = discs(2)
    adgan("explain", folder, "-m", tiny_model, *FAST, "-o", folder / "why")
    assert adgan("score", folder, "-m", tiny_model, *FAST).stdout.count("\n") == 1 + 2


@pytest.mark.parametrize("name", ["index.html", "losses.csv", "explanation-1.png"])
def test_a_file_of_somebody_else_is_never_overwritten(discs, tiny_model, out, name):
    out.mkdir()
    (out / name).write_text("mine")
    line = refused("explain", discs(1), "-m", tiny_model, *FAST, "-o", out, code=2)
    assert f"{out / name} is not from adgan explain" in line
    assert [path.read_text() for path in out.iterdir()] == ["mine"]


def test_a_report_is_not_overwritten_with_an_explanation(discs, tiny_model, out):
    adgan("rank", discs(2), "-m", tiny_model, *FAST, "-o", out)
    before = (out / "index.html").read_bytes()
    refused("explain", discs(2), "-m", tiny_model, *FAST, "-o", out, code=2)
    assert (out / "index.html").read_bytes() == before


def test_more_pictures_than_a_page_holds_are_refused(discs, tiny_model, out, monkeypatch):
    monkeypatch.setattr(trajectory, "MAX_IMAGES", 2)
    line = refused("explain", discs(3), "-m", tiny_model, *FAST, "-o", out, code=2)
    assert line.startswith("3 pictures are too many") and "adgan rank --top" in line
    assert not out.exists()


def test_pictures_that_all_fail_are_a_page_and_an_exit_code(tmp_path, tiny_model, out):
    (tmp_path / "a.png").touch()
    line = refused("explain", tmp_path / "a.png", "-m", tiny_model, *FAST, "-o", out, code=3)
    assert f"all 1 failed; see {out / 'index.html'}" in line
    assert "There is no picture to show." in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "give PICTURES to explain"),
        (["nowhere.png"], 2, "nowhere.png does not exist"),
        (["disc.png", "-m", "nothing"], 4, "no model at nothing"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_begun(
    tmp_path, monkeypatch, words, code, said
):
    monkeypatch.chdir(tmp_path)
    draw_disc(tmp_path / "disc.png", 0)
    assert said in one_error(adgan("explain", *words, code=code).stderr)
    assert not (tmp_path / "adgan-explanation").exists()


def test_a_search_is_explained_whatever_scores_go_by(discs, tmp_path, out):
    folder, model = discs(2), save_joined_model(tmp_path / "model")
    said = adgan("explain", folder / "disc-000.png", "-m", model, "-o", out).stderr
    scored = adgan("score", folder, "-m", model, "--by", "reconstruction").stdout
    row = next(csv.DictReader(scored.splitlines()))
    assert f"score {float(row['score']):.4g}, p = {float(row['p_value']):#.2g}" in said
    assert (
        "note"
        not in adgan("explain", folder / "disc-000.png", "-m", model, "-o", out, "--k", "2").stderr
    )


def test_without_a_generator_there_is_no_search_to_explain(discs, tmp_path, out):
    model = save_joined_model(tmp_path / "model", generator=False)
    line = refused("explain", discs(1) / "disc-000.png", "-m", model, "-o", out, code=2)
    assert "has no generator (trained with --no-gan)" in line and not out.exists()
