"""One listing scored by several processes: how they divide it and count together.

The main process announces what its journals do not hold yet and the others accept that, so that all
see the same work. Image i goes to process i modulo their number: images of one folder, which take
equally long, are spread.
"""

import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.images.find import Listing
from adgan_cli.processes import Processes
from adgan_cli.scoring.journal import Journal, clear_journal, read_journal

REPORT_EVERY = 0.25  # seconds between a process's reports of how far it is


def plan_shares(
    processes: Processes, folder: Path, key: Mapping[str, Any], listing: Listing, *, resume: bool
) -> tuple[Journal, np.ndarray]:
    """Agree on the journal in `folder` and the images that it lacks: indices (T,) int64.

    key: the scoring_key of this process. Raises ConfigError where processes differ in model,
    settings or images, or do not share the folder.
    """
    processes.require_equal({**key, "pictures": _digest(listing)})
    if processes.is_main and not resume:
        clear_journal(folder)
    processes.require_shared(folder.parent)
    journal = read_journal(folder, key)
    if processes.is_main:
        processes.broadcast("todo", np.packbits(journal.indices_of(listing) < 0).tobytes())
    bits = np.frombuffer(processes.receive("todo"), np.uint8)
    return journal, np.flatnonzero(np.unpackbits(bits, count=len(listing.items)))


class SharedCount:
    """A number that all processes add to; each reports what it adds a few times a second."""

    def __init__(self, processes: Processes, name: str) -> None:
        self.total = 0  # as of the last report
        self._processes, self._name = processes, name
        self._unreported, self._reported_at = 0, time.monotonic()

    def add(self, count: int) -> int:
        """Add to this process's part, and return the total as far as it is known."""
        self._unreported += count
        if time.monotonic() - self._reported_at >= REPORT_EVERY:
            self.report()
        return self.total

    def report(self) -> int:
        """Report this process's part now, and return the total."""
        self.total = self._processes.add(self._name, self._unreported)
        self._unreported, self._reported_at = 0, time.monotonic()
        return self.total


def _digest(listing: Listing) -> str:
    """Return how many images there are, and a digest of their names."""
    hasher = blake2b(digest_size=8)
    for item in listing.items:
        hasher.update(item.name.encode("utf-8", "surrogatepass") + b"\0")
    return f"{listing.count:,} ({hasher.hexdigest()})"
