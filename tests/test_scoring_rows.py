"""Rows of scores: what may be one, and that a table reads back exactly as it was written."""

import csv
import io
import json

import pytest

from adgan_cli.errors import ScoresError
from adgan_cli.scoring.rows import (
    COLUMNS,
    Counts,
    PartScores,
    ScoreRow,
    count_rows,
    detectors_of,
    read_scores,
    row_writer,
)
from adgan_cli.text import escape_surrogates, unescape

NAMES = [
    "plain.png",
    'say "cheese".jpg',
    "a, b; c.png",
    "two\nlines.png",
    "carriage\rreturn.png",
    "both\r\n.png",
    "\r",
    "<script>alert(1)</script>.png",
    "emoji \N{CAT FACE} é 猫.png",
    "line\u2028separator.png",
    "=cmd|' /C calc'!A0.png",
    "-1.png",
    "+1.png",
    "@sum.png",
    "\ttab.png",
    "'=quoted.png",
    "''=twice.png",
    "'quoted.png",
    " leading and trailing ",
    "#hash?query&amp;.png",
    "not-utf8-\udcff\udc80.png",
    "broken windows \ud800.png",
    r"literal \udc80 and \u005c and \n.png",
    "\\\udc80\\\\udc80",
]
ROWS = [
    *(ScoreRow(name, score=0.1 + i) for i, name in enumerate(NAMES)),
    ScoreRow("full.png", 1e-300, p_value=1 / 3, in_training=True, width=64, height=48, mode="RGB"),
    ScoreRow("other.png", -0.0, p_value=0.0, in_training=False, width=0, height=0, mode="I;16"),
    ScoreRow("bad\udc80.png", None, error='truncated, "half" of \udc81\nit is missing'),
]


def written(rows, format="csv"):
    stream = io.StringIO(newline="")
    write = row_writer(stream, format)
    for row in rows:
        write(row)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["csv", "jsonl", "excel"])
def test_rows_read_back_the_same(tmp_path, format):
    path = tmp_path / "scores"
    path.write_bytes(written(ROWS, format).encode("utf-8"))
    assert read_scores(path) == ROWS


@pytest.mark.parametrize("name", NAMES)
def test_a_printable_name_is_utf8_and_restores(name):
    assert unescape(escape_surrogates(name).encode("utf-8").decode("utf-8")) == name


def test_ordinary_names_are_printed_as_they_are():
    assert escape_surrogates("C:\\users\\ünder\\data.png") == "C:\\users\\ünder\\data.png"
    assert escape_surrogates("\udcff.png") == r"\udcff.png"


def test_csv_is_plain():
    row = ScoreRow("a b.png", 1 / 3, p_value=0.5, in_training=True, width=4, height=5, mode="L")
    assert written([row, ScoreRow("x.png", None, error="empty")]) == (
        "path,score,p_value,in_training,width,height,mode,error\n"
        "a b.png,0.3333333333333333,0.5,true,4,5,L,\n"
        "x.png,,,,,,,empty\n"
    )


def test_for_excel_no_text_is_a_formula_and_numbers_stay_numbers():
    rows = [ScoreRow("=1+1.png", -1.5), ScoreRow("a.png", None, error="-")]
    text = written(rows, "excel")
    assert text.startswith("\ufeffpath,score,")
    _, first, second = csv.reader(io.StringIO(text, newline=""))
    assert first[:2] == ["'=1+1.png", "-1.5"] and second[-1] == "'-"


@pytest.mark.parametrize("mark", [";", "\t", ","])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_what_a_spreadsheet_has_saved_is_read(tmp_path, mark, start):
    number = "-1,5" if mark == ";" else "-1.5"
    lines = ["path", "score", "mode"], ["a, b.png", number, "I;16[0..9]"]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=mark).writerows(lines)
    (tmp_path / "scores.csv").write_text(start + text.getvalue(), encoding="utf-8", newline="")
    assert read_scores(tmp_path / "scores.csv") == [ScoreRow("a, b.png", -1.5, mode="I;16[0..9]")]


def test_any_csv_reader_finds_the_same_cells():
    rows = list(csv.reader(io.StringIO(written(ROWS), newline=""), strict=True))
    assert rows[0] == list(COLUMNS)
    assert [cells[0] for cells in rows[1:]] == [escape_surrogates(row.path) for row in ROWS]


def test_json_lines_have_null_where_csv_is_empty():
    text = written([ScoreRow("é.png", 2.0), ScoreRow("b", None, error="x")], "jsonl")
    first, second, _ = text.split("\n")
    assert json.loads(first) == {**dict.fromkeys(COLUMNS), "path": "é.png", "score": 2.0}
    assert json.loads(second) == {**dict.fromkeys(COLUMNS), "path": "b", "error": "x"}
    assert "é" in first


def test_numpy_numbers_are_written_as_numbers():
    numpy = pytest.importorskip("numpy")
    row = ScoreRow("a", numpy.float32(0.5), in_training=numpy.bool_(True), width=numpy.int64(3))
    assert written([row]).endswith("\na,0.5,,true,3,,,\n")
    assert '"score": 0.5' in written([row], "jsonl")


def test_each_row_is_flushed_as_it_comes():
    class Stream(io.StringIO):
        flushed = ()

        def flush(self):
            self.flushed = (*self.flushed, self.getvalue().count("\n"))

    stream = Stream(newline="")
    write = row_writer(stream)
    write(ScoreRow("a", 1.0))
    write(ScoreRow("b", 2.0))
    assert stream.flushed == (1, 2, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": None}, "neither score nor error"),
        ({"score": 1.0, "error": "x"}, "both score and error"),
        ({"score": float("nan")}, "score must be finite"),
        ({"score": float("inf")}, "score must be finite"),
        ({"score": 1.0, "p_value": 1.5}, "p_value must be from 0 to 1"),
        ({"score": 1.0, "p_value": float("nan")}, "p_value must be from 0 to 1"),
        ({"path": "", "score": 1.0}, "path must not be empty"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ScoreRow(**{"path": "a.png", **fields})


def test_counts_must_add_up():
    rows = [ScoreRow("a", 1.0), ScoreRow("b", None, error="x")]
    assert count_rows(rows, found=2) == Counts(found=2, scored=1, failed=1)
    with pytest.raises(ValueError, match="3 != 1 \\+ 1"):
        count_rows(rows, found=3)


def test_a_table_from_elsewhere_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"\xef\xbb\xbfscore,path,note,in_training,width\r\n\r\n1e3,a.png,n,False,64.0\r\n,b,,,\r\n"
    )
    with pytest.raises(ScoresError, match="line 4: neither score nor error"):
        read_scores(path)
    path.write_bytes(path.read_bytes().replace(b",b,,,", b"2,b,,,"))
    first = ScoreRow("a.png", 1000.0, in_training=False, width=64)
    assert read_scores(path) == [first, ScoreRow("b", 2.0)]


def test_a_table_without_rows_is_no_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(written([]), encoding="utf-8")
    assert read_scores(path) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"a.png,1.5\nb.png,2.5\n", "line 1: the header has no column path and no column score"),
        (b"path,p_value\na,0.5\n", "line 1: the header has no column score"),
        (b"path,score\na,high\n", "line 2: score must be a number, got 'high'"),
        (b"path,score\na,1\nb,nan\n", "line 3: score must be finite, got nan"),
        (b'path,score\n"a\nb",1\nc,inf\n', "line 4: score must be finite"),
        (b'path,score\nb,1\n"a\nb",inf\n', "line 3: score must be finite"),
        (b"path,score,error\na,,\n", "line 2: neither score nor error"),
        (b"path,score,error\na,1,x\n", "line 2: both score and error"),
        (b"path,score\n,1\n", "line 2: path must not be empty"),
        (b"path,score\na,1\nb\n", "line 3: 1 cells where the header has 2"),
        (b'path,score\na,1\n"b,2\n', "line 3: not CSV"),
        (b"path,score,width\na,1,6.5\n", "line 2: width must be a whole number, got '6.5'"),
        (b"path,score,width\na,1,inf\n", "line 2: width must be a whole number, got 'inf'"),
        (b"path,score,in_training\na,1,maybe\n", "line 2: in_training must be true or false"),
        (b"path,score\na,1\nb\xff,2\n", "line 3: not UTF-8"),
        (b'{"path": "a", "score": 1}\n{"path": "b"', "line 2: not JSON"),
        (b'{"path": "a", "score": 1}\n[1]\n', "line 2: not a JSON object"),
        (b'{"path": "a", "score": NaN}\n', "line 1: score must be finite"),
        (b'{"path": "a", "score": true}\n', "line 1: score must be a number, got True"),
        (b'{"path": "a", "score": 1' + b"0" * 400 + b"}\n", "line 1: "),
        (b'{"path": 7, "score": 1}\n', "line 1: path must be text, got 7"),
        (b'{"score": 1}\n', "line 1: path must not be empty"),
    ],
)
def test_a_bad_table_is_refused_with_file_and_line(tmp_path, data, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(data)
    with pytest.raises(ScoresError) as refusal:
        read_scores(path)
    assert str(refusal.value).startswith(str(path))
    assert message in str(refusal.value)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path, name):
    with pytest.raises(ScoresError, match="cannot read .*: .* directory"):
        read_scores(tmp_path / name)


# parts of joined scores

PARTS = ("patches", "reconstruction")
JOINED_ROWS = [
    ScoreRow("a.png", 1.5, z_scores=PartScores(PARTS, (2.5, -0.1234))),
    ScoreRow("broken.png", None, error="empty"),
    ScoreRow("b.png", -1.5, z_scores=PartScores(PARTS, (0.0, 1000.0))),
]


@pytest.mark.parametrize("format", ["csv", "jsonl", "excel"])
def test_parts_read_back_the_same(tmp_path, format):
    stream = io.StringIO(newline="")
    write = row_writer(stream, format, PARTS)
    for row in JOINED_ROWS:
        write(row)
    path = tmp_path / "scores"
    path.write_text(stream.getvalue(), encoding="utf-8")
    assert read_scores(path) == JOINED_ROWS
    assert detectors_of(read_scores(path)) == PARTS


def test_columns_of_parts_stand_behind_those_that_were_always_there():
    stream = io.StringIO(newline="")
    write = row_writer(stream, detectors=PARTS)
    for row in JOINED_ROWS:
        write(row)
    assert stream.getvalue() == (
        ",".join(COLUMNS) + ",z_patches,z_reconstruction\n"
        "a.png,1.5,,,,,,,2.5,-0.1234\n"
        "broken.png,,,,,,,empty,,\n"
        "b.png,-1.5,,,,,,,0.0,1000.0\n"
    )


def test_parts_that_are_no_numbers_are_refused_by_line(tmp_path):
    path = tmp_path / "scores.csv"
    for cell, message in {"high": "z_patches must be a number", "inf": "must be finite"}.items():
        path.write_text(f"path,score,z_patches\na.png,1,2\nb.png,1,{cell}\n", encoding="utf-8")
        with pytest.raises(ScoresError, match=f"line 3: .*{message}"):
            read_scores(path)


def test_parts_are_a_mapping_that_a_row_can_be_compared_by():
    parts = PartScores(PARTS, (1.0, 2.0))
    assert dict(parts) == parts == {"patches": 1.0, "reconstruction": 2.0}
    assert list(parts) == list(PARTS) and "colours" not in parts and parts.get("colours") is None
    assert parts != PartScores(PARTS, (1.0, 3.0))
    assert hash(parts) == hash(PartScores(PARTS, (1.0, 2.0)))
    with pytest.raises(ValueError, match="do not belong"):
        PartScores(PARTS, (1.0,))
