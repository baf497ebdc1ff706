"""Fit the plain baseline, a logistic or a ridge regression on standardised features, and hold a model against it.

It says what loudness, length and the average spectrum tell already, without a model that was trained on speech. One
measure leads for each kind of label. Shapes: R rows, P features, N clips, L labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.intervals import bootstrap, difference_interval, number_subjects, plain_interval
from ssast.metrics.label_entries import jsonable
from ssast.metrics.measures import SOFT_POSITIVE, Floats, Measure, detection, regression
from ssast.metrics.score_entries import Difference
from ssast.metrics.scores import INTERVALS, Interval, bearing_of
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import NUMBER, LabelKind

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


class Beside(TypedDict):
    """The other's leading measure, its interval, and how far the model is above it; None where it is undefined."""

    value: float | None
    interval: list[float] | None
    difference: Difference | None


def leading_beside(
    targets_NL: Floats,
    other_NL: Floats,
    model_NL: Floats,
    labels: Sequence[str],
    kind: str,
    *,
    subjects: Sequence[Any] | NDArray[Any] | None,
    resamples: int,
    seed: int,
) -> dict[str, Beside]:
    """The other's leading measure and interval by label, and how far the model is above it over the same resamples.

    Yes/no labels are held by AUC, numbers by Pearson's correlation; the numbers are those of `score` and of
    `paired_differences`, which compute every measure.
    """
    name, subject_N = ("pearson" if kind == NUMBER else "auc"), number_subjects(subjects, len(targets_NL))
    measures = [
        _leading(kind, targets_N, scores_N)
        for each_NL in (other_NL, model_NL)
        for targets_N, scores_N in zip(targets_NL.T, each_NL.T, strict=True)
    ]
    points = [float(measure(np.ones((1, len(targets_NL))))[name][0]) for measure in measures]
    draws = [own[name] for own in bootstrap(measures, subject_N, resamples, seed)] if resamples else []
    found: dict[str, Beside] = {}
    for at, label in enumerate(labels):
        count = bearing_of(LabelKind(label, kind), targets_NL[:, at], subject_N)[name]
        value, above = points[at], points[at + len(labels)] - points[at]
        found[label] = Beside(value=jsonable({name: value})[name], interval=None, difference=None)
        if draws:
            apart = difference_interval if name == "auc" else plain_interval
            pair = _span(apart, above, draws[at + len(labels)] - draws[at], count)
            found[label]["interval"] = _span(INTERVALS[name], value, draws[at], count)
            found[label]["difference"] = {"difference": jsonable({name: above})[name], "interval": pair}
    return found


def _span(interval: Interval, point: float, draws_R: Floats, count: int) -> list[float] | None:
    return None if np.isnan(point) else interval(point, draws_R, count)


def _leading(kind: str, targets_N: Floats, scores_N: Floats) -> Measure:
    """What computes the leading measure, and for yes/no labels no other."""
    if kind == NUMBER:
        return regression(targets_N, scores_N)
    of_label = detection(targets_N, scores_N, DEFAULT_THRESHOLD)
    return lambda weights_RN: {"auc": of_label.auc(weights_RN)}
