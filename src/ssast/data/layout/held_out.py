"""Choose the people to test on, so that each label has both answers in both halves.

Shapes: R rows of a table, N labels, G groups of rows that stay together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 200
"""So many divisions of the people are drawn; the one whose halves are most alike is taken."""
LACKING = 10.0
"""What it costs a division that a label has only one answer in one of its halves."""


def choose_test(groups: Sequence[str], targets_RN: NDArray[np.float64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are the test (R,): whole groups, about `share` of them, with each label's answers in both halves.

    Of `DRAWS` divisions drawn from `seed` the one whose rates of yes are closest in both halves.
    """
    names, group_R = np.unique(np.array(groups, dtype=object), return_inverse=True)
    known_RN = ~np.isnan(targets_RN)
    yes_RN = np.where(known_RN, targets_RN, 0.0)
    counted = (yes_RN, known_RN - yes_RN, np.ones((len(groups), 1)))
    sums = [_by_group(values, group_R, len(names)) for values in counted]
    size = min(max(1, round(share * len(names))), len(names) - 1)
    random = np.random.default_rng(seed)
    drawn = [np.isin(np.arange(len(names)), random.permutation(len(names))[:size]) for _ in range(DRAWS)]
    chosen_G = min(drawn, key=lambda chosen_G: _cost(chosen_G, share, *sums))
    return chosen_G[group_R]


def _by_group(values_RN: NDArray[np.float64], group_R: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    """Sums over the rows of each group (G, N)."""
    sums_GN = np.zeros((groups, values_RN.shape[1]))
    np.add.at(sums_GN, group_R, values_RN)
    return sums_GN


def _cost(
    chosen_G: NDArray[np.bool_],
    share: float,
    yes_GN: NDArray[np.float64],
    no_GN: NDArray[np.float64],
    rows_G1: NDArray[np.float64],
) -> float:
    """How unlike the two halves are."""
    cost = abs(rows_G1[chosen_G].sum() / rows_G1.sum() - share)
    rates = []
    for half_G in (chosen_G, ~chosen_G):
        yes_N, no_N = yes_GN[half_G].sum(0), no_GN[half_G].sum(0)
        cost += LACKING * float(np.sum((yes_N == 0) | (no_N == 0)))
        rates.append(yes_N / np.maximum(yes_N + no_N, 1.0))
    return float(cost + np.abs(rates[0] - rates[1]).sum())
