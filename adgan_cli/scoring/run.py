"""Pictures in, rows out: read, search, one row a picture in input order."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import compress
from pathlib import Path

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.errors import ImageError
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import Listing, list_inputs
from adgan_cli.images.load import default_workers, open_cache, read_in_order
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.selection import Selection
from adgan_cli.images.sources import FileStamp, ImageRef
from adgan_cli.images.statistics import image_statistics
from adgan_cli.scoring.adjust import adjustment, held_out_scores
from adgan_cli.scoring.calibration import p_value
from adgan_cli.scoring.journal import Journal, JournalEntry, stamp_of
from adgan_cli.scoring.rows import ScoreRow


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
    place: CacheConfig | None = None,
    known: Journal = Journal(),  # noqa: B008  frozen
    keep: Callable[
        [ImageRef, FileStamp | None, JournalEntry], None
    ] = lambda found, stamp, scored: None,
    on_cache_disabled: Callable[[str], None] | None = None,
    on_spent: Callable[[str, float], None] = lambda stage, seconds: None,
    on_trace: Callable[[str, np.ndarray], object] = lambda path, trace: None,
) -> Iterator[ScoreRow]:
    """`score` for what list_inputs found: exactly one row for each of them, failures last.

    known: what was scored before; pictures that have not changed since are not even read, and what
    has the content of one is not searched for. keep: told of what is scored now.
    on_spent: told of the seconds it took to wait for decoded pictures (they are decoded in threads
    of their own, ahead of the search) and to search. on_trace: of a picture's losses, (n_seed,
    k + 1), at the starting points and after each step.
    """
    config = config or model.default_search()
    held_out = held_out_scores(model, config)
    rows = known.rows_of(listing)
    searched = _searched(
        model, listing, list(compress(listing.items, rows < 0)), config, workers, batch_size, place,
        known, keep, on_cache_disabled, on_spent, on_trace,
    )  # fmt: skip
    with closing(searched):
        for file, row in zip(listing.items, rows, strict=True):
            scored = known[row] if row >= 0 else next(searched)
            yield _row(model, file.name, scored, held_out)
        for _ in searched:  # it ends here, and closes what it has opened
            raise AssertionError("more was scored than there is")
    for name, why in listing.failures:
        yield ScoreRow(name, None, error=why)


def _searched(
    model: Model,
    listing: Listing,
    found: Sequence[ImageRef],
    config: SearchConfig,
    workers: int | None,
    batch_size: int | None,
    place: CacheConfig | None,
    known: Journal,
    keep: Callable[[ImageRef, FileStamp | None, JournalEntry], None],
    on_cache_disabled: Callable[[str], None] | None,
    on_spent: Callable[[str, float], None],
    on_trace: Callable[[str, np.ndarray], object],
) -> Generator[JournalEntry | ImageError, None, None]:
    """Read and search `found`, some of the listing, in order."""
    loss = make_loss(config.loss, model.critic)
    searcher = Searcher(
        model.generator, config, loss=loss, encoder=model.encoder, batch_size=batch_size
    )
    adjust = adjustment(model, config)
    rules, workers = model.preprocessing(), workers or default_workers()
    stamps: deque[FileStamp | None] = deque()

    def stamped() -> Iterator[ImageRef]:
        for file in found:
            stamps.append(stamp_of(file))  # before it is read: a change in between shows
            yield file

    with open_cache(place, listing.root, rules, len(found)) as cache:
        reading = read_in_order(stamped(), rules, workers=workers, cache=cache)
        # no more at once than are searched at once: rows come, and Ctrl-C is heeded, after each
        waiting = time.perf_counter()
        for group in _grouped(reading, searcher.batch_size):
            on_spent("waiting for pictures", time.perf_counter() - waiting)
            started = time.perf_counter()
            places = [
                known.row_of_content(read.fingerprint) if isinstance(read, DecodedImage) else -1
                for _, read in group
            ]
            new = [
                (file.name, read.pixels)
                for (file, read), row in zip(group, places, strict=True)
                if isinstance(read, DecodedImage) and row < 0
            ]
            scores: Iterator[float] = iter(())
            if new:
                result = searcher(to_model_range(torch.from_numpy(np.stack([x for _, x in new]))))
                score_of = result.score.double().numpy()
                if adjust:
                    score_of = adjust(score_of, np.stack([image_statistics(x) for _, x in new]))
                scores = iter(score_of.tolist())
                for (name, _), trace in zip(new, result.trace.numpy(), strict=True):
                    on_trace(name, trace)
            on_spent("searching", time.perf_counter() - started)
            for (file, read), row in zip(group, places, strict=True):
                stamp = stamps.popleft()
                if isinstance(read, ImageError):
                    yield read
                    continue
                score = known[row].score if row >= 0 else next(scores)
                scored = JournalEntry(read.fingerprint, score, read.width, read.height, read.mode)
                if math.isfinite(score):
                    keep(file, stamp, scored)
                yield scored
            waiting = time.perf_counter()
        if cache is not None and cache.disabled_reason and on_cache_disabled:
            on_cache_disabled(cache.disabled_reason)


def _row(
    model: Model, name: str, scored: JournalEntry | ImageError, held_out: np.ndarray | None
) -> ScoreRow:
    if isinstance(scored, ImageError):
        return ScoreRow(name, None, error=str(scored))
    score, error = scored.score, ""
    if not math.isfinite(score):  # steps so large that the search left the numbers
        error = "its score is not a number; try a smaller --lr-z or --lr-theta"
    seen = model.was_trained_on(scored.content)
    # of a picture that the generator learned from, the others say nothing; nor where seen is None
    known = held_out is not None and seen is False and not error
    return ScoreRow(
        name,
        None if error else score,
        p_value=p_value(score, held_out) if known and held_out is not None else None,
        in_training=seen,
        width=scored.width,
        height=scored.height,
        mode=sys.intern(scored.mode),  # one of a few, in millions of rows
        error=error,
    )


def _grouped(
    reading: Iterable[tuple[ImageRef, DecodedImage | ImageError]], size: int
) -> Iterator[list[tuple[ImageRef, DecodedImage | ImageError]]]:
    group: list[tuple[ImageRef, DecodedImage | ImageError]] = []
    for item in reading:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
