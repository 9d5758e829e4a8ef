"""Which generator, objective, loss and search tell one class from the rest, and at what cost?

    python examples/ablation.py run DATASET --classes 2 5 8 [--generators ...] [--searches ...]
    python examples/ablation.py table OUT [OUT ...] [--top 40]

`run` trains each of GENERATORS on each class for its steps, times --budget, and searches with each
of SEARCHES for test pictures, half of them of the class. The loss of every starting point after
every step is kept below --out; what is there is not done again. `table` derives everything else
from those: fewer
steps, fewer points, their mean or their least, the relative error instead of the squared one (which
is divided by a number that belongs to the picture, so the search is the same), and with --seeds
the mean of several generators that differ in nothing but their seed. A row is a mean over classes,
with a 95% bootstrap interval over the test pictures.

Tune on some classes and look at the others once.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

from adgan_cli.atomic import replacing
from adgan_cli.config import (
    PAPER_SEARCH,
    ModelConfig,
    ReadConfig,
    SearchConfig,
    TrainConfig,
    to_dict,
)
from adgan_cli.engine.device import pick_device, pick_precision
from adgan_cli.engine.losses import GREY_LEVEL, make_loss
from adgan_cli.engine.models.model import Model, load_model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.engine.training.objectives import objective
from adgan_cli.engine.training.trainer import new_state
from adgan_cli.evaluation.labelled import load_labelled
from adgan_cli.evaluation.labels import LabelledDataset, class_index
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.fitting.directory import train_into, with_encoder
from adgan_cli.images.load import PixelSet, default_workers

# without a critic a step costs a fifth, so there are four times as many
FEW, MANY = 1000, 4000
GENERATORS = {
    "wgan-gp-256": (
        ModelConfig(latent_dim=256),
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=FEW),
    ),
    "wgan-gp-64": (
        ModelConfig(latent_dim=64),
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=FEW),
    ),
    "wgan-gp-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=FEW),
    ),
    "wgan-gp-16": (
        ModelConfig(latent_dim=16),
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=FEW),
    ),
    "wgan-gp-64-flip": (
        ModelConfig(latent_dim=64),
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=FEW, flip=True),
    ),
    "wgan-256": (
        ModelConfig(latent_dim=256),
        TrainConfig(encoder_iters=0, iters=FEW, objective="wgan"),
    ),
    "gan-saturating-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(encoder_iters=0, iters=MANY, objective="gan-saturating"),
    ),
    "lsgan-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(encoder_iters=0, iters=MANY, objective="lsgan"),
    ),
    "gan-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(encoder_iters=0, iters=MANY, objective="gan"),
    ),
    "mmd-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(encoder_iters=0, iters=MANY, objective="mmd", batch_size=256),
    ),
    "vae-256": (
        ModelConfig(latent_dim=256),
        TrainConfig(encoder_iters=0, iters=MANY, objective="vae"),
    ),
    "vae-64": (
        ModelConfig(latent_dim=64),
        TrainConfig(encoder_iters=0, iters=MANY, objective="vae"),
    ),
    "vae-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(encoder_iters=0, iters=MANY, objective="vae"),
    ),
    "vae-16": (
        ModelConfig(latent_dim=16),
        TrainConfig(encoder_iters=0, iters=MANY, objective="vae"),
    ),
    "glo-64": (
        ModelConfig(latent_dim=64),
        TrainConfig(encoder_iters=0, iters=MANY, objective="glo"),
    ),
    "glo-32": (
        ModelConfig(latent_dim=32),
        TrainConfig(encoder_iters=0, iters=MANY, objective="glo"),
    ),
    "glo-16": (
        ModelConfig(latent_dim=16),
        TrainConfig(encoder_iters=0, iters=MANY, objective="glo"),
    ),
}
FIXED = replace(PAPER_SEARCH, theta="none", k=10)
SEARCHES = {
    "paper": replace(PAPER_SEARCH, k=10),
    "per-image": replace(PAPER_SEARCH, k=10, theta="per-image"),
    "none": FIXED,
    "none-25": replace(FIXED, k=25),
    "none-0.1": replace(FIXED, lr_z=0.1),
    "decay": replace(FIXED, lr_decay=0.9),
    "shell": replace(FIXED, z_radius=0.05),
    "encoder": replace(FIXED, init="encoder"),
    "both": replace(FIXED, init="both"),
    "both-0.1": replace(FIXED, init="both", lr_z=0.1),
    "l1": replace(FIXED, loss="l1"),
    "laplacian": replace(FIXED, loss="laplacian"),
    "ssim": replace(FIXED, loss="ssim"),
    "gradient": replace(FIXED, loss="gradient"),
    "mix": replace(FIXED, loss="ssim+gradient"),
    "mix-0.1": replace(FIXED, loss="ssim+gradient", lr_z=0.1),
    "mix-both": replace(FIXED, loss="ssim+gradient", init="both"),
    "ssim-both": replace(FIXED, loss="ssim", init="both"),
    "ssim-relative": replace(FIXED, loss="ssim+relative", lr_z=0.1),
    "ssim-relative-both": replace(FIXED, loss="ssim+relative", init="both"),
    "mix-both-near": replace(FIXED, loss="ssim+gradient", init="both", z_radius=0.1),
    "three-both": replace(FIXED, loss="ssim+gradient+relative", init="both"),
    "three-both-near": replace(FIXED, loss="ssim+gradient+relative", init="both", z_radius=0.1),
    "ssim-relative-near": replace(FIXED, loss="ssim+relative", init="both", z_radius=0.1),
    "critic": replace(FIXED, loss="critic-features"),
    "anogan": replace(FIXED, loss="0.9*l1+0.1*critic-features"),
}
STEPS = (0, 1, 2, 3, 5, 10, 25)  # of the searches, after which the table looks
BOOTSTRAPS = 200


@dataclass(frozen=True)
class Logged:
    """What one search with one generator found for the test pictures of one class."""

    dataset: str
    name: str  # of the class
    generator: str
    search: str
    config: SearchConfig
    losses: np.ndarray  # (N, S, k + 1)
    deviation: np.ndarray  # (N,), squared, of each picture from the means of its channels
    anomalous: np.ndarray  # (N,) bool
    seconds: float  # for one picture, one point and one step


@dataclass(frozen=True)
class Row:
    """One way to score, over all classes that have it."""

    generator: str
    search: str
    k: int
    points: int
    reduce: str
    relative: bool
    aucs: dict[str, float]  # by class
    milliseconds: float  # a picture
    scored: list[tuple[np.ndarray, np.ndarray]]  # anomalous and score, (N,) each, of every class

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.aucs.values())))

    def interval(self) -> tuple[float, float]:
        """95%, of the mean."""
        rng, again = np.random.default_rng(0), np.zeros(BOOTSTRAPS)
        for anomalous, score in self.scored:
            drawn = rng.integers(len(score), size=(BOOTSTRAPS, len(score)))
            odd, ranks = anomalous[drawn], rankdata(score[drawn], axis=1)
            count = odd.sum(1)
            # Mann and Whitney's U: all at once, where a table has hundreds of rows
            above = (ranks * odd).sum(1) - count * (count + 1) / 2
            again += above / (count * (len(score) - count)) / len(self.scored)
        low, high = np.quantile(again, [0.025, 0.975])
        return low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("dataset")
    runs.add_argument("--classes", nargs="+", required=True)
    runs.add_argument("--generators", nargs="+", default=["wgan-gp-256"], choices=GENERATORS)
    runs.add_argument("--searches", nargs="+", default=["none"], choices=SEARCHES)
    runs.add_argument("--out", type=Path, default=Path("ablation"))
    runs.add_argument("--budget", type=float, default=1.0, help="times the steps of GENERATORS")
    runs.add_argument("--seeds", type=int, nargs="+", default=[0], help="one generator for each")
    runs.add_argument("--flip", action="store_true", help="mirror pictures, right for rooms")
    runs.add_argument("--width", type=int, default=32)
    runs.add_argument("--size", type=int, default=None)
    runs.add_argument("--items", type=int, default=600, help="test pictures, half of them normal")
    runs.add_argument("--encoder-iters", type=int, default=1000)
    runs.add_argument("--device", default="auto")
    runs.add_argument("--data-root", type=Path, default=None)
    tables = commands.add_parser("table")
    tables.add_argument("out", type=Path, nargs="+")
    tables.add_argument("--top", type=int, default=40, help="rows")
    tables.add_argument("--k", type=int, default=None, help="only after so many steps")
    tables.add_argument("--points", type=int, default=None, help="only of so many points")
    tables.add_argument("--reduce", choices=("mean", "min"), default=None)
    tables.add_argument("--all-losses", action="store_true", help="not the relative error alone")
    given = parser.parse_args()
    if given.command == "run":
        run(given)
    else:
        table(given)


def run(given: argparse.Namespace) -> None:
    labelled = load_labelled(
        given.dataset, size=given.size, channels=None, seed=0, data_root=given.data_root,
        download=False, reading=ReadConfig(), workers=default_workers(), place=None,
        normal_class=given.classes[0] if len(given.classes) == 1 else None,
    )  # fmt: skip
    for name, seed, text in itertools.product(given.generators, given.seeds, given.classes):
        index = class_index(labelled, text)
        of_class = given.out / f"{Path(labelled.name).name}-{labelled.classes[index]}"
        place = of_class / (f"{name}@{seed}" if seed else name)
        model = trained(labelled, index, name, seed, place, given)
        for search in given.searches:
            if not (place / f"{search}.npz").exists():
                searched(model, labelled, index, search, place, given)


def trained(
    labelled: LabelledDataset,
    index: int,
    name: str,
    seed: int,
    place: Path,
    given: argparse.Namespace,
) -> Model:
    device = pick_device(given.device)
    wants_encoder = any(SEARCHES[search].init != "prior" for search in given.searches)
    pixels = np.ascontiguousarray(labelled.train[labelled.train_labels == index])
    pictures = PixelSet(pixels, tuple(map(str, range(len(pixels)))), ())
    if not (place / "trained.json").exists():
        shape, train = GENERATORS[name]
        shape = replace(shape, size=pixels.shape[1], channels=pixels.shape[3], width=given.width)
        iters, flip = round(given.budget * train.iters), given.flip or train.flip
        aim = objective(train)
        state = new_state(
            shape, replace(train, iters=iters, flip=flip, seed=seed),
            device=device, precision=pick_precision("auto", device), pictures=len(pictures),
        )  # fmt: skip
        started = time.monotonic()
        train_into(place, state, pictures, keep_critic=aim.has_critic)
        seconds = round(time.monotonic() - started)
        told = {"steps": state.step, "seconds": seconds, "pictures": len(pictures)}
        (place / "trained.json").write_text(json.dumps(told) + "\n")
        print(f"{place}: {state.step} steps", flush=True)
    model = load_model(place, device)
    if wants_encoder and model.encoder is None:
        model = with_encoder(model, pictures, given.encoder_iters, out=place)
    return model


def searched(
    model: Model,
    labelled: LabelledDataset,
    index: int,
    search: str,
    place: Path,
    given: argparse.Namespace,
) -> None:
    config = SEARCHES[search]
    if "critic" in config.loss and model.critic is None:
        return  # an objective without one
    pixels, anomalous = test_pictures(labelled, index, given.items)
    x = to_model_range(torch.from_numpy(pixels))
    searcher = Searcher(
        model.generator, config, loss=make_loss(config.loss, model.critic), encoder=model.encoder
    )
    searcher(x[: searcher.batch_size])
    started = time.perf_counter()
    losses = searcher(x).trace.numpy()
    seconds = (time.perf_counter() - started) / losses.size
    own = (x - x.mean((2, 3), keepdim=True)).square().flatten(1)
    deviation = own.sum(1).clamp(min=own.shape[1] * GREY_LEVEL**2).numpy()
    with replacing(place / f"{search}.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, losses=losses, deviation=deviation, anomalous=anomalous,
                 seconds=seconds, config=json.dumps(to_dict(config)))  # fmt: skip
    print(f"{place / search}: {time.perf_counter() - started:.0f} s", flush=True)


def test_pictures(
    labelled: LabelledDataset, index: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(N, S, S, C) uint8 and which are anomalous, (N,): half of the class, drawn by seed 0."""
    rng = np.random.default_rng(0)
    normal = np.flatnonzero(labelled.test_labels == index)
    others = np.flatnonzero(labelled.test_labels != index)
    half = min(count // 2, len(normal), len(others))
    chosen = np.concatenate([rng.choice(normal, half, False), rng.choice(others, half, False)])
    return np.ascontiguousarray(labelled.test[chosen]), labelled.test_labels[chosen] != index


def logs(outs: list[Path]) -> Iterator[Logged]:
    for path in sorted(path for out in outs for path in out.glob("*/*/*.npz")):
        with np.load(path, allow_pickle=False) as kept:
            dataset, _, name = path.parts[-3].partition("-")
            config = replace(PAPER_SEARCH, **json.loads(str(kept["config"])))
            losses = kept["losses"].astype(np.float64)
            if config.init == "both":  # the encoder's point, the last, is the first to be looked at
                losses = np.roll(losses, 1, 1)
            yield Logged(
                dataset, name, path.parts[-2], path.stem, config, losses,
                kept["deviation"].astype(np.float64), kept["anomalous"], float(kept["seconds"]),
            )  # fmt: skip


def ensembles(single: list[Logged]) -> Iterator[Logged]:
    """All of them, and what those that differ in the generator's seed alone find together."""
    yield from single
    alike: dict[tuple[str, str, str, str], list[Logged]] = {}
    for log in single:
        base = log.generator.partition("@")[0]
        alike.setdefault((log.dataset, log.name, base, log.search), []).append(log)
    for (_, _, base, _), several in alike.items():
        if len(several) > 1:
            # the first point of each, the second of each, ...
            losses = np.stack([log.losses for log in several], 2)
            losses = losses.reshape(len(losses), -1, losses.shape[-1])
            seconds = float(np.mean([log.seconds for log in several]))
            yield replace(
                several[0], generator=f"{base} x{len(several)}", losses=losses, seconds=seconds
            )


def table(given: argparse.Namespace) -> None:
    found: dict[tuple[str, str], list[Logged]] = {}
    for log in ensembles(list(logs(given.out))):
        found.setdefault((log.generator, log.search), []).append(log)
    most = max(len(several) for several in found.values())
    rows = [
        row
        for several in found.values()
        if len(several) == most  # a mean over other classes is no rival
        for row in variants(several, given.all_losses)
        if given.k in (None, row.k)
        and given.points in (None, row.points)
        and given.reduce in (None, row.reduce)
    ]
    rows.sort(key=lambda row: -row.mean)
    classes = sorted(rows[0].aucs)
    print(f"{'generator':<18}{'search':<19}{'k':>3}{'points':>7} {'reduce':<7}{'error':<9}"
          f"{'mean':<7}{'95%':<15}{'ms':>7}  " + "  ".join(classes))  # fmt: skip
    for row in rows[: given.top]:
        error = "relative" if row.relative else "as is"
        low, high = row.interval()
        print(f"{row.generator:<18}{row.search:<19}{row.k:>3}{row.points:>7} {row.reduce:<7}"
              f"{error:<9}{row.mean:.3f}  {low:.3f}-{high:.3f}  {row.milliseconds:>7.2f}  "
              + "  ".join(f"{row.aucs[name]:<{len(name)}.3f}" for name in classes))  # fmt: skip


def variants(several: list[Logged], all_losses: bool) -> Iterator[Row]:
    one = several[0]
    points = one.losses.shape[1]
    counts = sorted({1, 2, 4, 8, points} & set(range(1, points + 1)))
    for k in (k for k in STEPS if k < one.losses.shape[2]):
        for count in counts:
            for reduce in ("mean", "min") if count > 1 else ("mean",):
                for relative in (False, True) if one.config.loss == "l2" else (False,):
                    if one.config.loss == "l2" and not relative and not all_losses:
                        continue
                    yield variant(several, k, count, reduce, relative)


def variant(several: list[Logged], k: int, count: int, reduce: str, relative: bool) -> Row:
    aucs, scored = {}, []
    for log in several:
        some = log.losses[:, :count, k]
        score = some.mean(1) if reduce == "mean" else some.min(1)
        score = score / log.deviation if relative else score
        aucs[f"{log.dataset}-{log.name}"] = roc_auc(log.anomalous, score)
        scored.append((log.anomalous, score))
    one = several[0]
    cost = 1e3 * float(np.mean([log.seconds for log in several])) * (k + 1) * count
    return Row(one.generator, one.search, k, count, reduce, relative, aucs, cost, scored)


if __name__ == "__main__":
    main()
