"""One process at a time owns an output: the second is refused at once, and nothing stays behind."""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from commands import FAST, SLOW, TINY, adgan, refused, started, wait_until
from several_processes import run_processes

from adgan_cli import locks
from adgan_cli.engine.models.files import load_model
from adgan_cli.errors import ConfigError
from adgan_cli.locks import LOCK_FILE, owning
from adgan_cli.scoring.run import score


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught, owning(folder):
        pass
    return str(caught.value)


def test_a_folder_has_one_owner_who_is_named_to_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/adgan", "score", "a b", "-o", "c.csv"])
    with owning(tmp_path) as note:
        assert note == ""
        line = refusal(tmp_path)
        assert f"{tmp_path} is in use by another process, {os.getpid()} on " in line
        assert "(adgan score 'a b' -o c.csv)" in line and "use another folder" in line
    with owning(tmp_path):
        pass


def test_by_another_name_it_is_the_same_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    with owning(tmp_path / "real"):
        assert str(os.getpid()) in refusal(tmp_path / "link")
        assert str(os.getpid()) in refusal(tmp_path / "real" / ".." / "real")


def test_nothing_is_left_of_a_folder_in_which_nothing_was_written(tmp_path):
    with owning(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK_FILE).exists()
    assert not list(tmp_path.iterdir())
    with owning(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["result"]


def test_a_lock_file_that_was_left_behind_keeps_nobody_out(tmp_path):
    (tmp_path / LOCK_FILE).write_text("4711 on nowhere (adgan train x)" * 100)
    with owning(tmp_path):
        owner = (tmp_path / LOCK_FILE).read_text()
        assert owner.startswith(f"{os.getpid()} on ") and "4711" not in owner
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_lock_on_a_file_that_its_owner_has_removed_meanwhile_is_none(tmp_path, monkeypatch):
    lock, calls = locks._try_lock, []

    def removed_at_first(file: BinaryIO) -> bool:
        locked = lock(file)
        if not calls:
            (tmp_path / LOCK_FILE).unlink()
        calls.append(locked)
        return locked

    monkeypatch.setattr(locks, "_try_lock", removed_at_first)
    with owning(tmp_path):
        assert calls == [True, True]
        assert str(os.getpid()) in refusal(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")
def test_where_nothing_can_be_locked_the_work_goes_on_with_a_note(tmp_path, monkeypatch):
    import fcntl

    def refuses(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    with owning(tmp_path / "new") as note:
        assert "cannot be locked (No locks available)" in note
    assert not list(tmp_path.iterdir()), "neither the folder nor the file that was no lock"


def test_what_cannot_be_made_is_left_to_who_writes_there(tmp_path):
    (tmp_path / "file").touch()
    with owning(tmp_path / "file" / "report") as note:
        assert note == ""


# by the commands


@pytest.mark.parametrize("name", ["c.csv", "again.csv"], ids=["by its name", "by another name"])
def test_a_second_score_into_one_table_is_refused_and_changes_nothing(
    discs, tiny_model, tmp_path, name
):
    folder, out = discs(40), tmp_path / "c.csv"
    (tmp_path / "again.csv.journal").symlink_to("c.csv.journal", target_is_directory=True)
    first = started("score", folder, "-m", tiny_model, *SLOW, "-o", out)
    partial = tmp_path / "c.csv.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 200, first)
    line = refused("score", folder, "-m", tiny_model, *FAST, "-o", tmp_path / name, code=2)
    assert f"c.csv.journal is in use by another process, {first.pid} on" in line.replace(
        "again", "c"
    )
    assert "(adgan score " in line
    assert first.poll() is None
    first.kill()
    first.communicate()
    assert (tmp_path / "c.csv.journal" / LOCK_FILE).exists(), "killed, it could not remove it"
    adgan("score", folder, "-m", tiny_model, *FAST, "-o", tmp_path / name)
    assert not (tmp_path / "c.csv.journal" / LOCK_FILE).exists()


def test_a_second_rank_into_one_report_is_refused(discs, tiny_model, tmp_path):
    folder, out = discs(40), tmp_path / "report"
    first = started("rank", folder, "-m", tiny_model, *SLOW, "-o", out)
    wait_until(lambda: (out / "scores.partial.csv").exists(), first)
    line = refused("rank", folder, "-m", tiny_model, *FAST, "-o", out, code=2)
    assert f"process, {first.pid} on" in line and "(adgan rank " in line
    first.send_signal(signal.SIGTERM)
    first.communicate()
    assert not (out / LOCK_FILE).exists()


def test_a_second_train_into_one_model_is_refused_whatever_it_may_overwrite(discs, tmp_path):
    folder, out = discs(20), tmp_path / "model"
    settings = [*TINY, "--iters", "100000"]
    first = started("train", folder, "-o", out, *settings)
    wait_until(lambda: (out / "samples").exists(), first)
    for more in ([], ["--overwrite"], ["--resume"]):
        line = refused("train", folder, "-o", out, *settings, *more, code=2)
        assert f"process, {first.pid} on" in line and "(adgan train " in line
    first.kill()
    first.communicate()
    adgan("train", folder, "-o", out, *TINY, "--overwrite")
    assert not (out / LOCK_FILE).exists()


def test_calibrate_evaluate_and_explain_respect_an_owner(discs, tiny_model, tmp_path):
    folder, out = discs(3), tmp_path / "out"
    with owning(tiny_model), owning(out):
        commands = [
            ["calibrate", folder, "-m", tiny_model, *FAST],
            ["calibrate", folder, "-m", tiny_model / "model.safetensors", *FAST],
            ["explain", folder, "-m", tiny_model, *FAST, "-o", out],
            ["evaluate", "--normal", folder, "--anomalous", folder, "-o", out],
        ]
        for words in commands:
            assert f"process, {os.getpid()} on" in refused(*words, code=2)


def test_several_processes_of_one_run_are_one_owner(discs, tiny_model, tmp_path):
    words = ["score", discs(6), "-m", tiny_model, *FAST, "-o", tmp_path / "c.csv"]
    assert [process.returncode for process in run_processes(2, *words)] == [0, 0]
    assert not (tmp_path / "c.csv.journal" / LOCK_FILE).exists()


def test_from_python_a_journal_has_one_owner_as_long_as_its_rows_come(discs, tiny_model, tmp_path):
    model, paths = load_model(tiny_model), [discs(3)]
    rows = score(model, paths, journal=tmp_path / "journal")
    next(rows)
    with pytest.raises(ConfigError, match="another process"):
        score(model, paths, journal=tmp_path / "journal")
    rows.close()
    assert len(list(score(model, paths, journal=tmp_path / "journal", resume=True))) == 3
