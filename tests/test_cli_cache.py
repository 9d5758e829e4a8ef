"""adgan cache: what is kept of decoded pictures, and away with it."""

import json
import re
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from commands import adgan, refused
from PIL import Image

from adgan_cli.images.cache import CacheConfig, PixelCache
from adgan_cli.images.read import Preprocessing, decode_image
from adgan_cli.images.refs import Folder, ImageRef


def keep(cache: Path, folder: Path, rules: Preprocessing, count: int) -> None:
    """Put so many pictures into the cache, and nothing of adgan's in between."""
    folder.mkdir(exist_ok=True)
    with PixelCache(CacheConfig(cache, 10**9), folder, rules, expected=count) as opened:
        for index in range(count):
            name = f"{index}.png"
            Image.fromarray(np.full((9, 9), index, np.uint8)).save(folder / name)
            found = ImageRef(Folder(folder), name, name)
            opened.put(found, found.stamp(), decode_image(found, rules))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    keep(tmp_path / "cache", tmp_path / "digits", Preprocessing(16, 1), 3)
    keep(tmp_path / "cache", tmp_path / "rooms", Preprocessing(32, 3, "pad", "#8090a0"), 2)
    return tmp_path / "cache"


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_info_lists_what_is_kept(cache, tmp_path):
    result = adgan("cache", "info", "--cache-dir", cache)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    today = time.strftime("%Y-%m-%d ")
    assert len(lines) == 4 and result.stderr == ""
    assert lines[0] == "pictures size last used read as of"
    digits = [line for line in lines if line.endswith(f" {tmp_path / 'digits'}")]
    assert len(digits) == 1 and re.match(rf"3 \d+ KB {today}", digits[0])
    assert "alpha white, channels 1, fit crop, size 16" in digits[0]
    assert "alpha #8090a0, channels 3, fit pad, size 32" in "".join(lines)
    assert re.fullmatch(rf"\d+ KB in 2 sets, in {re.escape(str(cache))}", lines[-1])


def test_json_tells_the_same(cache, tmp_path):
    listing = json.loads(adgan("cache", "info", "--json", "--cache-dir", cache).stdout)
    assert (listing["folder"], listing["bytes"]) == (str(cache), bytes_below(cache))
    sets = {Path(each["root"]).name: each for each in listing["sets"]}
    assert {name: each["pictures"] for name, each in sets.items()} == {"digits": 3, "rooms": 2}
    assert sets["digits"]["root"] == str((tmp_path / "digits").resolve())
    assert sets["rooms"]["rules"] == {
        "size": 32, "channels": 3, "fit": "pad", "alpha": "#8090a0", "ranges": []
    }  # fmt: skip
    assert abs(datetime.fromisoformat(sets["rooms"]["used"]).timestamp() - time.time()) < 60
    assert sum(each["bytes"] for each in listing["sets"]) == listing["bytes"]


def test_a_damaged_set_is_listed_too(cache):
    for path in cache.rglob("index.sqlite"):
        path.write_bytes(b"garbage" * 99)
    lines = adgan("cache", "info", "--cache-dir", cache).stdout.splitlines()
    assert [line.split("  ")[-1] for line in lines[1:3]] == ["unknown: it is damaged"] * 2
    listing = json.loads(adgan("cache", "info", "--json", "--cache-dir", cache).stdout)
    assert [(each["root"], each["rules"]) for each in listing["sets"]] == [("", None)] * 2
    assert listing["bytes"] == bytes_below(cache)


def test_odd_names_can_be_told_of(tmp_path):
    keep(tmp_path / "cache", tmp_path / "new\nline\udcff", Preprocessing(16, 1), 1)
    result = adgan("cache", "info", "--cache-dir", tmp_path / "cache")
    assert r"new\nline\udcff" in result.stdout and len(result.stdout.splitlines()) == 3
    record = json.loads(adgan("cache", "info", "--json", "--cache-dir", tmp_path / "cache").stdout)
    assert record["sets"][0]["root"].endswith("new\nline\\udcff")


def test_clear_deletes_everything_and_says_how_much(cache):
    (cache / "mine.txt").write_text("mine")
    with open(next(cache.rglob("pixels.bin")), "ab") as pixels:
        pixels.truncate(123_400_000)  # a hole: takes no space
    result = adgan("cache", "clear", "--cache-dir", cache)
    assert result.stdout == "" and result.stderr == f"freed 123 MB in {cache}\n"
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["mine.txt"]
    assert adgan("cache", "clear", "--cache-dir", cache).stderr.startswith("freed 0 KB")


def test_an_empty_cache_is_no_error(tmp_path):
    nowhere = tmp_path / "nowhere"
    assert (
        adgan("cache", "info", "--cache-dir", nowhere).stdout == f"0 KB in 0 sets, in {nowhere}\n"
    )
    assert adgan("cache", "clear", "--cache-dir", nowhere).stderr == f"freed 0 KB in {nowhere}\n"
    assert not nowhere.exists()


def test_the_folder_can_come_from_the_environment(cache):
    env = {"ADGAN_CACHE_DIR": str(cache)}
    assert adgan("cache", "info", env=env).stdout.endswith(f"in 2 sets, in {cache}\n")
    adgan("cache", "clear", env=env)
    assert adgan("cache", "info", env=env).stdout == f"0 KB in 0 sets, in {cache}\n"


def test_what_cannot_be_deleted_is_named(cache, monkeypatch):
    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    line = refused("cache", "clear", "--cache-dir", cache, code=1)
    assert line.startswith(f"cannot delete {cache}") and line.endswith("Permission denied")
