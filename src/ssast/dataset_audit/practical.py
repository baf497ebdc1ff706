"""Decide whether a trait tells a label by differences that are large enough to be measured.

Shapes: n clips whose label is known, P clips with it, Q clips without it.
"""

import numpy as np
from numpy.typing import NDArray

from ssast.dataset_audit.traits import RESOLUTION, Trait
from ssast.metrics.measures import Floats

LEAST_LEFT = 0.5
"""A trait is practical where differences above its resolution make at least so much of what it tells."""
ROUNDING = 1.000001


def is_practical(trait: Trait, has_n: NDArray[np.bool_], *, is_amount: bool) -> bool:
    """Whether what a trait tells comes from differences larger than its measure's resolution; True without one."""
    finest = RESOLUTION.get(trait.name, 0.0) if trait.source == "recording" else 0.0
    if trait.amounts is None or not finest:
        return True
    known_n = ~np.isnan(trait.amounts)
    if not is_amount:
        low, high = np.quantile(trait.amounts[known_n], (0.1, 0.9))
        return bool(high - low > finest * ROUNDING)
    with_P, without_Q = trait.amounts[known_n & has_n], trait.amounts[known_n & ~has_n]
    plain, coarse = (abs(_lead(with_P, without_Q, least)) for least in (0.0, finest * ROUNDING))
    return bool(coarse >= LEAST_LEFT * plain)


def _lead(with_P: Floats, without_Q: Floats, least: float) -> float:
    """Of pairs that differ by more than `least`: the share in which the first is larger, less that of the others."""
    if not len(with_P) or not len(without_Q):
        return 0.0
    sorted_Q = np.sort(without_Q)
    larger = np.searchsorted(sorted_Q, with_P - least, side="left").mean()
    smaller = len(sorted_Q) - np.searchsorted(sorted_Q, with_P + least, side="right").mean()
    return float(larger - smaller) / len(sorted_Q)
