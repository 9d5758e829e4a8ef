"""A file is the old one or the new one, whatever goes wrong while it is written."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from adgan_cli.atomic import begins_with, replacing, sweep, write_text
from adgan_cli.errors import OutputError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "result.txt"
    path.write_text("old")
    return path


def full(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def assert_untouched(old: Path) -> None:
    assert old.read_text() == "old"
    assert os.listdir(old.parent) == [old.name], "a temporary file stayed behind"


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(old):
    with replacing(old) as temporary:
        temporary.write_text("new")
        assert old.read_text() == "old", "readers see the old file until the new one is complete"
        assert temporary.parent == old.parent, "os.replace does not cross file systems"
    assert old.read_text() == "new"
    assert os.listdir(old.parent) == [old.name]


def test_missing_folders_are_created(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def test_text_is_written_as_utf_8_with_its_own_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "é\r\n\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\r\n\n"


def test_text_that_has_no_utf_8_form_leaves_the_old_file(old):
    with pytest.raises(UnicodeEncodeError):
        write_text(old, "\udcff")
    assert_untouched(old)


@pytest.mark.parametrize("stop", [ValueError("a bug"), KeyboardInterrupt()])
def test_whatever_ends_the_block_early_leaves_the_old_file(old, stop):
    with pytest.raises(type(stop)), replacing(old) as temporary:
        temporary.write_text("half")
        raise stop
    assert_untouched(old)


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_disk_that_fills_up_leaves_the_old_file_and_says_so(old, monkeypatch, step):
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputError, match="No space left on device; free space") as raised:
        write_text(old, "new")
    assert str(old) in str(raised.value)
    assert_untouched(old)


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(old):
    with pytest.raises(OutputError, match="No space left"), replacing(old) as temporary:
        temporary.write_text("half")
        full()
    assert_untouched(old)


def test_a_folder_without_permission_is_an_output_error(old, monkeypatch):
    # simulated: permissions do not bind root, who often runs tests
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        write_text(old, "new")
    assert_untouched(old)


def test_a_file_where_the_folder_should_be_is_an_output_error(old):
    with pytest.raises(OutputError, match="cannot write"):
        write_text(old / "inside.txt", "new")
    assert_untouched(old)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are a matter of POSIX")
def test_others_may_read_results_if_the_umask_says_so(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "text")
        assert os.umask(0o027) == 0o027, "the umask itself must not change"
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_writer_left_is_swept_and_nothing_else(old):
    for name in (".result.txt.x1y2z3.tmp", ".other.txt.x1y2z3.tmp", "result.txt.tmp"):
        (old.parent / name).touch()
    sweep(old)
    assert sorted(os.listdir(old.parent)) == [
        ".other.txt.x1y2z3.tmp",
        "result.txt",
        "result.txt.tmp",
    ]


def test_a_file_is_recognised_by_its_first_characters_alone(tmp_path):
    for content, ours in ((b"rank,path\n1", True), (b"rank", False), (b"\xff\xfe", False)):
        (tmp_path / "a").write_bytes(content)
        assert begins_with(tmp_path / "a", "rank,") is ours
    assert not begins_with(tmp_path / "missing", "") and not begins_with(tmp_path, "")
