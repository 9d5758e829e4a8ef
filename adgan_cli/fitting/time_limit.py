"""The time that a run has, and what is left of it for each part."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from adgan_cli.fitting.plan import MEASURED_SHARE, Costs, TimePlan, Work, plan_time

Part = Literal["features", "generator", "encoder", "calibration"]


@dataclass(eq=False)
class TimeLimit:
    """When a run is to end, up to its last file; costs are measured when they are needed first.

    Planned anew before each part, by what is left then: what one takes less than expected, or more,
    the others share.
    """

    seconds: float | None  # from now on; None: no limit
    measure: Callable[[float], Costs]  # in about so many seconds
    _end: float = field(default=0.0, init=False)  # by time.monotonic()
    _costs: Costs | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + max(0.0, self.seconds or 0.0)

    def plan(self, work: Work, bounded: str = "") -> TimePlan | None:
        """Divide what is left of the time as plan_time does; None where there is no limit."""
        if self.seconds is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:  # nothing is worth measuring any more
            return TimePlan()
        if self._costs is None:
            self._costs = self.measure(MEASURED_SHARE * left)
        return plan_time(self._end - time.monotonic(), self._costs, work, bounded)

    def until(self, part: Part, work: Work) -> float | None:
        """Say when a part must have ended, by time.monotonic(); None: whenever it is done."""
        plan = self.plan(work, part)
        return None if plan is None else time.monotonic() + float(getattr(plan, part))
