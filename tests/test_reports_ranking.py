"""The order of a ranking, and the files that hold it."""

import json
from itertools import permutations
from pathlib import Path

import pytest

from adgan_cli.reports.ranking import LISTED_FAILURES, rank_rows, write_ranking, write_summary
from adgan_cli.scoring.rows import ScoreRow, read_scores

LOW, TIE_A, TIE_B = ScoreRow("low", 1.0), ScoreRow("a", 2.0), ScoreRow("b", 2.0)
BAD_A, BAD_B = ScoreRow("a bad", None, error="x"), ScoreRow("b bad", None, error="y")


def test_equal_scores_rank_by_path_and_failures_come_last():
    for rows in permutations([LOW, TIE_A, TIE_B, BAD_A, BAD_B]):
        assert rank_rows(rows) == [(1, TIE_A), (2, TIE_B), (3, LOW), (None, BAD_A), (None, BAD_B)]


def test_a_path_scored_twice_keeps_both_rows():
    assert [rank for rank, _ in rank_rows([LOW, LOW, BAD_A, BAD_A])] == [1, 2, None, None]


def test_a_ranking_reads_back(tmp_path):
    rows = [ScoreRow("<script>\n\udc80.png", 0.1), LOW, BAD_A]
    write_ranking(tmp_path / "new" / "ranking.csv", rank_rows(rows))
    text = (tmp_path / "new" / "ranking.csv").read_text(encoding="utf-8")
    assert text.startswith("rank,path,score,p_value,in_training,width,height,mode,error\n1,low,1.0")
    assert text.endswith("\n,a bad,,,,,,,x\n")
    assert read_scores(tmp_path / "new" / "ranking.csv") == [LOW, rows[0], BAD_A]


def summary(path, rows, **changed):
    given = {"found": len(rows), "root": "val", "model": {"digest": "ab"}, "settings": {"k": 5}}
    write_summary(path, rows, **{**given, **changed})
    return json.loads(path.read_text(encoding="utf-8"))


def test_summary_counts_and_quantiles(tmp_path):
    assert summary(tmp_path / "summary.json", [BAD_B, LOW, TIE_A, BAD_A]) == {
        "root": "val",
        "found": 4,
        "scored": 2,
        "failed": 2,
        "failures": [{"path": "a bad", "error": "x"}, {"path": "b bad", "error": "y"}],
        "failures_not_listed": 0,
        "scores": {"min": 1.0, "median": 1.5, "max": 2.0},
        "model": {"digest": "ab"},
        "settings": {"k": 5},
        "held_out": [],
        "held_out_pictures": 0,
        "notes": [],
        "confounds": {},
        "fdr": None,
        "p_value": None,
    }


def test_summary_refuses_to_lose_a_picture(tmp_path):
    with pytest.raises(ValueError, match="found must be scored \\+ failed"):
        summary(tmp_path / "summary.json", [LOW], found=2)
    assert not list(tmp_path.iterdir())


def test_summary_does_not_depend_on_the_order_of_rows_or_settings(tmp_path):
    summary(tmp_path / "a", [LOW, BAD_A, TIE_A, BAD_B], settings={"k": 5, "b": 1})
    summary(tmp_path / "b", [BAD_B, TIE_A, LOW, BAD_A], settings={"b": 1, "k": 5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_summary_lists_so_many_failures_and_counts_the_rest(tmp_path):
    rows = [ScoreRow(f"{i:04}", None, error="x") for i in range(LISTED_FAILURES + 7)]
    read = summary(tmp_path / "summary.json", rows)
    assert read["failed"] == LISTED_FAILURES + 7
    assert len(read["failures"]) == LISTED_FAILURES
    assert read["failures_not_listed"] == 7
    assert read["scores"] is None


def test_summary_holds_any_name(tmp_path):
    row = ScoreRow('"<b>"\n\udc80', None, error="\udc81")
    settings = {"path": Path("m\udc80"), "list": ["\udcff", None, 1.5, True]}
    read = summary(tmp_path / "summary.json", [row], root="r\udc80", settings=settings)
    assert read["root"] == r"r\udc80"
    assert read["failures"] == [{"path": '"<b>"\n' + r"\udc80", "error": r"\udc81"}]
    assert read["settings"] == {"path": r"m\udc80", "list": [r"\udcff", None, 1.5, True]}
