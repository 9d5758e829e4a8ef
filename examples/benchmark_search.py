"""Time Algorithm 1: as written in the paper, with torch.func, and by adgan.

    python examples/benchmark_search.py [--sizes 32 64] [--pictures 4] [--device cpu] [--json]

A DCGAN of random weights (width 64, 256 latent dimensions, 3 channels) searches for random
pictures, 8 starting points and k 5, float32. In every round each method takes its turn; medians of
five rounds. What is compared, in seconds for one picture and one starting point:

    literal   for each picture and point a deep copy and torch.optim.Adam
    vmap      torch.func.vmap over the points of a picture (grouped convolutions)
    adgan     engine/search
    none      adgan with --theta none, which keeps the generator as it is; another score
    none-bf16 the same in bfloat16

The ceilings of the device are measured in the same run, a product of two large float32 matrices
and a copy of a large tensor. The floor is what the method needs at least at those rates: either
its operations (the first pass is shared by all pictures, so k passes forward and k back, each
of these worth two), or reading and writing weights and both moments in every step, whichever
takes longer. Weights that fit into the last cache can beat the second.
"""

import argparse
import copy
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from adgan_cli.config import PAPER_SEARCH, ModelConfig, SearchConfig
from adgan_cli.engine.cost import search_operations
from adgan_cli.engine.device import pick_device
from adgan_cli.engine.models.dcgan import Generator, init_weights
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.searcher import Searcher

ROUNDS = 5
SEARCH = PAPER_SEARCH
BETAS, EPS = (0.5, 0.999), 1e-8  # of Adam, footnote 5
Method = Callable[[Tensor], Tensor]  # pictures (N, C, S, S) -> losses (N, n_seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    device = pick_device(args.device)
    report = {
        "torch": torch.__version__,
        "device": str(device),
        "machine": machine(device),
        "threads": torch.get_num_threads(),
        "product_gflops": product_rate(device) / 1e9,
        "copy_gbytes": copy_rate(device) / 1e9,
    }
    report["sizes"] = {
        size: measure(size, args.pictures, device, report["product_gflops"], report["copy_gbytes"])
        for size in args.sizes
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"torch {report['torch']}, {report['machine']}, {report['threads']} threads")
    print(
        f"ceilings: product {report['product_gflops']:.0f} GFLOP/s, "
        f"copy {report['copy_gbytes']:.0f} GB/s"
    )
    for size, result in report["sizes"].items():
        print(f"\n{size} pixels, floor {1e3 * result['floor']:.2f} ms ({result['floor_by']})")
        print("method     ms a pair  literal / it  it / floor  peak MB  largest difference")
        for method, row in result["ways"].items():
            difference = row["difference"]
            print(
                f"{method:<10} {1e3 * row['seconds']:>9.2f}  {row['faster']:>12.2f}"
                f"  {row['over_floor']:>10.1f}  {row['peak_mb']:>7.0f}"
                f"  {'(another score)' if difference is None else f'{difference:.1e}'}"
            )


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def make_generator(size: int, device: torch.device) -> Generator:
    rng = torch.Generator().manual_seed(0)
    generator = Generator(ModelConfig(size=size))
    init_weights(generator, rng)
    with torch.no_grad():  # so that batch norm has seen something
        generator.train()(torch.randn(64, generator.config.latent_dim, generator=rng))
    return generator.to(device).eval().requires_grad_(False)


def make_pictures(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def methods(generator: Generator, device: torch.device) -> dict[str, Method]:
    z0 = starting_points(SEARCH.n_seed, generator.config.latent_dim, SEARCH.seed).to(device)

    def adgan(config: SearchConfig) -> Method:
        searcher = Searcher(generator, config)
        return lambda x: searcher(x).losses

    none = replace(SEARCH, theta="none")
    return {
        "literal": lambda x: literal(generator, x.to(device), z0),
        "vmap": lambda x: by_vmap(generator, x.to(device), z0),
        "adgan": adgan(SEARCH),
        "none": adgan(none),
        "none-bf16": adgan(replace(none, precision="bf16")),
    }


def literal(generator: Generator, x: Tensor, z0: Tensor) -> Tensor:
    """Run Algorithm 1 line by line: (N, C, S, S), (n_seed, Z) -> (N, n_seed)."""
    losses = torch.empty(len(x), len(z0))
    for i in range(len(x)):
        for j in range(len(z0)):
            g = copy.deepcopy(generator).requires_grad_()
            z = z0[j : j + 1].clone().requires_grad_()
            groups = [
                {"params": [z], "lr": SEARCH.lr_z},
                {"params": list(g.parameters()), "lr": SEARCH.lr_theta},
            ]
            adam = torch.optim.Adam(groups, betas=BETAS)
            for _ in range(SEARCH.k):
                adam.zero_grad()
                (g(z) - x[i : i + 1]).square().sum().backward()
                adam.step()
            with torch.no_grad():
                losses[i, j] = (g(z) - x[i : i + 1]).square().sum()
    return losses


def by_vmap(generator: Generator, x: Tensor, z0: Tensor) -> Tensor:
    """Run it for all points of a picture at once."""
    trained = dict(generator.named_parameters())

    def loss(moving: dict[str, Tensor], picture: Tensor) -> Tensor:
        theta = {name: weight for name, weight in moving.items() if name != "z"}
        y = functional_call(generator, theta, (moving["z"][None],))[0]
        return (y - picture).square().sum()

    step = vmap(grad_and_value(loss), in_dims=(0, None))
    losses = []
    for picture in x:
        moving = {name: w.expand(len(z0), *w.shape).clone() for name, w in trained.items()}
        moving["z"] = z0.clone()
        m = {name: torch.zeros_like(w) for name, w in moving.items()}
        v = {name: torch.zeros_like(w) for name, w in moving.items()}
        for at in range(1, SEARCH.k + 1):
            gradients, _ = step(moving, picture)
            for name, weight in moving.items():
                m[name].lerp_(gradients[name], 1 - BETAS[0])
                v[name].lerp_(gradients[name].square(), 1 - BETAS[1])
                lr = SEARCH.lr_z if name == "z" else SEARCH.lr_theta
                denominator = (v[name] / (1 - BETAS[1] ** at)).sqrt_().add_(EPS)
                weight.addcdiv_(m[name], denominator, value=-lr / (1 - BETAS[0] ** at))
        losses.append(vmap(loss, in_dims=(0, None))(moving, picture))
    return torch.stack(losses).cpu()


def measure(
    size: int, pictures: int, device: torch.device, gflops: float, gbytes: float
) -> dict[str, object]:
    generator, x = make_generator(size, device), make_pictures(pictures, size)
    every = methods(generator, device)
    # the slow methods get one picture: time is given for each pair anyhow
    args = {method: x[:1] if method in ("literal", "vmap") else x for method in every}
    losses = {method: run(args[method]) for method, run in every.items()}
    seconds: dict[str, list[float]] = {method: [] for method in every}
    for _ in range(ROUNDS):
        for method, run in every.items():
            started = time.perf_counter()
            run(args[method])
            finish(device)
            seconds[method].append((time.perf_counter() - started) / losses[method].numel())
    took = {method: statistics.median(result) for method, result in seconds.items()}
    operations = search_operations(generator.config, SEARCH) / SEARCH.n_seed
    weights = sum(weight.numel() for weight in generator.parameters())
    floors = {
        "operations": operations / gflops / 1e9,
        "memory": SEARCH.k * 6 * 4 * weights / gbytes / 1e9,
    }
    by = max(floors, key=lambda name: floors[name])
    return {
        "floor": floors[by],
        "floor_by": by,
        "floors": floors,
        "ways": {
            method: {
                "seconds": took[method],
                "faster": took["literal"] / took[method],
                "over_floor": took[method] / floors[by],
                "peak_mb": peak_memory(method, size, device) / 1e6,
                "difference": None
                if method.startswith("none")
                else ((losses[method][:1] - losses["literal"]).abs() / losses["literal"])
                .max()
                .item(),
            }
            for method in every
        },
    }


def peak_memory(method: str, size: int, device: torch.device) -> float:
    """Measure the bytes that the search for a picture adds to those of its process.

    Each takes a process of its own. Linux only; nan elsewhere.
    """
    if device.type == "cpu" and not Path("/proc/self/clear_refs").exists():
        return math.nan
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak, method, size, str(device)).result()


def _peak(method: str, size: int, name: str) -> int:
    device = torch.device(name)
    generator, x = make_generator(size, device), make_pictures(1, size)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        methods(generator, device)[method](x)
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark falls to what is there now
    before = _high_mark()
    methods(generator, device)[method](x)
    return _high_mark() - before


def _high_mark() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def product_rate(device: torch.device) -> float:
    """Measure the floating-point operations a second of a large float32 matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.rand(side, side, device=device) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda: a @ b, device)


def copy_rate(device: torch.device) -> float:
    """Measure the bytes read and written a second by a copy of 128 MB (1 GB on a GPU)."""
    a = torch.rand(2**28 if device.type == "cuda" else 2**25, device=device)
    b = torch.empty_like(a)
    return 8 * a.numel() / median_seconds(lambda: b.copy_(a), device)


def median_seconds(run: Callable[[], object], device: torch.device) -> float:
    run()
    seconds = []
    for _ in range(ROUNDS):
        finish(device)
        started = time.perf_counter()
        run()
        finish(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
