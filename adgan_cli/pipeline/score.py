"""Pictures in, rows out: read, search, one row a picture in input order."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.losses import loss_of
from adgan_cli.engine.model_file import Model
from adgan_cli.engine.pixels import to_unit_range
from adgan_cli.engine.search import Searcher
from adgan_cli.errors import ImageError
from adgan_cli.images.cache import CachePlace
from adgan_cli.images.find import Listing, list_inputs
from adgan_cli.images.load import default_workers, opened_cache, read_in_order
from adgan_cli.images.read import Picture
from adgan_cli.images.selection import Selection
from adgan_cli.images.sources import Found
from adgan_cli.images.traits import traits
from adgan_cli.pipeline.adjust import adjustment, held_out_scores
from adgan_cli.results.calibration import p_value
from adgan_cli.results.scores import ScoreRow


def score(
    model: Model,
    paths: Sequence[str | Path],
    config: SearchConfig | None = None,
    *,
    selection: Selection = Selection(),  # noqa: B008  frozen
    workers: int | None = None,
    batch_size: int | None = None,
) -> Iterator[ScoreRow]:
    """Score folders, archives and files; rows come in input order, as they are computed.

    config: how to search; the model's own settings when None.
    """
    listing = list_inputs(paths, selection)
    return score_inputs(model, listing, config, workers=workers, batch_size=batch_size)


def score_inputs(
    model: Model,
    listing: Listing,
    config: SearchConfig | None = None,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
    place: CachePlace | None = None,
    on_cache_off: Callable[[str], None] | None = None,
    on_spent: Callable[[str, float], None] = lambda stage, seconds: None,
    on_trace: Callable[[str, np.ndarray], object] = lambda path, trace: None,
) -> Iterator[ScoreRow]:
    """`score` for what list_inputs found: exactly one row for each of them, failures last.

    on_spent: told of the seconds it took to wait for decoded pictures (they are decoded in threads
    of their own, ahead of the search) and to search. on_trace: of a picture's losses, (n_seed,
    k + 1), at the starting points and after each step.
    """
    config = config or model.search
    loss = loss_of(config.loss, model.critic)
    searcher = Searcher(
        model.generator, config, loss=loss, encoder=model.encoder, batch_size=batch_size
    )
    held_out, adjust = held_out_scores(model, config), adjustment(model, config)
    rules, workers = model.rules(), workers or default_workers()
    with opened_cache(place, listing.root, rules, len(listing.found)) as cache:
        reading = read_in_order(listing.found, rules, workers=workers, cache=cache)
        # no more at once than are searched at once: rows come, and Ctrl-C is heeded, after each
        waiting = time.perf_counter()
        for group in _grouped(reading, searcher.batch_size):
            on_spent("waiting for pictures", time.perf_counter() - waiting)
            pictures = [read.pixels for _, read in group if isinstance(read, Picture)]
            scores: Iterator[float] = iter(())
            if pictures:
                started = time.perf_counter()
                x = to_unit_range(torch.from_numpy(np.stack(pictures)))
                found = searcher(x)
                score_of = found.score.double().numpy()
                if adjust:
                    score_of = adjust(score_of, np.stack([traits(p) for p in pictures]))
                scores = iter(score_of.tolist())
                readable = (file.name for file, read in group if isinstance(read, Picture))
                for name, trace in zip(readable, found.trace.numpy(), strict=True):
                    on_trace(name, trace)
                on_spent("searching", time.perf_counter() - started)
            for file, read in group:
                yield _row(model, file, read, scores, held_out)
            waiting = time.perf_counter()
        if cache is not None and cache.off and on_cache_off:
            on_cache_off(cache.off)
    for name, why in listing.failures:
        yield ScoreRow(name, None, error=why)


def _row(
    model: Model,
    file: Found,
    read: Picture | ImageError,
    scores: Iterator[float],
    held_out: np.ndarray | None,
) -> ScoreRow:
    if isinstance(read, ImageError):
        return ScoreRow(file.name, None, error=str(read))
    score, error = next(scores), ""
    if not math.isfinite(score):  # steps so large that the search left the numbers
        error = "its score is not a number; try a smaller --lr-z or --lr-theta"
    seen = model.has_seen(read.fingerprint)
    # of a picture that the generator learned from, the others say nothing; nor where seen is None
    known = held_out is not None and seen is False and not error
    return ScoreRow(
        file.name,
        None if error else score,
        p_value=p_value(score, held_out) if known and held_out is not None else None,
        in_training=seen,
        width=read.width,
        height=read.height,
        mode=read.mode,
        error=error,
    )


def _grouped(
    reading: Iterable[tuple[Found, Picture | ImageError]], size: int
) -> Iterator[list[tuple[Found, Picture | ImageError]]]:
    group: list[tuple[Found, Picture | ImageError]] = []
    for item in reading:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
