"""Write handwritten digits that scikit-learn ships as a folder to learn from and one to search.

    python examples/digits.py DEST [--normal 0] [--intruders 12]

DEST/train holds most pictures of one digit; DEST/val the rest of them and a few other digits,
named intruder-*. They are real: 8 x 8 scans from the UCI collection.
"""

import argparse
import random
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dest", type=Path)
    parser.add_argument("--normal", type=int, default=0, choices=range(10))
    parser.add_argument("--intruders", type=int, default=12)
    parser.add_argument("--kept-back", type=int, default=48, help="normal pictures not to learn")
    args = parser.parse_args()

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype("uint8")  # (N, 8, 8), 17 grey levels
    normal = [i for i, label in enumerate(digits.target) if label == args.normal]
    others = [i for i, label in enumerate(digits.target) if label != args.normal]
    rng = random.Random(0)  # neighbours were written by one hand: what is kept back is drawn
    rng.shuffle(normal)
    others = rng.sample(others, args.intruders)
    for folder, prefix, indices in (
        ("train", "digit", normal[args.kept_back :]),
        ("val", "digit", normal[: args.kept_back]),
        ("val", "intruder", others),
    ):
        (args.dest / folder).mkdir(parents=True, exist_ok=True)
        for i in indices:
            name = f"{prefix}-{digits.target[i]}-{i:04d}.png"
            Image.fromarray(pixels[i]).save(args.dest / folder / name)
    print(
        f"{len(normal) - args.kept_back} pictures of digit {args.normal} in {args.dest / 'train'}"
    )
    print(f"{args.kept_back} more of them and {len(others)} intruders in {args.dest / 'val'}")


if __name__ == "__main__":
    main()
