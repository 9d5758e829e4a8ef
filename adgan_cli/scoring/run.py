"""One run over a listing: read, search, a row for each image, in the listing's order."""

import math
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError, ImageError
from adgan_cli.images.find import Listing, list_inputs
from adgan_cli.images.read import DecodedImage
from adgan_cli.images.reader import Reader
from adgan_cli.images.refs import FileStamp, ImageRef
from adgan_cli.images.selection import Selection
from adgan_cli.locks import owning
from adgan_cli.processes import SINGLE, Processes, is_restart
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.calibration import p_value
from adgan_cli.scoring.joining import joined_names, require_scoring
from adgan_cli.scoring.journal import (
    Append,
    Journal,
    JournalEntry,
    clear_journal,
    journal_writer,
    read_journal,
    scoring_key,
    stamp_of,
)
from adgan_cli.scoring.reading import ReadTwice, read_twice
from adgan_cli.scoring.rows import NO_PARTS, PartScores, ScoreRow
from adgan_cli.scoring.scorer import Scorer
from adgan_cli.scoring.shares import REPORT_EVERY, SharedCount, plan_shares

# stages of ScoringRun.seconds
WAITING, SEARCHING, COMPARING = "waiting for pictures", "searching", "comparing features"

# what came of an image: its entry, or why it has none; the losses, where it was searched for
_Outcome = tuple[JournalEntry | ImageError, np.ndarray | None]


def score(
    model: Model,
    paths: Sequence[str | Path],
    config: SearchConfig | None = None,
    *,
    selection: Selection = Selection(),  # noqa: B008  frozen
    workers: int | None = None,
    batch_size: int | None = None,
    journal: str | Path | None = None,
    resume: bool = False,
) -> Iterator[ScoreRow]:
    """Score folders, archives and files; rows come in input order, as they are computed.

    config: how to search; the model's own settings when None. journal, resume: see ScoringRun.
    """
    run = ScoringRun(
        model,
        list_inputs(paths, selection),
        config,
        reader=Reader(model.preprocessing(), workers),
        batch_size=batch_size,
        journal=journal,
        resume=resume,
    )
    if journal is None:
        return run.rows()
    with (
        ExitStack() as stack
    ):  # another owner of the journal is reported here, before the first row
        stack.enter_context(owning(Path(journal)))
        return _until_the_last(run.rows(), stack.pop_all())


def _until_the_last(rows: Iterator[ScoreRow], owned: ExitStack) -> Iterator[ScoreRow]:
    with owned:
        yield from rows


@dataclass(frozen=True, eq=False)
class ScoringResult:
    """A row, and the losses that the search went through for it."""

    row: ScoreRow
    losses: np.ndarray | None  # (n_seed, k + 1); None where the journal or a failure made the row


class ShareProgress(NamedTuple):
    """How far all processes are with what the journal lacked."""

    done: int
    total: int


class ScoringRun:
    """Score a listing, in one process or several; keep a journal, and go on from it.

    config: how to search; the model's own settings when None. reader: its threads and its cache
    are used; images are read as the model needs them. batch_size: images searched for at once, by
    default what fits. journal: a folder that keeps every score at once, for a later run with the
    same model and settings; resume: score only what is new or changed since, else begin anew.
    processes: if several, they need a journal in a folder that all of them see, and make one run
    each time they are started.

    held_out: scores of images not trained on, ascending; None where rows get no p-values.
    detectors: those whose scores are joined, each with a column of its own.
    seconds: spent so far in each stage, waiting for decoded images (threads decode them ahead of
    the search) and searching, or comparing features where nothing is searched for.

    eager_reason: why the search is not replayed as one CUDA graph where it could be; else None.

    Raises ConfigError where the model lacks what the settings score by, and for an adjustment that
    it has too few held-out scores for.
    """

    def __init__(
        self,
        model: Model,
        listing: Listing,
        config: SearchConfig | None = None,
        *,
        reader: Reader | None = None,
        batch_size: int | None = None,
        journal: str | Path | None = None,
        resume: bool = False,
        processes: Processes = SINGLE,
    ) -> None:
        self.model, self.listing = model, listing
        self.config = config or model.default_search()
        require_scoring(model, self.config)
        self.held_out = held_out_scores(model, self.config)
        self.detectors = joined_names(model, self.config)
        self.seconds: dict[str, float] = {}
        self.eager_reason: str | None = None
        preprocessing = model.preprocessing()
        self._reader = (reader or Reader(preprocessing)).with_preprocessing(preprocessing)
        self._batch_size = batch_size
        self._journal = None if journal is None else Path(journal)
        self._processes = processes
        self._resume = resume or (processes.world_size > 1 and is_restart())
        self._has_shared = processes.world_size == 1
        if processes.world_size > 1 and journal is None:
            raise ConfigError("several processes need a journal to share their scores")

    def rows(self) -> Iterator[ScoreRow]:
        """Yield one row for each image in the listing's order, and its failures last.

        The caller may stop at any row; called again, or in a later run that resumes, what is in the
        journal is not scored a second time. Of several processes the main one has all rows, once
        all have scored their shares, and the others have none. Raises ConfigError for a journal of
        another model or other settings.
        """
        return (result.row for result in self.results())

    def results(self) -> Iterator[ScoringResult]:
        """Yield what `rows` does, with the losses of each search."""
        # not a generator: a journal that does not match is refused here, before the first row
        for _ in self.score_share():
            pass
        return self._results(self._cached()) if self._processes.is_main else iter(())

    def score_share(self) -> Iterator[ShareProgress]:
        """Score this process's share into its journal; `rows` does it where the caller has not.

        Yield after each image, and in the main process until all others have ended. There is
        nothing to do for a single process. Raises ConfigError where processes do not agree.
        """
        if self._has_shared or self._journal is None:
            return iter(())
        # not a generator: a caller that defers signals does so only after processes have waited
        # for each other here
        cached, todo = plan_shares(
            self._processes, self._journal, self._key, self.listing, resume=self._resume
        )
        self._resume = True
        return self._score_share(cached, todo)

    def _score_share(self, cached: Journal, todo: np.ndarray) -> Iterator[ShareProgress]:
        share = todo[self._processes.rank :: self._processes.world_size]
        scored = SharedCount(self._processes, "scored")
        for _ in self._outcomes([self.listing.items[index] for index in share.tolist()], cached):
            yield ShareProgress(scored.add(1), len(todo))
        yield ShareProgress(scored.report(), len(todo))
        processes = self._processes
        processes.add("done")
        while processes.is_main and processes.add("done", 0) < processes.world_size:
            time.sleep(REPORT_EVERY / 10)
            yield ShareProgress(scored.report(), len(todo))
        self._has_shared = True

    @cached_property
    def _key(self) -> dict[str, Any]:
        return scoring_key(self.model, self.config)

    def _cached(self) -> Journal:
        """Read the journal, or clear it when the run begins anew."""
        if self._journal is None:
            return Journal()
        if not self._resume:
            clear_journal(self._journal)
            self._resume = True  # what this run has scored stays
        return read_journal(self._journal, self._key)

    def _results(self, cached: Journal) -> Iterator[ScoringResult]:
        items, indices = self.listing.items, cached.indices_of(self.listing)
        with closing(self._outcomes(list(compress(items, indices < 0)), cached)) as new:
            for item, index in zip(items, indices, strict=True):
                entry, losses = (cached[index], None) if index >= 0 else next(new)
                yield ScoringResult(self._row(item.name, entry), losses)
            assert next(new, None) is None, "more was scored than there is"
        for name, reason in self.listing.failures:
            yield ScoringResult(ScoreRow(name, None, error=reason), None)

    def _outcomes(
        self, items: Sequence[ImageRef], cached: Journal
    ) -> Generator[_Outcome, None, None]:
        """Read items, search for what has no score yet, and append to the journal, in order."""
        scorer = Scorer(self.model, self.config, self._batch_size)
        stamps: deque[FileStamp | None] = deque()

        def stamped() -> Iterator[ImageRef]:
            for item in items:
                stamps.append(stamp_of(item))  # before it is read: a change in between shows
                yield item

        reading = read_twice(
            self.model,
            self.config,
            stamped(),
            self.listing.root,
            expected=len(items),
            reader=self._reader,
        )
        with self._writer() as append:
            # no more at once than are searched at once: rows come, and a stop is heeded, after each
            while True:
                with self._timed(WAITING):
                    batch = list(islice(reading, scorer.batch_size))
                if not batch:
                    return
                with self._timed(COMPARING if self.config.by == "features" else SEARCHING):
                    outcomes = list(_batch_outcomes(batch, scorer, cached))
                self.eager_reason = scorer.eager_reason
                for (item, _, _), (entry, _) in zip(batch, outcomes, strict=True):
                    stamp = stamps.popleft()
                    if append and isinstance(entry, JournalEntry) and math.isfinite(entry.score):
                        append(item, stamp, entry)
                yield from outcomes

    def _writer(self) -> AbstractContextManager[Append | None]:
        if self._journal is None:
            return nullcontext()
        return journal_writer(self._journal, self._key, self.listing.root, self._processes.rank)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def _row(self, name: str, entry: JournalEntry | ImageError) -> ScoreRow:
        if isinstance(entry, ImageError):
            return ScoreRow(name, None, error=str(entry))
        error = ""
        if not math.isfinite(entry.score):  # steps so large that the search left the numbers
            error = "its score is not a number; try a smaller --lr-z or --lr-theta"
        in_training = self.model.was_trained_on(entry.content)
        p = None
        # held-out scores say nothing of an image that was trained on, nor of one that may have been
        if self.held_out is not None and in_training is False and not error:
            p = p_value(entry.score, self.held_out)
        return ScoreRow(
            name,
            None if error else entry.score,
            p_value=p,
            in_training=in_training,
            width=entry.width,
            height=entry.height,
            mode=sys.intern(entry.mode),  # one of a few, in millions of rows
            error=error,
            z_scores=NO_PARTS if error else PartScores(self.detectors, entry.z_scores),
        )


def _batch_outcomes(
    images: Sequence[ReadTwice], scorer: Scorer, cached: Journal
) -> Iterator[_Outcome]:
    """Score the images of a batch whose content has no score in the journal."""
    entries: dict[int, JournalEntry] = {}
    losses: dict[int, np.ndarray] = {}
    new: dict[int, DecodedImage] = {}
    for index, (_, image, _) in enumerate(images):
        if isinstance(image, DecodedImage):
            entry = cached.entry_of_content(image.fingerprint)
            if entry is None:
                new[index] = image
            else:
                entries[index] = _entry(image, entry.score, entry.z_scores)
    if new:
        large = [images[index][2] for index in new]
        scored = scorer(
            np.stack([image.pixels for image in new.values()]),
            None if large[0] is None else np.stack([one for one in large if one is not None]),
        )
        rows = zip(new.items(), scored.scores.tolist(), scored.z_scores.tolist(), strict=True)
        entries |= {index: _entry(image, score, z) for (index, image), score, z in rows}
        if scored.losses is not None:
            losses = dict(zip(new, scored.losses, strict=True))
    for index, (_, image, _) in enumerate(images):
        yield image if isinstance(image, ImageError) else entries[index], losses.get(index)


def _entry(image: DecodedImage, score: float, z_scores: Sequence[float]) -> JournalEntry:
    size = image.width, image.height
    return JournalEntry(image.fingerprint, score, *size, image.mode, tuple(z_scores))
