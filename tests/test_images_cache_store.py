"""A set is never believed when torn, shared by processes, and mapped as it was."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from cache_samples import PREPROCESSING, SLOT, assert_right, draw, fill, filled, opened, the_set

from adgan_cli.images.cache_folder import cached_sets, clear_cache
from adgan_cli.images.read import DecodedImage, decode_image
from adgan_cli.images.refs import Folder, ImageRef


@pytest.fixture
def items(tmp_path: Path) -> list[ImageRef]:
    return draw(tmp_path / "pictures")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("left", [0, 1, SLOT, SLOT + 1, 3 * SLOT, 6 * SLOT - 1])
def test_cut_pixels_are_not_believed(tmp_path, items, left):
    filled(tmp_path, items)
    os.truncate(the_set(tmp_path) / "pixels.bin", left)
    assert assert_right(tmp_path, items) == left // SLOT
    assert assert_right(tmp_path, items) == len(items)


def test_a_flipped_bit_in_the_pixels_is_not_believed(tmp_path, items):
    filled(tmp_path, items)
    flip(the_set(tmp_path) / "pixels.bin", 2 * SLOT + 7)
    assert assert_right(tmp_path, items) == len(items) - 1
    assert assert_right(tmp_path, items) == len(items)


def test_a_flipped_bit_in_the_index_is_not_believed(tmp_path, items):
    filled(tmp_path, items)
    path = the_set(tmp_path)
    whole = shutil.copytree(path, tmp_path / "whole")
    content = (whole / "index.sqlite").read_bytes()
    written = [at for at, value in enumerate(content) if value]
    lost = 0
    for at in random.Random(0).sample(written, 40):
        shutil.rmtree(path)
        flip(shutil.copytree(whole, path) / "index.sqlite", at)
        # SQLite before 3.39 may not notice that a name stands in the wrong place: not mappable
        lost += assert_right(tmp_path, items, mappable=False) < len(items)
    assert lost > 20


@pytest.mark.parametrize("left", [0, 50, 4096, 6000, 8192, -1])
def test_a_cut_index_is_not_believed(tmp_path, items, left):
    filled(tmp_path, items)
    index = the_set(tmp_path) / "index.sqlite"
    os.truncate(index, left % index.stat().st_size)
    assert assert_right(tmp_path, items) < len(items)
    assert assert_right(tmp_path, items) == len(items)


@pytest.mark.parametrize("name", ["index.sqlite", "pixels.bin", "index.sqlite-journal"])
@pytest.mark.parametrize("how", ["garbage", "missing", "folder", "link"])
def test_files_that_are_none_of_ours_are_not_believed(tmp_path, items, name, how):
    filled(tmp_path, items)
    path = the_set(tmp_path) / name
    path.unlink(missing_ok=True)
    if how == "garbage":
        path.write_bytes(random.Random(0).randbytes(10_000))
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to(tmp_path / "elsewhere")
    kept = assert_right(tmp_path, items)
    assert kept == (len(items) if "journal" in name and how in ("garbage", "missing") else 0)
    assert assert_right(tmp_path, items) == len(items)
    assert not (tmp_path / "elsewhere").exists()


ROWS = "UPDATE pictures SET "


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE pictures ADD COLUMN colour TEXT",
        "DROP TABLE about",
        "UPDATE about SET about = 'of something else'",
        "PRAGMA user_version = 1000000000",
        "DELETE FROM about",
        "INSERT INTO about SELECT * FROM about",
        *(f"{ROWS} slot = {slot}" for slot in ("(slot + 1) % 6", "-1", "'x'", "1e300", "NULL")),
        f"{ROWS} facts = replace(facts, 'RGB', 'L')",
        f"{ROWS} facts = CAST(x'ff' AS TEXT)",
        f"{ROWS} checksum = 0",
    ],
)
def test_an_index_of_another_version_and_rows_tampered_with_are_not_believed(tmp_path, items, sql):
    filled(tmp_path, items)
    with sqlite3.connect(the_set(tmp_path) / "index.sqlite") as index:
        index.execute(sql)
    index.close()
    assert assert_right(tmp_path, items) == 0
    assert assert_right(tmp_path, items) == len(items)


FILLING = """
import os, signal, sqlite3, sys
from pathlib import Path
sys.path.insert(0, os.environ["TESTS"])
from cache_samples import fill, listed, opened

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
items = listed(tmp_path / "pictures")
print("ready", flush=True)
sys.stdin.readline()
with opened(tmp_path, items) as cache:
    fill(cache, items)
    pixels, rows = cache.mapped(items)
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
def test_what_a_killed_process_leaves_is_right(tmp_path, moment):
    items = draw(tmp_path / "pictures", 1100)
    with filling(tmp_path, moment) as process:
        go(process)
        assert process.wait(60) == -signal.SIGKILL
    assert assert_right(tmp_path, items) == 3 * 256  # three batches
    assert assert_right(tmp_path, items) == 1100


def test_a_process_may_be_killed_at_any_moment(tmp_path):
    items = draw(tmp_path / "pictures", 300)
    kept = 0
    for delay in (0.0, 0.03, 0.09):
        with filling(tmp_path) as process:
            go(process)
            time.sleep(delay)
            process.kill()
        survived = sum(each.images for each in cached_sets(tmp_path / "cache"))
        assert survived >= kept
        kept = survived
    assert_right(tmp_path, items)
    assert assert_right(tmp_path, items) == 300


def test_two_processes_fill_one_set_and_share_no_slot(tmp_path):
    items = draw(tmp_path / "pictures", 60)
    total = sum(int(decode_image(item, PREPROCESSING).pixels.astype(int).sum()) for item in items)
    with filling(tmp_path) as one, filling(tmp_path) as other:
        go(one)
        go(other)
        for process in (one, other):
            assert process.wait(60) == 0
            assert int(stream(process.stdout).read()) == total
    assert (the_set(tmp_path) / "pixels.bin").stat().st_size == 60 * SLOT  # each picture once
    assert assert_right(tmp_path, items) == 60


# mapped


def test_what_was_mapped_outlives_changes_and_the_cache_itself(tmp_path, items):
    direct = np.stack([decode_image(item, PREPROCESSING).pixels for item in items])
    with opened(tmp_path, items) as cache:
        fill(cache, items)
        mapped = cache.mapped(items[::-1])
    assert mapped is not None
    pixels, rows = mapped
    draw(tmp_path / "pictures", seed=1)
    assert filled(tmp_path, items) == len(items)
    assert clear_cache(tmp_path / "cache") > 0
    np.testing.assert_array_equal(pixels[rows], direct[::-1])


def test_writing_to_what_was_mapped_changes_nothing_on_the_disk(tmp_path, items):
    with opened(tmp_path, items) as cache:
        fill(cache, items)
        mapped = cache.mapped(items)
    assert mapped is not None
    mapped[0][:] = 0  # that it can be written to is what torch asks for
    assert assert_right(tmp_path, items) == len(items)


def test_a_set_larger_than_memory_can_be_mapped(tmp_path, items):
    if sys.platform != "linux" or Path("/proc/sys/vm/overcommit_memory").read_text()[0] == "2":
        pytest.skip("this system counts every mapping as memory")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with opened(tmp_path, items) as cache:
        fill(cache, items)
        cache.mapped([])  # writes what waits
        os.truncate(the_set(tmp_path) / "pixels.bin", 4 * memory)  # holes: takes no space
        mapped = cache.mapped(items)
    assert mapped is not None and mapped[0].nbytes > 3 * memory
    np.testing.assert_array_equal(
        mapped[0][mapped[1][5]], decode_image(items[5], PREPROCESSING).pixels
    )


def test_nothing_is_mapped_if_one_picture_is_missing(tmp_path, items):
    with opened(tmp_path, items) as cache:
        assert cache.mapped(items) is None
        fill(cache, items[1:])
        assert cache.mapped(items) is None
        assert cache.mapped(items[1:]) is not None
        empty = cache.mapped([])
        assert empty is not None and len(empty[1]) == 0


def test_a_set_of_mostly_unneeded_slots_begins_anew(tmp_path):
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
