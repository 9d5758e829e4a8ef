"""Run commands: in this process, or in one of their own where that matters."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from adgan_cli.cli import app

TINY = (
    "--size 16 --width 4 --latent-dim 8 --batch-size 4 --iters 3 --encoder-iters 2 "
    "--device cpu --precision fp32 --features none"
).split()
FAST = "--n-seed 1 --k 1 --device cpu".split()  # one step from one starting point
SLOW = "--n-seed 1 --k 100 --device cpu -b 1".split()  # slow enough to be killed amid it


def adgan(*args: str | Path, code: int = 0, env: dict[str, str] | None = None) -> Result:
    """Run a command that must end with `code`; what escapes from it is raised here."""
    result = CliRunner().invoke(app, [os.fspath(arg) for arg in args], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr
    assert result.exit_code == code, (result.stderr, result.stdout)
    return result


def refused(*args: str | Path, code: int, env: dict[str, str] | None = None) -> str:
    """Run a command that must end with `code` and one line that says why; return that line."""
    result = adgan(*args, code=code, env=env)
    return one_error(result.stderr)


def one_error(stderr: str) -> str:
    """Return the one line in `stderr` that is an error, which must be the last one."""
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    errors = [line for line in lines if line.lower().startswith("error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], stderr
    return errors[0][len("error: ") :]


def started(
    *args: str | Path, env: dict[str, str] | None = None, **popen: Any
) -> "subprocess.Popen[str]":
    """Start a command in a process of its own, its streams apart."""
    command = [sys.executable, "-m", "adgan_cli", *map(os.fspath, args)]
    env = {**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
    return subprocess.Popen(command, env=env, text=True, encoding="utf-8", **streams)


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait for something a running command does; fail if it ends before, or after a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.05)
