"""Search again for the few pictures that are shown, to show what the search came to."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import nearest, read_neighbours
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search.searcher import Searcher
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import locator
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import default_workers, open_cache, read_in_order
from adgan_cli.reports.explanation import Explanation, explanations
from adgan_cli.scoring.rows import ScoreRow

NEAREST = 3  # training pictures beside each


def explain(
    model: Model,
    rows: Iterable[ScoreRow],
    root: Path,
    config: SearchConfig | None = None,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
    place: CacheConfig | None = None,
    on_picture: Callable[[int], None] = lambda done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Explanation]:
    """What the cards of these rows show beside the pictures, by path.

    root: their paths are relative to it. The search is the one that scored them: a score does not
    depend on company, so neither does what comes of it. A picture that can no longer be read has
    no explanation; stopped early, those so far have one.
    """
    config = config or model.default_search()
    loss = make_loss(config.loss, model.critic)
    searcher = Searcher(
        model.generator, config, loss=loss, encoder=model.encoder, batch_size=batch_size
    )
    rows = list(rows)
    names, pixels = _read(model, rows, root, workers, place)
    made: list[np.ndarray] = []
    done = 0
    for start in range(0, len(pixels), searcher.batch_size):
        if should_stop():
            break
        part = np.stack(pixels[start : start + searcher.batch_size])
        made += list(to_uint8(searcher(to_model_range(torch.from_numpy(part))).reconstruction))
        done += len(part)
        on_picture(done)
    if not made:
        return {}
    seen = np.stack(pixels[: len(made)])
    trained_on = {row.path for row in rows if row.in_training}
    own = [name in trained_on for name in names[: len(made)]]
    told = explanations(seen, np.stack(made), neighbours_of(model, seen, own))
    return dict(zip(names, told, strict=False))


def neighbours_of(model: Model, pixels: np.ndarray, own: Sequence[bool]) -> Sequence[np.ndarray]:
    """The training pictures nearest to each of pixels (N, S, S, C), if the model kept some.

    own: (N,), which of them were trained on themselves.
    """
    data = model.provenance.get("data") or {}
    kept = read_neighbours(model.file, data.get("digest", ""))
    return () if kept is None else nearest(kept, pixels, NEAREST, own=own)


def _read(
    model: Model,
    rows: Iterable[ScoreRow],
    root: Path,
    workers: int | None,
    place: CacheConfig | None,
) -> tuple[list[str], list[np.ndarray]]:
    locate = locator(root)
    found = [locate(row.path) for row in rows]
    rules = model.preprocessing()
    with open_cache(place, root, rules, len(found)) as cache:
        reading = read_in_order(found, rules, workers=workers or default_workers(), cache=cache)
        good = [(item.name, read) for item, read in reading if isinstance(read, DecodedImage)]
    return [name for name, _ in good], [read.pixels for _, read in good]
