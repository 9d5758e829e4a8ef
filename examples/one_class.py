"""Make a one-against-the-rest task from folders of labelled pictures.

    python examples/one_class.py SRC DEST --normal 8 [--n-test 300] [--pad 2]

SRC holds train/<class>/ and test/<class>/. DEST/train gets the normal class to learn from;
DEST/val/<class>/ gets test pictures, half of them normal, the rest spread over the other classes,
drawn at random. --pad adds a black border of so many pixels: the MNIST
digits are 28 pixels wide, and 2 on each side make 32 without enlarging them.
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageOps

from adgan_cli import find_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--normal", required=True, help="the class to learn")
    parser.add_argument("--n-test", type=int, default=300)
    parser.add_argument("--pad", type=int, default=0)
    args = parser.parse_args()

    copy(list(find_images(args.src / "train" / args.normal)), args.dest / "train", args.pad)
    classes = sorted(folder.name for folder in (args.src / "test").iterdir() if folder.is_dir())
    others = [name for name in classes if name != args.normal]
    normal = args.n_test // 2
    each, more = divmod(args.n_test - normal, len(others))
    rng = random.Random(0)
    counts = {name: each + (index < more) for index, name in enumerate(others)}
    for name, count in {**counts, args.normal: normal}.items():
        images = list(find_images(args.src / "test" / name))
        copy(rng.sample(images, min(count, len(images))), args.dest / "val" / name, args.pad)


def copy(paths: list[Path], dest: Path, pad: int) -> None:
    """Copy images to `dest` as PNG, with a black border of `pad` pixels."""
    dest.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with Image.open(path) as image:
            ImageOps.expand(image, pad, fill=0).save(dest / f"{path.stem}.png")


if __name__ == "__main__":
    main()
