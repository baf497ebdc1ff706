"""Compute weights for rare labels: how much each label's yes, or each clip, must count in training."""

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


def positive_weights(targets_RN: _Floats) -> _Floats:
    """For each label how many no there are for one yes (N,); 1 where it has but one of the two. NaN cells are left out.

    A soft label counts for both sides by its share.
    """
    yes_N, no_N = np.nansum(targets_RN, axis=0), np.nansum(1 - targets_RN, axis=0)
    both_N = (yes_N > 0) & (no_N > 0)
    return np.divide(no_N, yes_N, out=np.ones_like(yes_N), where=both_N)


def clip_weights(targets_RN: _Floats) -> _Floats:
    """For each clip how often to draw it (R,), so that each label's yes and no come about equally often.

    Of each label a clip has 1 / (2 x the share of clips with its value), of several labels their mean; 1 without any.
    """
    share_N = np.nansum(targets_RN, axis=0) / np.maximum((~np.isnan(targets_RN)).sum(axis=0), 1)
    yes_N = np.divide(0.5, share_N, out=np.ones_like(share_N), where=share_N > 0)
    no_N = np.divide(0.5, 1 - share_N, out=np.ones_like(share_N), where=share_N < 1)
    weights_RN = targets_RN * yes_N + (1 - targets_RN) * no_N
    known_R = (~np.isnan(weights_RN)).sum(axis=1)
    return np.divide(np.nansum(weights_RN, axis=1), known_R, out=np.ones(len(weights_RN)), where=known_R > 0)
