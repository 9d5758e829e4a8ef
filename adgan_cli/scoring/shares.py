"""One folder scored by several processes: each its share, into a journal of its own.

The first process says what is to be done, which is what its journals do not know yet; the others
take its word, so that all see the same work. Every k-th picture goes to each of k processes: those
that lie together in a folder, and take alike long, are spread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.images.find import Listing
from adgan_cli.processes import Processes
from adgan_cli.scoring.journal import (
    Journal,
    clear_journal,
    read_journal,
    scoring_key,
    writing_journal,
)
from adgan_cli.scoring.run import score_inputs

TELL_EVERY = 0.25  # seconds between a process's words on how far it is


@dataclass(frozen=True, eq=False)
class WorkPlan:
    """What the processes have agreed to do."""

    folder: Path  # of their journals
    known: Journal  # what is done already
    todo: np.ndarray  # (T,) int64, numbers of pictures of the listing


def plan_work(
    processes: Processes,
    folder: Path,
    model: Model,
    listing: Listing,
    config: SearchConfig,
    *,
    resume: bool,
) -> WorkPlan:
    """Find out together what of the listing the journals in `folder` do not know yet.

    Raises ConfigError where processes differ in model, settings or pictures, or do not share the
    folder.
    """
    wanted = scoring_key(model, config)
    processes.require_equal({**wanted, "pictures": _digest(listing)})
    if processes.is_main and not resume:
        clear_journal(folder)
    processes.require_shared(folder.parent)
    known = read_journal(folder, wanted)
    if processes.is_main:
        processes.broadcast("todo", np.packbits(known.rows_of(listing) < 0).tobytes())
    bits = np.frombuffer(processes.receive("todo"), np.uint8)
    return WorkPlan(folder, known, np.flatnonzero(np.unpackbits(bits, count=len(listing.items))))


def score_assigned(
    processes: Processes,
    work: WorkPlan,
    model: Model,
    listing: Listing,
    config: SearchConfig,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    **how: Any,
) -> bool:
    """Score this process's share of the work into its own journal; False where it was stopped.

    The first process returns when all have ended, and is told of the progress of all. how: what
    else score_inputs takes.
    """
    mine = work.todo[processes.number :: processes.count].tolist()
    share = Listing(listing.root, [listing.items[place] for place in mine], [], 0)
    waiting, told = 0, time.monotonic()

    def progress(done: int) -> None:
        nonlocal waiting, told
        waiting += done
        if time.monotonic() - told >= TELL_EVERY or not done:
            so_far = processes.add("scored", waiting)
            waiting, told = 0, time.monotonic()
            on_progress(so_far, len(work.todo))

    to = work.folder, scoring_key(model, config), listing.root, processes.number
    with writing_journal(*to) as keep:
        for _ in score_inputs(model, share, config, known=work.known, keep=keep, **how):
            progress(1)
            if should_stop():
                return False
    progress(0)
    processes.add("done")
    while processes.is_main and processes.add("done", 0) < processes.count:
        if should_stop():
            return False
        time.sleep(TELL_EVERY / 10)
        progress(0)
    return True


def _digest(listing: Listing) -> str:
    """How many pictures there are, and a digest of their names."""
    hasher = blake2b(digest_size=8)
    for file in listing.items:
        hasher.update(file.name.encode("utf-8", "surrogatepass") + b"\0")
    return f"{listing.count:,} ({hasher.hexdigest()})"
