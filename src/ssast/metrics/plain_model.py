"""Fit the plain baseline: a logistic regression, or a ridge regression, on standardised features of recordings.

It says what loudness, length and the average spectrum tell already, without a model that was trained on speech.
Shapes: R rows, P features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.measures import SOFT_POSITIVE, Floats

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""How strongly weights are held small; the held-out rows choose."""
_STEPS = 30
_FAR = 30.0


@dataclass(frozen=True)
class PlainModel:
    """The weights (P,) of standardised features and a constant; of a yes/no label they give log-odds."""

    mean: Floats
    scale: Floats
    weights: Floats
    constant: float
    is_yes_no: bool
    penalty: float

    def scores(self, features: Floats) -> Floats:
        """Predict for recordings (R,): probabilities, or values; NaN where a feature is."""
        found = ((features - self.mean) / self.scale) @ self.weights + self.constant
        return 1 / (1 + np.exp(-np.clip(found, -_FAR, _FAR))) if self.is_yes_no else found

    def entries(self) -> dict[str, Any]:
        """Plain values for a file."""
        numbers = {name: getattr(self, name).astype(np.float32).tolist() for name in ("mean", "scale", "weights")}
        return numbers | {"constant": self.constant, "is_yes_no": self.is_yes_no, "penalty": self.penalty}

    @classmethod
    def of_entries(cls, found: Mapping[str, Any], width: int) -> "PlainModel":
        """The model of a file; ValueError where it is none for so many features."""
        arrays = [np.asarray(found[name], dtype=np.float64) for name in ("mean", "scale", "weights")]
        constant, penalty = float(found["constant"]), float(found["penalty"])
        if any(one.shape != (width,) or not np.isfinite(one).all() for one in arrays) or not np.isfinite(constant):
            raise ValueError(f"its numbers are not {width} finite ones")
        if (arrays[1] <= 0).any() or not isinstance(found["is_yes_no"], bool):
            raise ValueError("a scale is not above 0")
        return cls(arrays[0], arrays[1], arrays[2], constant, found["is_yes_no"], penalty)


def fit_plain(
    features: NDArray[np.floating],
    targets_R: Floats,
    held_out: NDArray[np.floating],
    held_targets_R: Floats,
    *,
    is_yes_no: bool,
) -> PlainModel | None:
    """The model of rows with a target, its penalty chosen by the loss on the held-out rows; None without two answers.

    Rows with NaN among features or targets are left out.
    """
    known_R = ~np.isnan(targets_R) & ~np.isnan(features).any(axis=1)
    x, y = features[known_R].astype(np.float64), targets_R[known_R]
    if is_yes_no:
        y = (y >= SOFT_POSITIVE).astype(np.float64)
    if len(y) < 2 or np.ptp(y) == 0:
        return None
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    fitted = [
        PlainModel(mean, scale, *_fit((x - mean) / scale, y, penalty, is_yes_no), is_yes_no, penalty)
        for penalty in PENALTIES
    ]
    tested_R = ~np.isnan(held_targets_R) & ~np.isnan(held_out).any(axis=1)
    if not tested_R.any():
        return fitted[-1]
    losses = [
        _loss(model.scores(held_out[tested_R].astype(np.float64)), held_targets_R[tested_R], is_yes_no)
        for model in fitted
    ]
    return fitted[int(np.argmin(losses))]


def _loss(scores: Floats, targets: Floats, is_yes_no: bool) -> float:
    if not is_yes_no:
        return float(np.mean((scores - targets) ** 2))
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    positive = targets >= SOFT_POSITIVE
    return float(-np.mean(np.where(positive, np.log(inside), np.log(1 - inside))))


def _fit(x: Floats, y: Floats, penalty: float, is_yes_no: bool) -> tuple[Floats, float]:
    """Weights and constant of the penalised regression; Newton's method for the logistic one."""
    design = np.column_stack([x, np.ones(len(x))])
    held = np.append(np.full(x.shape[1], penalty), 1e-6)  # the constant is free
    if not is_yes_no:
        beta = np.linalg.solve(design.T @ design + np.diag(held), design.T @ y)
        return beta[:-1], float(beta[-1])
    share = np.clip(y.mean(), 1e-3, 1 - 1e-3)
    beta = np.append(np.zeros(x.shape[1]), np.log(share / (1 - share)))
    for _ in range(_STEPS):
        told = 1 / (1 + np.exp(-np.clip(design @ beta, -_FAR, _FAR)))
        step = _newton(design, told * (1 - told), design.T @ (y - told) - held * beta, held)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return beta[:-1], float(beta[-1])


def _newton(design: Floats, weights: Floats, slope: Floats, held: Floats) -> Floats:
    """Where Newton's method goes from here: the slope over the bend of the rows, weighted, and of what is held small.

    Of few rows a system with a line for each, in place of each feature, gives the same many times as fast
    (Woodbury's identity).
    """
    if 2 * len(design) > design.shape[1]:
        bend = (design * weights[:, None]).T @ design + np.diag(held)
        return np.asarray(np.linalg.solve(bend, slope), dtype=np.float64)
    rooted, free = design * np.sqrt(weights)[:, None], slope / held
    shared = np.eye(len(design)) + (rooted / held) @ rooted.T
    return free - rooted.T @ np.linalg.solve(shared, rooted @ free) / held
