"""Simulate sets of people whom three raters and a model judge, and say what intervals they get.

Shapes: N clips, J raters, n clips of which a rating is left.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.measures import Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.raters import add_raters
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO, LabelKind, LabelKinds

LABELS = {
    SCALE: LabelKind("a scale of four levels", SCALE, levels=(0, 1, 2, 3)),
    NUMBER: LabelKind("a number", NUMBER),
    YES_NO: LabelKind("yes or no", YES_NO),
    CHOICE: LabelKind("one kind of three", CHOICE, levels=("breathy", "creaky", "modal")),
}
MEASURES = ("alpha", "icc_2_1", "rater_with_mean", "rater_with_rater", "model_with_rater", "difference")
_STRICTNESS = (-0.3, 0.0, 0.4)
"""How much higher each rater puts everybody: the raters stay, the people are drawn."""
_CUTS = (-0.8, 0.2, 1.0)
_RIGHT, _LOST = 0.7, 0.1
Judged = tuple[LabelKind, Floats, Floats, NDArray[np.intp]]
"""What was judged, the ratings (N, J), NaN where there is none, the model's outputs (N, w), and whose each clip is."""


def judged(rng: np.random.Generator, people: int, kind: str, clips: int) -> Judged:
    """Clips of people: each rater and the model hear the truth with noise, and a tenth of the ratings is lost."""
    subject_N = np.repeat(np.arange(people), clips)
    count = people * clips
    own_N = rng.normal(size=people)[subject_N] + 0.5 * rng.normal(size=count)
    label = LABELS[kind]
    if kind == CHOICE:
        heard = _kinds_heard(rng, subject_N)
    else:
        heard = own_N[:, None] + [*_STRICTNESS, 0.1] + 0.7 * rng.normal(size=(count, 4))
    answers_N4 = {SCALE: np.digitize(heard, _CUTS), YES_NO: heard > _CUTS[1]}.get(kind, heard).astype(np.float64)
    ratings_NJ = np.where(rng.random((count, 3)) < _LOST, np.nan, answers_N4[:, :3])
    return label, ratings_NJ, label.spread(answers_N4[:, 3]).reshape(count, -1), subject_N


def _kinds_heard(rng: np.random.Generator, subject_N: NDArray[np.intp]) -> Floats:
    """The kind of each clip as three raters and the model name it: mostly the person's own."""
    own_S = rng.choice(3, size=subject_N.max() + 1, p=[0.5, 0.3, 0.2])
    kinds_N4 = np.repeat(own_S[subject_N][:, None], 4, axis=1)
    return np.where(rng.random(kinds_N4.shape) < _RIGHT, kinds_N4, rng.integers(0, 3, kinds_N4.shape))


def of_raters(
    label: LabelKind, ratings_NJ: Floats, scores_Nw: Floats, subject_N: NDArray[np.intp], resamples: int
) -> Iterator[tuple[str, tuple[float, list[float] | None]]]:
    """Each measure of agreement as metrics.json has it, with its interval where there are resamples."""
    kinds = LabelKinds((label,))
    uids = list(map(str, range(len(subject_N))))
    targets_N1 = np.full((len(uids), 1), np.nan)
    predictions = Predictions(uids, [label.name], scores_Nw, targets_N1, subject_N, "speaker", kinds)
    metrics = {"resamples": resamples, "labels": {label.name: {}}}
    add_raters(metrics, predictions, kinds, {label.name: ratings_NJ}, {}, seed=0)
    found = metrics["labels"][label.name]["raters"]
    yield from ((name, (found[name]["value"], found[name]["interval"])) for name in MEASURES if name in found)
