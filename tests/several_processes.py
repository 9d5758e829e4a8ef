"""Run a command in several processes: as torchrun does, or by torchrun itself."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch.distributed as dist
from commands import started

from adgan_cli.processes import Processes

TIMEOUT = 180  # seconds: generous, for a busy machine


def start_processes(
    count: int, *args: str | Path, more: dict[int, list[str | Path]] | None = None, **popen: Any
) -> list["subprocess.Popen[str]"]:
    """Start a command in `count` processes that find each other; more: arguments of some ranks.

    As torchrun would set their environment, but seconds faster, and without its own output.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    return [
        started(
            *args, *(more or {}).get(rank, []), **popen,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]  # fmt: skip


def in_threads(count: int, work: Callable[[Processes], object]) -> list[object]:
    """What `work` gives in so many threads that take each other for processes, or raises."""
    store = dist.HashStore()

    def one(number: int) -> object:
        try:
            return work(Processes(number, count, number, store))
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def run_processes(count: int, *args: str | Path) -> list["subprocess.CompletedProcess[str]"]:
    """Run a command in `count` processes to the end; all are gone after TIMEOUT."""
    processes = start_processes(count, *args)
    try:
        streams = [process.communicate(timeout=TIMEOUT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(processes, streams, strict=True)
    ]


def torchrun(count: int, *args: str | Path, restarts: int = 0) -> "subprocess.Popen[str]":
    """Start a command by torchrun, on this machine and without a network."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(count), "--max-restarts", str(restarts), "-m", "adgan_cli", *map(os.fspath, args),
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
