"""Pair clips with a label and clips without it that are alike in a trait.

Shapes: n clips.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from ssast.dataset_audit.traits import Trait

CALIPER = 0.1
"""A pair differs by at most so many standard deviations of the trait."""
_Indices = NDArray[np.intp]


def matched(trait: Trait, has_n: NDArray[np.bool_], seed: int = 0) -> _Indices:
    """The clips that found a partner, each once; half of them have the label.

    Of an amount the nearest free partner within the caliper, in random order; of kinds any of the same kind.
    """
    rng = np.random.default_rng([seed, 3])
    own, other = (rng.permutation(np.flatnonzero(which)) for which in (has_n, ~has_n))
    if len(own) > len(other):
        own, other = other, own
    pairs = _nearest(trait.amounts, own, other) if trait.amounts is not None else _same(trait.codes, own, other)
    return np.sort(np.array(pairs, dtype=np.intp).ravel())


def _nearest(amount_n: NDArray[np.float64], own: _Indices, other: _Indices) -> list[tuple[int, int]]:
    known_n = amount_n[~np.isnan(amount_n)]
    reach = CALIPER * float(known_n.std()) if len(known_n) else 0.0
    free = sorted((float(amount_n[at]), int(at)) for at in other if not np.isnan(amount_n[at]))
    pairs = []
    for at in own:
        value = float(amount_n[at])
        place = bisect_left(free, (value, -1))
        near = [(abs(free[k][0] - value), k) for k in (place - 1, place) if 0 <= k < len(free)]
        if near and min(near)[0] <= reach:  # never true of NaN
            pairs.append((int(at), free.pop(min(near)[1])[1]))
    return pairs


def _same(code_n: _Indices, own: _Indices, other: _Indices) -> list[tuple[int, int]]:
    free: dict[int, list[int]] = {}
    for at in other:
        free.setdefault(int(code_n[at]), []).append(int(at))
    return [(int(at), free[int(code_n[at])].pop()) for at in own if free.get(int(code_n[at]))]
