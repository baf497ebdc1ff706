"""Measure how well each trait alone tells one label, and how well luck would do.

Shapes: n clips whose label is known, R shuffles, J ways (a trait as an amount, a trait as kinds), A amounts,
F folds, G kinds of a trait, M cells (a fold and a kind), S subjects.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssast.dataset_audit.traits import Trait
from ssast.metrics.measures import Floats, divide

FOLDS = 5
DOUBT = 2.0
"""A kind's share is drawn to that of all as if so many more clips were average: rare kinds say little."""
_CHUNK_CELLS = 2_000_000
"""Shuffles times clips in one go."""
_Indices = NDArray[np.intp]


class Way(NamedTuple):
    """One way to guess a label: by how much of a trait there is, or by its kind (an amount's fifth)."""

    trait: int
    is_amount: bool


def ways(traits: Sequence[Trait]) -> list[Way]:
    """Every way to guess from these traits; an amount can be taken both ways."""
    by_trait = [[True, False] if trait.amounts is not None else [False] for trait in traits]
    return [Way(at, is_amount) for at, kinds in enumerate(by_trait) for is_amount in kinds]


class _Guesses:
    """How strongly each way tells targets of the same clips: call it with targets (R, n), get (R, J).

    Under BCE 0/1 targets give an AUC, under MSE centred ranks a rank correlation; an amount counts in the better
    direction. What a kind says of a clip is learnt from other subjects' clips, so that a trait with a value for each
    subject tells nothing, and is measured from the mean of those clips, so that folds can be put together.
    """

    def __init__(self, traits: Sequence[Trait], subject_n: _Indices, *, is_value: bool, seed: int):
        from scipy.stats import rankdata

        self.ways, self.is_value = ways(traits), is_value
        fold_n = deal(subject_n, seed)
        self.kinds = [_Kinds(trait.codes, fold_n) for trait in traits]
        amounts = [trait.amounts for trait in traits if trait.amounts is not None]
        shape = len(amounts), len(subject_n)
        self.known_nA = np.array([~np.isnan(own) for own in amounts], dtype=np.float64).reshape(shape).T
        ranks = [np.nan_to_num(rankdata(own, nan_policy="omit")) for own in amounts]
        self.rank_nA = np.array(ranks, dtype=np.float64).reshape(shape).T

    def __call__(self, targets_Rn: Floats) -> Floats:
        """Strength of each way (R, J): above 0.5 or 0 where it tells something; NaN where it is undefined."""
        of_amounts_RA = iter(self._by_amount(targets_Rn).T)
        columns = []
        for way in self.ways:
            kinds = self.kinds[way.trait]
            by_kind = kinds.correlation if self.is_value else kinds.auc
            columns.append(next(of_amounts_RA) if way.is_amount else by_kind(targets_Rn))
        return np.array(columns).reshape(len(self.ways), len(targets_Rn)).T

    def scores(self, way: Way, traits: Sequence[Trait], target_n: Floats) -> Floats:
        """What this way says of each clip (n,), more meaning more of the label; NaN where the amount is not known."""
        amount_n = traits[way.trait].amounts
        if not way.is_amount or amount_n is None:
            return self.kinds[way.trait].said(target_n)
        return amount_n * (1.0 if self.rises(way, target_n) else -1.0)

    def rises(self, way: Way, target_n: Floats) -> bool:
        """Whether more of the amount means more of the label."""
        at = [own.trait for own in self.ways if own.is_amount].index(way.trait)
        known_n, rank_n = self.known_nA[:, at], self.rank_nA[:, at]
        return float(((target_n - np.average(target_n, weights=known_n)) * known_n) @ rank_n) >= 0

    def _by_amount(self, targets_Rn: Floats) -> Floats:
        cross_RA, count_A = targets_Rn @ self.rank_nA, self.known_nA.sum(0)
        sum_RA = targets_Rn @ self.known_nA
        if not self.is_value:
            pairs_RA = sum_RA * (count_A - sum_RA)
            return 0.5 + np.abs(divide(cross_RA - sum_RA * (sum_RA + 1) / 2, pairs_RA) - 0.5)
        mean_A = self.rank_nA.sum(0) / count_A
        rank_A = (self.rank_nA**2).sum(0) - count_A * mean_A**2
        target_RA = targets_Rn**2 @ self.known_nA - sum_RA**2 / count_A
        return np.abs(divide(cross_RA - sum_RA * mean_A, np.sqrt(np.maximum(target_RA * rank_A, 0))))


class _Kinds:
    """A trait as kinds, its guesses learnt from the clips of the other folds."""

    def __init__(self, code_n: _Indices, fold_n: _Indices):
        from scipy.sparse import csr_array

        self.folds, self.kinds = int(fold_n.max()) + 1, int(code_n.max()) + 1
        self.cell_n = fold_n * self.kinds + code_n
        cells = self.folds * self.kinds
        ones = np.ones(len(code_n))
        self.into_Mn = csr_array((ones, (self.cell_n, np.arange(len(code_n)))), shape=(cells, len(code_n)))
        self.count_M = np.bincount(self.cell_n, minlength=cells).astype(np.float64)

    def said(self, target_n: Floats) -> Floats:
        return self._guesses(self._sums(target_n[None]))[0][self.cell_n]

    def auc(self, targets_Rn: Floats) -> Floats:
        positive_RM = self._sums(targets_Rn)
        return _auc(self._guesses(positive_RM), positive_RM, self.count_M - positive_RM)

    def correlation(self, targets_Rn: Floats) -> Floats:
        sums_RM = self._sums(targets_Rn)
        guess_RM = self._guesses(sums_RM)
        clips = self.count_M.sum()
        mean_R1 = (guess_RM @ self.count_M)[:, None] / clips
        cross_R = np.sum((guess_RM - mean_R1) * sums_RM, axis=1)
        guess_R = (guess_RM - mean_R1) ** 2 @ self.count_M
        target_R = (targets_Rn**2).sum(1) - targets_Rn.sum(1) ** 2 / clips
        return divide(cross_R, np.sqrt(guess_R * target_R))

    def _sums(self, targets_Rn: Floats) -> Floats:
        return np.ascontiguousarray((self.into_Mn @ targets_Rn.T).T)

    def _guesses(self, sums_RM: Floats) -> Floats:
        sums_RFG = sums_RM.reshape(len(sums_RM), self.folds, self.kinds)
        count_FG = self.count_M.reshape(self.folds, self.kinds)
        others_RFG, others_FG = sums_RFG.sum(1, keepdims=True) - sums_RFG, count_FG.sum(0) - count_FG
        mean_RF1 = divide(others_RFG.sum(2, keepdims=True), others_FG.sum(1)[None, :, None] + 0 * others_RFG[:, :, :1])
        guess_RFG = (others_RFG - others_FG * np.nan_to_num(mean_RF1)) / (others_FG + DOUBT)
        return guess_RFG.reshape(sums_RM.shape).round(9)


def _auc(guess_RM: Floats, positive_RM: Floats, negative_RM: Floats) -> Floats:
    """AUC (R,) of cells with these guesses and counts; equal guesses count half."""
    order_RM = np.argsort(guess_RM, axis=1)
    guess_RM, positive_RM, negative_RM = (
        np.take_along_axis(own, order_RM, axis=1) for own in (guess_RM, positive_RM, negative_RM)
    )
    rows, cells = guess_RM.shape
    tie_RM = np.cumsum(np.diff(guess_RM, axis=1, prepend=guess_RM[:, :1]) > 0, axis=1)
    flat = (tie_RM + np.arange(rows)[:, None] * cells).ravel()
    has_RM, lacks_RM = (
        np.bincount(flat, own.ravel(), rows * cells).reshape(rows, cells).astype(np.float64)
        for own in (positive_RM, negative_RM)
    )
    below_RM = np.cumsum(lacks_RM, axis=1) - lacks_RM / 2
    return divide(np.sum(has_RM * below_RM, axis=1), has_RM.sum(1) * lacks_RM.sum(1))


def deal(subject_n: _Indices, seed: int) -> _Indices:
    """A fold for each clip (n,), the subjects dealt out at random."""
    count = int(subject_n.max(initial=-1)) + 1
    dealt_S = np.random.default_rng([seed, 2]).permutation(count) % max(1, min(FOLDS, count))
    return dealt_S[subject_n]


def trades(subject_n: _Indices, shuffles: int, seed: Sequence[int]) -> Iterator[_Indices]:
    """Chunks of indices (R, n): the clip whose target each clip gets when subjects trade theirs.

    All targets of a subject go to one other, in random order, the first ones again where that one has more clips.
    """
    rng = np.random.default_rng(seed)
    order_n = np.argsort(subject_n, kind="stable")
    size_S = np.bincount(subject_n)
    start_S = np.cumsum(size_S) - size_S
    place_n = np.empty_like(order_n)
    place_n[order_n] = np.arange(len(order_n)) - np.repeat(start_S, size_S)
    step = max(1, _CHUNK_CELLS // max(1, len(subject_n)))
    for done in range(0, shuffles, step):
        rows = min(step, shuffles - done)
        drawn_Rn = rng.random((rows, len(subject_n)))
        giver_RS = rng.permuted(np.broadcast_to(np.arange(len(size_S)), (rows, len(size_S))), axis=1)
        index_Rn = np.empty((rows, len(subject_n)), np.intp)
        for at in range(rows):  # one by one: all at once would hold five such arrays more
            giver_n = giver_RS[at][subject_n]
            index_Rn[at] = np.argsort(drawn_Rn[at] + subject_n)[start_S[giver_n] + place_n % size_S[giver_n]]
        del drawn_Rn, giver_RS
        yield index_Rn


class Luck(NamedTuple):
    """How far each way stands out: its strength, mean and spread in shuffles (J,), those standardised (R, J)."""

    strength: Floats
    mean: Floats
    spread: Floats
    shuffled: Floats

    @property
    def away(self) -> Floats:
        """How many spreads each way stands above the shuffles' mean (J,)."""
        return _standard(self.strength, self.mean, self.spread)


def luck(guesses: _Guesses, target_n: Floats, subject_n: _Indices, shuffles: int, seed: Sequence[int]) -> Luck:
    """Each way against as many shuffles of the targets among the subjects."""
    drawn = [guesses(target_n[index_Rn]) for index_Rn in trades(subject_n, shuffles, seed)]
    drawn_RJ = np.concatenate(drawn)
    nothing = 0.0 if guesses.is_value else 0.5
    drawn_RJ = np.where(np.isnan(drawn_RJ), nothing, drawn_RJ)
    strength_J = np.nan_to_num(guesses(target_n[None])[0], nan=nothing)
    mean_J, spread_J = drawn_RJ.mean(0), drawn_RJ.std(0)
    return Luck(strength_J, mean_J, spread_J, _standard(drawn_RJ, mean_J, spread_J))


def _standard(values: Any, mean_J: Floats, spread_J: Floats) -> Floats:
    """Values in spreads above the mean; 0 where shuffles always give the same, as with too few subjects."""
    return np.where(spread_J > 1e-9, divide(values - mean_J, np.broadcast_to(spread_J, np.shape(values))), 0.0)
