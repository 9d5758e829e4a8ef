"""Measure the memory and time of listing a folder of a million pictures.

    python examples/benchmark_find.py [--count 1000000] [--flat]

Makes empty files named as pictures in a temporary folder, lists them in a fresh process each for
`find_images` (one at a time) and `find_inputs` (the whole listing kept), prints peak memory beside
that of a process that lists nothing, and removes them again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import resource, sys, time
from adgan_cli.images.find import find_images, find_inputs
started, folder = time.perf_counter(), sys.argv[2]
if sys.argv[1] == "nothing":
    count = 0
elif sys.argv[1] == "find_images":
    count = sum(1 for _ in find_images(folder))
else:
    count = find_inputs([folder]).count
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peak /= 1e6 if sys.platform == "darwin" else 1e3
seconds = time.perf_counter() - started
print(f"{sys.argv[1]:12} {count:>10,} pictures {peak:6.0f} MB {seconds:6.1f} s")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--flat", action="store_true", help="one folder instead of a thousand")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        for index in range(args.count):
            folder = Path(root) if args.flat else Path(root, f"{index % 1000:03}")
            folder.mkdir(exist_ok=True)
            (folder / f"picture-{index:08}.jpg").touch()
        for what in ("nothing", "find_images", "find_inputs"):
            subprocess.run([sys.executable, "-c", CHILD, what, root], check=True)


if __name__ == "__main__":
    main()
