"""adgan scan: what a person and a program are told about a folder."""

import json

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
