"""Decoded images are kept and got again, within limits, and the cache is never in the way."""

import os
import shutil
import sqlite3
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cache_samples import (
    NEEDED,
    PREPROCESSING,
    aged,
    assert_right,
    assert_same,
    draw,
    fill,
    filled,
    opened,
    roots,
    taken,
    the_set,
)
from PIL import Image

from adgan_cli.images.cache import CacheConfig, PixelCache, default_cache_folder
from adgan_cli.images.cache_folder import cached_sets, clear_cache
from adgan_cli.images.read import DecodedImage, Preprocessing, decode_image
from adgan_cli.images.refs import Folder, ImageRef


@pytest.fixture
def items(tmp_path: Path) -> list[ImageRef]:
    return draw(tmp_path / "pictures")


def test_what_was_put_is_got_by_later_runs(tmp_path, items):
    assert filled(tmp_path, items) == len(items)
    assert filled(tmp_path, items) == 0
    assert assert_right(tmp_path, items) == len(items)


def test_what_was_put_is_got_at_once(tmp_path, items):
    with opened(tmp_path, items) as cache:
        assert fill(cache, items) == len(items)
        assert fill(cache, items) == 0


def test_got_pixels_may_be_written_to(tmp_path, items):
    filled(tmp_path, items)
    with opened(tmp_path, items) as cache:
        for _ in range(2):
            picture = cache.get(items[0])
            assert picture is not None
            assert_same(picture, items[0])
            picture.pixels[:] = 0


@pytest.mark.parametrize("how", ["mtime", "size", "gone"])
def test_a_changed_file_is_decoded_again(tmp_path, items, how):
    filled(tmp_path, items)
    path = items[2].file
    assert path is not None
    before = path.stat()
    if how == "mtime":
        Image.fromarray(np.zeros((9, 12, 3), np.uint8)).save(path)
        assert path.stat().st_size == before.st_size
        os.utime(path, ns=(0, before.st_mtime_ns + 1))
    elif how == "size":
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path)
        os.utime(path, ns=(0, before.st_mtime_ns))
    else:
        path.unlink()
        with opened(tmp_path, items) as cache:
            assert cache.get(items[2]) is None
        return
    assert assert_right(tmp_path, items) == len(items) - 1
    assert assert_right(tmp_path, items) == len(items)


def test_a_change_while_the_file_is_read_shows_the_next_time(tmp_path, items):
    with opened(tmp_path, items) as cache:
        stamp = items[0].stamp()
        os.utime(tmp_path / "pictures" / items[0].name, ns=(0, 0))
        cache.put(items[0], stamp, decode_image(items[0], PREPROCESSING))
        assert cache.get(items[0]) is None


def test_sets_of_other_rules_and_other_roots_lie_apart(tmp_path, items):
    other = draw(tmp_path / "others", seed=1)
    filled(tmp_path, items)
    assert filled(tmp_path, other) == len(other)
    for rules in (
        replace(PREPROCESSING, channels=1),
        replace(PREPROCESSING, fit="pad"),
        Preprocessing(16, 3),
    ):
        with opened(tmp_path, items, rules) as cache:
            assert cache.get(items[0]) is None
    assert assert_right(tmp_path, items) == assert_right(tmp_path, other) == len(items)


def test_a_root_is_the_same_however_it_is_written(tmp_path, items, monkeypatch):
    filled(tmp_path, items)
    monkeypatch.chdir(tmp_path)
    relative = [ImageRef(Folder(Path("pictures")), item.key, item.name) for item in items]
    assert filled(tmp_path, relative) == 0


def test_any_name_and_any_time_can_be_kept(tmp_path):
    names = ["new\nline", "\udcff", "'; DROP TABLE pictures; --", "a/\ud800b", "日本", "x" * 5000]
    stamps = [(2**40, 2**63 + 5), (0, -(2**40)), (1, 0), (1, 2**62), (5, 6), (7, 8)]
    picture = DecodedImage(
        np.zeros((8, 8, 3), np.uint8), 10**6, 1, "F[-1e+300..0.5]", "", b"\0" * 8
    )
    for _ in range(2):
        config = CacheConfig(tmp_path / "cache", 10**9)
        with PixelCache(config, tmp_path / "\udcfe", PREPROCESSING, expected=6) as cache:
            for name, stamp in zip(names, stamps, strict=True):
                source: Any = SimpleNamespace(stamp=lambda key, stamp=stamp: stamp)
                item = ImageRef(source, name, name)
                kept = cache.get(item)
                if kept is None:
                    cache.put(item, stamp, picture)
                else:
                    assert (kept.mode, kept.format) == (picture.mode, "")
        assert cache.disabled_reason == ""
    assert kept is not None
    assert cached_sets(tmp_path / "cache")[0].root == os.path.realpath(tmp_path / "\udcfe")


# room


def test_pictures_that_do_not_fit_disable_the_cache(tmp_path, items):
    with opened(tmp_path, items, limit=NEEDED - 1) as cache:
        assert (
            "6 pictures need" in cache.disabled_reason and "--cache-limit" in cache.disabled_reason
        )
        assert fill(cache, items) == fill(cache, items) == len(items)
        assert cache.mapped(items) is None
    assert not (tmp_path / "cache").exists()
    with opened(tmp_path, items, limit=NEEDED) as cache:
        assert cache.disabled_reason == ""


def test_a_set_never_outgrows_the_limit(tmp_path, items):
    aged(tmp_path, "old", 100)
    limit = NEEDED + taken(tmp_path)
    seen = set()
    for seed in range(24):
        draw(tmp_path / "pictures", seed=seed)  # each time all are new, and the slots add up
        for item in items:
            os.utime(tmp_path / "pictures" / item.name, ns=(0, seed))
        with opened(tmp_path, items, limit=limit) as cache:
            fill(cache, items)
        assert taken(tmp_path) <= limit
        seen.add((cache.disabled_reason.partition(": ")[2][:4], "old" in roots(tmp_path)))
    # the other set makes room at first, then this one goes itself and begins anew
    assert seen == {("", True), ("", False), ("full", False)}
    assert assert_right(tmp_path, items) == len(items)


Usage = namedtuple("Usage", "total used free")


def test_the_disk_is_not_filled_up(tmp_path, items, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(9, 9, 1000))
    with opened(tmp_path, items) as cache:
        assert "are free" in cache.disabled_reason
        assert fill(cache, items) == len(items)


# what the system may refuse


@pytest.mark.parametrize("blocked", ["cache", "cache/pixels", "set"])
def test_a_file_in_the_way_disables_the_cache(tmp_path, items, blocked):
    filled(tmp_path, items)
    path = the_set(tmp_path) if blocked == "set" else tmp_path / blocked
    shutil.rmtree(path)
    path.write_text("mine")
    with opened(tmp_path, items) as cache:
        assert str(tmp_path / "cache") in cache.disabled_reason
        assert fill(cache, items) == fill(cache, items) == len(items)
    assert path.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_read_only_folder_disables_the_cache(tmp_path, items):
    (tmp_path / "cache").mkdir(mode=0o500)
    with opened(tmp_path, items) as cache:
        assert "Permission denied" in cache.disabled_reason
        assert fill(cache, items) == len(items)


@pytest.mark.parametrize("room", [0, 100], ids=["raises", "writes half"])
def test_a_full_disk_disables_the_cache(tmp_path, items, room):
    resource = pytest.importorskip("resource")  # a limit to the size of files stands for a disk
    large = Preprocessing(64, 3)
    slot = 64 * 64 * 3
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path, items, large) as cache:
        fill(cache, items[:3], large)
        cache.mapped([])  # writes them
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * slot + room, unlimited[1]))
        try:
            fill(cache, items, large)
            assert cache.mapped(items) is None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert ("No space left" if room else "File too large") in cache.disabled_reason
    with opened(tmp_path, items, large) as cache:
        for item in items[:3]:
            kept = cache.get(item)
            assert kept is not None
            np.testing.assert_array_equal(kept.pixels, decode_image(item, large).pixels)
        assert fill(cache, items, large) == 3


def test_a_lock_that_is_never_released_disables_the_cache(tmp_path, items):
    filled(tmp_path, items)
    other = sqlite3.connect(the_set(tmp_path) / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with opened(tmp_path, items, timeout=0.05) as cache:
        assert "locked" in cache.disabled_reason
        assert fill(cache, items) == len(items)
    other.execute("ROLLBACK")
    with opened(tmp_path, items, timeout=0.05) as cache:
        assert fill(cache, items) == 0
        other.execute("BEGIN EXCLUSIVE")
        assert cache.get(items[0]) is None
        assert "locked" in cache.disabled_reason
    other.close()
    assert assert_right(tmp_path, items) == len(items)


@pytest.mark.parametrize("anew", [False, True])
def test_a_set_may_be_deleted_while_it_is_used(tmp_path, items, anew):
    with opened(tmp_path, items) as cache:
        fill(cache, items[:4])
        before = cache.mapped(items[:4])
        clear_cache(tmp_path / "cache")
        if anew:
            filled(tmp_path, items[::-1])
        assert cache.get(items[0]) is None
        assert "deleted while in use" in cache.disabled_reason
        assert fill(cache, items) == len(items)
        assert cache.mapped(items) is None
    assert before is not None
    for item, row in zip(items[:4], before[1], strict=True):
        np.testing.assert_array_equal(before[0][row], decode_image(item, PREPROCESSING).pixels)
    assert assert_right(tmp_path, items) == (len(items) if anew else 0)


def test_what_waits_to_be_written_when_the_set_is_deleted_is_dropped(tmp_path, items):
    with opened(tmp_path, items) as cache:
        fill(cache, items)
        clear_cache(tmp_path / "cache")
    assert "deleted while in use" in cache.disabled_reason
    assert assert_right(tmp_path, items) == 0


def test_the_folder_is_the_platforms_unless_the_environment_names_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ADGAN_CACHE_DIR", str(tmp_path / "here"))
    assert default_cache_folder() == tmp_path / "here"
    monkeypatch.setenv("ADGAN_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder().name in ("adgan", "Cache")
    if sys.platform == "linux":
        assert default_cache_folder() == tmp_path / "adgan"
