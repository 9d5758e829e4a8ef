"""adgan rank: the ends of the ranking as a page, and a report folder that is never a surprise."""

import csv
import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from commands import FAST, SLOW, TINY, adgan, one_error, refused, started, wait_until
from conftest import draw_disc, make_generator
from feature_models import save_joined_model
from PIL import Image

from adgan_cli.cli.console import INTERRUPTED
from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.images.statistics import STATISTICS
from adgan_cli.reports import comparison
from adgan_cli.reports.report import MAX_HELD_OUT
from adgan_cli.scoring.rows import read_scores
from adgan_cli.scoring.run import ScoringResult, ScoringRun

Folder = Callable[..., Path]
FILES = {"ranking.csv", "index.html", "figure.png", "summary.json"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report"


def summary_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def links_of(out: Path) -> list[bytes]:
    """The files the page links to, as the file system spells them."""
    page = (out / "index.html").read_text(encoding="utf-8")
    hrefs = [part.split('"')[0] for part in page.split('href="')[1:]]
    return [unquote_to_bytes(unescape(href)) for href in hrefs if not href.startswith("#")]


def test_a_report_holds_all_that_is_promised(discs, tiny_model, out):
    result = adgan("rank", discs(5), "-m", tiny_model, *FAST, "-o", out, "--top", "2")
    assert {path.name for path in out.iterdir()} == FILES | {"journal"}
    rows = read_scores(out / "ranking.csv")
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    told = summary_of(out)
    assert (told["found"], told["scored"], told["failed"]) == (5, 5, 0)
    assert len(links_of(out)) == 4, "two of either end"
    assert result.stdout == "", "stdout is data, and there is none"
    assert result.stderr.splitlines()[-1] == str(out / "index.html")
    assert rows[0].path in result.stderr


def test_quiet_says_nothing(discs, tiny_model, out):
    result = adgan("rank", discs(2), "-m", tiny_model, *FAST, "-o", out, "-q")
    assert (result.stdout, result.stderr) == ("", "")
    assert (out / "index.html").exists()


def test_scores_are_those_of_the_score_command(discs, tiny_model, out):
    folder, table = discs(4), out.with_suffix(".csv")
    adgan("rank", folder, "-m", tiny_model, *FAST, "-o", out)
    adgan("score", folder, "-m", tiny_model, *FAST, "-o", table)
    ranked = {row.path: row.score for row in read_scores(out / "ranking.csv")}
    assert ranked == {row.path: row.score for row in read_scores(table)}


@pytest.mark.parametrize(
    ("ends", "shown"), [("--top 3 --bottom 0", 3), ("--top 30", 5)], ids=["differ", "overlap"]
)
def test_ends_may_differ_and_share_no_picture(discs, tiny_model, out, ends, shown):
    adgan("rank", discs(5), "-m", tiny_model, *FAST, "-o", out, *ends.split())
    assert len(links_of(out)) == len(set(links_of(out))) == shown


def test_odd_names_and_broken_files_end_up_in_the_report(tmp_path, tiny_model, out):
    folder = tmp_path / "o<d>d\udcfe"
    folder.mkdir()
    names = "q'u\"ote.png new\nline.png <script>x< 😀.png \udcff.png javascript:x.png".split(" ")
    for index, name in enumerate(names):
        draw_disc(tmp_path / "plain.png", index)
        shutil.copy(tmp_path / "plain.png", folder / name)
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    result = adgan("rank", folder, "-m", tiny_model, *FAST, "-o", out)
    told = summary_of(out)
    assert (told["found"], told["scored"], told["failed"]) == (8, 6, 2)
    assert "8 found, 6 scored, 2 failed" in result.stderr
    linked = {os.path.normpath(os.path.join(os.fsencode(out), link)) for link in links_of(out)}
    assert linked == {os.fsencode(folder / name) for name in names}
    assert "<script>x<" not in (out / "index.html").read_text(encoding="utf-8")
    assert r"new\nline.png" in result.stderr
    adgan("rank", "--from", out / "ranking.csv", "-o", tmp_path / "again")
    assert len(links_of(tmp_path / "again")) == 6


def test_pictures_that_all_fail_are_a_report_and_an_exit_code(tmp_path, tiny_model, out):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    line = refused("rank", tmp_path, "-m", tiny_model, *FAST, "-o", out, code=3)
    assert f"all 2 failed; the reasons are in {out / 'ranking.csv'}" in line
    assert [row.error for row in read_scores(out / "ranking.csv")] == ["empty file"] * 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "give PATHS to score, or --from"),
        (["nowhere"], 2, "nowhere does not exist"),
        (["."], 3, "no pictures in ."),
        (["disc.png", "--top", "0"], 2, "Invalid value for '--top'"),
        (["disc.png", "--top", "many"], 2, "Invalid value for '--top'"),
        (["disc.png", "--bottom", "-1"], 2, "Invalid value for '--bottom'"),
        (["disc.png", "-m", "nothing"], 4, "no model at nothing"),
        (["--from", "nothing.csv"], 1, "cannot read nothing.csv: No such file"),
    ],
)
def test_what_cannot_be_is_refused_before_a_report_is_begun(
    tmp_path, monkeypatch, words, code, said
):
    monkeypatch.chdir(tmp_path)
    if "disc.png" in words:
        draw_disc(tmp_path / "disc.png", 0)
    assert said in one_error(adgan("rank", *words, code=code).stderr)
    assert not (tmp_path / "adgan-report").exists()


# the report folder


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_of_somebody_else_is_never_overwritten(discs, tiny_model, out, name):
    out.mkdir()
    (out / name).write_text("mine")
    line = refused("rank", discs(2), "-m", tiny_model, *FAST, "-o", out, code=2)
    assert f"{out / name} is not from adgan" in line
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "mine")]


def test_a_report_of_ours_is_drawn_anew_and_other_files_stay(discs, tiny_model, out):
    adgan("rank", discs(2), "-m", tiny_model, *FAST, "-o", out)
    (out / "notes.txt").write_text("mine")
    adgan("rank", discs(5), "-m", tiny_model, *FAST, "-o", out)
    assert summary_of(out)["found"] == 5
    assert (out / "notes.txt").read_text() == "mine"


def test_the_report_does_not_go_among_the_pictures(discs, tiny_model):
    # its figure.png would be ranked the next time
    folder = discs(2)
    for given in (folder, folder / "disc-000.png"):
        line = refused("rank", given, "-m", tiny_model, *FAST, "-o", folder, code=2)
        assert f"-o {folder} holds pictures to rank" in line
    assert len(list(folder.iterdir())) == 2


def test_a_report_below_the_pictures_is_not_ranked_itself(discs, tiny_model):
    folder = discs(2)
    for _ in range(2):
        adgan("rank", folder, "-m", tiny_model, *FAST, "-o", folder / "report")
        assert summary_of(folder / "report")["found"] == 2


def test_a_file_in_place_of_the_report_is_refused(discs, tiny_model, out):
    out.write_text("mine")
    line = refused("rank", discs(1), "-m", tiny_model, *FAST, "-o", out, code=2)
    assert line.startswith(f"-o {out} is a file")
    assert out.read_text() == "mine"


def test_a_read_only_place_is_found_out_before_any_work(discs, tiny_model, out, monkeypatch):
    # simulated: permissions do not bind root
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (out, os.W_OK))
    monkeypatch.setattr(ScoringRun, "results", lambda run: pytest.fail("scored in vain"))
    line = refused("rank", discs(1), "-m", tiny_model, *FAST, "-o", out, code=1)
    assert line.startswith(f"cannot write to {out}")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_full_disk_keeps_the_rows_that_were_scored(discs, tiny_model, out, monkeypatch, name):
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    line = refused("rank", discs(2), "-m", tiny_model, *FAST, "-o", out, code=1)
    assert line.startswith(f"cannot write {out / name}: No space left on device")
    assert len(read_scores(out / "scores.partial.csv")) == 2
    monkeypatch.undo()
    adgan("rank", "--from", out / "scores.partial.csv", "-o", out)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_rows_that_cannot_be_kept_end_the_ranking(discs, tiny_model, out):
    out.mkdir()
    (out / "scores.partial.csv").symlink_to("/dev/full")
    line = refused("rank", discs(1), "-m", tiny_model, *FAST, "-o", out, code=1)
    assert line.startswith(f"cannot write {out / 'scores.partial.csv'}: No space left on device")


def test_stopping_keeps_the_rows_so_far_and_says_how_to_see_them(
    discs, tiny_model, out, monkeypatch
):
    folder, results = discs(4), ScoringRun.results

    def stopped(run: ScoringRun) -> Iterator[ScoringResult]:
        for result in results(run):
            signal.raise_signal(signal.SIGTERM)
            yield result

    monkeypatch.setattr(ScoringRun, "results", stopped)
    result = adgan("rank", folder, "-m", tiny_model, *FAST, "-o", out, code=INTERRUPTED)
    partial = out / "scores.partial.csv"
    assert len(read_scores(partial)) == 1
    told = f"adgan rank {folder} --from {partial} -o {out}"
    assert told in result.stderr
    adgan(*told.split()[1:])
    assert summary_of(out)["found"] == 1
    assert not partial.exists(), "all of it stands in ranking.csv"


# --from


@pytest.fixture
def report(discs: Folder, tiny_model: Path, out: Path) -> Path:
    """A report on five discs."""
    adgan("rank", discs(5), "-m", tiny_model, *FAST, "-o", out)
    return out


def test_a_ranking_is_drawn_again_without_a_model(report, tmp_path):
    again = tmp_path / "deeper" / "again"
    adgan("rank", "--from", report / "ranking.csv", "-o", again, "-m", tmp_path / "nothing")
    assert (again / "ranking.csv").read_bytes() == (report / "ranking.csv").read_bytes()
    assert len(links_of(again)) == 5
    assert all((again / os.fsdecode(link)).is_file() for link in links_of(again))
    assert summary_of(again)["settings"] == summary_of(report)["settings"]


def test_a_ranking_can_be_drawn_again_in_its_place(report):
    before = (report / "ranking.csv").read_bytes()
    adgan("rank", "--from", report / "ranking.csv", "-o", report, "--top", "1", "--bottom", "0")
    assert (report / "ranking.csv").read_bytes() == before
    assert len(links_of(report)) == 1


def test_a_table_alone_needs_to_be_told_where_the_pictures_are(report, tmp_path):
    (tmp_path / "else").mkdir()
    table = shutil.copy(report / "ranking.csv", tmp_path / "else")
    again = tmp_path / "again"
    adgan("rank", tmp_path / "discs", "--from", table, "-o", again)
    assert len(links_of(again)) == 5 and (again / "figure.png").exists()
    adgan("rank", "--from", table, "-o", again)  # and now without
    assert links_of(again) == []
    assert not (again / "figure.png").exists(), "a figure of pictures that are not shown"
    assert summary_of(again)["found"] == 5


def test_a_picture_that_is_gone_keeps_its_place(report, tmp_path):
    first = read_scores(report / "ranking.csv")[0].path
    (tmp_path / "discs" / first).unlink()
    adgan("rank", "--from", report / "ranking.csv", "-o", report)
    assert read_scores(report / "ranking.csv")[0].path == first
    assert len(links_of(report)) == 4


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        ("path,score\n", 2, "holds no scored picture"),
        ("path,score,error\na.png,,empty file\n", 2, "holds no scored picture"),
        ("", 1, "the file is empty"),
        ("path,score\na.png,high\n", 1, "line 2: score must be a number"),
    ],
)
def test_a_table_that_is_no_ranking_is_refused_by_name(tmp_path, out, table, code, said):
    path = tmp_path / "scores.csv"
    path.write_text(table)
    line = refused("rank", "--from", path, "-o", out, code=code)
    assert said in line and str(path) in line
    assert not out.exists()


def test_rows_of_another_ranking_are_not_thrown_away(report, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "scores.partial.csv").write_text("path,score\nkept.png,1\n")  # of a killed command
    adgan("rank", "--from", report / "ranking.csv", "-o", other)
    assert (other / "scores.partial.csv").read_text() == "path,score\nkept.png,1\n"


# explanations


def explained_in(out: Path) -> int:
    return (out / "index.html").read_text(encoding="utf-8").count('alt="Best reconstruction of')


def test_what_is_shown_is_explained_unless_that_is_declined(discs, tiny_model, out):
    folder = discs(4)
    adgan("rank", folder, "-m", tiny_model, *FAST, "-o", out, "--top", "1")
    assert explained_in(out) == 2
    table = (out / "ranking.csv").read_bytes()
    adgan("rank", folder, "-m", tiny_model, *FAST, "-o", out, "--no-explain")
    assert explained_in(out) == 0
    assert (out / "ranking.csv").read_bytes() == table


def test_a_ranking_drawn_again_is_explained_on_demand(report, tiny_model, tmp_path):
    table, first = report / "ranking.csv", (report / "index.html").read_bytes()
    again = tmp_path / "again"  # as far from the pictures: the same links
    told = adgan("rank", "--from", table, "-o", again, "-m", tiny_model).stderr
    assert explained_in(again) == 0, "that takes the model, and a search"
    assert "--explain searches for them again" in told
    adgan("rank", "--from", table, "-o", again, "-m", tiny_model, "--explain")
    assert (again / "index.html").read_bytes() == first


def test_another_model_does_not_explain_a_ranking(report, tmp_path):
    generator = make_generator(channels=1, seed=1)
    save_model(Model(generator, generator.config), tmp_path / "other")
    line = refused(
        "rank", "--from", report / "ranking.csv", "-m", tmp_path / "other", "--explain",
        "-o", tmp_path / "again", code=2,
    )  # fmt: skip
    assert "was scored with another model" in line and str(tmp_path / "other") in line
    assert not (tmp_path / "again").exists()


def test_a_ranking_of_models_that_are_gone_is_not_explained(report, tiny_model, tmp_path):
    told = summary_of(report)
    told["model"]["cross_fit"] = 5  # type: ignore[index]
    (report / "summary.json").write_text(json.dumps(told))
    line = refused(
        "rank", "--from", report / "ranking.csv", "-m", tiny_model, "--explain",
        "-o", tmp_path / "again", code=2,
    )  # fmt: skip
    assert "was scored by models without the pictures" in line


def test_stopping_while_explaining_still_writes_the_report(discs, tiny_model, out, monkeypatch):
    def stopped(*args: Any, **more: Any) -> Iterator[comparison.Comparison]:
        for index, compared in enumerate(compare(*args, **more)):
            if index == 1:
                signal.raise_signal(signal.SIGINT)
            yield compared

    compare = comparison.compare
    monkeypatch.setattr(comparison, "compare", stopped)
    adgan("rank", discs(6), "-m", tiny_model, *FAST, "-o", out, "-b", "2")
    assert explained_in(out) == 2 and len(links_of(out)) == 6


def test_scores_of_pictures_held_out_are_on_the_page_and_stay_when_it_is_drawn_again(
    discs, tiny_model, out, tmp_path
):
    model = load_model(tiny_model)
    search = replace(PAPER_SEARCH, n_seed=1, k=1)
    calibration = Calibration(
        search, np.linspace(1.0, 900.0, 500), np.zeros((500, len(STATISTICS)))
    )
    save_model(replace(model, calibrations=(calibration,)), tmp_path / "calibrated")
    adgan("rank", discs(3), "-m", tmp_path / "calibrated", *FAST, "-o", out, "--no-explain")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "500 held out of training" in page and 'class="held"' in page
    assert len(json.loads((out / "summary.json").read_text())["held_out"]) == MAX_HELD_OUT
    adgan("rank", "--from", out / "ranking.csv", "-o", tmp_path / "again")
    assert (tmp_path / "again" / "index.html").read_text(encoding="utf-8") == page


# in a process of its own


@pytest.mark.slow
def test_a_killed_command_leaves_the_rows_so_far(discs, tiny_model, out):
    folder, partial = discs(200), out / "scores.partial.csv"
    process = started("rank", folder, "-m", tiny_model, *SLOW, "-o", out)
    wait_until(lambda: partial.exists() and partial.read_text().count("\n") > 3, process)
    process.kill()
    process.communicate()
    assert len(read_scores(partial)) >= 3
    assert not (out / "ranking.csv").exists()
    adgan("rank", folder, "--from", partial, "-o", out)
    assert (out / "index.html").exists()


def draw_noise(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        picture = Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8))
        picture.save(folder / f"noise-{index}.png")
    return folder


@pytest.fixture
def with_calibration(tiny_model: Path, tmp_path: Path) -> Path:
    """A model that knows what sixty pictures of noise score."""
    model = tmp_path / "calibrated"
    save_model(replace(load_model(tiny_model), training_fingerprints=np.empty(0, np.uint64)), model)
    adgan("calibrate", draw_noise(tmp_path / "known", 60, seed=0), "-m", model, *FAST)
    return model


def test_flagged_pictures_are_a_column_a_note_and_a_mark(discs, with_calibration, tmp_path):
    folder, out = discs(30, shape="square", name="v"), tmp_path / "report"
    draw_noise(folder, 6, seed=1)
    said = adgan("rank", folder, "-m", with_calibration, *FAST, "--fdr", "0.05", "-o", out).stderr
    with open(out / "ranking.csv", encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    marked = [row["path"] for row in lines if row["flagged"] == "true"]
    assert len(marked) == 30 and all(name.startswith("square") for name in marked)
    assert "30 pictures of 36 flagged" in said and "If all 36 pictures were ordinary" in said
    summary = summary_of(out)
    assert summary["fdr"] == {
        "rate": 0.05, "flagged": 30, "least_p_value": 1 / 61, "fewest_flagged": 12,
        "held_out_needed": 23,
    }  # fmt: skip
    assert any("flagged" in note for note in summary["notes"])
    assert "Flagged only" in (out / "index.html").read_text(encoding="utf-8")
    again = tmp_path / "again"
    adgan("rank", folder, "--from", out / "ranking.csv", "--fdr", "0.05", "-o", again)
    assert (again / "ranking.csv").read_bytes() == (out / "ranking.csv").read_bytes()
    assert summary_of(again)["notes"] == summary["notes"]
    assert summary_of(again)["confounds"] == summary["confounds"] != {}
    adgan("rank", folder, "--from", out / "ranking.csv", "-o", again)
    assert "flagged" not in (again / "ranking.csv").read_text(encoding="utf-8").splitlines()[0]


def test_where_none_could_be_flagged_terminal_page_and_summary_say_so(
    discs, with_calibration, tmp_path
):
    folder, out = discs(5, shape="square", name="v"), tmp_path / "report"
    words = ["rank", folder, "-m", with_calibration, *FAST, "-o", out]
    said = adgan(*words, "--p-value", "0.01").stderr
    note = "None of 5 pictures could be flagged at p-values of at most 0.01: with 60 pictures held"
    assert note in said and "99 held out would do" in said
    assert note in (out / "index.html").read_text(encoding="utf-8")
    summary = summary_of(out)
    assert any(note in one for one in summary["notes"]) and summary["fdr"] is None
    assert summary["p_value"]["held_out_needed"] == 99
    assert "5 pictures of 5 flagged" in adgan(*words, "--p-value", "0.02").stderr


@pytest.mark.parametrize("options", [["--preset", "paper"], ["--k", "3"], ["--cross-fit", "2"]])
def test_drawing_again_takes_nothing_that_would_change_a_score(tmp_path, options):
    scores = tmp_path / "scores.csv"
    scores.write_text("path,score\na.png,2.5\n", encoding="utf-8")
    line = refused("rank", "--from", scores, *options, "-o", tmp_path / "report", code=2)
    assert line == f"--from draws scores that are there; leave out {options[0]}"


def test_a_rate_without_p_values_is_refused_before_any_work(discs, tiny_model, tmp_path):
    out = tmp_path / "report"
    asked = ["rank", discs(3), "-m", tiny_model, *FAST, "-o", out]
    assert "adgan calibrate" in refused(*asked, "--fdr", "0.05", code=2)
    assert refused(*asked, "--fdr", "5", code=2) == "--fdr must be above 0 and below 1, got 5"
    assert not out.exists()


def test_an_order_that_follows_brightness_is_told(tiny_model, tmp_path):
    folder = tmp_path / "greys"
    folder.mkdir()
    for index in range(40):
        Image.new("L", (16, 16), 128 + 3 * index).save(folder / f"{index:02}.png")
    ended = adgan("rank", folder, "-m", tiny_model, *FAST, "-o", tmp_path / "report")
    rho = summary_of(tmp_path / "report")["confounds"]["brightness"]
    assert abs(rho) > 0.7 and f"brightness (rank correlation {rho:.2f})" in ended.stderr


def test_the_training_folder_itself_is_ranked_by_models_that_have_not_seen_it(discs, tmp_path):
    folder, model, out = discs(40), tmp_path / "model", tmp_path / "report"
    adgan("train", folder, *TINY, "--holdout", "0.2", "-o", model)
    known = adgan("rank", folder, "-m", model, *FAST, "-o", out).stderr
    assert "--cross-fit 5" not in known, "some of it was held out"
    adgan("rank", folder, "-m", model, *FAST, "--cross-fit", "2", "-o", out)
    rows = read_scores(out / "ranking.csv")
    assert len(rows) == 40
    assert all(row.p_value is not None and row.in_training is False for row in rows)
    assert summary_of(out)["model"]["cross_fit"] == 2
    assert refused(
        "rank", folder, "-m", model, "--cross-fit", "2", "--resume", "-o", out, code=2
    ).startswith("--cross-fit goes on by itself")


# joined scores


@pytest.mark.parametrize("generator", [True, False])
def test_what_a_score_mostly_comes_from_is_in_the_table_and_all_parts_are_in_the_file(
    discs, tmp_path, out, generator
):
    folder, model = discs(6), save_joined_model(tmp_path / "model", generator=generator)
    said = adgan("rank", folder, "-m", model, "--fdr", "0.9", "-o", out).stderr
    assert "mostly" in said and ("colours and edges" in said or "light and dark" in said)
    assert ("trained without --no-gan it would also show" in said) == (not generator)
    with open(out / "ranking.csv", encoding="utf-8", newline="") as stream:
        header = next(csv.reader(stream))
    assert header[-3:] == ["z_histograms", "z_components", "flagged"]
    assert summary_of(out)["model"]["weights"] == {"histograms": 0.75, "components": 0.25}
    again = adgan("rank", folder, "--from", out / "ranking.csv", "-o", tmp_path / "again").stderr
    assert "mostly" in again
    assert (tmp_path / "again" / "ranking.csv").read_text() == re.sub(
        ",flagged|,(true|false)?$", "", (out / "ranking.csv").read_text(), flags=re.M
    )


def test_by_all_the_reconstruction_has_its_weight_on_the_page(discs, tmp_path, out):
    model = save_joined_model(tmp_path / "model")
    adgan("rank", discs(4), "-m", model, "--by", "all", "-o", out)
    weights = summary_of(out)["model"]["weights"]
    of_all = next(one for one in load_model(model).calibrations if one.search.by == "all")
    share = of_all.error_scale.weight
    assert weights == pytest.approx(
        {
            "histograms": 0.75 * (1 - share),
            "components": 0.25 * (1 - share),
            "reconstruction": share,
        },
        abs=1e-3,
    )
    adgan("rank", discs(4), "-m", model, "--by", "reconstruction", "-o", out)
    assert "weights" not in summary_of(out)["model"]


def test_a_ranking_by_features_that_has_grown_is_that_of_a_full_run(discs, tmp_path, out):
    folder, model = discs(3), save_joined_model(tmp_path / "model")
    adgan("rank", folder, "-m", model, "-o", out)
    draw_disc(folder / "disc-0005.png", 9)
    adgan("rank", folder, "-m", model, "-o", out, "--resume")
    adgan("rank", folder, "-m", model, "-o", tmp_path / "whole")
    for name in ("ranking.csv", "summary.json", "index.html"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
