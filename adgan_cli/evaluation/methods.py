"""Every method of section 4 by its name in `--methods`, and the trained models that they share.

A method is a function of a cell: one class against the rest in one run, with a folder of its own.
What is trained there is kept there: one GAN serves all that need one, and an interrupted cell goes
on where it was.
"""

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli.atomic import write_text
from adgan_cli.config import ModelConfig, TrainConfig, canonical_json, to_dict
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.header import CHECKPOINT_FILE
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.checkpoint import load_checkpoint, read_checkpoint
from adgan_cli.engine.training.trainer import StepMetrics, new_state
from adgan_cli.errors import ModelFileError
from adgan_cli.evaluation import autoencoders, baselines, classical, gan_scores
from adgan_cli.evaluation.autoencoders import Trained, pictures_digest
from adgan_cli.evaluation.features import alexnet_features
from adgan_cli.evaluation.settings import GanConfig, Settings
from adgan_cli.evaluation.task import MethodResult, NotApplicableError, Task
from adgan_cli.fitting.directory import HISTORY_FILE, data_provenance, train_into, with_encoder
from adgan_cli.images.pixels import PixelSet

GAN_FOLDER, TUNED_GAN_FOLDER, TRAINED_FILE = "gan", "gan-tuned", "trained.json"
SEARCH_FILE, TUNED_FILE = "search.safetensors", "search-tuned.safetensors"
SAVE_EVERY = 60.0  # seconds; what an interruption may cost


@dataclass(frozen=True, eq=False)
class Cell:
    """One class against the rest in one run."""

    task: Task
    folder: Path  # where its models are kept
    settings: Settings  # seeded for this run
    on_progress: Callable[[str, float], None] = lambda what, done: (
        None
    )  # what goes on, done in [0, 1]


Method = Callable[[Cell], MethodResult]


def _tuned(fit: Callable[..., MethodResult], tuned: bool) -> Method:
    return lambda cell: fit(cell.task, tuned=tuned)


def _on_alexnet(fit: Callable[..., MethodResult], cell: Cell) -> MethodResult:
    weights, device = cell.settings.alexnet_weights, torch.device(cell.settings.device)
    features = alexnet_features(cell.task, weights, device=device)
    return fit(cell.task, features=features)


def _searched(name: str, cell: Cell) -> MethodResult:
    """adgan, adgan-1 and latent-prior: whichever comes first searches for all three."""
    model, count = gan(cell), max(1, len(cell.task.test))
    search = cell.settings.search
    scores = gan_scores.search_scores(
        model,
        cell.task.test,
        search,
        keep=cell.folder / SEARCH_FILE,
        on_progress=lambda done: cell.on_progress("searching", done / count),
    )[name]
    told = replace(search, n_seed=1) if name == "adgan-1" else search
    return MethodResult(scores, to_dict(told) | _of_gan(model))


def _tuned_search(cell: Cell) -> MethodResult:
    """What train, score and rank do unless they are told otherwise."""
    model, count = gan(cell, tuned=True), max(1, len(cell.task.test))
    search = model.default_search(cell.settings.tuned)
    scores = gan_scores.search_scores(
        model,
        cell.task.test,
        search,
        keep=cell.folder / TUNED_FILE,
        on_progress=lambda done: cell.on_progress("searching", done / count),
    )["adgan"]
    return MethodResult(scores, to_dict(search) | _of_gan(model))


def _discriminator(cell: Cell) -> MethodResult:
    model = gan(cell)
    return MethodResult(gan_scores.discriminator_scores(_critic(cell, model), cell.task.test),
                   _of_gan(model))  # fmt: skip


def _anogan(cell: Cell) -> MethodResult:
    model, count = gan(cell), max(1, len(cell.task.test))
    scores = gan_scores.anogan_scores(
        model.generator,
        _critic(cell, model),
        cell.task.test,
        cell.settings.anogan,
        on_progress=lambda done: cell.on_progress("searching", done / count),
    )
    return MethodResult(scores, to_dict(cell.settings.anogan) | _of_gan(model))


def _dcae(cell: Cell) -> MethodResult:
    trained = _autoencoder(cell, "dcae", autoencoders.load_dcae, autoencoders.train_dcae)
    scores = autoencoders.dcae_scores(trained.network, cell.task.test)
    return MethodResult(scores, _of_autoencoder(trained))


def _vae(cell: Cell) -> MethodResult:
    trained = _autoencoder(cell, "vae", autoencoders.load_vae, autoencoders.train_vae)
    seed = cell.settings.autoencoder.seed
    scores = autoencoders.vae_scores(trained.network, cell.task.test, seed=seed)
    return MethodResult(scores, _of_autoencoder(trained))


METHODS: Mapping[str, Method] = {
    "adgan": partial(_searched, "adgan"),
    "adgan-1": partial(_searched, "adgan-1"),
    "adgan-tuned": _tuned_search,
    "latent-prior": partial(_searched, "latent-prior"),
    "discriminator": _discriminator,
    "anogan": _anogan,
    "dcae": _dcae,
    "vae": _vae,
    "kde": _tuned(classical.kde, True),
    "kde-free": _tuned(classical.kde, False),
    "kde-alexnet": partial(_on_alexnet, classical.kde),
    "ocsvm": _tuned(classical.ocsvm, True),
    "ocsvm-free": _tuned(classical.ocsvm, False),
    "ocsvm-alexnet": partial(_on_alexnet, classical.ocsvm),
    "iforest": _tuned(classical.iforest, True),
    "iforest-free": _tuned(classical.iforest, False),
    "gmm": _tuned(classical.gmm, True),
    "gmm-free": _tuned(classical.gmm, False),
    "mean-image": lambda cell: baselines.mean_image(cell.task),
    "mean-image-relative": lambda cell: baselines.mean_image(cell.task, relative=True),
    "pca": lambda cell: baselines.pca(cell.task),
    "pca-relative": lambda cell: baselines.pca(cell.task, relative=True),
    "file-complexity": lambda cell: baselines.file_complexity(cell.task),
}
_OF_GAN = "adgan", "adgan-1", "latent-prior", "discriminator", "anogan"
# what a first look should have beside ADGAN: seconds each, and hard to beat
DEFAULT_METHODS = (
    "adgan", "adgan-1", "adgan-tuned", "mean-image", "mean-image-relative", "pca",
    "pca-relative", "file-complexity",
)  # fmt: skip


def group_by_shared_model(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Parts of the methods that have nothing in common: those of one GAN, of AlexNet, each other.

    The GAN's first, as they take longest.
    """
    parts: dict[str, list[str]] = {"gan": []}
    for name in names:
        shared = "gan" if name in _OF_GAN else "alexnet" if name.endswith("-alexnet") else name
        parts.setdefault(shared, []).append(name)
    return [tuple(part) for part in parts.values() if part]


def settings_of(name: str, settings: Settings) -> dict[str, Any]:
    """The settings that a method's scores depend on, plain JSON: equal ones need no second run."""
    told: dict[str, Any] = {"method": name}
    if name in (*_OF_GAN, "adgan-tuned"):
        config = settings.tuned_gan if name == "adgan-tuned" else settings.gan
        told["gan"] = str(settings.model) if settings.model else _gan_settings(settings, config)
        searches = {"anogan": settings.anogan, "adgan-tuned": settings.tuned}
        told["search"] = to_dict(searches.get(name, settings.search))
    elif name in ("dcae", "vae"):
        told |= to_dict(settings.autoencoder) | {"max_seconds": settings.time_limit}
    elif name.endswith("-alexnet"):
        told["weights"] = str(settings.alexnet_weights)
    return told


def gan(cell: Cell, *, tuned: bool = False) -> Model:
    """The cell's GAN: the one that was given or trained before, or trained now and kept.

    tuned: that of adgan-tuned, instead of that of all others.
    """
    device = torch.device(cell.settings.device)
    if cell.settings.model is not None:
        model = load_model(cell.settings.model, device)
        gan_scores.check_shape(model, cell.task.test)
        return model
    config = cell.settings.tuned_gan if tuned else cell.settings.gan
    out = cell.folder / (TUNED_GAN_FOLDER if tuned else GAN_FOLDER)
    pictures = PixelSet(cell.task.train, tuple(map(str, range(len(cell.task.train)))), ())
    made_by = _gan_settings(cell.settings, config)
    wanted = canonical_json({"gan": made_by, "data": data_provenance(pictures)})
    if _read(out / TRAINED_FILE) != wanted:
        _train_gan(cell, config, out, pictures, device)
        write_text(out / TRAINED_FILE, wanted)
    return load_model(out, device)


def _train_gan(
    cell: Cell, config: GanConfig, out: Path, pictures: PixelSet, device: torch.device
) -> None:
    settings, shape = cell.settings, pictures.pixels.shape
    model_config = ModelConfig(shape[1], shape[3], config.latent_dim, settings.width)
    state, spent = None, 0.0
    if _is_same_run(out, model_config, config.train, settings.precision, pictures):
        state, spent = load_checkpoint(out, device), _seconds_spent(out / HISTORY_FILE)
    resumed = state is not None
    if state is None:
        state = new_state(
            model_config, config.train, device=device, precision=settings.precision,
            pictures=len(pictures),
        )  # fmt: skip
    started, steps = time.monotonic() - spent, config.train.iters

    def late() -> bool:
        return time.monotonic() - started >= settings.max_seconds

    def told(step: StepMetrics) -> None:
        seconds = time.monotonic() - started
        cell.on_progress("training the GAN", max(step.step / steps, seconds / settings.max_seconds))

    model = train_into(
        out, state, pictures, on_step=told, should_stop=late, save_every=SAVE_EVERY,
        resumed=resumed, keep_neighbours=False,  # no page is made with these
    )  # fmt: skip
    goal = config.train.encoder_iters
    with_encoder(
        model, pictures, goal, out=out,
        on_step=lambda step, loss: cell.on_progress("training its encoder", step / goal),
    )  # fmt: skip


def _is_same_run(
    out: Path, model_config: ModelConfig, train: TrainConfig, precision: str, pictures: PixelSet
) -> bool:
    if not (out / CHECKPOINT_FILE).exists():
        return False
    try:
        then = read_checkpoint(out)
    except ModelFileError:
        return False  # torn: begin anew
    same = then.get("model") == to_dict(model_config)
    same = same and then.get("training") == to_dict(train)
    same = same and then.get("precision") == precision
    data, now = then.get("data") or {}, data_provenance(pictures)
    return same and all(data.get(key) == value for key, value in now.items())


def _seconds_spent(history: Path) -> float:
    try:
        with open(history, encoding="utf-8", newline="") as file:
            return max((float(row["seconds"]) for row in csv.DictReader(file)), default=0.0)
    except (OSError, KeyError, TypeError, ValueError):
        return 0.0


def _critic(cell: Cell, model: Model) -> Any:
    path = cell.settings.model or cell.folder / GAN_FOLDER
    critic = gan_scores.load_critic(path, model, torch.device(cell.settings.device))
    if critic is None:
        raise NotApplicableError("needs the critic, in the checkpoint beside the model")
    return critic


def _autoencoder(
    cell: Cell,
    name: str,
    load: Callable[[Path, torch.device], Trained[Any]],
    train: Callable[..., Trained[Any]],
) -> Trained[Any]:
    path, device = cell.folder / f"{name}.safetensors", torch.device(cell.settings.device)
    config, wanted = cell.settings.autoencoder, pictures_digest(cell.task.train)
    if path.exists():
        try:
            kept = load(path, device)
        except ModelFileError:
            kept = None  # torn: train anew
        ended = kept and (kept.steps == config.iters or kept.seconds >= cell.settings.max_seconds)
        if kept and ended and (kept.config, kept.digest) == (config, wanted):
            return kept
    trained = train(
        cell.task.train,
        config,
        device=device,
        max_seconds=cell.settings.max_seconds,
        on_step=lambda step: cell.on_progress(f"training the {name}", step.step / config.iters),
    )
    autoencoders.save_autoencoder(trained, path)
    return trained


def _gan_settings(settings: Settings, config: GanConfig) -> dict[str, Any]:
    return {
        **to_dict(config.train),
        "latent_dim": config.latent_dim,
        "width": settings.width,
        "precision": settings.precision,
        "max_seconds": settings.time_limit,
    }


def _of_gan(model: Model) -> dict[str, Any]:
    training = model.provenance.get("training") or {}
    return {"gan": model.digest[:12], "gan_steps": training.get("iters")}


def _of_autoencoder(trained: Trained[Any]) -> dict[str, Any]:
    return to_dict(trained.config) | {"steps": trained.steps, "train_seconds": trained.seconds}


def _read(path: Path) -> str:
    try:
        return canonical_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ""


def pictures_of(pixels: np.ndarray, labels: np.ndarray, index: int) -> np.ndarray:
    """The pictures of one class: (n, S, S, C) uint8."""
    return np.ascontiguousarray(pixels[labels == index])
