"""A report without a model: what is shown, flagged and noted, and read from an earlier one."""

import json
import re
from pathlib import Path

import pytest

from adgan_cli.errors import ConfigError
from adgan_cli.reports.report import (
    MAX_HELD_OUT,
    ReportInfo,
    ReportOptions,
    make_report,
    read_report_info,
    subsample,
    write_report,
)
from adgan_cli.scoring.calibration import Cut
from adgan_cli.scoring.rows import ScoreRow

ROWS = [ScoreRow(f"{score}.png", float(score)) for score in range(5)]
FAILED = ScoreRow("bad.png", None, error="empty file")


def shown(top: int, bottom: int | None = None) -> tuple[list[str], list[str]]:
    report = make_report([*ROWS, FAILED], ReportInfo(Path()), ReportOptions(top, bottom))
    return [row.path for _, row in report.most], [row.path for _, row in report.least]


def test_the_ends_are_shown_the_utmost_first_and_no_image_twice():
    assert shown(2) == (["4.png", "3.png"], ["0.png", "1.png"])
    assert shown(2, 0) == (["4.png", "3.png"], [])
    assert shown(4) == (["4.png", "3.png", "2.png", "1.png"], ["0.png"])


def test_flags_need_p_values_and_a_rate_between_0_and_1():
    with pytest.raises(ConfigError, match="--fdr 0.1 needs p-values"):
        make_report(ROWS, ReportInfo(Path()), ReportOptions(cut=Cut("fdr", 0.1)))
    for rate in (0.0, 1.0):
        with pytest.raises(ConfigError, match="--fdr must be above 0 and below 1"):
            Cut("fdr", rate)
    rows = [*ROWS, ScoreRow("odd.png", 9.0, p_value=0.01)]
    assert make_report(rows, ReportInfo(Path()), ReportOptions(cut=Cut("fdr", 0.1))).flagged == {
        "odd.png"
    }
    assert make_report(rows, ReportInfo(Path())).flagged is None


def test_notes_say_what_the_order_follows_and_what_the_scores_lack():
    info = ReportInfo(Path(), {"model": "abc"}, confounds={"contrast": 0.9})
    order, p_values = make_report([*ROWS, FAILED], info).notes
    assert "mostly follows high contrast" in order and "no p-values" in p_values
    trained_on = [ScoreRow(row.path, row.score, in_training=True) for row in ROWS]
    assert "trained on all of these" in make_report(trained_on, info).notes[-1]
    assert make_report([FAILED], ReportInfo(Path(), {"model": "abc"})).notes == []


def test_cards_have_the_detectors_that_count(tmp_path):
    rows = [ScoreRow("a.png", 2.0, z_scores={"patches": 4.0, "histograms": 3.0})]
    for weights, expected in (
        ({}, ["colours and edges 3.0", "textures 4.0"]),
        ({"weights": {"patches": 1.0, "histograms": 0.0}}, ["textures 4.0"]),
    ):
        write_report(tmp_path, make_report(rows, ReportInfo(tmp_path, weights)))
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        bars = re.findall(r"<span>([a-z ]+)</span> <b>([0-9.]+)</b>", page)
        assert sorted(map(" ".join, bars)) == expected


def test_an_earlier_report_says_where_its_rows_came_from(tmp_path):
    out = tmp_path / "report"
    info = ReportInfo(
        tmp_path / "images", {"model": "abc"}, {"k": 5}, [1.0, 2.0], 800, {"contrast": 0.5}
    )
    write_report(out, make_report([FAILED], info))
    assert read_report_info(out / "ranking.csv") == info
    moved = read_report_info(out / "ranking.csv", tmp_path / "elsewhere")
    assert (moved.root, moved.model) == (tmp_path / "elsewhere", info.model)


@pytest.mark.parametrize(
    "change",
    [
        {"root": None}, {"model": "abc"}, {"settings": []}, {"held_out": ["x"]},
        {"held_out": [1e999]}, {"confounds": {"contrast": 1e999}}, {"model": {"alpha": "pink?"}},
        "[]", "{}", "no json",
    ],
)  # fmt: skip
def test_a_summary_that_is_not_ours_leaves_the_table_alone(tmp_path, change):
    write_report(tmp_path, make_report([FAILED], ReportInfo(tmp_path, {"model": "abc"})))
    summary = tmp_path / "summary.json"
    if isinstance(change, dict):
        change = json.dumps({**json.loads(summary.read_text("utf-8")), **change})
    summary.write_text(change)
    assert read_report_info(tmp_path / "ranking.csv") == ReportInfo(tmp_path)


def test_of_many_scores_an_even_part_with_both_ends_is_kept():
    assert subsample([3.0, 4.0]) == [3.0, 4.0]
    part = subsample([float(i) for i in range(10 * MAX_HELD_OUT)])
    assert len(part) == MAX_HELD_OUT and (part[0], part[-1]) == (0.0, 10.0 * MAX_HELD_OUT - 1)
    steps = {round(b - a) for a, b in zip(part, part[1:], strict=False)}
    assert steps <= {10, 11}
