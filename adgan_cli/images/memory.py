"""Bound the memory that reading takes, over all threads: large images wait for each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Bytes that threads may need at once. Who needs more than is left waits for others to end.

    But never the one that began first: it goes on whatever it needs, so that nobody waits for ever,
    and what is larger than the whole budget is read alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._needed: dict[int, int] = {}  # by thread, in the order in which they began
        self._changed = threading.Condition()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Give back, at the end of the block, what this thread needed in it."""
        thread = threading.get_ident()
        with self._changed:
            is_outermost = thread not in self._needed
            self._needed.setdefault(thread, 0)
        try:
            yield
        finally:
            if is_outermost:
                with self._changed:
                    del self._needed[thread]
                    self._changed.notify_all()

    def need(self, count: int) -> None:
        """Wait until so many bytes more may be taken; at once outside of a `reading` block."""
        thread = threading.get_ident()
        with self._changed:
            if thread not in self._needed:
                return
            self._changed.wait_for(
                lambda: (
                    thread == next(iter(self._needed))
                    or sum(self._needed.values()) + count <= self._limit
                )
            )
            self._needed[thread] += count


READING = MemoryBudget(2**30)
