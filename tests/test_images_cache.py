"""Decoded pictures are kept, never believed when torn, and never in the way."""

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from adgan_cli.errors import OutputError
from adgan_cli.images.cache import CacheConfig, PixelCache, default_cache_folder
from adgan_cli.images.cache_folder import cached_sets, clear_cache
from adgan_cli.images.read import DecodedImage, Preprocessing, decode_image
from adgan_cli.images.refs import Folder, ImageRef

RULES = Preprocessing(size=8, channels=3)
SLOT = 8 * 8 * 3
NEEDED = 16384 + 6 * (256 + SLOT)  # what 6 pictures ask for


def draw(folder: Path, count: int = 6, *, seed: int = 0) -> list[ImageRef]:
    """A folder of small pictures of noise, each different."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        noise = rng.integers(0, 256, (9, 10 + index % 3, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{index:04d}.bmp")
    return listed(folder)


def listed(folder: Path) -> list[ImageRef]:
    names = sorted(path.name for path in folder.iterdir())
    return [ImageRef(Folder(folder), name, name) for name in names]


@contextmanager
def opened(
    tmp_path: Path,
    found: Sequence[ImageRef],
    preprocessing: Preprocessing = RULES,
    *,
    limit: int = 10**9,
    timeout: float = 60.0,
) -> Iterator[PixelCache]:
    config = CacheConfig(tmp_path / "cache", limit, timeout=timeout)
    root = found[0].container.path
    with PixelCache(config, root, preprocessing, expected=len(found)) as cache:
        yield cache


def fill(cache: PixelCache, found: Sequence[ImageRef], preprocessing: Preprocessing = RULES) -> int:
    """Get every picture, put those that are not there; how many had to be decoded."""
    decoded = 0
    for item in found:
        if cache.get(item) is None:
            cache.put(item, item.stamp(), decode_image(item, preprocessing))
            decoded += 1
    return decoded


def filled(tmp_path: Path, found: Sequence[ImageRef]) -> int:
    """Do so in a run of its own, in which nothing goes wrong."""
    with opened(tmp_path, found) as cache:
        decoded = fill(cache, found)
    assert cache.disabled_reason == ""
    return decoded


def assert_same(kept: DecodedImage, item: ImageRef) -> None:
    direct = decode_image(item, RULES)
    np.testing.assert_array_equal(kept.pixels, direct.pixels)
    facts = ("width", "height", "mode", "format", "fingerprint")
    assert [getattr(kept, name) for name in facts] == [getattr(direct, name) for name in facts]


def assert_right(tmp_path: Path, found: Sequence[ImageRef], *, mappable: bool = True) -> int:
    """Whatever the cache still has is what decoding gives, alone and mapped; how much it had."""
    with opened(tmp_path, found) as cache:
        kept = [cache.get(item) for item in found]
        for item, picture in zip(found, kept, strict=True):
            if picture is not None:
                assert_same(picture, item)
        fill(cache, found)
        mapped = cache.mapped(found)
    assert cache.disabled_reason == ""
    assert mapped is not None or not mappable
    pixels, rows = mapped or ([], [])
    for item, row in zip(found, rows, strict=mappable):
        np.testing.assert_array_equal(pixels[row], decode_image(item, RULES).pixels)
    return sum(picture is not None for picture in kept)


def the_set(tmp_path: Path) -> Path:
    (only,) = (tmp_path / "cache" / "pixels").iterdir()
    return only


@pytest.fixture
def found(tmp_path: Path) -> list[ImageRef]:
    return draw(tmp_path / "pictures")


def test_what_was_put_is_got_by_later_runs(tmp_path: Path, found: list[ImageRef]) -> None:
    assert filled(tmp_path, found) == len(found)
    assert filled(tmp_path, found) == 0
    assert assert_right(tmp_path, found) == len(found)


def test_what_was_put_is_got_at_once(tmp_path: Path, found: list[ImageRef]) -> None:
    with opened(tmp_path, found) as cache:
        assert fill(cache, found) == len(found)
        assert fill(cache, found) == 0


def test_got_pixels_may_be_written_to(tmp_path: Path, found: list[ImageRef]) -> None:
    filled(tmp_path, found)
    with opened(tmp_path, found) as cache:
        for _ in range(2):
            picture = cache.get(found[0])
            assert picture is not None
            assert_same(picture, found[0])
            picture.pixels[:] = 0


@pytest.mark.parametrize("how", ["mtime", "size", "gone"])
def test_a_changed_file_is_decoded_again(tmp_path: Path, found: list[ImageRef], how: str) -> None:
    filled(tmp_path, found)
    path = found[2].file
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
        with opened(tmp_path, found) as cache:
            assert cache.get(found[2]) is None
        return
    assert assert_right(tmp_path, found) == len(found) - 1
    assert assert_right(tmp_path, found) == len(found)


def test_a_change_while_the_file_is_read_shows_the_next_time(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    with opened(tmp_path, found) as cache:
        stamp = found[0].stamp()
        os.utime(tmp_path / "pictures" / found[0].name, ns=(0, 0))
        cache.put(found[0], stamp, decode_image(found[0], RULES))
        assert cache.get(found[0]) is None


def test_sets_of_other_rules_and_other_roots_lie_apart(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    other = draw(tmp_path / "others", seed=1)
    filled(tmp_path, found)
    assert filled(tmp_path, other) == len(other)
    for rules in (replace(RULES, channels=1), replace(RULES, fit="pad"), Preprocessing(16, 3)):
        with opened(tmp_path, found, rules) as cache:
            assert cache.get(found[0]) is None
    assert assert_right(tmp_path, found) == assert_right(tmp_path, other) == len(found)


def test_a_root_is_the_same_however_it_is_written(
    tmp_path: Path, found: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, found)
    monkeypatch.chdir(tmp_path)
    relative = [ImageRef(Folder(Path("pictures")), item.key, item.name) for item in found]
    assert filled(tmp_path, relative) == 0


def test_any_name_and_any_time_can_be_kept(tmp_path: Path) -> None:
    names = ["new\nline", "\udcff", "'; DROP TABLE pictures; --", "a/\ud800b", "日本", "x" * 5000]
    stamps = [(2**40, 2**63 + 5), (0, -(2**40)), (1, 0), (1, 2**62), (5, 6), (7, 8)]
    picture = DecodedImage(
        np.zeros((8, 8, 3), np.uint8), 10**6, 1, "F[-1e+300..0.5]", "", b"\0" * 8
    )
    for _ in range(2):
        config = CacheConfig(tmp_path / "cache", 10**9)
        with PixelCache(config, tmp_path / "\udcfe", RULES, expected=6) as cache:
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


# what may have happened to a set


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("left", [0, 1, SLOT, SLOT + 1, 3 * SLOT, 6 * SLOT - 1])
def test_cut_pixels_are_not_believed(tmp_path: Path, found: list[ImageRef], left: int) -> None:
    filled(tmp_path, found)
    os.truncate(the_set(tmp_path) / "pixels.bin", left)
    assert assert_right(tmp_path, found) == left // SLOT
    assert assert_right(tmp_path, found) == len(found)


def test_a_flipped_bit_in_the_pixels_is_not_believed(tmp_path: Path, found: list[ImageRef]) -> None:
    filled(tmp_path, found)
    flip(the_set(tmp_path) / "pixels.bin", 2 * SLOT + 7)
    assert assert_right(tmp_path, found) == len(found) - 1
    assert assert_right(tmp_path, found) == len(found)


def test_a_flipped_bit_in_the_index_is_not_believed(tmp_path: Path, found: list[ImageRef]) -> None:
    filled(tmp_path, found)
    path = the_set(tmp_path)
    whole = shutil.copytree(path, tmp_path / "whole")
    content = (whole / "index.sqlite").read_bytes()
    written = [at for at, value in enumerate(content) if value]
    lost = 0
    for at in random.Random(0).sample(written, 40):
        shutil.rmtree(path)
        flip(shutil.copytree(whole, path) / "index.sqlite", at)
        # SQLite before 3.39 may not notice that a name stands in the wrong place: not mappable
        lost += assert_right(tmp_path, found, mappable=False) < len(found)
    assert lost > 20


@pytest.mark.parametrize("left", [0, 50, 4096, 6000, 8192, -1])
def test_a_cut_index_is_not_believed(tmp_path: Path, found: list[ImageRef], left: int) -> None:
    filled(tmp_path, found)
    index = the_set(tmp_path) / "index.sqlite"
    os.truncate(index, left % index.stat().st_size)
    assert assert_right(tmp_path, found) < len(found)
    assert assert_right(tmp_path, found) == len(found)


@pytest.mark.parametrize("name", ["index.sqlite", "pixels.bin", "index.sqlite-journal"])
@pytest.mark.parametrize("how", ["garbage", "missing", "folder", "link"])
def test_files_that_are_none_of_ours_are_not_believed(
    tmp_path: Path, found: list[ImageRef], name: str, how: str
) -> None:
    filled(tmp_path, found)
    path = the_set(tmp_path) / name
    path.unlink(missing_ok=True)
    if how == "garbage":
        path.write_bytes(random.Random(0).randbytes(10_000))
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to(tmp_path / "elsewhere")
    kept = assert_right(tmp_path, found)
    assert kept == (len(found) if "journal" in name and how in ("garbage", "missing") else 0)
    assert assert_right(tmp_path, found) == len(found)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE images ADD COLUMN colour TEXT",
        "DROP TABLE about",
        "UPDATE about SET about = 'of something else'",
        "PRAGMA user_version = 1000000000",
        "DELETE FROM about",
        "INSERT INTO about SELECT * FROM about",
    ],
)
def test_an_index_of_another_version_begins_anew(
    tmp_path: Path, found: list[ImageRef], sql: str
) -> None:
    filled(tmp_path, found)
    with sqlite3.connect(the_set(tmp_path) / "index.sqlite") as index:
        index.execute(sql)
    index.close()
    assert assert_right(tmp_path, found) == 0
    assert assert_right(tmp_path, found) == len(found)


@pytest.mark.parametrize(
    "sql",
    [
        "slot = (slot + 1) % 6",
        "slot = -1",
        "slot = 'x'",
        "slot = 1e300",
        "slot = NULL",
        "facts = replace(facts, 'RGB', 'L')",
        "facts = CAST(x'ff' AS TEXT)",
        "checksum = 0",
    ],
)
def test_rows_that_were_tampered_with_are_not_believed(
    tmp_path: Path, found: list[ImageRef], sql: str
) -> None:
    filled(tmp_path, found)
    with sqlite3.connect(the_set(tmp_path) / "index.sqlite") as index:
        index.execute(f"UPDATE images SET {sql}")
    index.close()
    assert assert_right(tmp_path, found) == 0
    assert assert_right(tmp_path, found) == len(found)


FILLING = """
import os, signal, sqlite3, sys
from pathlib import Path
sys.path.insert(0, os.environ["TESTS"])
from test_images_cache import fill, listed, opened

tmp_path, moment = Path(sys.argv[1]), sys.argv[2]
connect = sqlite3.connect

class Killed(sqlite3.Connection):
    "Dies amid the fourth batch of 256 at its first row: pixels are written, nothing is committed."
    rows = 0

    def execute(self, sql, *args):
        self.rows += sql.startswith("REPLACE")
        if self.rows == 3 * 256 + 1:
            if moment == "half written":
                pixels = next((tmp_path / "cache").rglob("pixels.bin"))
                os.truncate(pixels, pixels.stat().st_size - 128 * 192 - 1)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(sql, *args)

if moment:
    sqlite3.connect = lambda *args, **options: connect(*args, factory=Killed, **options)
found = listed(tmp_path / "pictures")
print("ready", flush=True)
sys.stdin.readline()
with opened(tmp_path, found) as cache:
    fill(cache, found)
    pixels, rows = cache.mapped(found)
assert not cache.disabled_reason, cache.disabled_reason
print(int(pixels[rows].astype(int).sum()))
"""


def filling(tmp_path: Path, moment: str = "") -> "subprocess.Popen[str]":
    """Another process that is ready to fill a set."""
    env = {**os.environ, "TESTS": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", FILLING, str(tmp_path), moment],
        env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert stream(process.stdout).readline() == "ready\n"
    return process


def stream(pipe: "IO[str] | None") -> "IO[str]":
    assert pipe is not None
    return pipe


def go(process: "subprocess.Popen[str]") -> None:
    stream(process.stdin).write("\n")
    stream(process.stdin).flush()


@pytest.mark.parametrize("moment", ["half written", "not committed"])
def test_what_a_killed_process_leaves_is_right(tmp_path: Path, moment: str) -> None:
    found = draw(tmp_path / "pictures", 1100)
    with filling(tmp_path, moment) as process:
        go(process)
        assert process.wait(60) == -signal.SIGKILL
    assert assert_right(tmp_path, found) == 3 * 256  # three batches
    assert assert_right(tmp_path, found) == 1100


def test_a_process_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    found = draw(tmp_path / "pictures", 300)
    kept = 0
    for delay in (0.0, 0.03, 0.09):
        with filling(tmp_path) as process:
            go(process)
            time.sleep(delay)
            process.kill()
        survived = sum(each.images for each in cached_sets(tmp_path / "cache"))
        assert survived >= kept
        kept = survived
    assert_right(tmp_path, found)
    assert assert_right(tmp_path, found) == 300


def test_two_processes_fill_one_set_and_share_no_slot(tmp_path: Path) -> None:
    found = draw(tmp_path / "pictures", 60)
    total = sum(int(decode_image(item, RULES).pixels.astype(int).sum()) for item in found)
    with filling(tmp_path) as one, filling(tmp_path) as other:
        go(one)
        go(other)
        for process in (one, other):
            assert process.wait(60) == 0
            assert int(stream(process.stdout).read()) == total
    assert (the_set(tmp_path) / "pixels.bin").stat().st_size == 60 * SLOT  # each picture once
    assert assert_right(tmp_path, found) == 60


# mapped


def test_what_was_mapped_outlives_changes_and_the_cache_itself(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    direct = np.stack([decode_image(item, RULES).pixels for item in found])
    with opened(tmp_path, found) as cache:
        fill(cache, found)
        mapped = cache.mapped(found[::-1])
    assert mapped is not None
    pixels, rows = mapped
    draw(tmp_path / "pictures", seed=1)
    assert filled(tmp_path, found) == len(found)
    assert clear_cache(tmp_path / "cache") > 0
    np.testing.assert_array_equal(pixels[rows], direct[::-1])


def test_writing_to_what_was_mapped_changes_nothing_on_the_disk(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    with opened(tmp_path, found) as cache:
        fill(cache, found)
        mapped = cache.mapped(found)
    assert mapped is not None
    mapped[0][:] = 0  # that it can be written to is what torch asks for
    assert assert_right(tmp_path, found) == len(found)


def test_a_set_larger_than_memory_can_be_mapped(tmp_path: Path, found: list[ImageRef]) -> None:
    if sys.platform != "linux" or Path("/proc/sys/vm/overcommit_memory").read_text()[0] == "2":
        pytest.skip("this system counts every mapping as memory")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with opened(tmp_path, found) as cache:
        fill(cache, found)
        cache.mapped([])  # writes what waits
        os.truncate(the_set(tmp_path) / "pixels.bin", 4 * memory)  # holes: takes no space
        mapped = cache.mapped(found)
    assert mapped is not None and mapped[0].nbytes > 3 * memory
    np.testing.assert_array_equal(mapped[0][mapped[1][5]], decode_image(found[5], RULES).pixels)


def test_nothing_is_mapped_if_one_picture_is_missing(tmp_path: Path, found: list[ImageRef]) -> None:
    with opened(tmp_path, found) as cache:
        assert cache.mapped(found) is None
        fill(cache, found[1:])
        assert cache.mapped(found) is None
        assert cache.mapped(found[1:]) is not None
        empty = cache.mapped([])
        assert empty is not None and len(empty[1]) == 0


# room


def test_pictures_that_do_not_fit_disable_the_cache(tmp_path: Path, found: list[ImageRef]) -> None:
    with opened(tmp_path, found, limit=NEEDED - 1) as cache:
        assert (
            "6 pictures need" in cache.disabled_reason and "--cache-limit" in cache.disabled_reason
        )
        assert fill(cache, found) == fill(cache, found) == len(found)
        assert cache.mapped(found) is None
    assert not (tmp_path / "cache").exists()
    with opened(tmp_path, found, limit=NEEDED) as cache:
        assert cache.disabled_reason == ""


def aged(tmp_path: Path, name: str, seconds: int) -> list[ImageRef]:
    """Pictures whose set was last used so many seconds ago."""
    found = draw(tmp_path / name)
    sets = tmp_path / "cache" / "pixels"
    before = set(sets.iterdir()) if sets.exists() else set()
    filled(tmp_path, found)
    (made,) = set(sets.iterdir()) - before
    used = time.time() - seconds
    os.utime(made / "pixels.bin", (used, used))
    return found


def roots(tmp_path: Path) -> list[str]:
    """The folders whose pictures are kept, the last used first."""
    return [Path(kept.root).name for kept in cached_sets(tmp_path / "cache")]


def taken(tmp_path: Path) -> int:
    return sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_the_longest_unused_go_first(tmp_path: Path, found: list[ImageRef]) -> None:
    for name, age in {"middle": 200, "old": 300, "young": 100}.items():
        aged(tmp_path, name, age)
    assert roots(tmp_path) == ["young", "middle", "old"]
    one = taken(tmp_path) // 3
    with opened(tmp_path, found, limit=NEEDED + 2 * one) as cache:
        fill(cache, found)
    assert cache.disabled_reason == "" and roots(tmp_path) == ["pictures", "young", "middle"]
    filled(tmp_path, listed(tmp_path / "middle"))  # used again
    with opened(tmp_path, draw(tmp_path / "last"), limit=NEEDED + one) as cache:
        fill(cache, listed(tmp_path / "last"))
    assert roots(tmp_path) == ["last", "middle"]


def test_a_set_never_outgrows_the_limit(tmp_path: Path, found: list[ImageRef]) -> None:
    aged(tmp_path, "old", 100)
    limit = NEEDED + taken(tmp_path)
    seen = set()
    for seed in range(24):
        draw(tmp_path / "pictures", seed=seed)  # each time all are new, and the slots add up
        for item in found:
            os.utime(tmp_path / "pictures" / item.name, ns=(0, seed))
        with opened(tmp_path, found, limit=limit) as cache:
            fill(cache, found)
        assert taken(tmp_path) <= limit
        seen.add((cache.disabled_reason.partition(": ")[2][:4], "old" in roots(tmp_path)))
    # the other set makes room at first, then this one goes itself and begins anew
    assert seen == {("", True), ("", False), ("full", False)}
    assert assert_right(tmp_path, found) == len(found)


def test_a_set_of_mostly_unneeded_slots_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "a.bmp"
    path.parent.mkdir()
    image = DecodedImage(np.zeros((8, 8, 3), np.uint8), 8, 8, "RGB", "BMP", b"\0" * 8)
    sizes = []
    for run in range(4):
        path.write_bytes(bytes(run))
        items = [ImageRef(Folder(path.parent), path.name, f"{n}.bmp") for n in range(150)]
        with opened(tmp_path, items) as cache:
            for item in items:
                assert cache.get(item) is None
                cache.put(item, item.stamp(), image)
        sizes.append((the_set(tmp_path) / "pixels.bin").stat().st_size // SLOT)
    assert sizes == [150, 300, 450, 600]
    with opened(tmp_path, items) as cache:  # 150 of 600 are needed, and 450 too many
        assert cache.get(items[0]) is None


Usage = namedtuple("Usage", "total used free")


def test_the_disk_is_not_filled_up(
    tmp_path: Path, found: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(9, 9, 1000))
    with opened(tmp_path, found) as cache:
        assert "are free" in cache.disabled_reason
        assert fill(cache, found) == len(found)


# what the system may refuse


@pytest.mark.parametrize("blocked", ["cache", "cache/pixels", "set"])
def test_a_file_in_the_way_disables_the_cache(
    tmp_path: Path, found: list[ImageRef], blocked: str
) -> None:
    filled(tmp_path, found)
    path = the_set(tmp_path) if blocked == "set" else tmp_path / blocked
    shutil.rmtree(path)
    path.write_text("mine")
    with opened(tmp_path, found) as cache:
        assert str(tmp_path / "cache") in cache.disabled_reason
        assert fill(cache, found) == fill(cache, found) == len(found)
    assert path.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_read_only_folder_disables_the_cache(tmp_path: Path, found: list[ImageRef]) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    with opened(tmp_path, found) as cache:
        assert "Permission denied" in cache.disabled_reason
        assert fill(cache, found) == len(found)


@pytest.mark.parametrize("room", [0, 100], ids=["raises", "writes half"])
def test_a_full_disk_disables_the_cache(tmp_path: Path, found: list[ImageRef], room: int) -> None:
    resource = pytest.importorskip("resource")  # a limit to the size of files stands for a disk
    large = Preprocessing(64, 3)
    slot = 64 * 64 * 3
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path, found, large) as cache:
        fill(cache, found[:3], large)
        cache.mapped([])  # writes them
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * slot + room, unlimited[1]))
        try:
            fill(cache, found, large)
            assert cache.mapped(found) is None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert ("No space left" if room else "File too large") in cache.disabled_reason
    with opened(tmp_path, found, large) as cache:
        for item in found[:3]:
            kept = cache.get(item)
            assert kept is not None
            np.testing.assert_array_equal(kept.pixels, decode_image(item, large).pixels)
        assert fill(cache, found, large) == 3


def test_a_lock_that_is_never_released_disables_the_cache(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    filled(tmp_path, found)
    other = sqlite3.connect(the_set(tmp_path) / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with opened(tmp_path, found, timeout=0.05) as cache:
        assert "locked" in cache.disabled_reason
        assert fill(cache, found) == len(found)
    other.execute("ROLLBACK")
    with opened(tmp_path, found, timeout=0.05) as cache:
        assert fill(cache, found) == 0
        other.execute("BEGIN EXCLUSIVE")
        assert cache.get(found[0]) is None
        assert "locked" in cache.disabled_reason
    other.close()
    assert assert_right(tmp_path, found) == len(found)


@pytest.mark.parametrize("anew", [False, True])
def test_a_set_may_be_deleted_while_it_is_used(
    tmp_path: Path, found: list[ImageRef], anew: bool
) -> None:
    with opened(tmp_path, found) as cache:
        fill(cache, found[:4])
        before = cache.mapped(found[:4])
        clear_cache(tmp_path / "cache")
        if anew:
            filled(tmp_path, found[::-1])
        assert cache.get(found[0]) is None
        assert "deleted while in use" in cache.disabled_reason
        assert fill(cache, found) == len(found)
        assert cache.mapped(found) is None
    assert before is not None
    for item, row in zip(found[:4], before[1], strict=True):
        np.testing.assert_array_equal(before[0][row], decode_image(item, RULES).pixels)
    assert assert_right(tmp_path, found) == (len(found) if anew else 0)


def test_what_waits_to_be_written_when_the_set_is_deleted_is_dropped(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    with opened(tmp_path, found) as cache:
        fill(cache, found)
        clear_cache(tmp_path / "cache")
    assert "deleted while in use" in cache.disabled_reason
    assert assert_right(tmp_path, found) == 0


# the folder as a whole


def test_what_is_kept_can_be_told(tmp_path: Path, found: list[ImageRef]) -> None:
    assert cached_sets(tmp_path / "cache") == []
    started = time.time()
    filled(tmp_path, found)
    (kept,) = cached_sets(tmp_path / "cache")
    assert kept.root == os.path.realpath(tmp_path / "pictures")
    assert '"size": 8' in kept.preprocessing and '"fit": "crop"' in kept.preprocessing
    assert kept.images == len(found) and kept.bytes == taken(tmp_path)
    assert started - 1 < kept.used <= time.time() + 1
    (the_set(tmp_path) / "index.sqlite").write_bytes(b"garbage" * 1000)
    (torn,) = cached_sets(tmp_path / "cache")
    assert (torn.root, torn.preprocessing, torn.images) == ("", "", 0)
    assert torn.bytes == taken(tmp_path)


def test_clearing_frees_everything_and_nothing_else(tmp_path: Path, found: list[ImageRef]) -> None:
    assert clear_cache(tmp_path / "cache") == 0
    filled(tmp_path, found)
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


def test_a_set_that_cannot_be_deleted_is_named(
    tmp_path: Path, found: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, found)

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match=f"{the_set(tmp_path).name}: Permission denied"):
        clear_cache(tmp_path / "cache")


def test_a_torn_set_with_something_else_in_it_is_left_alone(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    filled(tmp_path, found)
    (the_set(tmp_path) / "index.sqlite").write_bytes(b"garbage" * 1000)
    (the_set(tmp_path) / "mine.txt").write_text("mine")
    with opened(tmp_path, found) as cache:
        assert "adgan has not put" in cache.disabled_reason
    assert (the_set(tmp_path) / "mine.txt").read_text() == "mine"


def test_copies_of_pictures_are_for_their_owner_alone(
    tmp_path: Path, found: list[ImageRef]
) -> None:
    filled(tmp_path, found)
    if os.name == "posix":
        assert the_set(tmp_path).stat().st_mode & 0o077 == 0


def test_the_folder_is_the_platforms_unless_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADGAN_CACHE_DIR", str(tmp_path / "here"))
    assert default_cache_folder() == tmp_path / "here"
    monkeypatch.setenv("ADGAN_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder().name in ("adgan", "Cache")
    if sys.platform == "linux":
        assert default_cache_folder() == tmp_path / "adgan"
