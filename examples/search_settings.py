"""What the settings of the search cost and bring: AUC and seconds, in one table.

    python examples/search_settings.py MODEL FOLDER --normal 'bedroom/*' [--every 4] [--points 8]

Scores the pictures of FOLDER (or every fourth) with the model, with and without steps of theta, and
for several k. A table row is one search: the seconds it takes for one picture and one starting
point, and the AUC that the mean over the first 1, 2, 4 ... of its points gives (the points are the
same in all of them, so one search tells about fewer points as well). `none-bf16` comes with the
rank correlation of its scores with those of `none`.
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
from adgan_cli.engine.models.model import Model, load_model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.images.find import list_inputs
from adgan_cli.images.load import default_workers, read_in_order
from adgan_cli.images.read import DecodedImage


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
    given = parser.parse_args()
    model = load_model(given.model, pick_device(given.device))
    x, anomalous = read(model, given.folder, given.normal, given.every)
    counts = [2**power for power in range(given.points.bit_length()) if 2**power <= given.points]
    print(f"{len(x)} pictures, {int(anomalous.sum())} of them anomalous, {model.config.size} px, "
          f"gan of {(model.provenance.get('training') or {}).get('iters', '?')} steps")  # fmt: skip
    print("theta       k  ms/point  " + "  ".join(f"AUC of {count:<2}" for count in counts))
    base = replace(PAPER_SEARCH, n_seed=given.points)
    exact = {}
    for k in given.steps:
        exact[k] = told(model, x, anomalous, replace(base, theta="none", k=k), "none", counts)
    for k in given.theta_steps:
        told(model, x, anomalous, replace(base, k=k), "per-point", counts)
    for k in (k for k in given.steps if k):
        config = replace(base, theta="none", precision="bf16", k=k)
        rounded = told(model, x, anomalous, config, "none-bf16", counts)
        rank = spearmanr(rounded.mean(1), exact[k].mean(1)).statistic
        print(f"            rank correlation with float32: {rank:.5f}")


def read(model: Model, folder: Path, normal: str, every: int) -> tuple[torch.Tensor, np.ndarray]:
    """The pictures, (N, C, S, S) in [-1, 1], and which are anomalous, (N,) bool."""
    found = list_inputs([folder]).items[::every]
    pictures, anomalous = [], []
    for item, picture in read_in_order(found, model.preprocessing(), workers=default_workers()):
        if isinstance(picture, DecodedImage):
            pictures.append(picture.pixels)
            anomalous.append(not fnmatch(item.name, normal))
    return to_model_range(torch.from_numpy(np.stack(pictures))), np.array(anomalous)


def told(
    model: Model,
    x: torch.Tensor,
    anomalous: np.ndarray,
    config: SearchConfig,
    name: str,
    counts: list[int],
) -> np.ndarray:
    """Search, print a row, and return the losses, (N, points)."""
    searcher = Searcher(model.generator, config)
    searcher(x[: searcher.batch_size])
    started = time.perf_counter()
    losses = searcher(x).losses.numpy()
    milliseconds = 1e3 * (time.perf_counter() - started) / losses.size
    aucs = [roc_auc(anomalous, losses[:, :count].mean(1)) for count in counts]
    print(f"{name:<10}{config.k:>3}{milliseconds:>10.2f}  " + "  ".join(f"{a:<9.3f}" for a in aucs),
          flush=True)  # fmt: skip
    return losses


if __name__ == "__main__":
    main()
