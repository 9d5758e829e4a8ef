"""Write one-class folders of textures with small drawn defects: scratches, stains, missing pieces.

    python examples/experiments/drawn_defects.py OUT PICTURE ... [--side 64] [--seed 0]

PICTURE is a photograph of a texture, or a folder of such; each gives OUT/NAME/train/good and
OUT/NAME/test/{good,scratch,stain,missing}. Crops are an eighth of the photograph's height; those to
train on come from the left six tenths of it, those to test on from the rest, so that no pixel is in
both. Equal seeds give equal files. Then:

    adgan evaluate --dataset OUT/NAME --normal-class good

Photographs under CC0: brick, grass and gravel of scikit-image, and the textures of Poly Haven.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TRAIN_SHARE = 0.6  # of a photograph's width
CUT_SHARE = 1 / 8  # of its height: a crop's side, before it is scaled
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp"}
OVERSAMPLING = 4  # masks are drawn so many times larger: edges are soft

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="photographs, or folders of them")
    parser.add_argument("--side", type=int, default=64, help="of the crops as written")
    parser.add_argument("--train", type=int, default=400, help="crops to train on")
    parser.add_argument("--good", type=int, default=120, help="crops without a defect to test on")
    parser.add_argument("--defects", type=int, default=40, help="crops with each kind of defect")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts = {"train/good": args.train, "test/good": args.good}
    counts |= {f"test/{kind}": args.defects for kind in DEFECTS}
    for number, path in enumerate(photographs(args.pictures)):
        with Image.open(path) as opened:
            is_grey = opened.mode in ("L", "I;16", "1")
            picture = np.asarray(opened.convert("L" if is_grey else "RGB"))
        cut = round(CUT_SHARE * picture.shape[0])
        if not args.side <= cut <= (1 - TRAIN_SHARE) * picture.shape[1]:
            parser.error(f"{path} is too small or too narrow for crops of {args.side} pixels")
        rng = np.random.default_rng([args.seed, number])
        write_texture(args.out / path.stem, picture, args.side, counts, rng)
        print(f"{args.out / path.stem}: {sum(counts.values())} pictures", flush=True)


def photographs(paths: list[Path]) -> list[Path]:
    """List the files, and those in the folders, that look like pictures."""
    inside = [sorted(path.iterdir()) if path.is_dir() else [path] for path in paths]
    return [path for files in inside for path in files if path.suffix.lower() in SUFFIXES]


def write_texture(
    out: Path, picture: np.ndarray, side: int, counts: Mapping[str, int], rng: np.random.Generator
) -> None:
    """Write the crops of a photograph, (H, W) or (H, W, 3) uint8, into a folder for each kind."""
    border = int(TRAIN_SHARE * picture.shape[1])
    for folder, count in counts.items():
        (out / folder).mkdir(parents=True, exist_ok=True)
        region = picture[:, :border] if folder.startswith("train") else picture[:, border:]
        for index in range(count):
            crop = random_crop(region, side, rng)
            if draw := DEFECTS.get(folder.removeprefix("test/")):
                crop = draw(crop, rng)
            Image.fromarray(crop).save(out / folder / f"{index:04}.png")


def random_crop(region: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a square from anywhere in a region, and scale it to `side`."""
    cut = round(CUT_SHARE * region.shape[0])
    top = rng.integers(region.shape[0] - cut + 1)
    left = rng.integers(region.shape[1] - cut + 1)
    square = Image.fromarray(region[top : top + cut, left : left + cut])
    return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0))


def scratch(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a thin bent line, a quarter to a half of the side long, lighter or darker."""
    side = len(crop)
    length, angle = rng.uniform(0.25, 0.5) * side, rng.uniform(0, 2 * math.pi)
    middle = rng.uniform(0.25, 0.75, 2) * side
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]]) * rng.uniform(-0.1, 0.1) * length
    steps = np.linspace(-1, 1, 12)[:, None]
    points = middle + along * steps * length / 2 + across * (1 - steps**2)
    width = rng.uniform(0.02, 0.035) * side

    def paint(draw: ImageDraw.ImageDraw) -> None:
        scaled = [tuple(point) for point in points * OVERSAMPLING]
        draw.line(scaled, fill=255, width=round(width * OVERSAMPLING), joint="curve")

    return blended(crop, mask_of(side, paint), contrasting(crop, rng), rng.uniform(0.7, 1.0))


def stain(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken, lighten or tint a round spot with a soft edge, a sixth to a quarter wide."""
    side = len(crop)
    centre = rng.uniform(0.2, 0.8, 2) * side * OVERSAMPLING
    radii = rng.uniform(0.08, 0.13, 2) * side * OVERSAMPLING

    def paint(draw: ImageDraw.ImageDraw) -> None:
        draw.ellipse([*(centre - radii), *(centre + radii)], fill=255)

    mask = mask_of(side, paint, blur=0.02 * side)
    return blended(crop, mask, contrasting(crop, rng), rng.uniform(0.5, 0.8))


def missing(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a piece with seven corners, a sixth to a quarter wide, by one colour."""
    side = len(crop)
    centre = rng.uniform(0.2, 0.8, 2) * side
    angles = np.sort(rng.uniform(0, 2 * math.pi, 7))
    radii = rng.uniform(0.08, 0.13, 7) * side
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def paint(draw: ImageDraw.ImageDraw) -> None:
        draw.polygon([tuple(corner) for corner in corners * OVERSAMPLING], fill=255)

    return blended(crop, mask_of(side, paint), contrasting(crop, rng), 1.0)


DEFECTS: Mapping[str, Draw] = {"scratch": scratch, "stain": stain, "missing": missing}


def contrasting(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose a colour that is clearly lighter or darker than the crop, with a tint.

    By 2.5 to 4 of its standard deviations, so as to be seen in any texture, and at least 40 levels.
    """
    shift = max(40.0, rng.uniform(2.5, 4) * crop.std((0, 1)).mean()) * rng.choice([-1, 1])
    tint = rng.uniform(-15, 15, crop.shape[2:])
    return np.clip(crop.mean((0, 1)) + shift + tint, 0, 255)


def mask_of(
    side: int, paint: Callable[[ImageDraw.ImageDraw], None], blur: float = 0.0
) -> np.ndarray:
    """Draw a mask, (side, side) float64 in [0, 1]; blur: of its edge, in pixels."""
    large = Image.new("L", (side * OVERSAMPLING,) * 2)
    paint(ImageDraw.Draw(large))
    if blur:
        large = large.filter(ImageFilter.GaussianBlur(blur * OVERSAMPLING))
    return np.asarray(large.resize((side, side), Image.Resampling.BOX)) / 255.0


def blended(crop: np.ndarray, mask: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    """Lay a colour over a crop where the mask is."""
    alpha = opacity * mask.reshape(mask.shape + (1,) * (crop.ndim - 2))
    return np.rint(crop * (1 - alpha) + colour * alpha).astype(np.uint8)


if __name__ == "__main__":
    main()
