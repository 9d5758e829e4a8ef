"""The cache folder makes room, lists what it holds, and deletes nothing else."""

import errno
import os
import time
from pathlib import Path

import pytest
from cache_samples import NEEDED, aged, draw, fill, filled, listed, opened, roots, taken, the_set

from adgan_cli.errors import OutputError
from adgan_cli.images.cache_folder import cached_sets, clear_cache
from adgan_cli.images.refs import ImageRef


@pytest.fixture
def items(tmp_path: Path) -> list[ImageRef]:
    return draw(tmp_path / "pictures")


def test_the_longest_unused_go_first(tmp_path, items):
    for name, age in {"middle": 200, "old": 300, "young": 100}.items():
        aged(tmp_path, name, age)
    assert roots(tmp_path) == ["young", "middle", "old"]
    one = taken(tmp_path) // 3
    with opened(tmp_path, items, limit=NEEDED + 2 * one) as cache:
        fill(cache, items)
    assert cache.disabled_reason == "" and roots(tmp_path) == ["pictures", "young", "middle"]
    filled(tmp_path, listed(tmp_path / "middle"))  # used again
    with opened(tmp_path, draw(tmp_path / "last"), limit=NEEDED + one) as cache:
        fill(cache, listed(tmp_path / "last"))
    assert roots(tmp_path) == ["last", "middle"]


def test_what_is_kept_can_be_told(tmp_path, items):
    assert cached_sets(tmp_path / "cache") == []
    started = time.time()
    filled(tmp_path, items)
    (kept,) = cached_sets(tmp_path / "cache")
    assert kept.root == os.path.realpath(tmp_path / "pictures")
    assert '"size": 8' in kept.preprocessing and '"fit": "crop"' in kept.preprocessing
    assert kept.images == len(items) and kept.bytes == taken(tmp_path)
    assert started - 1 < kept.used <= time.time() + 1
    (the_set(tmp_path) / "index.sqlite").write_bytes(b"garbage" * 1000)
    (torn,) = cached_sets(tmp_path / "cache")
    assert (torn.root, torn.preprocessing, torn.images) == ("", "", 0)
    assert torn.bytes == taken(tmp_path)


def test_clearing_frees_everything_and_nothing_else(tmp_path, items):
    assert clear_cache(tmp_path / "cache") == 0
    filled(tmp_path, items)
    size, sets = taken(tmp_path), tmp_path / "cache" / "pixels"
    left = sets / f"{'0' * 32}.00ff00ff.gone"  # by a process that was killed while it deleted
    left.mkdir()
    (left / "pixels.bin").touch()
    foreign = [sets / "mine.txt", sets / ("1" * 32) / "mine.txt", sets / "2222" / "pixels.bin"]
    for path in (*foreign, tmp_path / "elsewhere" / "pixels.bin"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (sets / ("3" * 32)).symlink_to(tmp_path / "elsewhere")
    assert clear_cache(tmp_path / "cache") == size
    assert cached_sets(tmp_path / "cache") == []
    assert not left.exists()
    assert {path.read_text() for path in foreign} == {"mine"}
    assert (tmp_path / "elsewhere" / "pixels.bin").read_text() == "mine"


def test_a_set_that_cannot_be_deleted_is_named(tmp_path, items, monkeypatch):
    filled(tmp_path, items)

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match=f"{the_set(tmp_path).name}: Permission denied"):
        clear_cache(tmp_path / "cache")


def test_a_torn_set_with_something_else_in_it_is_left_alone(tmp_path, items):
    filled(tmp_path, items)
    (the_set(tmp_path) / "index.sqlite").write_bytes(b"garbage" * 1000)
    (the_set(tmp_path) / "mine.txt").write_text("mine")
    with opened(tmp_path, items) as cache:
        assert "adgan has not put" in cache.disabled_reason
    assert (the_set(tmp_path) / "mine.txt").read_text() == "mine"


def test_copies_of_pictures_are_for_their_owner_alone(tmp_path, items):
    filled(tmp_path, items)
    if os.name == "posix":
        assert the_set(tmp_path).stat().st_mode & 0o077 == 0
