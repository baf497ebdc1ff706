"""Keep estimates in a file as plain values, and read them again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssast.metrics.estimates import BOTH_WAYS, RATIO, SHARE, Estimate

_RANGES = {SHARE: (0.0, 1.0), BOTH_WAYS: (-1.0, 1.0), RATIO: (0.0, np.inf)}


def estimate_entry(own: Estimate) -> dict[str, object] | None:
    """Value, error and people; None where they are undefined."""
    if not np.isfinite(own.value) or not np.isfinite(own.error):
        return None
    return {"value": own.value, "error": own.error, "people": own.bearing}


def kept_estimate(found: Mapping[str, Any], scale: str) -> Estimate:
    """That of an entry: one pull stands for those of all; ValueError, KeyError or TypeError where it is none."""
    value, error, people = float(found["value"]), float(found["error"]), whole_number(found["people"])
    low, high = _RANGES.get(scale, (-np.inf, np.inf))
    if not np.isfinite([value, error]).all() or error < 0 or not low <= value <= high:
        raise ValueError("a measure is out of its range")
    pull = error * ((people - 1) / people) ** 0.5 if people > 1 else 0.0
    return Estimate(value, np.array([pull]), people, scale)


def whole_number(value: object, least: int = 0) -> int:
    """A count of a file; ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**9:
        raise ValueError(f"a count is not a whole number from {least}")
    return value


def counted_people(count: int) -> str:
    """`1 person`, `2 people`."""
    return f"{count} {'person' if count == 1 else 'people'}"
