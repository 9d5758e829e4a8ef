"""How the tests run a command in several processes: as torchrun does, or by it."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from commands import started


def start_several(
    count: int, *args: str | Path, own: dict[int, list[str | Path]] | None = None, **popen: Any
) -> list["subprocess.Popen[str]"]:
    """Start a command in `count` processes that find each other; own: more words for one of them.

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
            *args, *(own or {}).get(number, []), **popen,
            env={**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)},
        )
        for number in range(count)
    ]  # fmt: skip


def several(
    count: int, *args: str | Path, own: dict[int, list[str | Path]] | None = None
) -> list["subprocess.CompletedProcess[str]"]:
    """Run a command in `count` processes to the end; all are gone a minute later."""
    processes = start_several(count, *args, own=own)
    try:
        streams = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *told)
        for process, told in zip(processes, streams, strict=True)
    ]


def torchrun(count: int, *args: str | Path, restarts: int = 0) -> "subprocess.Popen[str]":
    """The same by torchrun itself, on this machine and without a network."""
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
