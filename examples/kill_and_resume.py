"""Kill train, score and rank with SIGKILL at random moments; resumed, they end with the same bytes.

    python examples/kill_and_resume.py            # 3 kills of each
    python examples/kill_and_resume.py --kills 50

Draws small pictures, lets each command run through once, then starts it again and again into other
folders, kills it, and goes on with --resume until it ends. Where that is not to the byte what the
run through wrote, it says so and exits with 1. On a CPU with one thread, as nothing else is exact.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN = (
    "--size 16 --width 8 --latent-dim 8 --batch-size 8 --iters 60 --save-every 1 --device cpu "
    "--encoder-iters 20 --precision fp32 --transform-iters 20 --max-time none"
).split()
SEARCH = "--by reconstruction --n-seed 2 --k 10 --device cpu --batch-size 2".split()


@dataclass(frozen=True)
class Job:
    """A command that can be killed, and what of its results has to be equal."""

    words: list[str]  # without -o
    out: str  # a name in a folder of its own
    results: tuple[str, ...]  # below that folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3, help="of each command")
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(2):
            draw_pictures(folder / f"pictures-{index}", args.pictures, seed=index)
        for command, job in jobs(folder).items():
            started = time.monotonic()
            wrong += not survives(job, folder / command, args.kills, random.Random(args.seed))
            print(f"{time.monotonic() - started:.0f} s", flush=True)
    sys.exit(1 if wrong else 0)


def draw_pictures(folder: Path, count: int, seed: int) -> None:
    """Write blurred noise, which features tell apart and a search takes a while for."""
    folder.mkdir()
    noise = np.random.default_rng(seed).integers(0, 255, (count, 5, 5), np.uint8)
    for index, pixels in enumerate(noise):
        image = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC)
        image.save(folder / f"{index:03d}.png")


def jobs(folder: Path) -> dict[str, Job]:
    """The three commands; score and rank use the model that train has written without a kill."""
    model = str(folder / "train" / "whole" / "model")
    searched = [str(folder / "pictures-1"), "-m", model, *SEARCH]
    return {
        "train": Job(
            ["train", str(folder / "pictures-0"), *TRAIN], "model", ("model/model.safetensors",)
        ),
        "score": Job(["score", *searched], "scores.csv", ("scores.csv",)),
        "rank": Job(
            ["rank", *searched, "--top", "4"],
            "report",
            ("report/ranking.csv", "report/summary.json", "report/figure.png"),
        ),
    }


def survives(job: Job, folder: Path, kills: int, rng: random.Random) -> bool:
    """Run a job through, then killed so many times in all; return whether all is equal."""
    whole = folder / "whole"
    whole.mkdir(parents=True)
    begun = time.monotonic()
    finished = start(job, whole).wait()
    seconds = time.monotonic() - begun
    assert finished == 0, f"adgan {job.words[0]} failed by itself"
    killed = rounds = 0
    while killed < kills:
        rounds += 1
        broken = folder / f"broken-{rounds}"
        broken.mkdir()
        ended = None
        while ended is None:
            process = start(job, broken, resume=True)
            if killed < kills and killed_within(process, rng.uniform(0.2, 1.1) * seconds):
                killed += 1
            else:
                ended = process.wait()
        different = [name for name in job.results if not is_equal(whole / name, broken / name)]
        if ended or different:
            what = f"differs in {', '.join(different)}" if different else f"exit code {ended}"
            print(f"{job.words[0]}, round {rounds}: {what}", flush=True)
            return False
        shutil.rmtree(broken)
    print(f"{job.words[0]}: {killed} kills in {rounds} runs, the same bytes; ", end="")
    return True


def start(job: Job, folder: Path, *, resume: bool = False) -> "subprocess.Popen[bytes]":
    """Start the command, with --resume where there is something to go on from."""
    is_begun = any(path.is_file() for path in folder.rglob("*"))
    if job.words[0] == "train":  # killed before its first checkpoint, it begins anew
        is_begun = (folder / job.out / "checkpoint.safetensors").exists()
    more = ["--resume"] if resume and is_begun else []
    if resume and not is_begun and (folder / job.out).exists():
        shutil.rmtree(folder / job.out)
    command = [sys.executable, "-m", "adgan_cli", *job.words, "-o", str(folder / job.out), "-q"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command + more, env=env)


def killed_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Kill a process after so many seconds; return whether it was still at work."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def is_equal(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    main()
