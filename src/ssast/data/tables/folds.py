"""Divide the rows of a table so that no subject is on two sides: into folds that resemble it, or people to test on.

People are chosen so that each label has both answers in both halves.
Shapes: R rows, G groups that stay together, K folds, N labels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssast.data.tables.people import People, find_people, grouped
from ssast.errors import UserError


@dataclass(frozen=True)
class ValueFolds:
    """Folds of the rows with one value of a column each: the value of each fold, and the `fold` (R,) of each row.

    `person` (R,) are the people of the rows, as numbers.
    """

    column: str
    values: list[str]
    fold: NDArray[np.intp]
    person: NDArray[np.intp]

    @classmethod
    def of(cls, frame: pd.DataFrame, column: str, value_R: Sequence[str | None]) -> "ValueFolds":
        """Those of a column's values, in the order of the alphabet; UserError where some are empty, or all are one."""
        if lacking := sum(value is None for value in value_R):
            raise UserError(
                f"--folds names {column!r}, which is empty in {lacking} of {len(value_R)} rows; "
                "fill it in, or leave these rows out."
            )
        values = sorted({value for value in value_R if value is not None})
        if len(values) < 2:
            raise UserError(
                f"--folds names {column!r}, which has one value in all rows; give a number of folds, such as 5."
            )
        fold_R = np.array([values.index(str(value)) for value in value_R], dtype=np.intp)
        return cls(column, values, fold_R, _groups(frame, find_people(frame))[0])

    def elsewhere(self, fold: int) -> NDArray[np.bool_]:
        """The rows (R,) in other folds of people who are also in this one: a model that is to know none leaves them."""
        is_own_R = self.fold == fold
        return ~is_own_R & np.isin(self.person, self.person[is_own_R])


def assign_folds(
    frame: pd.DataFrame, targets_RN: NDArray[np.floating], folds: int, seed: int
) -> tuple[NDArray[np.intp], str]:
    """The fold (R,) of each row, from 0, and a sentence that says how; it depends on the seed and the names alone.

    Whole subjects are dealt out where the csv names at least as many as there are folds, else rows: each to the fold
    that then is closest to its share of rows, of positives (targets from 0.5) and of negatives of each label.
    UserError where the rows are fewer than the folds.
    """
    people = find_people(frame, least=folds)
    group_R, names = _groups(frame, people)
    if len(names) < folds:
        raise UserError(f"--folds {folds} is more than the {len(names)} rows of the csv; give at most so many.")
    traits = np.concatenate([np.ones((len(frame), 1)), targets_RN >= 0.5, targets_RN < 0.5], axis=1)
    traits_GT = np.zeros((len(names), traits.shape[1]))
    np.add.at(traits_GT, group_R, traits / np.maximum(traits.sum(axis=0), 1))
    fold_G = _deal(traits_GT, _order(names, traits_GT[:, 0], seed), folds)
    sizes = ", ".join(map(str, np.bincount(fold_G[group_R], minlength=folds)))
    how = (
        f"by {people.column} ({len(names)})" if people else "row by row (there is no subject column with enough values)"
    )
    return fold_G[group_R], f"{folds} folds of {sizes} rows, {how}, seed {seed}"


def people_in_folds(frame: pd.DataFrame, folds: int) -> str:
    """A warning where people are fewer than folds: rows were dealt out, and models are tested on people they know."""
    people = find_people(frame, least=2)
    if people is None or len(people.known) >= folds:
        return ""
    count, unit = len(people.known), f"{people.unit}s"
    return (
        f"Careful: {folds} folds are more than the {count} {unit} (column {people.column}), so rows were dealt out and "
        f"{unit} are in training and test: the scores do not say how well the model does on new people. Give --folds "
        f"{count} at most."
    )


def _groups(frame: pd.DataFrame, people: People | None) -> tuple[NDArray[np.intp], list[str]]:
    """The number of each row's group (R,), and the groups' names; a row of an unknown subject is its own."""
    group_R, unique = pd.factorize(np.asarray(grouped(frame, people), dtype=object))
    return group_R, list(unique)


def _order(names: list[str], share_G: NDArray[np.floating], seed: int) -> list[int]:
    """The groups from the largest down, equal ones by chance."""
    chance = [hashlib.blake2b(f"{seed}/{name}".encode()).digest() for name in names]
    return sorted(range(len(names)), key=lambda at: (-share_G[at], chance[at]))


def _deal(traits_GT: NDArray[np.floating], order: list[int], folds: int) -> NDArray[np.intp]:
    """Each group in turn to the fold where the sums of squares grow least, so that all stay alike; none stays empty."""
    sums_KT = np.zeros((folds, traits_GT.shape[1]))
    fold_G = np.zeros(len(traits_GT), dtype=np.intp)
    for turn, at in enumerate(order):
        growth_K = ((sums_KT + traits_GT[at]) ** 2 - sums_KT**2).sum(axis=1)
        empty_K = ~sums_KT.any(axis=1)
        if empty_K.any() and empty_K.sum() >= len(order) - turn:
            growth_K[~empty_K] = np.inf
        fold_G[at] = np.argmin(growth_K)
        sums_KT[fold_G[at]] += traits_GT[at]
    return fold_G


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
