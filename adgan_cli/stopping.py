"""Ask a caller whether to stop: long work does so between its steps."""

from collections.abc import Callable

ShouldStop = Callable[[], bool]


def is_stopped(should_stop: ShouldStop | None) -> bool:
    """Ask whether to stop; never where there is nobody to ask."""
    return should_stop is not None and should_stop()
