"""Compute the scores of `metrics.json` from targets and scores of clips, with intervals and the level of chance.

Undefined is None, never NaN, and the other measures go on.
Shapes: N clips, L labels, R resamples.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssast.errors import UserError
from ssast.metrics import intervals
from ssast.metrics.label_entries import jsonable, label_entry
from ssast.metrics.level_measures import AT, bearing, level_measures
from ssast.metrics.measures import SOFT_POSITIVE, Draws, Floats, Measure, detection, regression
from ssast.metrics.score_entries import Difference, Differences, LabelScores, Metrics, merged
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD, YOUDEN, ThresholdRule, threshold_of
from ssast.model.label_kinds import CHOICE, MIXED, SCALE, LabelKind, LabelKinds

if TYPE_CHECKING:
    import pandas as pd

_Number = TypeVar("_Number", float, Floats)
Thresholds = Mapping[str, float | Floats]
"""By label; an array holds one a clip, as when clips were scored by the models of several folds."""
_NOTES = {
    "BCE": f"A target of {SOFT_POSITIVE} or more counts as positive and a score at the threshold or above as called. "
    "ECE: 10 bins of equal width from 0 to 1, |mean score - share of positives| weighted by the clips in the bin.",
    "MSE": "CCC is Lin's concordance correlation.",
    SCALE: "The answer to a scale is the highest level that is reached with a probability of at least a half; a target "
    "between two levels counts as the nearer one for kappa (QWK, quadratic weights) and AUC. MAE is in steps of the "
    "scale. The AUC is the one at the label's cut, or the mean over all cuts; auc_at_3 is that of at least 3.",
    CHOICE: "The answer is the likeliest kind. The AUC is the mean over the kinds, each against the rest.",
}
Interval = Callable[[float, Floats, int], list[float] | None]
"""Makes low and high of the point, its draws (R,) and how many subjects bear on it."""
INTERVALS: dict[str, Interval] = {
    **dict.fromkeys(
        ("auc", "average_precision", "f1", "sensitivity", "specificity", "prevalence", "brier", "ece"),
        intervals.bounded_interval,
    ),
    **dict.fromkeys(("accuracy", "balanced_accuracy"), intervals.bounded_interval),
    **dict.fromkeys(("mae", "rmse", "mae_steps"), intervals.positive_interval),
    **dict.fromkeys(("pearson", "spearman", "ccc", "qwk"), intervals.signed_interval),
}


def score(
    targets_NL: ArrayLike,
    scores_NL: ArrayLike,
    labels: Sequence[str],
    *,
    loss: str = "BCE",
    kinds: LabelKinds | None = None,
    thresholds: Thresholds | None = None,
    subjects: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> Metrics:
    """The scores as `metrics.json` holds them: "n", "mean" over the labels that define a measure, and "labels".

    A NaN target leaves out that cell alone. Under BCE the scores are probabilities and a label without a threshold
    takes 0.5 (one threshold a clip, (N,), is shown as None); under MSE they are values. `kinds` says of each label what
    it is, in place of `loss`; scores are then those of all outputs (N, W), and of labels of several kinds "kinds" holds
    the mean of each. With `resamples`, each label and the mean also carry "intervals" (95 %, bootstrap over `subjects`
    where given, else over clips) and "chance" (the level that shuffled labels stay below in 95 % of as many shuffles).
    """
    kinds = LabelKinds.plain(loss, labels) if kinds is None else kinds
    targets, scores = _table(targets_NL, scores_NL, kinds)
    if kinds.loss == MIXED:
        parts = {
            kind: score(
                targets[:, [kinds.names.index(name) for name in names]],
                scores[:, kinds.columns(names)],
                names,
                kinds=kinds.some(names),
                thresholds=thresholds,
                subjects=subjects,
                resamples=resamples,
                seed=seed,
            )
            for kind, names in kinds.alike().items()
        }
        return merged(parts, kinds.names)
    cut = _cut(kinds.names, thresholds)
    subject_N = intervals.number_subjects(subjects, len(targets))
    measures = _measures(targets, scores, cut, kinds)
    points = [_points(measure, len(targets)) for measure in measures]
    entries = [
        label_entry(label, targets[:, i], scores[:, own], points[i], cut[label.name])
        for i, (label, own) in enumerate(zip(kinds.labels, kinds.slices, strict=True))
    ]
    mean = cast(LabelScores, _mean(points))
    mean["baseline"] = _mean([_numbers(entry["baseline"]) for entry in entries])
    if resamples:
        counts = [bearing_of(label, targets[:, i], subject_N) for i, label in enumerate(kinds.labels)]
        draws = intervals.bootstrap(measures, subject_N, resamples, seed)
        spans = [_label_intervals(*of_label) for of_label in zip(points, draws, counts, strict=True)]
        chance, mean_chance = intervals.chance_level(targets, scores, subject_N, kinds, resamples, seed)
        for entry, span, level in zip(entries, spans, chance, strict=True):
            entry |= {"intervals": span, "chance": level}
        mean |= {"intervals": _mean_intervals(points, draws, counts), "chance": mean_chance}
    return {
        "n": len(targets),
        "subjects": None if subjects is None else int(subject_N.max(initial=-1)) + 1,
        "loss": kinds.loss,
        "resamples": resamples,
        "notes": _NOTES[kinds.loss],
        "mean": mean,
        "labels": dict(zip(kinds.names, entries, strict=True)),
    }


def paired_differences(
    targets_NL: ArrayLike,
    first_NL: ArrayLike,
    second_NL: ArrayLike,
    labels: Sequence[str],
    *,
    loss: str = "BCE",
    kinds: LabelKinds | None = None,
    thresholds: tuple[Thresholds | None, Thresholds | None] = (None, None),
    subjects: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Differences:
    """Second run minus first on the same clips in the same order, by label and mean; `kinds` are of one kind.

    Each measure has {"difference", "interval"}. Both runs meet the same resamples, so what makes a clip hard for
    both cancels. `thresholds` holds each run's own.
    """
    kinds = LabelKinds.plain(loss, labels) if kinds is None else kinds
    subject_N = intervals.number_subjects(subjects, len(np.asarray(targets_NL)))
    runs = []
    for scores_NL, chosen in zip((first_NL, second_NL), thresholds, strict=True):
        targets, scores = _table(targets_NL, scores_NL, kinds)
        measures = _measures(targets, scores, _cut(labels, chosen), kinds)
        points = [_points(measure, len(targets)) for measure in measures]
        runs.append((points, intervals.bootstrap(measures, subject_N, resamples, seed)))
    (first_points, first_draws), (second_points, second_draws) = runs
    points = [_subtract(b, a) for a, b in zip(first_points, second_points, strict=True)]
    draws = [_subtract(b, a) for a, b in zip(first_draws, second_draws, strict=True)]
    counts = [bearing_of(label, targets[:, i], subject_N) for i, label in enumerate(kinds.labels)]
    apart = {
        name: intervals.difference_interval if own is intervals.bounded_interval else intervals.plain_interval
        for name, own in INTERVALS.items()
    }
    spans = [_label_intervals(*of_label, apart) for of_label in zip(points, draws, counts, strict=True)]
    entries = [_beside(jsonable(point), span) for point, span in zip(points, spans, strict=True)]
    mean = _beside(_mean(points), _mean_intervals(points, draws, counts, apart))
    return {"n": len(targets), "resamples": resamples, "mean": mean, "labels": dict(zip(labels, entries, strict=True))}


def choose_thresholds(
    targets_NL: ArrayLike, scores_NL: ArrayLike, labels: Sequence[str], rule: ThresholdRule = YOUDEN
) -> dict[str, float]:
    """Threshold of each label by a rule, for the validation clips, by default Youden's.

    It lies halfway between two scores; of equals it is the one nearest 0.5, which also serves where none is found.
    """
    targets, scores = _table(targets_NL, scores_NL, LabelKinds.plain("BCE", labels))
    return {label: threshold_of(targets[:, i], scores[:, i], rule)[0] for i, label in enumerate(labels)}


def unchosen_thresholds(
    targets_NL: ArrayLike, scores_NL: ArrayLike, labels: Sequence[str], rule: ThresholdRule = YOUDEN
) -> dict[str, str]:
    """The labels for which `choose_thresholds` falls back to 0.5, and why."""
    targets, scores = _table(targets_NL, scores_NL, LabelKinds.plain("BCE", labels))
    found = {label: threshold_of(targets[:, i], scores[:, i], rule)[1] for i, label in enumerate(labels)}
    return {label: why for label, why in found.items() if why}


def aucs_table(scores: Metrics) -> "pd.DataFrame":
    """The seed's `aucs.csv`: columns Label and AUC, one row a label, empty where undefined."""
    import pandas as pd

    aucs = {label: entry.get("auc") for label, entry in scores["labels"].items()}
    return pd.DataFrame(
        {"Label": pd.Series(list(aucs), dtype=object), "AUC": pd.Series(list(aucs.values()), dtype=float)}
    )


def _table(targets_NL: ArrayLike, scores_NL: ArrayLike, kinds: LabelKinds) -> tuple[Floats, Floats]:
    targets, scores = np.asarray(targets_NL, dtype=np.float64), np.asarray(scores_NL, dtype=np.float64)
    labels = kinds.names
    if kinds.loss not in (*_NOTES, MIXED) or any(label.has_levels and not label.levels for label in kinds.labels):
        raise UserError(f"Loss {kinds.loss!r} came without the levels of its labels; give kinds that have them.")
    if targets.ndim != 2 or targets.shape != (len(scores), len(labels)) or scores.shape[1:] != (kinds.width,):
        raise UserError(
            f"Targets {targets.shape} and scores {scores.shape} do not fit {len(labels)} labels; "
            "give both as (clips, labels)."
        )
    if len(set(labels)) < len(labels):
        raise UserError(f"A label stands twice among {list(labels)}; name each once.")
    for i, label in enumerate(kinds.labels):
        lost = np.flatnonzero(~np.isfinite(scores[:, kinds.slices[i]]).all(axis=1))
        if len(lost):
            raise UserError(
                f"Label {label.name!r}: {len(lost)} scores are not finite (first at row {lost[0]}); retrain the model."
            )
        known = targets[~np.isnan(targets[:, i]), i]
        if label.kind == "BCE" and not ((known >= 0) & (known <= 1)).all():
            raise UserError(
                f"Label {label.name!r} has targets from {known.min():g} to {known.max():g}; BCE expects 0 to 1, "
                "use MSE for values."
            )
        if not np.isfinite(known).all():
            raise UserError(f"Label {label.name!r} has an infinite target; correct the csv.")
    return targets, scores


def _cut(labels: Sequence[str], thresholds: Thresholds | None) -> dict[str, float | Floats]:
    """Each label's threshold, or the thresholds of its clips (N,)."""
    chosen = {label: np.asarray((thresholds or {}).get(label, DEFAULT_THRESHOLD), dtype=np.float64) for label in labels}
    return {label: value if value.ndim else float(value) for label, value in chosen.items()}


def _measures(targets: Floats, scores: Floats, cut: Mapping[str, float | Floats], kinds: LabelKinds) -> list[Measure]:
    made: list[Measure] = []
    for i, (label, own) in enumerate(zip(kinds.labels, kinds.slices, strict=True)):
        if label.has_levels:
            made.append(level_measures(label, targets[:, i], scores[:, own]))
        elif label.kind == "MSE":
            made.append(regression(targets[:, i], scores[:, own.start]))
        else:
            made.append(detection(targets[:, i], scores[:, own.start], cut[label.name]))
    return made


def _points(measure: Measure, clips: int) -> dict[str, float]:
    return {name: float(value_1[0]) for name, value_1 in measure(np.ones((1, clips))).items()}


def _numbers(points: Mapping[str, float | None]) -> dict[str, float]:
    return {name: np.nan if point is None else point for name, point in points.items()}


def _mean(points: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """Each measure's mean over the labels that define it; those at the cuts of single labels have none."""
    names = [name for name in (points[0] if points else ()) if AT not in name]
    known = {name: [point[name] for point in points if not np.isnan(point[name])] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def bearing_of(label: LabelKind, targets_N: Floats, subject_N: NDArray[np.intp]) -> dict[str, int]:
    """How many subjects bear on each measure: the rarer class for most, one class for its own share."""
    if label.has_levels:
        return bearing(label, targets_N, subject_N)
    known_N = ~np.isnan(targets_N)
    everyone = len(np.unique(subject_N[known_N]))
    if label.kind == "MSE":
        return dict.fromkeys(INTERVALS, everyone)
    positive_N = targets_N >= SOFT_POSITIVE
    yes, no = len(np.unique(subject_N[positive_N])), len(np.unique(subject_N[known_N & ~positive_N]))
    return dict.fromkeys(INTERVALS, min(yes, no)) | {"sensitivity": yes, "specificity": no, "prevalence": everyone}


def _label_intervals(
    points: Mapping[str, float], draws: Draws, bearing: Mapping[str, int], kinds: Mapping[str, Interval] = INTERVALS
) -> dict[str, list[float] | None]:
    return {
        name: None if np.isnan(point) else kinds[name.partition(AT)[0]](point, draws[name], bearing[name])
        for name, point in points.items()
    }


def _mean_intervals(
    points: Sequence[Mapping[str, float]],
    draws: Sequence[Draws],
    bearing: Sequence[Mapping[str, int]],
    kinds: Mapping[str, Interval] = INTERVALS,
) -> dict[str, list[float] | None]:
    """Intervals of the means: a label that a resample leaves undefined stays at its point there."""
    spans: dict[str, list[float] | None] = {}
    for name, point in _mean(points).items():
        spans[name] = None
        if point is not None:
            known = [i for i, of_label in enumerate(points) if not np.isnan(of_label[name])]
            away = [np.nan_to_num(draws[i][name] - points[i][name]) for i in known]
            count = int(np.median([bearing[i][name] for i in known]))
            spans[name] = kinds[name](point, point + np.mean(away, axis=0), count)
    return spans


def _beside(differences: Mapping[str, float | None], spans: Mapping[str, list[float] | None]) -> dict[str, Difference]:
    return {name: {"difference": value, "interval": spans[name]} for name, value in differences.items()}


def _subtract(second: Mapping[str, _Number], first: Mapping[str, _Number]) -> dict[str, _Number]:
    return {name: second[name] - first[name] for name in second}
