"""Several processes at one command: they agree, share, talk with one voice and lose nothing."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist
from commands import FAST, SLOW, adgan, one_error, refused, wait_until
from several_processes import in_threads, run_processes, start_processes, torchrun

from adgan_cli import processes
from adgan_cli.errors import ConfigError, ProcessError
from adgan_cli.evaluation.methods import group_by_shared_model
from adgan_cli.locks import LOCK_FILE
from adgan_cli.processes import Processes, join


def lines(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("*.jsonl"))


# among themselves


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_there_is_and_nearly_equal(count):
    things = list(range(17))
    shares = [things[Processes(number, count).share(17)] for number in range(count)]
    assert [thing for share in shares for thing in share] == things
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_one_tells_all_hear_and_nobody_goes_on_alone():
    passed: list[int] = []

    def work(here: Processes) -> bytes:
        if here.is_main:
            here.broadcast("bits", b"\x00\xff\x00")
        passed.append(here.rank)
        here.barrier("here")
        assert len(passed) == 3
        return here.receive("bits")

    assert in_threads(3, work) == [b"\x00\xff\x00"] * 3


def test_processes_that_are_started_anew_find_no_word_of_those_before():
    store = dist.HashStore()  # which torchrun keeps

    def named(number: int) -> str:
        return processes._common_name(store, number, 3)

    with ThreadPoolExecutor(3) as pool:
        before = set(pool.map(named, range(3)))
        after = set(pool.map(named, [2, 1, 0]))
    assert len(before) == len(after) == 1 and before != after


def test_a_process_that_differs_says_in_what():
    def work(here: Processes) -> None:
        try:
            here.require_equal({"adgan": "0.4.0", "search k": 5 + here.rank // 2})
        except ConfigError:
            here.add("agreed")  # torchrun would end the others
            raise

    told = in_threads(3, work)
    assert told[:2] == [None, None]
    assert re.match(r"process 2 on \S+ has search k 6, process 0 has 5;", str(told[2]))


def test_a_folder_that_one_process_does_not_see_is_refused(tmp_path):
    for name in ("shared", "own"):
        (tmp_path / name).mkdir()

    def work(here: Processes) -> None:
        folder = tmp_path / ("own" if here.rank == 1 else "shared")
        try:
            here.require_shared(folder, patience=0.1)
        except ConfigError:
            here.add("seen")
            raise

    told = in_threads(3, work)
    assert (told[0], told[2]) == (None, None)
    assert "does not see what process 0 writes into" in str(told[1])
    assert "-o that all machines share" in str(told[1])
    assert not list((tmp_path / "shared").iterdir()), "the token is gone"


def test_a_store_that_is_gone_is_one_line():
    class Gone:
        def add(self, name: str, amount: int) -> int:
            raise dist.DistStoreError("Broken pipe\nwith a traceback in C++")

    with pytest.raises(ProcessError, match=r"\(Broken pipe\); start the same command again"):
        Processes(1, 2, 1, Gone()).add("done")


# what torchrun says, and what it cannot help


@pytest.mark.parametrize(("given", "missing"), [("RANK", "WORLD_SIZE"), ("WORLD_SIZE", "RANK")])
def test_without_torchrun_a_process_is_alone(given, missing, monkeypatch):
    monkeypatch.delenv(missing, raising=False)
    monkeypatch.setenv(given, "3")  # of a scheduler that has nothing to do with us
    join.cache_clear()
    assert join() == Processes()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set; start with torchrun"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK and WORLD_SIZE must be numbers"),
    ],
)
def test_half_an_environment_is_refused(env, said, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    join.cache_clear()
    with pytest.raises(ConfigError, match=said):
        join()


def test_a_torch_without_its_distributed_part_is_refused(monkeypatch):
    for name, value in {
        "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "is_available", lambda: False)
    join.cache_clear()
    with pytest.raises(ConfigError, match="no torch.distributed"):
        join()


def test_several_processes_need_a_file_for_their_rows(discs, tiny_model, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    line = refused("score", discs(1), "-m", tiny_model, *FAST, code=2)
    assert line == "several processes do not go with -o - or a pipe; give a file"


# score and rank


def test_two_processes_write_what_one_writes(discs, tiny_model, tmp_path):
    folder, out = discs(9), tmp_path / "two.csv"
    (folder / "disc-004.png").write_bytes(b"no picture")
    words = ["score", folder, "-m", tiny_model, *FAST]
    adgan(*words, "-o", tmp_path / "one.csv")
    first, second = run_processes(2, *words, "-o", out)
    assert (first.returncode, second.returncode) == (0, 0), (first.stderr, second.stderr)
    assert out.read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert first.stderr == f"9 found, 8 scored, 1 failed into {out}\n"
    assert (second.stdout, second.stderr) == ("", ""), "one voice"
    journal = tmp_path / "two.csv.journal"
    parts = [lines_of.count(b"\n") for lines_of in map(Path.read_bytes, sorted(journal.iterdir()))]
    assert len(parts) == 2 and min(parts) >= 4, "each scored its share"


def test_any_number_of_processes_goes_on_where_others_were(discs, tiny_model, tmp_path):
    folder, out = discs(8), tmp_path / "report"
    words = ["rank", folder, "-m", tiny_model, *FAST]
    adgan(*words, "-o", tmp_path / "whole")
    adgan(*words, "-o", out)
    kept = out / "journal" / "process-0.jsonl"
    # as kill -9 leaves it: a header, three rows and a torn one
    kept.write_bytes(b"".join(kept.read_bytes().splitlines(keepends=True)[:5])[:-20])
    ended = run_processes(3, *words, "-o", out, "--resume")
    assert [process.returncode for process in ended] == [0, 0, 0], ended
    assert sorted(file.name for file in (out / "journal").iterdir()) == [
        f"process-{number}.jsonl" for number in range(3)
    ]
    assert lines(out / "journal") == 3 + 1 + 8 + 1, "headers, the torn line and each picture once"
    for number in (1, 2):
        lost = out / "journal" / f"process-{number}.jsonl"
        lost.write_bytes(b"".join(lost.read_bytes().splitlines(keepends=True)[:-1]))
    adgan(*words, "-o", out, "--resume")
    for name in ("ranking.csv", "summary.json", "index.html"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_fault_that_all_have_is_one_line(tiny_model, tmp_path):
    ended = run_processes(
        2, "score", tmp_path / "no", "-m", tiny_model, "-o", tmp_path / "scores.csv"
    )
    assert [process.returncode for process in ended] == [2, 2]
    told = one_error("".join(process.stderr for process in ended))
    assert told.startswith(f"{tmp_path / 'no'} does not exist")


def test_processes_with_different_settings_stop_before_any_work(discs, tiny_model, tmp_path):
    out = tmp_path / "scores.csv"
    words = ["score", discs(2), "-m", tiny_model, *FAST, "-o", out]
    first, second = start_processes(2, *words, more={1: ["--seed", "3"]})
    try:
        _, told = second.communicate(timeout=60)
        assert second.returncode == 2
        assert "has search seed 3, process 0 has 0; all need the same" in one_error(told)
        assert not [path for path in tmp_path.rglob("scores.csv*/*") if path.name != LOCK_FILE]
    finally:
        first.kill()  # as torchrun would
        first.communicate()


# evaluate


def test_two_processes_evaluate_what_one_does(discs, tmp_path):
    for shape in ("disc", "square"):
        discs(16, shape=shape, name=f"shapes/{shape}")
    words = ["evaluate", "--dataset", tmp_path / "shapes", "--normal-class", "all", "--size", "16",
             "--methods", "pca,mean-image,file-complexity", "--device", "cpu"]  # fmt: skip
    alone = adgan(*words, "-o", tmp_path / "one")
    first, second = run_processes(2, *words, "-o", tmp_path / "two")
    assert (first.returncode, second.returncode) == (0, 0), (first.stderr, second.stderr)
    assert first.stdout == alone.stdout
    assert (second.stdout, second.stderr) == ("", ""), "one voice"
    for name in (f"scores/00-disc/run-0/{m}.csv" for m in ("pca", "mean-image")):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_methods_that_share_a_network_stay_together():
    parts = group_by_shared_model(
        ["pca", "adgan", "kde-alexnet", "anogan", "dcae", "ocsvm-alexnet"]
    )
    assert parts == [
        ("adgan", "anogan"), ("pca",), ("kde-alexnet", "ocsvm-alexnet"), ("dcae",)
    ]  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/proc"), reason="finds processes by /proc")
@pytest.mark.slow
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_killed_process_costs_nothing_that_was_scored(discs, tiny_model, tmp_path, restarts):
    folder, out = discs(150), tmp_path / "scores.csv"
    words = ["score", folder, "-m", tiny_model, *SLOW, "-o", out]
    journal = tmp_path / "scores.csv.journal"
    run = torchrun(2, *words, restarts=restarts)
    wait_until(lambda: lines(journal) > 20, run)
    os.kill(worker_of(run.pid), signal.SIGKILL)
    told = run.communicate(timeout=120)
    if restarts:
        assert run.returncode == 0, told  # torchrun has started both again by itself
    else:
        assert run.returncode == 1 and not out.exists()
        assert 20 < lines(journal) < 150
        ended = run_processes(3, *words, "--resume")
        assert [process.returncode for process in ended] == [0, 0, 0], ended
    assert lines(journal) <= 3 * 2 + 150 + 2, "nothing was scored twice"
    adgan("score", folder, "-m", tiny_model, *SLOW, "-o", tmp_path / "one.csv")
    assert out.read_bytes() == (tmp_path / "one.csv").read_bytes()


def worker_of(agent: int) -> int:
    """The second process that a torchrun has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if status.read_text().rpartition(")")[2].split()[1] == str(agent):
                found.append(int(status.parent.name))
        except OSError:  # gone meanwhile
            pass
    return max(found)
