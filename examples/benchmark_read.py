"""Time how large JPEGs become pixels: as usual, by adgan, with threads, and from the cache.

    python examples/benchmark_read.py [FOLDER] [--count 12] [--size 64] [--json]

Makes 12-megapixel JPEGs (4000 x 3000) in a temporary folder: of the pictures in FOLDER, enlarged,
or else of noise at every scale, as photographs have it. In every round each method reads all of
them, one after the other; medians of five rounds. What is compared:

    usual    Image.open(path).convert("RGB").resize((size, size)), one thread
    adgan    decode_image: upright, cropped, hashed, reduced by the decoder; one thread
    threads  the same in as many threads as there are cores
    cached   the same pictures the second time

The last line is the mean difference, in grey levels of 255, to decoding in full first and then
cutting and resizing the same square.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import find_inputs
from adgan_cli.images.read import Preprocessing, decode_image
from adgan_cli.images.reader import Reader

WIDTH, HEIGHT, ROUNDS = 4000, 3000, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        pictures = Path(root, "pictures")
        pictures.mkdir()
        make_pictures(pictures, args.folder, args.count)
        seconds = measure(pictures, Path(root, "cache"), args.size)
        difference = mean_difference(pictures, args.size)
        megabytes = sum(path.stat().st_size for path in pictures.iterdir()) / args.count / 1e6
    report = {
        "pictures": args.count,
        "megabytes_per_picture": megabytes,
        "threads": Reader(Preprocessing(args.size, 3)).threads,
        "seconds_per_picture": seconds,
        "times_as_fast_as_usual": {
            method: seconds["usual"] / took for method, took in seconds.items()
        },
        "cached_over_adgan": seconds["adgan"] / seconds["cached"],
        "mean_difference": difference,
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{args.count} pictures of {WIDTH} x {HEIGHT}, {megabytes:.1f} MB each")
    for method, took in seconds.items():
        print(f"{method:8} {1000 * took:9.3f} ms a picture {seconds['usual'] / took:8.1f} x usual")
    print(f"cached is {report['cached_over_adgan']:.0f} x adgan; {report['threads']} threads")
    print(f"mean difference to decoding in full: {difference:.2f} grey levels")


def measure(pictures: Path, cache: Path, size: int) -> dict[str, float]:
    """Measure the median seconds a picture of each method."""
    listing = find_inputs([pictures])
    preprocessing = Preprocessing(size, 3)
    items = listing.items

    def usual() -> None:
        for path in sorted(pictures.iterdir()):
            Image.open(path).convert("RGB").resize((size, size))

    def ours() -> None:
        for item in items:
            decode_image(item, preprocessing)

    def in_threads() -> None:
        list(Reader(preprocessing).read(items, listing.root, expected=len(items)))

    def fail(reason: str) -> None:
        raise RuntimeError(reason)

    def cached() -> None:
        reader = Reader(preprocessing, 1, CacheConfig(cache, 10**9), fail)
        list(reader.read(items, listing.root, expected=len(items)))

    cached()  # the first time fills it
    methods: dict[str, Callable[[], None]] = {
        "usual": usual,
        "adgan": ours,
        "threads": in_threads,
        "cached": cached,
    }
    taken: dict[str, list[float]] = {method: [] for method in methods}
    for _ in range(ROUNDS):
        for method, read in methods.items():
            started = time.perf_counter()
            read()
            taken[method].append((time.perf_counter() - started) / len(items))
    return {method: statistics.median(times) for method, times in taken.items()}


def mean_difference(pictures: Path, size: int) -> float:
    """Compare with decoding in full, then the same cut and resize: mean absolute difference."""
    differences = []
    for path in sorted(pictures.iterdir()):
        whole = Image.open(path).convert("RGB")
        side = min(whole.size)
        left, top = (whole.width - side) // 2, (whole.height - side) // 2
        square = whole.crop((left, top, left + side, top + side))
        exact = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), float)
        differences.append(np.abs(exact - decode_image(path, Preprocessing(size, 3)).pixels).mean())
    return float(np.mean(differences))


def make_pictures(folder: Path, source: Path | None, count: int) -> None:
    """Write `count` JPEGs of 12 megapixels, as a camera would: quality 90, 4:2:0."""
    paths = sorted(source.rglob("*.jpg"))[:count] if source else []
    for index in range(count):
        if paths:
            picture = Image.open(paths[index % len(paths)]).convert("RGB").resize((WIDTH, HEIGHT))
        else:
            picture = noise(index)
        picture.save(folder / f"{index:03}.jpg", quality=90)


def noise(seed: int) -> Image.Image:
    """Draw noise of equal strength at every scale, and some grain.

    The finest scale is left out, as lenses blur it: so the image has a photograph's spectrum and,
    at about 3 MB, the size of a camera's file.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for scale in (4, 8, 16, 32, 64, 128, 256, 512):
        shape = (max(2, HEIGHT // scale), max(2, WIDTH // scale), 3)
        part = rng.integers(0, 256, shape).astype(np.uint8)
        large = Image.fromarray(part).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        total += np.asarray(large, np.float32) - 127.5
    grain = rng.normal(0, 2, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return Image.fromarray(np.clip(127.5 + total / 4 + grain, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
