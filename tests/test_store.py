"""What was kept is there for the same inputs only, and a torn or foreign file is not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adgan_cli.store import KeyedStore

KEY = {"search": {"k": 5, "lr_z": 0.25}, "images": "abc", "limit": None}
ARRAYS = {"losses": np.arange(6, dtype=np.float32).reshape(3, 2), "steps": np.array(7)}


@pytest.fixture
def store(tmp_path: Path) -> KeyedStore:
    return KeyedStore(tmp_path / "deep" / "folder", KEY)


def test_what_was_saved_is_there_again(store):
    assert store.load("a.json") is None and store.load_arrays("a.safetensors") is None
    store.save("a.json", {"seconds": 1.5, "name": "ä"})
    store.save_arrays("a.safetensors", ARRAYS, {"steps": 3})
    assert store.load("a.json") == {"seconds": 1.5, "name": "ä"}
    arrays, record = store.load_arrays("a.safetensors") or pytest.fail("nothing there")
    assert record == {"steps": 3}
    assert {name: (a.dtype, a.tolist()) for name, a in arrays.items()} == {
        name: (a.dtype, a.tolist()) for name, a in ARRAYS.items()
    }


@pytest.mark.parametrize(
    "other", [{}, {**KEY, "images": "abd"}, {**KEY, "more": 1}, {"search": KEY["search"]}]
)
def test_it_is_not_there_for_other_inputs(store, other):
    store.save("a.json", {})
    store.save_arrays("a.safetensors", ARRAYS)
    stranger = KeyedStore(store.folder, other)
    assert stranger.load("a.json") is None and stranger.load_arrays("a.safetensors") is None


def test_the_order_of_a_key_and_its_tuples_do_not_matter(store):
    KeyedStore(store.folder, {"b": (1, 2), "a": 1}).save("a.json", {})
    assert KeyedStore(store.folder, {"a": 1, "b": [1, 2]}).load("a.json") == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"made_by": 1}'])
def test_a_foreign_file_is_not_there(store, content):
    store.folder.mkdir(parents=True)
    for name in ("a.json", "a.safetensors"):
        (store.folder / name).write_bytes(content)
    assert store.load("a.json") is None and store.load_arrays("a.safetensors") is None


def test_a_torn_file_is_not_there(store):
    store.save("a.json", {"seconds": 1})
    store.save_arrays("a.safetensors", ARRAYS)
    for name in ("a.json", "a.safetensors"):
        path = store.folder / name
        path.write_bytes(path.read_bytes()[:-3])
    assert store.load("a.json") is None and store.load_arrays("a.safetensors") is None


def test_equal_work_gives_equal_bytes(store):
    for part, key in (("a", KEY), ("b", dict(reversed(KEY.items())))):
        other = KeyedStore(store.folder / part, key)
        other.save("record", {"seconds": 1})
        other.save_arrays("arrays", ARRAYS, {"steps": 3, "seconds": 1})
    for name in ("record", "arrays"):
        assert (store.folder / "a" / name).read_bytes() == (store.folder / "b" / name).read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_after_kill_9_there_is_the_old_record_or_the_new_one(store):
    store.save("a.json", {"number": 0})
    code = f"""
from pathlib import Path
from adgan_cli.store import KeyedStore
store = KeyedStore(Path({str(store.folder)!r}), {KEY!r})
for number in range(1, 10**9):
    store.save("a.json", {{"number": number}})
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        finished = [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        finished += map(int, writer.stdout.read().split())
    record = store.load("a.json") or pytest.fail("neither of them is there")
    assert record["number"] in (finished[-1], finished[-1] + 1)
