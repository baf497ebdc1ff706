"""Measure how far raters agree: Krippendorff's alpha, ICC(2,1) and kappa, of clips that are weighted.

Shapes: R resamples, N clips, J ratings of a clip, NaN where there is none, K values that ratings can have.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.level_measures import weighted_kappa
from ssast.metrics.measures import Floats, divide
from ssast.model.label_kinds import CHOICE, SCALE, YES_NO

Agreement = Callable[[Floats, Floats, Floats], Floats]
"""Of weights (R, N) and two answers (N,), NaN where one is lacking: how far they agree (R,)."""
_LEAST = 1e-12


def of_clips(weights_RN: Floats, known_N: NDArray[np.bool_]) -> Floats:
    """The weights of some clips; of all of them no copy where they lie in memory as chosen columns do.

    Sums over either are then the same to the last bit.
    """
    return np.asfortranarray(weights_RN) if known_N.all() else weights_RN[:, known_N]


def alpha(weights_RN: Floats, ratings_NJ: Floats, kind: str, values: int) -> Floats:
    """Krippendorff's alpha (R,) for labels of a kind, NaN where every rating is the same.

    Ratings of scales are steps from 0 and differ by how many ratings lie between them (the ordinal metric), those of
    choices and of yes/no labels differ or not, numbers by their squared distance. `values` is how many a rating of
    the first three can have. Source: Krippendorff 2019, Content Analysis, 4th edition, chapter 12.
    """
    count_N = (~np.isnan(ratings_NJ)).sum(axis=1)
    kept_N = count_N > 1  # one rating is compared with none
    weights_Rn, ratings_nJ, count_n = (
        of_clips(weights_RN, kept_N),
        ratings_NJ[kept_N],
        count_N[kept_N].astype(np.float64),
    )
    if kind not in (SCALE, CHOICE, YES_NO):
        return _interval_alpha(weights_Rn, ratings_nJ, count_n)
    of_value_nK = np.stack([(ratings_nJ == value).sum(axis=1) for value in range(values)], axis=1).astype(np.float64)
    total_RK = weights_Rn @ of_value_nK
    share_nK = of_value_nK / (count_n[:, None] - 1)
    pairs_RKK = of_value_nK.T @ (weights_Rn[:, :, None] * share_nK)
    pairs_RKK -= (weights_Rn @ share_nK)[:, :, None] * np.eye(values)  # no rating is compared with itself
    apart_RKK = _ordinal(total_RK) if kind == SCALE else np.broadcast_to(1 - np.eye(values), pairs_RKK.shape)
    total_R = total_RK.sum(axis=1)
    observed_R = (pairs_RKK * apart_RKK).sum(axis=(1, 2))
    expected_R = (total_RK[:, :, None] * total_RK[:, None] * apart_RKK).sum(axis=(1, 2))
    return 1 - divide((total_R - 1) * observed_R, np.where(expected_R > _LEAST, expected_R, 0.0))


def _ordinal(total_RK: Floats) -> Floats:
    """The squared number of ratings from one value to another, both ends by half (R, K, K)."""
    up_RK = np.cumsum(total_RK, axis=1) - total_RK / 2
    return (up_RK[:, :, None] - up_RK[:, None]) ** 2


def _interval_alpha(weights_Rn: Floats, ratings_nJ: Floats, count_n: Floats) -> Floats:
    ratings_nJ = ratings_nJ - np.nanmean(ratings_nJ) if ratings_nJ.size else ratings_nJ
    sum_n, squares_n = np.nansum(ratings_nJ, axis=1), np.nansum(ratings_nJ**2, axis=1)
    apart_n = 2 * (count_n * squares_n - sum_n**2) / np.maximum(count_n - 1, 1)
    total_R, sum_R, squares_R = (weights_Rn @ each_n for each_n in (count_n, sum_n, squares_n))
    expected_R = 2 * (total_R * squares_R - sum_R**2)
    least_R = _LEAST * np.maximum(total_R, 1) ** 2
    return 1 - divide((total_R - 1) * (weights_Rn @ apart_n), np.where(expected_R > least_R, expected_R, 0.0))


def icc_of_raters(weights_RN: Floats, ratings_NJ: Floats) -> Floats:
    """ICC(2,1) (R,), two-way random, absolute agreement, of the clips that all raters rated; NaN where nothing varies.

    Source: McGraw and Wong 1996, Psychological Methods 1, ICC(A,1).
    """
    whole_N = np.asarray(~np.isnan(ratings_NJ).any(axis=1))
    weights_Rn, ratings_nJ = of_clips(weights_RN, whole_N), ratings_NJ[whole_N]
    raters = ratings_NJ.shape[1]
    if raters < 2 or not len(ratings_nJ):
        return np.full(len(weights_RN), np.nan)
    ratings_nJ = ratings_nJ - ratings_nJ.mean()
    clips_R, mean_n = weights_Rn.sum(axis=1), ratings_nJ.mean(axis=1)
    grand_R = divide(weights_Rn @ mean_n, clips_R)
    of_raters_RJ = divide(weights_Rn @ ratings_nJ, clips_R[:, None])
    all_R = weights_Rn @ (ratings_nJ**2).sum(axis=1) - raters * clips_R * grand_R**2
    between_R = raters * (weights_Rn @ mean_n**2 - clips_R * grand_R**2)
    raters_R = clips_R * ((of_raters_RJ - grand_R[:, None]) ** 2).sum(axis=1)
    clip_square_R = divide(between_R, clips_R - 1)
    rater_square_R = raters_R / (raters - 1)
    rest_R = divide(all_R - between_R - raters_R, (clips_R - 1) * (raters - 1))
    below_R = clip_square_R + (raters - 1) * rest_R + divide(raters * (rater_square_R - rest_R), clips_R)
    return divide(clip_square_R - rest_R, np.where(np.abs(below_R) > _LEAST, below_R, 0.0))


def quadratic_agreement(weights_RN: Floats, first_N: Floats, second_N: Floats) -> Floats:
    """Kappa with quadratic weights of steps, Cohen's kappa of 0 and 1, Lin's concordance of numbers (R,): all one."""
    known_N = ~np.isnan(first_N) & ~np.isnan(second_N)
    centre = first_N[known_N].mean() if known_N.any() else 0.0
    return weighted_kappa(of_clips(weights_RN, known_N), first_N[known_N] - centre, second_N[known_N] - centre)


def nominal_agreement(weights_RN: Floats, first_N: Floats, second_N: Floats) -> Floats:
    """Cohen's kappa (R,) of the numbers of kinds; NaN where both give one and the same answer throughout."""
    known_N = ~np.isnan(first_N) & ~np.isnan(second_N)
    weights_Rn, first_n, second_n = of_clips(weights_RN, known_N), first_N[known_N], second_N[known_N]
    total_R = weights_Rn.sum(axis=1)
    same_R = divide(weights_Rn @ (first_n == second_n), total_R)
    by_luck_R = np.zeros(len(total_R))
    for kind in np.unique([*first_n, *second_n]):
        by_luck_R += divide(weights_Rn @ (first_n == kind), total_R) * divide(weights_Rn @ (second_n == kind), total_R)
    unlike_R = 1 - by_luck_R
    return 1 - divide(1 - same_R, np.where(unlike_R > _LEAST, unlike_R, 0.0))
