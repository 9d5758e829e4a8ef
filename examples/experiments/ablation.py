"""Compare generators, objectives, losses and searches by how well each tells a class from the rest.

    python examples/experiments/ablation.py run DATASET --classes 2 5 8 [--generators NAME ...]
    python examples/experiments/ablation.py table OUT [OUT ...] [--top 40]

`run` trains each of GENERATORS on each class for its steps, times --budget, and searches with each
of SEARCHES for test pictures, half of them of the class. It keeps the loss of every starting point
after every step below --out, and does nothing twice. `table` derives everything else from those
losses: fewer steps, fewer points, their mean or their least, the relative error instead of the
squared one (it divides by a number that belongs to the picture, so the search is the same), and
with --seeds the mean of several generators that differ in nothing but their seed. A row is a mean
over classes, with a 95% bootstrap interval over the test pictures.

Tune on some classes and look at the others once.
"""

import argparse
import itertools
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation_table import print_table

from adgan_cli.atomic import replacing
from adgan_cli.config import PAPER_SEARCH, ModelConfig, TrainConfig, to_dict
from adgan_cli.engine.device import pick_device
from adgan_cli.engine.losses import squared_deviation
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.engine.training.objectives import Adversarial, objective
from adgan_cli.evaluation.datasets import FOLDER_SIZE, DataConfig, load_labelled
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, class_index
from adgan_cli.fitting.run import TrainingRun
from adgan_cli.fitting.settings import TrainingSettings, resumed_settings
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader

# without a critic a step costs a fifth, so there are four times as many
FEW, MANY = 1000, 4000


def setting(
    latent_dim: int, objective: str, iters: int = MANY, **settings: Any
) -> tuple[ModelConfig, TrainConfig]:
    """Return the settings of a generator. Searches that need an encoder train one later."""
    train = TrainConfig(objective=objective, iters=iters, encoder_iters=0, **settings)
    return ModelConfig(latent_dim=latent_dim), train


GENERATORS = {
    "wgan-gp-256": setting(256, "wgan-gp", FEW),
    "wgan-gp-64": setting(64, "wgan-gp", FEW),
    "wgan-gp-32": setting(32, "wgan-gp", FEW),
    "wgan-gp-16": setting(16, "wgan-gp", FEW),
    "wgan-gp-64-flip": setting(64, "wgan-gp", FEW, flip=True),
    "wgan-256": setting(256, "wgan", FEW),
    "gan-saturating-32": setting(32, "gan-saturating"),
    "lsgan-32": setting(32, "lsgan"),
    "gan-32": setting(32, "gan"),
    "mmd-32": setting(32, "mmd", batch_size=256),
    "vae-256": setting(256, "vae"),
    "vae-64": setting(64, "vae"),
    "vae-32": setting(32, "vae"),
    "vae-16": setting(16, "vae"),
    "glo-64": setting(64, "glo"),
    "glo-32": setting(32, "glo"),
    "glo-16": setting(16, "glo"),
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
    args = parser.parse_args()
    if args.command == "run":
        run(args)
    else:
        print_table(args)


@dataclass(frozen=True)
class Cell:
    """One generator for one class, and the folder that keeps it and its searches."""

    labelled: LabelledDataset
    index: int  # of the class
    generator: str
    seed: int
    args: argparse.Namespace

    @property
    def folder(self) -> Path:
        of_class = f"{Path(self.labelled.name).name}-{self.labelled.classes[self.index]}"
        seed = f"@{self.seed}" if self.seed else ""
        return self.args.out / of_class / f"{self.generator}{seed}"

    def model(self) -> Model:
        """Return the trained generator, with an encoder if one of the searches needs it."""
        device = pick_device(self.args.device)
        pixels = self.labelled.train.of_class(self.index)
        images = PixelSet(pixels, tuple(map(str, range(len(pixels)))), ())
        if not (self.folder / "trained.json").exists():
            self.train(images, device)
        model = load_model(self.folder, device)
        needs_encoder = any(SEARCHES[name].init != "prior" for name in self.args.searches)
        if needs_encoder and model.encoder is None:
            settings = TrainingSettings(keep_critic=model.critic is not None, networks_only=True)
            goals = {"encoder_iters": self.args.encoder_iters}
            settings = resumed_settings(self.folder, settings, goals)
            run = TrainingRun.resume(self.folder, images, settings, device=device)
            model = run.finish()
        return model

    def train(self, images: PixelSet, device: torch.device) -> None:
        model, train = GENERATORS[self.generator]
        train = replace(
            train,
            encoder_iters=0,  # one is trained where a search needs it
            iters=round(self.args.budget * train.iters),
            flip=self.args.flip or train.flip,
            seed=self.seed,
        )
        settings = TrainingSettings(
            replace(model, width=self.args.width),
            train,
            keep_critic=isinstance(objective(train), Adversarial),
            networks_only=True,
        )
        run = TrainingRun.start(images, settings, out=self.folder, device=device)
        started = time.monotonic()
        for _ in run.steps():
            pass
        run.finish()
        seconds = round(time.monotonic() - started)
        record = {"steps": run.state.step, "seconds": seconds, "pictures": len(images)}
        (self.folder / "trained.json").write_text(json.dumps(record) + "\n")
        print(f"{self.folder}: {run.state.step} steps", flush=True)

    def search(self, model: Model, name: str) -> None:
        """Search for the test images and keep the loss of every point after every step."""
        config = SEARCHES[name]
        if "critic" in config.loss and model.critic is None:
            return  # an objective without one
        pixels, anomalous = test_images(self.labelled, self.index, self.args.items)
        x = to_model_range(torch.from_numpy(pixels))
        searcher = Searcher.for_model(model, config)
        searcher(x[: searcher.batch_size])
        started = time.perf_counter()
        losses = searcher(x).trace.numpy()
        seconds = time.perf_counter() - started
        with replacing(self.folder / f"{name}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                losses=losses,
                deviation=squared_deviation(x).numpy(),
                anomalous=anomalous,
                seconds=seconds / losses.size,
                config=json.dumps(to_dict(config)),
            )
        print(f"{self.folder / name}: {seconds:.0f} s", flush=True)


def run(args: argparse.Namespace) -> None:
    data = DataConfig(
        args.dataset,
        size=args.size,
        root=args.data_root,
        normal_class=args.classes[0] if len(args.classes) == 1 else None,
    )
    labelled = load_labelled(data, Reader(Preprocessing(FOLDER_SIZE, 3)))
    for name, seed, text in itertools.product(args.generators, args.seeds, args.classes):
        cell = Cell(labelled, class_index(labelled, text), name, seed, args)
        model = cell.model()
        for search in args.searches:
            if not (cell.folder / f"{search}.npz").exists():
                cell.search(model, search)


def test_images(labelled: LabelledDataset, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` test images by seed 0, half of them of the class.

    Returns them as (N, S, S, C) uint8, and which are anomalous, (N,) bool.
    """
    rng = np.random.default_rng(0)
    normal = np.flatnonzero(labelled.test.labels == index)
    others = np.flatnonzero(labelled.test.labels != index)
    half = min(count // 2, len(normal), len(others))
    chosen = np.concatenate([rng.choice(normal, half, False), rng.choice(others, half, False)])
    return np.ascontiguousarray(labelled.test.pixels[chosen]), labelled.test.labels[chosen] != index


if __name__ == "__main__":
    main()
