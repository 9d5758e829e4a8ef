"""Rank a million pictures, to see where time and memory go: a few real ones, linked many times.

    python examples/experiments/million.py PICTURES                    # a folder of small pictures
    python examples/experiments/million.py PICTURES --count 100000 --processes 2

The generator is a small untrained one and the search takes no step (--theta none --n-seed 1 --k 0),
so that nothing is measured but the rest: listing, reading, journal, sorting, drawing.
Takes disk space for names only, where the file system has hard links, in a folder of its own below
--folder, and leaves nothing behind.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import adgan_cli as adgan
from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.dcgan import Generator, init_weights

SEARCH = "--theta none --n-seed 1 --k 0 --device cpu -b 16".split()
PER_FOLDER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--folder", type=Path, help="where there is room; default: the system's")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder, model = Path(name) / "many", Path(name) / "model"
        started = time.perf_counter()
        kinds = link(args.pictures, folder, args.count)
        seconds = time.perf_counter() - started
        print(f"{args.count:,} names for {kinds:,} pictures in {seconds:.0f} s")
        untrained(model, args.size)
        words = ["rank", folder, "-m", model, *SEARCH, "--no-cache", "-v", "--top", "30"]
        report = Path(name) / "report"
        timed("from nothing", [*words, "-o", report], args.processes)
        timed("again, with --resume", [*words, "-o", report, "--resume"], 1)
        for file in sorted(report.rglob("*")):
            if file.is_file():
                print(f"{file.relative_to(report)!s:<28}{file.stat().st_size / 1e6:>10.1f} MB")


def link(pictures: Path, folder: Path, count: int) -> int:
    """Fill `folder` with `count` names of the pictures; return how many there are of these."""
    files = [path.resolve() for path in adgan.find_images(pictures)][:PER_FOLDER]
    for start in range(0, count, PER_FOLDER):
        below = folder / f"{start // PER_FOLDER:06d}"
        below.mkdir(parents=True)
        for index in range(min(PER_FOLDER, count - start)):
            file = files[index % len(files)]
            target = below / f"{index:04d}{file.suffix}"
            if not start and index < len(files):
                target.write_bytes(file.read_bytes())  # once: links do not cross file systems
            else:
                os.link(folder / "000000" / f"{index % len(files):04d}{file.suffix}", target)
    return len(files)


def untrained(model: Path, size: int) -> None:
    config = adgan.ModelConfig(size=size, channels=1, latent_dim=16, width=4)
    generator = Generator(config)
    init_weights(generator, torch.Generator().manual_seed(0))
    adgan.save_model(adgan.Model(generator.eval(), config, PAPER_SEARCH), model)


def timed(what: str, words: list[str | Path], processes: int) -> None:
    """Run adgan and print what it says of its time, and the most memory that one process took."""
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command += ["-m"]
    started = time.perf_counter()
    subprocess.run([*command, "adgan_cli", *map(os.fspath, words)], check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    of = f", {processes} processes" if processes > 1 else ""
    print(f"{what}{of}: {seconds:.0f} s, peak {peak / 1e6:.0f} MB\n", flush=True)


if __name__ == "__main__":
    main()
