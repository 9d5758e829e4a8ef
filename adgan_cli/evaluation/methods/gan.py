"""The GAN of a cell, trained once for all methods that need it, and the critic beside it."""

import time
from pathlib import Path
from typing import Any

import torch

from adgan_cli.config import ModelConfig, canonical_json, to_dict
from adgan_cli.engine.models.dcgan import Critic
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.header import CHECKPOINT_FILE, model_path
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.checkpoint import load_checkpoint, read_checkpoint
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.evaluation.settings import GanConfig, Settings
from adgan_cli.evaluation.task import Cell, NotApplicableError
from adgan_cli.fitting.data import data_provenance
from adgan_cli.fitting.directory import seconds_spent
from adgan_cli.fitting.run import TrainingRun
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.fitting.stages import StageProgress
from adgan_cli.images.pixels import PixelSet
from adgan_cli.store import KeyedStore

FOLDER = "gan"  # of the cell's; format
TUNED_FOLDER = "gan-tuned"
FINISHED_FILE = "trained.json"
SAVE_EVERY = 60.0  # seconds; what an interruption may cost


def trained_gan(cell: Cell, *, tuned: bool = False) -> Model:
    """Return the cell's GAN, or that of adgan-tuned: of --model, trained before, or now."""
    device = torch.device(cell.settings.device)
    if cell.settings.model is not None:
        model = load_model(cell.settings.model, device)
        _require_shape(model, cell)
        return model
    config = cell.settings.tuned_gan if tuned else cell.settings.gan
    out = cell.folder / (TUNED_FOLDER if tuned else FOLDER)
    images = PixelSet(cell.task.train, tuple(map(str, range(len(cell.task.train)))), ())
    key = {"gan": gan_settings(cell.settings, config), "data": data_provenance(images)}
    finished = KeyedStore(out, key)
    if finished.load(FINISHED_FILE) is None:
        _train(cell, config, out, images)
        finished.save(FINISHED_FILE, {})
    return load_model(out, device)


def critic_of(cell: Cell, model: Model) -> Critic:
    """Load the critic of the cell's GAN. Raises NotApplicableError where there is none."""
    path = cell.settings.model or cell.folder / FOLDER
    critic = load_critic(path, model, torch.device(cell.settings.device))
    if critic is None:
        raise NotApplicableError("needs the critic, in the checkpoint beside the model")
    return critic


def load_critic(path: Path, model: Model, device: torch.device) -> Critic | None:
    """Load the critic of `model`'s own run from the checkpoint at `path`; None without one."""
    folder = model_path(path).parent
    if not (folder / CHECKPOINT_FILE).exists():
        return None
    content = read_checkpoint(folder)
    try:
        training = {**content["training"], "iters": content["step"]}
        training["precision"] = content["precision"]
        data = {name: content["data"][name] for name in ("pictures", "digest")}
        of_checkpoint = {"model": content["model"], "training": training, "data": data}
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{folder / CHECKPOINT_FILE} is corrupt ({error})") from error
    of_model = {name: model.provenance.get(name) for name in ("training", "data")}
    of_model["model"] = to_dict(model.config)
    if canonical_json(of_checkpoint) != canonical_json(of_model):
        return None
    critic = load_checkpoint(folder, device).critic
    return critic.eval().requires_grad_(False) if critic is not None else None


def gan_settings(settings: Settings, config: GanConfig) -> dict[str, Any]:
    """List what a trained GAN depends on besides its images, as plain JSON."""
    return {
        **to_dict(config.train),
        "latent_dim": config.latent_dim,
        "width": settings.width,
        "precision": settings.precision,
        "max_seconds": settings.time_limit,
    }


def gan_identity(model: Model) -> dict[str, Any]:
    """Name a GAN in the settings of a result: its digest, and how many steps it took."""
    training = model.provenance.get("training") or {}
    return {"gan": model.digest[:12], "gan_steps": training.get("iters")}


def _require_shape(model: Model, cell: Cell) -> None:
    size, channels = model.config.size, model.config.channels
    height, width, got = cell.task.test.shape[1:]
    if (height, width, got) != (size, size, channels):
        raise ConfigError(
            f"the model is for {size} x {size} pixels and {channels} channels, "
            f"the pictures have {height} x {width} and {got}"
        )


def _train(cell: Cell, config: GanConfig, out: Path, images: PixelSet) -> None:
    _, size, _, channels = images.pixels.shape
    model = ModelConfig(size, channels, config.latent_dim, cell.settings.width)
    settings = TrainingSettings(model, config.train, save_every=SAVE_EVERY, networks_only=True)
    run = TrainingRun.resume_or_start(
        images,
        settings,
        out=out,
        device=torch.device(cell.settings.device),
        precision=cell.settings.precision,
    )
    spent = seconds_spent(out) if run.resumed else 0.0
    if (limit := cell.settings.time_limit) is not None:
        run.limit_time(limit - spent)
    started = time.monotonic() - spent
    for metrics in run.steps():
        share_of_time = (time.monotonic() - started) / cell.settings.max_seconds
        cell.report("training the GAN", max(metrics.step / config.train.iters, share_of_time))

    def report(progress: StageProgress) -> None:
        cell.report("training its encoder", progress.done / progress.total)

    run.finish(on_progress=report)
