"""adgan scan: what a person and a program are told about a folder."""

import json

import numpy as np
import pytest
from commands import adgan, refused
from PIL import Image
from test_house import loaded_by


def test_a_person_is_told_what_is_there_and_how_long_it_takes(discs):
    folder = discs(4)
    (folder / "damaged.png").write_bytes(b"no picture")
    (folder / "twin.png").write_bytes((folder / "disc-000.png").read_bytes())
    told = adgan("scan", folder, "--size", "16").stdout
    assert f"6 pictures in {folder}: 5 readable, 1 not; 1 exact duplicate" in told
    for line in ("5 PNG", "5 L", "5 of 16x16", "damaged.png: ", "disc-000.png = twin.png"):
        assert line in told
    assert "for 20,000 steps" in told and "for all of these" in told


def test_a_program_gets_everything(discs):
    folder = discs(15, shape="bars")
    for index in range(15):
        (folder / f"{index}.jpg").write_bytes(b"damaged")
    told = json.loads(adgan("scan", folder, "--size", "16", "--json", "-q").stdout)
    assert told["found"] == 30 == told["readable"] + len(told["unreadable"])
    assert told["formats"] == {"PNG": 15} and told["sizes"] == {"16x16": 15}
    assert told["unreadable"][0] == {"path": "0.jpg", "reason": "not a picture Pillow can read"}
    assert set(told["seconds"]) == {"read", "training_step", "rank"}


def test_ranges_blank_pictures_and_other_files_are_told(tmp_path):
    for index in range(9):
        values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 4
        Image.fromarray(values + 60_000 * (index == 8)).save(tmp_path / f"{index}.png")
    Image.new("L", (16, 16), 7).save(tmp_path / "flat.png")
    Image.new("RGBA", (16, 16)).save(tmp_path / "clear.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "film.mp4").write_text("no picture")
    ended = adgan("scan", tmp_path, "--size", "16")
    assert "values      I;16 from 0 to 61020" in ended.stdout
    assert "blank       2 pictures of one colour, 1 of them fully transparent" in ended.stdout
    assert "passed over 1 .mp4, 1 .txt" in ended.stdout
    assert "warning: the typical picture keeps 5 of 256 levels" in ended.stderr
    assert "with 8.png; leave that out, or give --range 0..1020" in ended.stderr
    assert "passed over" not in ended.stderr, "it is in the table"
    told = json.loads(adgan("scan", tmp_path, "--json", "-q", "--range", "0..1020").stdout)
    assert told["ranges"]["I;16"] == [0, 1020] and told["levels"] == {}
    # what lies beyond the range is all white
    assert (told["one_coloured"], told["fully_transparent"]) == (3, 1)
    assert told["passed_over"] == {".mp4": 1, ".txt": 1}


def test_a_folder_of_other_kinds_names_them(tmp_path):
    for name in ("a.psb", "b.psb", "c.svg"):
        (tmp_path / name).write_text("no picture")
    line = refused("scan", tmp_path, code=3)
    assert line == f"no pictures in {tmp_path}, but 2 .psb, 1 .svg; give others"


def test_long_lists_are_cut_and_say_so(tmp_path):
    for index in range(12):
        (tmp_path / f"{index:02}.png").write_bytes(b"damaged")
        Image.new("L", (index + 1, 3)).save(tmp_path / f"{index:02}.gif")
    told = adgan("scan", tmp_path).stdout
    assert "and 2 more; --json lists all" in told
    assert "2 of 2 other sizes" in told
    assert "10.png: " not in told


def test_nothing_usable_is_exit_code_3_with_the_reasons_shown(tmp_path):
    (tmp_path / "a.png").write_bytes(b"damaged")
    ended = adgan("scan", tmp_path, code=3)
    assert "a.png: not a picture" in ended.stdout
    assert "no pictures" in refused("scan", tmp_path / "..", "--include", "*.none", code=3)


def test_no_folder_is_a_usage_error():
    assert "--files-from" in refused("scan", code=2)


@pytest.mark.parametrize("size", ["0", "65"])
def test_a_size_that_cannot_be_trained_is_refused(tmp_path, size):
    assert "--size" in refused("scan", tmp_path, "--size", size, code=2)


def test_scan_answers_without_torch(discs):
    loaded = loaded_by("scan", str(discs(3)), "--no-cache")
    assert "PIL" in loaded and "torch" not in loaded
