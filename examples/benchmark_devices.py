"""Compare the scores of one model on a CPU and on a GPU: how far apart, in what order, how fast.

    python examples/benchmark_devices.py [--device cuda] [--pictures 64] [--steps 300]

A GAN of width 32 learns one of scikit-learn's handwritten digits, enlarged to 32 pixels, on the
CPU; the same pictures, half of them of other digits, are then searched for on both devices, in each
precision that the device has. Printed for each search: pictures a second, the largest difference
from the CPU's float32 score as a share of it, and Spearman's correlation of the two orders.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits

from adgan_cli.config import PAPER_SEARCH, ModelConfig, SearchConfig, TrainConfig
from adgan_cli.engine.device import pick_device
from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.trainer import TrainingData, train_steps

LEARNED = 3  # the digit
SEARCHES = {
    "paper": replace(PAPER_SEARCH, init="prior"),
    "paper, latent only": replace(PAPER_SEARCH, init="prior", theta="none"),
    "default loss": SearchConfig(init="prior"),
}
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    device = pick_device(args.device)
    learned, searched = pictures(args.pictures)
    generator = trained(learned, args.steps)
    print(f"torch {torch.__version__}, {device} against cpu, {len(searched)} pictures")
    print("search              device  precision  pictures/s  largest difference  Spearman")
    for name, config in SEARCHES.items():
        expected, rate = scores(generator, searched, replace(config, precision="fp32"), CPU)
        line(name, CPU, "fp32", rate, expected, expected)
        precisions = ["fp32"] if config.moves_theta else ["fp32", "tf32", "bf16"]
        for precision in precisions if device != CPU else []:
            chosen = replace(config, precision=precision)
            got, rate = scores(generator, searched, chosen, device)
            line(name, device, precision, rate, got, expected)


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return digits to learn, (N, 32, 32, 1) uint8, and `count` to search for, drawn at random."""
    digits = load_digits()
    enlarged = (digits.images * (255 / 16)).round().astype(np.uint8).repeat(4, 1).repeat(4, 2)
    order = np.random.default_rng(0).permutation(len(enlarged))
    normal = [index for index in order if digits.target[index] == LEARNED]
    others = [index for index in order if digits.target[index] != LEARNED]
    searched = normal[: count // 2] + others[: count - count // 2]
    x = torch.from_numpy(enlarged)[..., None]
    return x[normal[count // 2 :]], x[searched]


def trained(learned: torch.Tensor, steps: int) -> Generator:
    model, train = ModelConfig(size=32, channels=1, width=32), TrainConfig(iters=steps)
    state = new_state(model, train, device=CPU, precision="fp32")
    for _ in train_steps(state, TrainingData(learned)):
        pass
    return state.ema.eval().requires_grad_(False)


def scores(
    generator: Generator, searched: torch.Tensor, config: SearchConfig, device: torch.device
) -> tuple[np.ndarray, float]:
    """Search once to warm up and once against the clock: scores (N,), pictures a second."""
    batch = None if device == CPU else len(searched)  # not filled up with what is not asked for
    searcher = Searcher(generator.to(device), config, batch_size=batch)
    x = to_model_range(searched)
    searcher(x)
    started = time.perf_counter()
    result = searcher(x).score.double().numpy()
    return result, len(x) / (time.perf_counter() - started)


def line(
    name: str,
    device: torch.device,
    precision: str,
    rate: float,
    got: np.ndarray,
    expected: np.ndarray,
) -> None:
    difference = float((np.abs(got - expected) / expected).max())
    ranks = [scores.argsort().argsort() for scores in (got, expected)]
    order = float(np.corrcoef(*ranks)[0, 1])
    print(
        f"{name:<20}{device.type:<8}{precision:<11}{rate:>10.1f}{difference:>20.1e}{order:>10.6f}"
    )


if __name__ == "__main__":
    main()
