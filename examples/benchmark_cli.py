"""Time the commands that should take no time.

    python examples/benchmark_cli.py [--json]

Makes a tiny model, fifty small pictures and their scores in a temporary folder. In every round
each command runs once, in a process of its own; medians of seven rounds, and how many times as
long as starting Python and doing nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROUNDS, PICTURES = 7, 50
ADGAN = [sys.executable, "-m", "adgan_cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        seconds = measure(commands(Path(root)))
    nothing = seconds["python -c pass"]
    if args.json:
        print(json.dumps({"rounds": ROUNDS, "seconds": seconds}, indent=2))
        return
    for name, took in seconds.items():
        print(f"{name:<28}{took:>7.3f} s{took / nothing:>7.1f}")


def commands(root: Path) -> dict[str, list[str]]:
    """Write what the commands need below `root`, and return each by its name."""
    pictures, model, report = root / "pictures", root / "model", root / "report"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        noise = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{index:02}.png")
    tiny = ["--size", "16", "--width", "4", "--latent-dim", "4", "--iters", "1"]
    run([*ADGAN, "train", str(pictures), "-o", str(model), *tiny, "-q", "--no-cache"])
    run([*ADGAN, "rank", str(pictures), "-m", str(model), "-o", str(report), "-q", "--no-cache"])
    again = ["rank", str(pictures), "--from", str(report / "ranking.csv"), "-o", str(report)]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "adgan --help": [*ADGAN, "--help"],
        "adgan train --help": [*ADGAN, "train", "--help"],
        "adgan info MODEL": [*ADGAN, "info", str(model)],
        "adgan scan FOLDER": [*ADGAN, "scan", str(pictures), "--no-cache"],
        "adgan rank --from CSV": [*ADGAN, *again],
        'python -c "import torch"': [sys.executable, "-c", "import torch"],
    }


def measure(every: dict[str, list[str]]) -> dict[str, float]:
    """Measure the median seconds of each command."""
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(ROUNDS):
        for name, command in every.items():
            started = time.perf_counter()
            run(command)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(took) for name, took in seconds.items()}


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
