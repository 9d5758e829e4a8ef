"""Time training: as its papers' code does it, and by adgan.

    python examples/benchmark_train.py [--size 64] [--objective wgan-gp] [--device auto] [--json]
    python examples/benchmark_train.py FOLDER --quality 300 --size 32
    python examples/benchmark_train.py --captured [--sizes 32 64] [--steps 30] [--device cuda]

The usual loop: float32, contiguous tensors, a DataLoader with 2 workers that decodes nothing (the
pictures are in memory), optimizers as they come. adgan's: `train_steps` in the precision
that it picks. Both take 5 critic steps of 64 pictures for each generator step (width 64, 256 latent
dimensions, 3 channels). In every round each takes its turn; medians of five rounds, and what share
of the rate of a large matrix product adgan reaches, in float32 and in the precision it picked.

With --quality STEPS both train that long, from two seeds each, on the pictures of FOLDER but for
every tenth; printed is the sliced Wasserstein distance of 1,000 generated pictures, by the last
weights of each, to the pictures left out. Less is better, and the distance of two halves of the
real pictures is what perfection would have.

With --captured adgan's own steps, by each objective and at each size: run as they are, and captured
as CUDA graphs and replayed, in milliseconds for a generator step with the critic steps before it;
medians of rounds in which both take their turn, the first step of each left out. A line below the
table says which could not be captured and why; where there is no CUDA there is nothing to compare.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, RMSprop
from torch.utils.data import DataLoader, Dataset

from adgan_cli.config import OBJECTIVES, ModelConfig, TrainConfig
from adgan_cli.engine.cost import training_operations
from adgan_cli.engine.device import pick_device, pick_precision
from adgan_cli.engine.models.dcgan import Critic, Generator, init_weights
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.state import TrainState, new_state
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.images.find import list_inputs
from adgan_cli.images.pixels import load_pixels
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader

ROUNDS, PICTURES, WORKERS, DIRECTIONS = 5, 3000, 2, 512
CAPTURED_ROUNDS = 3
PAST_WARM_UP = 25  # the reference code of WGAN takes 100 critic steps for each step before
Steps = Callable[[int], Generator]  # takes so many generator steps, returns the generator


class Pictures(Dataset[Tensor]):
    """uint8 (N, S, S, C) as float32 (C, S, S) in [-1, 1], one at a time."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index].permute(2, 0, 1).float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--objective", choices=["wgan", "wgan-gp"], default="wgan-gp")
    parser.add_argument("--quality", type=int, default=0, metavar="STEPS")
    parser.add_argument("--captured", action="store_true", help="compare with eager steps")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=OBJECTIVES)
    parser.add_argument("--width", type=int, default=64, help="with --captured")
    parser.add_argument("--steps", type=int, help="a round; 30, or 1 on a CPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quality and not args.folder:
        parser.error("--quality needs a FOLDER of pictures")
    device = pick_device(args.device)
    if args.captured:
        return print_captured(args, device)
    config = TrainConfig(objective=args.objective, iters=10**9, ema=0.0)
    pixels = load(args.folder, args.size)
    if args.quality:
        report = quality(pixels, config, args.quality, device)
    else:
        report = speed(pixels, config, device)
    about = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "precision": pick_precision("auto", device),
        "size": args.size,
        "objective": args.objective,
    }
    if args.json:
        print(json.dumps({**about, **report}, indent=2))
        return
    for name, value in {**about, **report}.items():
        print(f"{name:<34}{value:.4g}" if isinstance(value, float) else f"{name:<34}{value}")


def load(folder: Path | None, size: int) -> Tensor:
    """Read the pictures of a folder, or draw noise: uint8 (N, S, S, 3)."""
    if folder is None:
        rng = torch.Generator().manual_seed(0)
        return torch.randint(256, (PICTURES, size, size, 3), dtype=torch.uint8, generator=rng)
    result = list_inputs([folder])
    read = load_pixels(result, Reader(Preprocessing(size, 3)))
    return torch.from_numpy(read.pixels)


def speed(pixels: Tensor, config: TrainConfig, device: torch.device) -> dict[str, object]:
    begin = PAST_WARM_UP if config.objective == "wgan" else 0
    methods = {
        "usual": usual(pixels, config, device, begin),
        "adgan": adgan(pixels, config, device, begin),
    }
    seconds: dict[str, list[float]] = {method: [] for method in methods}
    for steps in methods.values():
        steps(1)
    for _ in range(ROUNDS):
        for method, steps in methods.items():
            started = time.perf_counter()
            steps(1)
            finish(device)
            seconds[method].append(time.perf_counter() - started)
    took = {method: statistics.median(result) for method, result in seconds.items()}
    model = ModelConfig(size=pixels.shape[1])
    rate = training_operations(model, config) / took["adgan"]
    return {
        "usual_seconds_a_step": took["usual"],
        "adgan_seconds_a_step": took["adgan"],
        "times_as_fast": took["usual"] / took["adgan"],
        "gflops": rate / 1e9,
        "share_of_float32_product": rate / product_rate(torch.float32, device),
        "share_of_bfloat16_product": rate / product_rate(torch.bfloat16, device),
    }


def print_captured(args: argparse.Namespace, device: torch.device) -> None:
    """Print a row as soon as it is measured: a run may be cut short."""
    steps = args.steps or (1 if device.type == "cpu" else 30)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    precision = pick_precision("auto", device)
    if not args.json:
        print(f"torch {torch.__version__}, {name}, {precision}, width {args.width}, {steps} steps")
        print(f"{'size':>4} {'objective':<16} {'eager ms':>9} {'captured ms':>12} {'ratio':>6}")
    for size in args.sizes:
        for objective in args.objectives:
            row = measure_captured(
                ModelConfig(size=size, width=args.width), objective, steps, device
            )
            if args.json:
                print(json.dumps({"device": name, "precision": precision, **row}), flush=True)
                continue
            captured, ratio = row["captured_ms"], row["times_as_fast"]
            right = "-" if captured is None else f"{captured:.3g}"
            times = "-" if ratio is None else f"{ratio:.2f}"
            print(f"{size:>4} {objective:<16} {row['eager_ms']:>9.3g} {right:>12} {times:>6}")
            for note in row["notes"]:
                print(f"     {note}", flush=True)


def measure_captured(
    model: ModelConfig, objective: str, steps: int, device: torch.device
) -> dict[str, Any]:
    """Time both ways of one objective at one size, in turns."""
    begin = PAST_WARM_UP if objective == "wgan" else 0
    config = TrainConfig(objective=objective, iters=10**9)
    precision = pick_precision("auto", device)
    data = TrainingData(load(None, model.size).to(device))
    kinds = [True, False] if device.type == "cuda" else [True]
    states = {}
    for eager in kinds:
        states[eager] = new_state(
            model, config, device=device, precision=precision, n_images=len(data)
        )
        states[eager].step = begin
    seconds: dict[bool, list[float]] = {eager: [] for eager in kinds}
    for _ in range(CAPTURED_ROUNDS):
        for eager in kinds:
            seconds[eager].append(seconds_a_step(states[eager], data, steps, eager=eager))
    took = {eager: 1000 * statistics.median(rounds) for eager, rounds in seconds.items()}
    notes = list(dict.fromkeys(states[kinds[-1]].notes))
    captured = None if notes else took.get(False)
    return {
        "size": model.size,
        "objective": objective,
        "eager_ms": took[True],
        "captured_ms": captured,
        "times_as_fast": None if captured is None else took[True] / captured,
        "notes": notes,
    }


def seconds_a_step(state: TrainState, data: TrainingData, count: int, *, eager: bool) -> float:
    """Time generator steps after the first, before which they are captured."""
    state.train_config = replace(state.train_config, iters=state.step + 1 + count)
    marks = [(one.step, time.perf_counter()) for one in train_steps(state, data, eager=eager)]
    (first, started), (last, ended) = marks[0], marks[-1]  # both have waited for the device
    return (ended - started) / (last - first)


def quality(
    pixels: Tensor, config: TrainConfig, steps: int, device: torch.device
) -> dict[str, object]:
    held_out, kept = pixels[::10], torch.cat([pixels[i::10] for i in range(1, 10)])
    half = len(held_out) // 2
    report: dict[str, object] = {
        "real_against_real": sliced_distance(scaled(held_out[:half]), scaled(held_out[half:]))
    }
    for make, name in ((usual, "usual"), (adgan, "adgan")):
        for seed in (0, 1):
            generator = make(kept, replace(config, seed=seed), device)(steps)
            rng = torch.Generator().manual_seed(9)
            z = torch.randn(1000, generator.config.latent_dim, generator=rng).to(device)
            with torch.no_grad():  # in training mode: both by the statistics of these pictures
                generated = torch.cat([generator(part).cpu() for part in z.split(250)])
            report[f"{name}_seed_{seed}"] = sliced_distance(generated, scaled(held_out))
    return report


def scaled(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def sliced_distance(a: Tensor, b: Tensor) -> float:
    """Return the sliced Wasserstein-1 distance of two sets: the mean over random directions."""
    rng = torch.Generator().manual_seed(5)
    a, b = a.flatten(1), b.flatten(1)
    directions = torch.randn(a.shape[1], DIRECTIONS, generator=rng)
    directions /= directions.norm(dim=0)
    quantiles = torch.linspace(0, 1, 201)
    of_a, of_b = ((x @ directions).quantile(quantiles, dim=0) for x in (a, b))
    return (of_a - of_b).abs().mean().item()


def adgan(pixels: Tensor, config: TrainConfig, device: torch.device, begin: int = 0) -> Steps:
    model = ModelConfig(size=pixels.shape[1])
    state = new_state(model, config, device=device, precision=pick_precision("auto", device))
    state.step = begin
    data = TrainingData(pixels.to(device))

    def steps(count: int) -> Generator:
        state.train_config = replace(config, iters=state.step + count)
        for _ in train_steps(state, data):
            pass
        return state.generator

    return steps


def usual(pixels: Tensor, config: TrainConfig, device: torch.device, begin: int = 0) -> Steps:
    """Train by WGAN or WGAN-GP, Algorithm 1 of each, written as their papers' code is."""
    model, penalised = ModelConfig(size=pixels.shape[1]), config.objective == "wgan-gp"
    rng = torch.Generator().manual_seed(config.seed)
    generator, critic = Generator(model), Critic(model, batch_norm=not penalised)
    for network in (generator, critic):
        init_weights(network, rng)
        network.to(device)
    if penalised:
        of_generator, of_critic = (
            Adam(network.parameters(), lr=1e-4, betas=(0.0, 0.9)) for network in (generator, critic)
        )
    else:
        of_generator, of_critic = (
            RMSprop(network.parameters(), lr=5e-5) for network in (generator, critic)
        )
    batches = endless(
        DataLoader(
            Pictures(pixels),
            config.batch_size,
            shuffle=True,
            num_workers=WORKERS,
            drop_last=True,
            persistent_workers=True,
        )
    )
    taken = itertools.count(begin)

    def steps(count: int) -> Generator:
        for _ in range(count):
            step = next(taken)
            many = not penalised and (step < 25 or step % 500 == 0)
            for _ in range(100 if many else config.critic_steps):
                real = next(batches).to(device)
                if not penalised:
                    for weight in critic.parameters():
                        weight.data.clamp_(-config.clip, config.clip)
                z = torch.randn(len(real), model.latent_dim, device=device)
                with torch.no_grad():
                    fake = generator(z)
                loss = critic(fake).mean() - critic(real).mean()
                if penalised:
                    share = torch.rand(len(real), 1, 1, 1, device=device)
                    between = (share * real + (1 - share) * fake).requires_grad_()
                    (gradient,) = torch.autograd.grad(
                        critic(between).sum(), between, create_graph=True
                    )
                    norm = gradient.flatten(1).norm(dim=1)
                    loss = loss + config.penalty * (norm - 1).square().mean()
                of_critic.zero_grad()
                loss.backward()
                of_critic.step()
            z = torch.randn(config.batch_size, model.latent_dim, device=device)
            loss = -critic(generator(z)).mean()
            of_generator.zero_grad()
            loss.backward()
            of_generator.step()
        return generator

    return steps


def endless(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    while True:
        yield from loader


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Measure the operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        a @ b
        finish(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[1:])


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
