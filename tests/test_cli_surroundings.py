"""What surrounds a command (streams, homes, folders, numbers without end) is one line each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import FAST, TINY, adgan, one_error, refused, started, wait_until

import adgan_cli

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
# a user whom no passwd knows
NOBODY = """
import pwd

def unknown(who):
    raise KeyError(who)

pwd.getpwuid = pwd.getpwnam = unknown
from adgan_cli.__main__ import main
main()
"""


@needs_full
@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "scan --help",
        "cache info --help",
        "--version",
        "scan DISCS",
        "scan DISCS --json",
        "info MODEL",
        "info MODEL --json",
        "cache info",
    ],
)
def test_standard_output_that_cannot_be_written_is_one_line(discs, tiny_model, words):
    places = {"DISCS": str(discs(2)), "MODEL": str(tiny_model)}
    with open("/dev/full", "w") as full:
        process = started(*(places.get(word, word) for word in words.split()), stdout=full)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    line = one_error(stderr)
    assert line == "cannot write to standard output: No space left on device"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no passwd")
def test_a_user_without_a_home_has_no_cache_and_a_note(discs, tmp_path):
    own = {"HOME", "XDG_CACHE_HOME", "ADGAN_CACHE_DIR", "USER", "LOGNAME", "LNAME", "USERNAME"}
    env = {name: value for name, value in os.environ.items() if name not in own}
    env["PYTHONPATH"] = str(Path(adgan_cli.__file__).parents[1])

    def run(*args: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", NOBODY, *map(os.fspath, args)]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)

    ended = run("scan", discs(2))
    assert ended.returncode == 0, ended.stderr
    assert "note: no cache of decoded pictures: this user has no home folder" in ended.stderr
    ended = run("cache", "info")
    assert ended.returncode == 2
    assert one_error(ended.stderr).endswith("give --cache-dir, or set ADGAN_CACHE_DIR")
    assert not (tmp_path / "~").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
def test_a_command_that_is_ended_before_its_work_says_so(tmp_path):
    names = tmp_path / "names"
    os.mkfifo(names)
    process = started("scan", "--files-from", names)
    with open(names, "wb"):  # waits until the command waits for names
        process.terminate()
        process.wait(60)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "stopped before it was done\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
def test_an_evaluation_that_is_ended_says_how_to_go_on(tmp_path):
    endless = "--methods adgan --iters 1000000 --max-time none --device cpu".split()
    args = ["--dataset", "digits", "--normal-class", "0,1", *endless]
    process = started("evaluate", *args, "-o", tmp_path / "out")
    assert process.stderr is not None and process.stderr.readline().startswith("digits: 2 of 10")
    wait_until(lambda: list((tmp_path / "out").rglob("history.csv")), process)
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.endswith("stopped after 0 of 2; the same command goes on from there\n")


@pytest.mark.parametrize(
    "words",
    ["train DISCS", "rank DISCS -m MODEL", "score DISCS -m MODEL", "explain DISCS -m MODEL"],
)
def test_an_output_below_a_file_is_refused_by_name(discs, tiny_model, tmp_path, words):
    file = tmp_path / "file"
    file.write_text("mine")
    places = {"DISCS": str(discs(2)), "MODEL": str(tiny_model)}
    more = TINY if words.startswith("train") else FAST
    words = [places.get(word, word) for word in words.split()]
    result = adgan(*words, *more, "-o", file / "x", code=2 if words[0] == "train" else 1)
    assert str(file) in one_error(result.stderr)
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("train", "--iters " + "9" * 20),
        ("train", "--max-time " + "9" * 5000),
        ("train", "--workers " + "9" * 20),
        ("train", "--latent-dim " + "9" * 5000),
        ("train", "--range 0.." + "9" * 5000),
        ("train", "--max-pixels " + "9" * 20),
        ("score", "--k " + "9" * 20),
        ("score", "--k " + "9" * 5000),
        ("score", "--lr-z 1e38"),
        ("score", "--batch-size " + "9" * 20),
        ("score", "--cache-limit " + "9" * 5000),
        ("rank", "--top " + "9" * 20),
        ("rank", "--bottom " + "9" * 20),
        ("rank", "--cross-fit " + "9" * 20),
        ("evaluate", "--runs " + "9" * 20),
        ("evaluate", "--jobs " + "9" * 20),
        ("evaluate", "--seed " + "9" * 20),
        ("evaluate", "--n-test " + "9" * 5000),
        ("evaluate", "--encoder-iters " + "9" * 20),
    ],
    ids=lambda value: value[:24],
)
def test_a_number_without_end_is_refused_by_its_option(discs, tiny_model, command, given, tmp_path):
    args = {"train": [discs(2)], "evaluate": ["--dataset", "digits", "--normal-class", "0"]}
    of_command = args.get(command, [discs(2), "-m", tiny_model])
    line = refused(command, *of_command, *given.split(), "-o", tmp_path / "out", code=2)
    assert given.split()[0] in line
    assert not (tmp_path / "out").exists()
