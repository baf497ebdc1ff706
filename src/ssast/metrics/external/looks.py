"""One thing that is held against development, and whether luck explains how it differs."""

from collections.abc import Callable
from dataclasses import dataclass

from ssast.metrics.estimates import Estimate
from ssast.metrics.intervals import LEVEL
from ssast.metrics.subgroups import gap_interval


@dataclass(frozen=True)
class Look:
    """One thing that was held against development: how it differs, the interval by level, and what no shift gives."""

    value: float
    interval: Callable[[float], list[float] | None]
    nothing: float

    def is_told(self, level: float) -> bool:
        """Whether luck does not explain it at this level."""
        pair = self.interval(level)
        return pair is not None and not pair[0] <= self.nothing <= pair[1]


def gap(here: Estimate, there: Estimate) -> Look | None:
    """How far a measure lies above that of development; None where either has no interval."""
    if gap_interval(here, there, LEVEL) is None:
        return None
    return Look(here.value - there.value, lambda level: gap_interval(here, there, level), 0.0)
