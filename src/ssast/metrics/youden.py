"""Choose the threshold that best separates the validation clips with a label from those without it (Youden).

Shapes: N clips, n clips with a target.
"""

import numpy as np

from ssast.metrics.measures import SOFT_POSITIVE, Floats

DEFAULT_THRESHOLD = 0.5


def youden(targets_N: Floats, scores_N: Floats) -> tuple[float, str]:
    """The threshold with the largest sensitivity + specificity, or 0.5 and why none could be chosen."""
    valid_N = ~np.isnan(targets_N)
    positive_n, scores_n = targets_N[valid_N] >= SOFT_POSITIVE, scores_N[valid_N]
    levels, level_n = np.unique(scores_n, return_inverse=True)
    positives = np.bincount(level_n, positive_n, len(levels))
    negatives = np.bincount(level_n, ~positive_n, len(levels))
    if not positives.any() or not negatives.any():
        return DEFAULT_THRESHOLD, "the validation clips hold only one answer"
    if len(levels) < 2:
        return DEFAULT_THRESHOLD, "the validation clips all have the same score"
    gain = np.cumsum(negatives)[:-1] * positives.sum() - np.cumsum(positives)[:-1] * negatives.sum()  # whole numbers
    if gain.max() <= 0:
        return DEFAULT_THRESHOLD, "no threshold was better than chance on the validation clips"
    between = levels[:-1] + np.diff(levels) / 2
    between = np.where(between > levels[:-1], between, levels[1:])
    best = between[gain == gain.max()]
    return float(best[np.argmin(np.abs(best - DEFAULT_THRESHOLD))]), ""
