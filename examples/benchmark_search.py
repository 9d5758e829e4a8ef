"""Time Algorithm 1: as written in the paper, with torch.func, and by adgan.

    python examples/benchmark_search.py [--sizes 32 64] [--pictures N] [--device cpu] [--json]

A DCGAN of random weights (width 64, 3 channels) searches for random pictures in three ways:

    paper     8 starting points, k 5, every point moves the generator's weights, l2
    latent    the same with the weights as they are (--theta none)
    default   what adgan does by default: 3 points (no encoder), weights as they are, another loss

and each of them is timed, in seconds for one picture and one starting point:

    literal   for each picture and point a deep copy and torch.optim.Adam, float32
    vmap      torch.func.vmap over the points of a picture (grouped convolutions), float32
    fp32, tf32, bf16    engine/search in the precisions that the device multiplies natively
    graph     on a CUDA device: the steps of a batch replayed as one graph

On a CPU 4 pictures, and in every round each method takes its turn; on a CUDA device as many as
adgan searches for at once, and one method after the other, so that each has the memory for itself:
less than a minute there. Medians of the rounds. The ceilings of the device are measured in the same
run, a product of two large float32 matrices and a copy of a large tensor. The floor of `paper` is
what the method needs at least at those rates: either its operations (the first pass is shared by
all pictures, so k passes forward and k back, each of these worth two), or reading and writing
weights and both moments in every step, whichever takes longer. Weights that fit into the last cache
can beat the second. A literal loop's picture is compared with adgan's: the largest relative
difference of a loss.
"""

import argparse
import copy
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from adgan_cli.config import PAPER_SEARCH, ModelConfig, SearchConfig
from adgan_cli.engine.cost import search_operations
from adgan_cli.engine.device import full_float32, multiplies_bf16, multiplies_tf32, pick_device
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.dcgan import Generator, init_weights
from adgan_cli.engine.search import execution
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.searcher import Searcher

ROUNDS = {"cpu": 5, "cuda": 3, "mps": 3}
CPU_PICTURES = 4
SEARCHES = {
    "paper": PAPER_SEARCH,
    "latent": replace(PAPER_SEARCH, theta="none"),
    "default": SearchConfig(by="reconstruction", init="prior"),
}
BETAS, EPS = (0.5, 0.999), 1e-8  # of Adam, footnote 5
Method = Callable[[Tensor], Tensor]  # pictures (N, C, S, S) -> losses (N, n_seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--pictures", type=int, help="default: 4, on CUDA what is one batch")
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=[*SEARCHES])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    device = pick_device(args.device)
    execution.CAPTURE_AFTER = 1 + ROUNDS[device.type]  # right after the eager rounds
    report = {
        "torch": torch.__version__,
        "device": str(device),
        "machine": machine(device),
        "threads": torch.get_num_threads(),
        "product_gflops": product_rate(device) / 1e9,
        "copy_gbytes": copy_rate(device) / 1e9,
    }
    if not args.json:
        print(f"torch {report['torch']}, {report['machine']}, {report['threads']} threads")
        print(
            f"ceilings: product {report['product_gflops']:.0f} GFLOP/s, "
            f"copy {report['copy_gbytes']:.0f} GB/s"
        )
    report["sizes"] = {}
    for size in args.sizes:
        generator = make_generator(size, device)
        floors = lower_bounds(generator, report["product_gflops"], report["copy_gbytes"])
        result = {"floors": floors, "searches": {}}
        report["sizes"][size] = result
        for name in args.searches:
            rows = measure(generator, SEARCHES[name], args.pictures, device)
            result["searches"][name] = rows
            if not args.json:
                print_rows(name, size, rows, floors)
    if args.json:
        print(json.dumps(report, indent=2))


def print_rows(
    name: str, size: int, rows: dict[str, dict[str, object]], floors: dict[str, float]
) -> None:
    by = max(floors, key=lambda floor: floors[floor])
    floor = f", floor {1e3 * floors[by]:.3f} ms ({by})" if name == "paper" else ""
    print(f"\n{name}, {size} pixels{floor}")
    print("method     ms a pair  pictures/s  literal / it  it / floor  peak MB  difference")
    for method, row in rows.items():
        over = f"{row['seconds'] / floors[by]:.2f}" if name == "paper" else ""
        print(
            f"{method:<10} {1e3 * row['seconds']:>9.3f}  {row['pictures_a_second']:>10.1f}"
            f"  {row['faster']:>12.2f}  {over:>10}  {row['peak_mb']:>7.0f}"
            f"  {row['difference']:>10.1e}  {row['note']}",
            flush=True,
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


def methods(
    generator: Generator, search: SearchConfig, device: torch.device
) -> dict[str, Callable[[], Method]]:
    """List what makes each method, which takes its memory then."""
    z0 = starting_points(search.n_seed, generator.config.latent_dim, search.seed).to(device)
    native = {"fp32": True, "tf32": multiplies_tf32(device), "bf16": multiplies_bf16(device)}
    makers: dict[str, Callable[[], Method]] = {
        "literal": lambda: lambda x: literal(generator, x.to(device), z0, search),
        "vmap": lambda: lambda x: by_vmap(generator, x.to(device), z0, search),
    }
    if not (search.moves_theta and search.loss == "l2"):
        del makers["vmap"]
    for precision, there in native.items():
        if there and (precision == "fp32" or not search.moves_theta):
            makers[precision] = partial(Searched, generator, replace(search, precision=precision))
    return makers


class Searched:
    """adgan's search as a method."""

    def __init__(self, generator: Generator, search: SearchConfig) -> None:
        self.searcher = Searcher(generator, search)

    def __call__(self, x: Tensor) -> Tensor:
        return self.searcher(x).losses


def literal(generator: Generator, x: Tensor, z0: Tensor, search: SearchConfig) -> Tensor:
    """Run Algorithm 1 line by line: (N, C, S, S), (n_seed, Z) -> (N, n_seed)."""
    losses = torch.empty(len(x), len(z0))
    loss = make_loss(search.loss)
    shell = math.sqrt(z0.shape[1])
    for i in range(len(x)):
        for j in range(len(z0)):
            g = copy.deepcopy(generator).requires_grad_(search.moves_theta)
            z = z0[j : j + 1].clone().requires_grad_()
            groups = [{"params": [z], "lr": search.lr_z}]
            if search.moves_theta:
                groups.append({"params": list(g.parameters()), "lr": search.lr_theta})
            adam = torch.optim.Adam(groups, betas=BETAS)
            for _ in range(search.k):
                adam.zero_grad()
                loss(x[i : i + 1])(g(z)).sum().backward()
                adam.step()
                if search.z_radius:
                    with torch.no_grad():
                        r, norm = search.z_radius, z.norm()
                        z *= norm.clamp((1 - r) * shell, (1 + r) * shell) / norm
            with torch.no_grad():
                losses[i, j] = loss(x[i : i + 1])(g(z))
    return losses


def by_vmap(generator: Generator, x: Tensor, z0: Tensor, search: SearchConfig) -> Tensor:
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
        for at in range(1, search.k + 1):
            gradients, _ = step(moving, picture)
            for name, weight in moving.items():
                m[name].lerp_(gradients[name], 1 - BETAS[0])
                v[name].lerp_(gradients[name].square(), 1 - BETAS[1])
                lr = search.lr_z if name == "z" else search.lr_theta
                denominator = (v[name] / (1 - BETAS[1] ** at)).sqrt_().add_(EPS)
                weight.addcdiv_(m[name], denominator, value=-lr / (1 - BETAS[0] ** at))
        losses.append(vmap(loss, in_dims=(0, None))(moving, picture))
    return torch.stack(losses).cpu()


def lower_bounds(generator: Generator, gflops: float, gbytes: float) -> dict[str, float]:
    """Compute the seconds of a pair of the paper's search at the ceilings."""
    operations = search_operations(generator.config, PAPER_SEARCH) / PAPER_SEARCH.n_seed
    weights = sum(weight.numel() for weight in generator.parameters())
    return {
        "operations": operations / gflops / 1e9,
        "memory": PAPER_SEARCH.k * 6 * 4 * weights / gbytes / 1e9,
    }


def measure(
    generator: Generator, search: SearchConfig, pictures: int | None, device: torch.device
) -> dict[str, dict[str, object]]:
    """Time every method of a search; full float32 is for those that do not see to it themselves."""
    makers = methods(generator, search, device)
    turns = [makers] if device.type == "cpu" else [{name: make} for name, make in makers.items()]
    timings: dict[str, Timing] = {}
    for turn in turns:
        try:
            with full_float32():
                timings |= time_methods(turn, generator.config.size, pictures, device)
        except RuntimeError as error:  # of one method, which the others do not wait for
            print(f"{', '.join(turn)} failed: {str(error).splitlines()[0]}", file=sys.stderr)
            if "literal" in turn:
                raise
    expected = timings["literal"]
    return {
        name: {
            "seconds": timing.seconds,
            "pictures_a_second": 1 / timing.seconds / timing.losses.shape[1],
            "faster": expected.seconds / timing.seconds,
            "peak_mb": timing.peak / 1e6,
            "difference": ((timing.losses[:1] - expected.losses[:1]).abs() / expected.losses[:1])
            .max()
            .item(),
            "note": timing.note,
        }
        for name, timing in timings.items()
    }


@dataclass(frozen=True)
class Timing:
    """What a method took."""

    seconds: float  # of a pair
    losses: Tensor  # (N, n_seed)
    peak: float  # bytes
    note: str = ""


def time_methods(
    makers: dict[str, Callable[[], Method]], size: int, pictures: int | None, device: torch.device
) -> dict[str, Timing]:
    """Time methods in turns, and replays of the graphs that they come to."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    every = {name: make() for name, make in makers.items()}
    args = {}
    for name, method in every.items():
        # the literal methods get one picture: time is given for each pair anyhow
        at_once = method.searcher.batch_size if isinstance(method, Searched) else 1
        count = pictures or (at_once if device.type == "cuda" else CPU_PICTURES)
        args[name] = make_pictures(count if isinstance(method, Searched) else 1, size)
    losses = {name: method(args[name]) for name, method in every.items()}
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(ROUNDS[device.type]):
        for name, method in every.items():
            seconds[name].append(seconds_of(lambda m=method, x=args[name]: m(x), device))
    result = {}
    for name, method in every.items():
        pairs = losses[name].numel()
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) - before
        else:
            peak = math.nan
        result[name] = Timing(statistics.median(seconds[name]) / pairs, losses[name], peak)
        if device.type == "cuda" and isinstance(method, Searched):
            captured = method(args[name])  # the batch that is captured, see main
            again = [
                seconds_of(lambda m=method, x=args[name]: m(x), device)
                for _ in range(ROUNDS[device.type])
            ]
            note = f"eager: {reason}" if (reason := method.searcher.eager_reason) else ""
            peak = torch.cuda.max_memory_allocated(device) - before
            took = statistics.median(again) / pairs
            result[f"{name} graph"] = Timing(took, captured, peak, note)
    return result


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    finish(device)
    started = time.perf_counter()
    run()
    finish(device)
    return time.perf_counter() - started


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
    return statistics.median(seconds_of(run, device) for _ in range(ROUNDS[device.type]))


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
