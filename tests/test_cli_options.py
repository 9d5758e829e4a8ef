"""The options that say which pictures are meant and where decoded ones are kept."""

import csv
import io
import os
import re
import zipfile
from pathlib import Path

import pytest
from commands import FAST, adgan, refused
from conftest import draw_disc
from PIL import Image
from test_cli_rank import links_of, summary_of
from typer.testing import CliRunner

from adgan_cli.__main__ import main
from adgan_cli.cli import app
from adgan_cli.cli.parse import parse_size
from adgan_cli.errors import ConfigError
from adgan_cli.images.cache_folder import cached_sets
from adgan_cli.scoring.rows import read_scores


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """a.png, b.jpg, sub/c.png, sub/deep/d.png and a link to elsewhere/e.png."""
    root, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    for index, name in enumerate(["a.png", "b.jpg", "sub/c.png", "sub/deep/d.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        draw_disc(root / name, index)
    elsewhere.mkdir()
    draw_disc(elsewhere / "e.png", 5)
    os.symlink(elsewhere, root / "link", target_is_directory=True)
    return root


def names(stdout: str) -> list[str]:
    return [row["path"] for row in csv.DictReader(io.StringIO(stdout))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["a.png", "b.jpg", "sub/c.png", "sub/deep/d.png"]),
        (["--no-recursive"], ["a.png", "b.jpg"]),
        (["--include", "*.png"], ["a.png", "sub/c.png", "sub/deep/d.png"]),
        (["--include", "sub/", "--exclude", "deep/"], ["sub/c.png"]),
        (["--exclude", "sub/", "--exclude", "*.jpg"], ["a.png"]),
        (["--follow-links", "--include", "link/"], ["link/e.png"]),
    ],
    ids=" ".join,
)
def test_pictures_are_chosen_by_place_and_pattern(tree, tiny_model, options, expected):
    ended = adgan("score", tree, *options, "-m", tiny_model, *FAST, "-q")
    assert names(ended.stdout) == expected


def test_links_left_alone_are_mentioned(tree, tiny_model):
    said = adgan("score", tree, "-m", tiny_model, *FAST).stderr
    assert "1 symbolic link alone; --follow-links" in said
    assert "link" not in adgan("score", tree, "--follow-links", "-m", tiny_model, *FAST).stderr


def test_files_that_are_no_pictures_are_mentioned_in_a_line(tree, tiny_model):
    for name in ("a.txt", "sub/b.txt", "README"):
        (tree / name).write_text("no picture")
    said = adgan("score", tree, "-m", tiny_model, *FAST).stderr
    line = "note: passed over 3 files of other kinds: 2 .txt, 1 without extension"
    assert line in said
    assert "passed over" not in adgan("score", tree, "-m", tiny_model, *FAST, "-q").stderr


def test_patterns_are_expanded_in_paths_alone(tree, tiny_model, monkeypatch):
    given = []
    monkeypatch.setattr("adgan_cli.__main__.app", lambda **settings: given.append(settings))
    main()
    assert given == [{"windows_expand_args": False}], "as Windows' shells leave patterns to us"
    rows = adgan("score", tree / "*.png", "-m", tiny_model, *FAST).stdout.splitlines()[1:]
    assert len(rows) == len(list(tree.glob("*.png"))) > 0


def test_the_largest_picture_is_what_max_pixels_says(tree, tiny_model, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    args = ["score", tree, "-m", tiny_model, *FAST, "--no-cache"]
    ended = adgan(*args, "--max-pixels", "0.0002MP", code=3)
    reasons = {row["error"] for row in csv.DictReader(io.StringIO(ended.stdout))}
    expected = "larger than 0.0002 megapixels: suspected decompression bomb; --max-pixels sets"
    assert len(reasons) == 1 and reasons.pop().startswith(expected)
    adgan(*args, "--max-pixels", "256")
    line = refused("scan", tree, "--max-pixels", "many", code=2)
    assert line == "--max-pixels must be like 400MP or 400000000, got 'many'"


def test_a_folder_of_links_alone_says_so(tmp_path):
    draw_disc(tmp_path / "real.png", 0)
    (tmp_path / "links").mkdir()
    os.symlink(tmp_path / "real.png", tmp_path / "links" / "a.png")
    assert "--follow-links" in refused("scan", tmp_path / "links", code=3)


def test_a_pattern_that_is_none_is_refused_by_its_flag(tree):
    assert refused("scan", tree, "--exclude", "[", code=2).startswith("--exclude")


def test_a_list_on_standard_input_is_scored_in_its_order(tree, tiny_model):
    listed = f"{tree}/sub/c.png\n{tree}/missing.png\n\n{tree}/a.png\n"
    args = ["score", "--files-from", "-", "-m", str(tiny_model), *FAST, "-q"]
    ended = CliRunner().invoke(app, args, input=listed)
    assert ended.exit_code == 0, ended.stderr
    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert [row["path"] for row in rows] == ["sub/c.png", "a.png", "missing.png"]
    assert rows[2]["error"] == "does not exist"


def test_a_list_that_is_not_there_is_refused(tiny_model):
    line = refused("score", "--files-from", "no-list", "-m", tiny_model, code=2)
    assert line == "--files-from no-list: No such file or directory"


def test_an_archive_is_ranked_in_place_and_drawn_again(tree, tiny_model, tmp_path):
    archive, out = tmp_path / "val.zip", tmp_path / "report"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("a.png", "sub/c.png", "sub/deep/d.png"):
            packed.write(tree / name, name)
    adgan("rank", archive, "-m", tiny_model, *FAST, "-o", out)
    expected = sorted(["a.png", "sub/c.png", "sub/deep/d.png"])
    rows = read_scores(out / "ranking.csv")
    assert sorted(row.path for row in rows) == expected
    for again in ([], [archive]):  # where the pictures are: from the summary, or told
        page = (out / "index.html").read_text(encoding="utf-8")
        assert len(re.findall(r'class="picture">\s*<img src="data:image/', page)) == 3
        assert links_of(out) == [], "a member is no file to link to"
        adgan("rank", *again, "--from", out / "ranking.csv", "-o", out)
    assert summary_of(out)["root"] == "../val.zip"
    plain = adgan("score", tree, "--exclude", "*.jpg", "-m", tiny_model, *FAST).stdout
    scores = {row["path"]: row["score"] for row in csv.DictReader(io.StringIO(plain))}
    assert {row.path: repr(row.score) for row in rows} == scores


def test_decoded_pictures_are_kept_where_told_and_not_when_told(discs, tiny_model, tmp_path):
    kept, never = tmp_path / "kept", tmp_path / "never"
    first = adgan("score", discs(3), "-m", tiny_model, *FAST, "--cache-dir", kept).stdout
    assert [(one.images, Path(one.root).name) for one in cached_sets(kept)] == [(3, "discs")]
    again = adgan("score", discs(3), "-m", tiny_model, *FAST, "--cache-dir", kept).stdout
    plain = ["score", discs(3), "-m", tiny_model, *FAST, "--cache-dir", never, "--no-cache"]
    assert first == again == adgan(*plain).stdout
    assert not never.exists()


def test_a_limit_too_small_is_mentioned_and_harmless(discs, tiny_model, tmp_path):
    args = ["score", discs(3), "-m", tiny_model, *FAST, "--cache-dir", tmp_path / "c"]
    ended = adgan(*args, "--cache-limit", "1KB")
    assert "no cache of decoded pictures" in ended.stderr and "--cache-limit" in ended.stderr
    assert len(names(ended.stdout)) == 3


@pytest.mark.parametrize(
    ("text", "count"),
    [("10GB", 10**10), ("1.5 mb", 1_500_000), ("7", 7), ("2kb", 2000), ("1TB", 10**12), ("0", 0)],
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert parse_size(text, "--cache-limit") == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 potato", "1e9", "1GiB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ConfigError, match="--cache-limit must be like 500MB or 10GB"):
        parse_size(text, "--cache-limit")
