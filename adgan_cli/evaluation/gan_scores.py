"""What one trained GAN can be asked about a picture, sections 3.1, 3.2 and 4.3.

adgan, adgan-1 and latent-prior come from one and the same search; discriminator and anogan need
the critic too, which training leaves in the checkpoint beside the model.

Letters in the shapes: N pictures, S starting points, Z latent dimensions, C channels.
"""

import copy
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Adam

from adgan_cli.atomic import replacing
from adgan_cli.config import PAPER_SEARCH, SearchConfig, canonical_json, to_dict
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.dcgan import Critic, Generator
from adgan_cli.engine.models.files import read_tensors, state_tensors
from adgan_cli.engine.models.header import CHECKPOINT_FILE, metadata, model_path, read_header
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.engine.training.checkpoint import load_checkpoint, read_checkpoint
from adgan_cli.engine.training.objectives import objective
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.evaluation.autoencoders import pictures_digest
from adgan_cli.evaluation.batches import BATCH, finite, score_in_batches
from adgan_cli.evaluation.settings import AnoganConfig

CHUNK = 64  # pictures between two reports of the search, at least
KEEP_EVERY = 30.0  # seconds between two savings of what was found so far
KEPT = "search"  # the kind of file they go to

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Searched:
    """Where Algorithm 1 ended for the first n pictures, from each of the S starting points."""

    losses: np.ndarray  # (n, S) float32
    half_norms: np.ndarray  # (n, S) float32, |z|^2 / 2


def search_scores(
    model: Model,
    pixels: np.ndarray,
    config: SearchConfig = PAPER_SEARCH,
    *,
    keep: Path | None = None,
    batch_size: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Scores of `adgan`, `adgan-1` and `latent-prior` for pixels: (N, S, S, C) uint8.

    adgan: line 8 of Algorithm 1, the mean over all starting points. adgan-1: the first of them
    alone, which is what n_seed 1 would have found. latent-prior: minus log p_z of the final latent
    vectors without its constant, |z|^2 / 2, the mean over the points (section 4.3).

    See `run_search` for keep. Raises NotApplicableError where a score is not a number.
    """
    found = run_search(
        model, pixels, config, keep=keep, batch_size=batch_size, on_progress=on_progress
    )
    losses = finite(found.losses.astype(np.float64))
    return {
        "adgan": losses.mean(1),
        "adgan-1": losses[:, 0],
        "latent-prior": finite(found.half_norms.astype(np.float64)).mean(1),
    }


def run_search(
    model: Model,
    pixels: np.ndarray,
    config: SearchConfig,
    *,
    keep: Path | None = None,
    batch_size: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Searched:
    """Algorithm 1 for pixels: (N, S, S, C) uint8, the model's generator and any number of points.

    keep: a file for what was found so far, written now and then and when anything interrupts; the
    next call goes on from it, if it is of the same model, settings and pictures.
    on_progress: told how many pictures are done.
    """
    check_shape(model, pixels)
    loss = make_loss(config.loss, model.critic)
    searcher = Searcher(
        model.generator, config, loss=loss, encoder=model.encoder, batch_size=batch_size
    )
    of = _what_for(model, pixels, config)
    found = _kept(keep, of) if keep else []
    done = sum(len(part.losses) for part in found)
    saved_at, saved = time.monotonic(), done

    def save_found() -> None:
        nonlocal saved_at, saved
        if keep and done > saved:
            _save(_joined(found, config.n_seed), keep, of)
            saved_at, saved = time.monotonic(), done

    try:
        while done < len(pixels):
            # a multiple of what is searched at once: all cores have work, a GPU's batch is full
            chunk = searcher.batch_size * math.ceil(CHUNK / searcher.batch_size)
            part = np.ascontiguousarray(pixels[done : done + chunk])
            result = searcher(to_model_range(torch.from_numpy(part)))
            half_norms = result.z.square().sum(2) / 2  # (N, S)
            found.append(Searched(result.losses.cpu().numpy(), half_norms.cpu().numpy()))
            done += len(part)
            if on_progress:
                on_progress(done)
            if time.monotonic() - saved_at >= KEEP_EVERY:
                save_found()
    finally:
        save_found()
    return _joined(found, config.n_seed)


def load_critic(path: Path, model: Model, device: torch.device) -> Critic | None:
    """The critic that `model` was trained against, in eval mode, from the checkpoint beside it.

    path: the model's folder or file. None where there is no checkpoint, it is of another run, or
    the objective trains no critic.
    Raises ModelFileError for one that is damaged.
    """
    folder = model_path(path).parent
    if not (folder / CHECKPOINT_FILE).exists():
        return None
    content = read_checkpoint(folder)
    try:
        now = {**content["training"], "iters": content["step"], "precision": content["precision"]}
        of = {"model": content["model"], "training": now}
        of["data"] = {key: content["data"][key] for key in ("pictures", "digest")}
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{folder / CHECKPOINT_FILE} is corrupt ({error})") from error
    known = {key: model.provenance.get(key) for key in ("training", "data")}
    if canonical_json(of) != canonical_json({"model": to_dict(model.config), **known}):
        return None
    state = load_checkpoint(folder, device)
    if not objective(state.train_config).has_critic or not isinstance(state.critic, Critic):
        return None
    return state.critic.eval().requires_grad_(False)


def discriminator_scores(critic: Critic, pixels: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Minus the critic's output (section 4.3): pixels (N, S, S, C) uint8 -> (N,).

    Eq. (2) trains the critic to be high on real pictures, so what is anomalous is low.
    """

    @torch.no_grad()
    def score(x: Tensor) -> Tensor:
        verdict: Tensor = critic(x)
        return -verdict

    critic.eval()  # wgan's has batch norm
    device = critic.last.weight.device
    return score_in_batches(pixels, score, device=device, batch_size=batch_size)


def anogan_scores(
    generator: Generator,
    critic: Critic,
    pixels: np.ndarray,
    config: AnoganConfig = AnoganConfig(),  # noqa: B008  frozen
    *,
    batch_size: int = 64,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The loss L(z) of AnoGAN after its search: pixels (N, S, S, C) uint8 -> (N,).

    Only z moves, by Adam, from one starting point that is the same for every picture. Latent
    vectors and their moments are separate for each picture, and the losses of a batch are summed,
    so that company changes nothing but the order of float32 sums.
    """
    device = generator.first.weight.device
    z0 = starting_points(1, generator.config.latent_dim, config.seed).to(device)
    generator, critic = _frozen(generator), _frozen(critic)

    def score(x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = critic.features(x)  # (N, F)
        z = z0.repeat(len(x), 1).requires_grad_()
        adam = Adam([z], lr=config.lr)
        for _ in range(config.steps):
            loss = anogan_loss(generator, critic, z, x, wanted, config.weight).sum()
            (z.grad,) = torch.autograd.grad(loss, z)
            adam.step()
        with torch.no_grad():
            return anogan_loss(generator, critic, z, x, wanted, config.weight)

    return score_in_batches(
        pixels, score, device=device, batch_size=batch_size, on_progress=on_progress
    )


def anogan_loss(
    generator: nn.Module, critic: Critic, z: Tensor, x: Tensor, wanted: Tensor, weight: float
) -> Tensor:
    """(1 - weight) sum |x - G(z)| + weight sum |f(x) - f(G(z))|: z (N, Z), x (N, C, S, S) -> (N,).

    wanted: (N, F), f(x). Schlegl et al. (2017), section 2.2.
    """
    y: Tensor = generator(z)
    residual = (x - y).abs().flatten(1).sum(1)
    matching = (wanted - critic.features(y)).abs().sum(1)
    return (1 - weight) * residual + weight * matching


def check_shape(model: Model, pixels: np.ndarray) -> None:
    """Raise ConfigError unless pixels: (N, S, S, C) are as large and coloured as the model's."""
    size, channels = model.config.size, model.config.channels
    if pixels.shape[1:] != (size, size, channels):
        height, width, got = pixels.shape[1:]
        raise ConfigError(
            f"the model is for {size} x {size} pixels and {channels} channels, "
            f"the pictures have {height} x {width} and {got}"
        )


def _what_for(model: Model, pixels: np.ndarray, config: SearchConfig) -> dict[str, Any]:
    """What the outcome of a search depends on, as plain JSON."""
    weights = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state_tensors(model.generator).items()):
        weights.update(name.encode())
        weights.update(tensor.numpy().data)
    return {
        "generator": weights.hexdigest(),
        "pictures": pictures_digest(pixels),
        "search": to_dict(config),
    }


def _save(found: Searched, path: Path, of: dict[str, Any]) -> None:
    tensors = {
        "losses": torch.from_numpy(found.losses),
        "half_norms": torch.from_numpy(found.half_norms),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata(KEPT, of)))


def _kept(path: Path, of: dict[str, Any]) -> list[Searched]:
    """What an earlier call left in `path`, if it is whole and of the same search."""
    try:
        content = read_header(path, KEPT).content
        if any(content.get(key) != value for key, value in of.items()):
            return []
        tensors = read_tensors(path)
        return [Searched(tensors["losses"].numpy(), tensors["half_norms"].numpy())]
    except (ModelFileError, KeyError):  # damaged: nothing is lost but time
        return []


def _joined(found: list[Searched], points: int) -> Searched:
    empty = Searched(*(np.empty((0, points), np.float32) for _ in range(2)))
    parts = found or [empty]
    return Searched(
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.half_norms for part in parts]),
    )


def _frozen(network: Network) -> Network:
    """A copy in eval mode without gradients of its own, laid out for the fastest convolutions."""
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return frozen
