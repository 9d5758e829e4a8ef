"""What holds for every source: the right bytes, also for many threads at once, or a reason."""

import contextlib
import gc
import os
import random
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from container_samples import CONTENT, MAKERS, image_ref, make_folder

from adgan_cli.errors import ImageError
from adgan_cli.images.archives import LmdbDatabase, open_container
from adgan_cli.images.refs import Container, Folder, ImageRef, open_regular


def content_of(source: Container, key: str) -> bytes:
    with source.open(key) as file:
        return file.read()


@pytest.fixture(params=MAKERS)
def source(request, tmp_path) -> Container:
    opened = open_container(MAKERS[request.param](tmp_path / request.param))
    assert opened is not None
    return opened


def test_every_entry_comes_back_whole_and_can_be_sought_in(source):
    for key, data in CONTENT.items():
        with source.open(key) as file:
            assert file.read() == data
            assert file.seek(2) == 2
            assert file.read() == data[2:]


@pytest.mark.parametrize(
    "key", ["nowhere.png", "sub/nowhere", "a.png/b", "\0", "\ud800", "k" * 5000]
)
def test_what_is_not_there_is_an_os_error_like_a_missing_file(source, key):
    with pytest.raises((OSError, ImageError)) as raised:
        source.open(key)
    assert isinstance(raised.value, OSError), raised.value


def test_many_threads_get_their_own_bytes(tmp_path, source):
    rng = random.Random(0)
    content = {f"{n:03d}.png": rng.randbytes(rng.randrange(200_000)) for n in range(40)}
    maker = next(make for name, make in MAKERS.items() if name == source.path.name)
    (tmp_path / "many").mkdir()
    opened = open_container(maker(tmp_path / "many" / source.path.name, content))
    start = threading.Barrier(8)

    def read(seed: int) -> bool:
        keys = random.Random(seed).sample(sorted(content), len(content))
        start.wait()
        return all(content_of(opened, key) == content[key] for key in keys)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # as often as Python can: a race has no place to hide
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert content_of(opened, "000.png") == content["000.png"]  # still open, and in order


def test_the_stamp_changes_with_the_file_that_holds_the_entry(source):
    holder = source.path / {Folder: "a.png", LmdbDatabase: "data.mdb"}.get(type(source), "")
    before = source.stamp("a.png")
    assert before == (holder.stat().st_size, holder.stat().st_mtime_ns) == source.stamp("a.png")
    os.utime(holder, ns=(0, before[1] + 1000))
    assert source.stamp("a.png") == (before[0], before[1] + 1000)


def test_only_a_folder_has_files_of_their_own(source):
    expected = source.path / "sub" / "b.png" if isinstance(source, Folder) else None
    assert source.file("sub/b.png") == expected


def open_files() -> list[str]:
    """What this process holds open, on Linux."""
    held = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the list's own
            held.append(os.readlink(f"/proc/self/fd/{number}"))
    return held


def test_nothing_stays_open_when_a_source_is_dropped(tmp_path):
    # an open file would be a ResourceWarning, hence an error; on Windows nobody could delete it
    for name, make in MAKERS.items():
        opened = open_container(make(tmp_path / name))
        assert content_of(opened, "a.png") == b"first"
        del opened
    gc.collect()
    if os.path.isdir("/proc/self/fd"):
        assert not [path for path in open_files() if path.startswith(str(tmp_path))]


# Found


def test_found_passes_on_to_its_source(tmp_path):
    found = ImageRef(Folder(make_folder(tmp_path)), "sub/b.png", "x/sub/b.png")
    with found.open() as file:
        assert file.read() == CONTENT["sub/b.png"]
    assert found.stamp() == Folder(tmp_path).stamp("sub/b.png")
    assert found.file == tmp_path / "sub" / "b.png"


def test_a_lone_file_is_found_under_its_own_name_and_relative_paths_stay_relative():
    found = image_ref(Path("some/where/a.png"))
    assert (found.name, found.file) == ("a.png", Path("some/where/a.png"))
    assert image_ref(Path("a.png")).file == Path("a.png")
    assert found == image_ref(Path("some") / "where" / "a.png")


# files


def test_what_is_no_regular_file_is_never_opened(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="a folder, not a file"):
        open_regular(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="not a regular file"):
            image_ref(tmp_path / "pipe.png").open()
    if hasattr(socket, "AF_UNIX"):
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket.png")
            with pytest.raises(ImageError, match="not a regular file"):
                open_regular("socket.png")


def test_a_broken_link_is_named_as_such_and_a_sound_one_followed(tmp_path):
    make_folder(tmp_path)
    try:
        (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
        (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(ImageError, match="^broken link$"):
        image_ref(tmp_path / "gone.png").open()
    with image_ref(tmp_path / "link.png").open() as file:
        assert file.read() == b"first"
