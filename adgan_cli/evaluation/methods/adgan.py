"""The scores of one search: adgan, adgan-1 and latent-prior, sections 3.2 and 4.3.

Letters in the shapes: N images, S starting points.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from adgan_cli.config import PAPER_SEARCH, SearchConfig, to_dict
from adgan_cli.engine.models.files import state_tensors
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.precision import as_computed
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.evaluation.batches import finite
from adgan_cli.evaluation.methods.gan import gan_identity, trained_gan
from adgan_cli.evaluation.task import Cell, MethodResult, pixels_digest
from adgan_cli.store import KeyedStore

SEARCH_FILE = "search.safetensors"
TUNED_SEARCH_FILE = "search-tuned.safetensors"
CHUNK = 64  # images between two reports of the search, at least
SAVE_EVERY = 30.0  # seconds; what an interruption may cost

Arrays = dict[str, np.ndarray]


def adgan(cell: Cell) -> MethodResult:
    """Score by the mean loss over all starting points: line 8 of Algorithm 1."""
    return _search(cell, "adgan", cell.settings.search)


def adgan_1(cell: Cell) -> MethodResult:
    """Score by the first starting point alone, which is what a search with n_seed 1 gives."""
    return _search(cell, "adgan-1", replace(cell.settings.search, n_seed=1))


def latent_prior(cell: Cell) -> MethodResult:
    """Score by -log p_z of the final latent vectors, without its constant (section 4.3)."""
    return _search(cell, "latent-prior", cell.settings.search)


def adgan_tuned(cell: Cell) -> MethodResult:
    """Score as train, score and rank do by default."""
    model = trained_gan(cell, tuned=True)
    config = model.default_search(cell.settings.tuned)
    arrays = _search_test(cell, model, config, TUNED_SEARCH_FILE)
    settings = to_dict(as_computed(config, model.device)) | gan_identity(model)
    return MethodResult(search_scores(arrays)["adgan"], settings)


def search_scores(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Compute the scores of three methods from what `run_search` gave: (N,) float64 each."""
    losses = finite(arrays["losses"].astype(np.float64))
    half_norms = finite(arrays["half_norms"].astype(np.float64))
    return {"adgan": losses.mean(1), "adgan-1": losses[:, 0], "latent-prior": half_norms.mean(1)}


def run_search(
    model: Model,
    pixels: np.ndarray,
    config: SearchConfig = PAPER_SEARCH,
    *,
    store: KeyedStore | None = None,
    name: str = SEARCH_FILE,
    batch_size: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Arrays:
    """Run Algorithm 1 for pixels: (N, S, S, C) uint8 -> losses and half_norms, (N, S) float32 each.

    half_norms: |z|^2 / 2 of the final latent vectors. store: keeps what is finished, every half
    minute and when anything interrupts, and the next call goes on from there. on_progress: gets
    the number of images that are done.
    """
    searcher = Searcher.for_model(model, config, batch_size=batch_size)
    kept = store.load_arrays(name) if store else None
    parts = [kept[0]] if kept else []
    done = saved = sum(len(part["losses"]) for part in parts)
    saved_at = time.monotonic()
    try:
        while done < len(pixels):
            # a multiple of what is searched at once: all cores have work, a GPU's batch is full
            chunk = searcher.batch_size * math.ceil(CHUNK / searcher.batch_size)
            part = np.ascontiguousarray(pixels[done : done + chunk])
            result = searcher(to_model_range(torch.from_numpy(part)))
            half_norms = result.z.square().sum(2) / 2
            parts.append({"losses": result.losses.numpy(), "half_norms": half_norms.numpy()})
            done += len(part)
            if on_progress:
                on_progress(done)
            if store and time.monotonic() - saved_at >= SAVE_EVERY:
                store.save_arrays(name, _joined(parts, config))
                saved, saved_at = done, time.monotonic()
    finally:
        if store and done > saved:
            store.save_arrays(name, _joined(parts, config))
    return _joined(parts, config)


def search_key(model: Model, pixels: np.ndarray, config: SearchConfig) -> dict[str, Any]:
    """List what a search depends on, as plain JSON."""
    weights = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state_tensors(model.require_generator()).items()):
        weights.update(name.encode())
        weights.update(tensor.numpy().data)
    return {
        "generator": weights.hexdigest(),
        "pictures": pixels_digest(pixels),
        "search": to_dict(as_computed(config, model.device)),
    }


def _search(cell: Cell, name: str, reported: SearchConfig) -> MethodResult:
    """Score by one of the three methods: whichever comes first searches for all of them."""
    model = trained_gan(cell)
    arrays = _search_test(cell, model, cell.settings.search, SEARCH_FILE)
    settings = to_dict(as_computed(reported, model.device)) | gan_identity(model)
    return MethodResult(search_scores(arrays)[name], settings)


def _search_test(cell: Cell, model: Model, config: SearchConfig, name: str) -> Arrays:
    test = cell.task.test
    store = KeyedStore(cell.folder, search_key(model, test, config))
    return run_search(model, test, config, store=store, name=name, on_progress=cell.report_searched)


def _joined(parts: list[Arrays], config: SearchConfig) -> Arrays:
    empty = np.empty((0, config.n_points), np.float32)
    return {
        name: np.concatenate([empty, *(part[name] for part in parts)])
        for name in ("losses", "half_norms")
    }
