"""Damage pictures of all kinds by a seed, read them with one command, and count what came of it.

    python examples/soak_inputs.py --count 10000 --out soak
    python examples/soak_inputs.py --count 10000 --out soak -m adgan-model

Each file is a picture of one kind with bits flipped, bytes cut off, left out, doubled or exchanged
with another's, or under another's extension. `adgan scan` (with a model: `adgan score`) has to read
all of them in one process: a row each, no traceback, no message of a library.
"""

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, features


def originals() -> dict[str, bytes]:
    """One picture of each kind, by its extension."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8)).resize((96, 80))
    deep = Image.fromarray(rng.integers(0, 65536, (40, 48)).astype(np.uint16))
    floats = Image.fromarray(rng.normal(size=(40, 48)).astype(np.float32))
    files: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, **options: object) -> None:
        stream = io.BytesIO()
        image.save(stream, **options)
        files[name] = stream.getvalue()

    add("rgb.png", colour, format="PNG", icc_profile=None)
    add("alpha.png", colour.convert("RGBA"), format="PNG")
    add("palette.png", colour.convert("P"), format="PNG")
    add("deep.png", deep, format="PNG")
    add("baseline.jpg", colour, format="JPEG", exif=exif())
    add("progressive.jpg", colour, format="JPEG", progressive=True)
    add("cmyk.jpg", colour.convert("CMYK"), format="JPEG")
    add("frames.gif", colour.convert("P"), format="GIF", save_all=True, append_images=[colour] * 3)
    add("plain.bmp", colour, format="BMP")
    add("plain.ppm", colour, format="PPM")
    add("deep.tif", deep, format="TIFF")
    add("float.tif", floats, format="TIFF", compression="tiff_adobe_deflate")
    add("lzw.tif", colour, format="TIFF", compression="tiff_lzw")
    add("pages.tif", colour, format="TIFF", save_all=True, append_images=[colour] * 2)
    for kind, name in {"webp": "WEBP", "jp2": "JPEG2000", "avif": "AVIF"}.items():
        if features.check({"jp2": "jpg_2000"}.get(kind, kind)):
            add(f"plain.{kind}", colour, format=name)
    return files


def exif() -> Image.Exif:
    """A camera's note that the picture lies on its side."""
    note = Image.Exif()
    note[0x0112] = 6
    return note


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with one to four injuries."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(damaged) or 1)
        end = start + rng.choice([1, 2, 4, 16, 256, len(damaged)])
        match rng.randrange(6):
            case 0:
                for index in range(start, min(end, len(damaged), start + 16)):
                    damaged[index] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[start:]
            case 2:
                del damaged[start:end]
            case 3:
                damaged[start:start] = damaged[start:end]
            case 4:
                damaged[start:end] = other[start:end]
            case 5:
                damaged[start : start + 4] = rng.choice(
                    [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"]
                )
    return bytes(damaged)


def write_files(folder: Path, count: int, seed: int) -> None:
    """Write so many damaged files, by so many folders that none is large."""
    files, rng = originals(), random.Random(seed)
    names = sorted(files)
    for index in range(count):
        name, other = names[index % len(names)], rng.choice(names)
        path = folder / f"{index // 1000:03}" / f"{index:06}-{name}"
        if rng.random() < 0.1:
            path = path.with_suffix(Path(other).suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutated(files[name], files[other], rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="damaged files")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="folder to write them to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-m", "--model", type=Path, help="score them with this, instead of a scan")
    args = parser.parse_args()

    write_files(args.out, args.count, args.seed)
    command = [sys.executable, "-m", "adgan_cli"]
    if args.model is None:
        command += ["scan", str(args.out), "--json", "-q", "--no-cache"]
    else:
        command += [
            "score",
            str(args.out),
            "-m",
            str(args.model),
            "--format",
            "jsonl",
            "--no-cache",
        ]
    started = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    seconds = time.monotonic() - started
    report(ended, args.count, args.model is not None)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    checksum = zlib.crc32(ended.stdout.encode())
    print(f"{seconds:.0f} s, {memory:.0f} MB at most, result {checksum:08x}")


def report(ended: "subprocess.CompletedProcess[str]", count: int, scored: bool) -> None:
    """Print how many files were read, and for which reasons others were not."""
    if ended.returncode:
        sys.exit(f"the command ended with {ended.returncode}: {ended.stderr[-2000:]}")
    if scored:
        rows = [json.loads(line) for line in ended.stdout.splitlines()]
        reasons = [row["error"] for row in rows if row["error"]]
        found = len(rows)
    else:
        scan = json.loads(ended.stdout)
        reasons = [one["reason"] for one in scan["unreadable"]]
        found = scan["found"]
        print("modes with a note:", sum("+" in m or "-" in m for m in scan["modes"]))
    kinds = Counter(" ".join(reason.split()[:6]) for reason in reasons)
    print(f"{count:,} written, {found:,} found, {found - len(reasons):,} read, "
          f"{len(reasons):,} not, for {len(kinds)} kinds of reasons")  # fmt: skip
    for kind, number in kinds.most_common():
        print(f"{number:8,} {kind}")
    if ended.stderr:
        print("said on the terminal:", ended.stderr[:2000], sep="\n")


if __name__ == "__main__":
    main()
