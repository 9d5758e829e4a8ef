"""Tabulate what the settings of the search cost and bring: milliseconds and AUC.

    python examples/experiments/search_settings.py MODEL FOLDER --normal 'bedroom/*' [--every 4]

Scores the pictures of FOLDER (or every fourth) with the model, with and without steps of theta, and
for several k. A row is one search: the milliseconds for one picture and one starting point, and the
AUC by the mean of the first 1, 2, 4 ... of its points (they are the same in all rows, so one search
serves for fewer points as well). Below `none-bf16` stands the rank correlation of its scores with
those of `none`.
"""

import argparse
import time
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.device import pick_device
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.images.find import list_inputs
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--normal", required=True, help="pattern of the normal pictures' paths")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 2, 5, 10, 20])
    parser.add_argument("--theta-steps", type=int, nargs="+", default=[2, 5, 20])
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    model = load_model(args.model, pick_device(args.device))
    x, anomalous = read_images(model, args.folder, args.normal, args.every)
    counts = [2**power for power in range(args.points.bit_length()) if 2**power <= args.points]
    print(
        f"{len(x)} pictures, {int(anomalous.sum())} of them anomalous, {model.config.size} px, "
        f"gan of {(model.provenance.get('training') or {}).get('iters', '?')} steps"
    )
    print("theta       k  ms/point  " + "  ".join(f"AUC of {count:<2}" for count in counts))

    def row(name: str, config: SearchConfig) -> np.ndarray:
        """Search, print a row, and return the losses, (N, points)."""
        losses, milliseconds = timed_search(model, x, config)
        aucs = [roc_auc(anomalous, losses[:, :count].mean(1)) for count in counts]
        text = "  ".join(f"{auc:<9.3f}" for auc in aucs)
        print(f"{name:<10}{config.k:>3}{milliseconds:>10.2f}  {text}", flush=True)
        return losses

    paper = replace(PAPER_SEARCH, n_seed=args.points)
    none = replace(paper, theta="none")
    exact = {k: row("none", replace(none, k=k)) for k in args.steps}
    for k in args.theta_steps:
        row("per-point", replace(paper, k=k))
    for k in filter(None, args.steps):
        rounded = row("none-bf16", replace(none, precision="bf16", k=k))
        rank = spearmanr(rounded.mean(1), exact[k].mean(1)).statistic
        print(f"            rank correlation with float32: {rank:.5f}")


def read_images(
    model: Model, folder: Path, normal: str, every: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Read every so many images: (N, C, S, S) in [-1, 1], and which are anomalous, (N,) bool."""
    items = list_inputs([folder]).items[::every]
    pixels, anomalous = [], []
    for item, image in Reader(model.preprocessing()).read(items, folder, expected=len(items)):
        if isinstance(image, DecodedImage):
            pixels.append(image.pixels)
            anomalous.append(not fnmatch(item.name, normal))
    return to_model_range(torch.from_numpy(np.stack(pixels))), np.array(anomalous)


def timed_search(model: Model, x: torch.Tensor, config: SearchConfig) -> tuple[np.ndarray, float]:
    """Return the losses, (N, points), and the milliseconds that one point of one image took."""
    searcher = Searcher.for_model(model, config)
    searcher(x[: searcher.batch_size])  # warm up
    started = time.perf_counter()
    losses = searcher(x).losses.numpy()
    return losses, 1e3 * (time.perf_counter() - started) / losses.size


if __name__ == "__main__":
    main()
