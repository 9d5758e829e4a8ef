"""Pictures in, rows out: read, search, one row a picture in input order."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from adgan_cli.config import SearchConfig
from adgan_cli.engine.model_file import Model
from adgan_cli.engine.pixels import to_unit_range
from adgan_cli.engine.search import Searcher
from adgan_cli.errors import ImageError, NoImagesError
from adgan_cli.images.find import Found, find_inputs
from adgan_cli.images.load import default_workers, read_in_order
from adgan_cli.images.read import Picture
from adgan_cli.results.scores import ScoreRow


@dataclass(frozen=True)
class Inputs:
    """What there is to score: files, and what could not even be listed."""

    root: Path  # names are relative to it
    found: tuple[Found, ...]
    unlisted: tuple[ScoreRow, ...]  # folders that may not be read: rows with a reason

    @property
    def count(self) -> int:
        return len(self.found) + len(self.unlisted)


def list_inputs(paths: Sequence[str | Path]) -> Inputs:
    """Find the pictures in folders and files. Raises NoImagesError if there is not one."""
    closed: list[tuple[Path, str]] = []
    given = [Path(path) for path in paths]
    root, found = find_inputs(given, on_error=lambda path, why: closed.append((path, why)))
    if not found:
        why = f" ({closed[0][0]}: {closed[0][1]})" if closed else ""
        raise NoImagesError(f"no pictures in {', '.join(map(str, given))}{why}; give others")
    unlisted = (ScoreRow(_name(path, root), None, error=why) for path, why in closed)
    return Inputs(root, tuple(found), tuple(unlisted))


def score(
    model: Model,
    paths: Sequence[str | Path],
    config: SearchConfig | None = None,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
) -> Iterator[ScoreRow]:
    """Score folders and files; rows come in input order, as they are computed.

    config: how to search; the model's own settings when None.
    """
    return score_inputs(model, list_inputs(paths), config, workers=workers, batch_size=batch_size)


def score_inputs(
    model: Model,
    inputs: Inputs,
    config: SearchConfig | None = None,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
) -> Iterator[ScoreRow]:
    """`score` for what list_inputs found: exactly one row for each of them."""
    searcher = Searcher(model.generator, config or model.search, batch_size=batch_size)
    reading = read_in_order(
        inputs.found, model.config.size, model.config.channels, workers=workers or default_workers()
    )
    # no more at once than are searched at once: rows come, and Ctrl-C is heeded, after each group
    for group in _grouped(reading, searcher.batch_size):
        pictures = [read.pixels for _, read in group if isinstance(read, Picture)]
        scores: Iterator[float] = iter(())
        if pictures:
            x = to_unit_range(torch.from_numpy(np.stack(pictures)))
            scores = iter(searcher(x).score.tolist())
        for file, read in group:
            yield _row(file, read, scores)
    yield from inputs.unlisted


def _row(file: Found, read: Picture | ImageError, scores: Iterator[float]) -> ScoreRow:
    if isinstance(read, ImageError):
        return ScoreRow(file.name, None, error=str(read))
    score, error = next(scores), ""
    if not math.isfinite(score):  # steps so large that the search left the numbers
        error = "its score is not a number; try a smaller --lr-z or --lr-theta"
    return ScoreRow(
        file.name,
        None if error else score,
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


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
