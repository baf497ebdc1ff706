"""Say of one label's answers in one place how right they are, for each kind of label, and recalibrate them.

Shapes: n recordings with a target, w outputs of the label.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ssast.metrics.calibration import bearing_people, recalibration
from ssast.metrics.estimates import (
    RATIO,
    Estimate,
    auc_of,
    correlation_of,
    mean_of,
    people_with,
    root_mean_square,
    share_of,
    slope_of,
)
from ssast.metrics.external.development import LabelSummary, Spread, person_means
from ssast.metrics.external.recalibrating import Update, Updates, fit_number_updates, fit_scale_updates, fit_updates
from ssast.metrics.intervals import number_subjects
from ssast.metrics.level_measures import AT, called
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.metrics.predictions import Predictions
from ssast.metrics.subgroups import FEW_PEOPLE
from ssast.model.label_kinds import CALLED, CHOICE, NUMBER, SCALE, YES_NO, LabelKind, LabelKinds

Estimates = dict[str, Estimate]


@dataclass(frozen=True)
class Answers:
    """The recordings of a label with a target: `targets` (n,), `scores` (n, w) and whose they are (n,).

    `threshold` is what calls yes or no. One class a kind of label.
    """

    label: LabelKind
    targets: Floats
    scores: Floats
    subject: NDArray[np.intp]
    threshold: float

    @property
    def subjects(self) -> int:
        """How many numbers of subjects there are."""
        return int(self.subject.max(initial=-1)) + 1

    @property
    def people(self) -> int:
        """How many people have a recording with a target."""
        return len(np.unique(self.subject))

    @property
    def counts(self) -> tuple[int, int | None]:
        """How many people have the label and how many lack it; of what is not yes or no how many have a target."""
        return self.people, None

    def measures(self) -> Estimates:
        """What is held against development."""
        raise NotImplementedError

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """The recordings whose scores are held against those of development, by a name."""
        return {"scores": np.ones(len(self.targets), dtype=bool)}

    def expected(self) -> Floats:
        """One number a recording."""
        return self.label.answers(self.scores)

    def calibration(self) -> Estimates:
        """What recalibration can mend."""
        raise NotImplementedError

    def fit(self) -> Updates:
        """The updates that fit these recordings best."""
        raise NotImplementedError

    def updated(self, update: Update) -> "Answers":
        """The same with new scores."""
        return replace(self, scores=update.apply(self.scores))

    def summary(self) -> LabelSummary:
        """The label's people, and where there are enough its measures and scores."""
        counts = self.counts
        if min(count for count in counts if count is not None) < FEW_PEOPLE:
            return LabelSummary(*counts)
        expected_n = self.expected()
        scores = {
            name: Spread.of(person_means(expected_n[own_n], self.subject[own_n]))
            for name, own_n in self.parts().items()
        }
        return LabelSummary(*counts, self.measures(), scores)


class YesNoAnswers(Answers):
    """A yes/no label."""

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """Who has it (n,)."""
        return self.targets >= SOFT_POSITIVE

    @property
    def counts(self) -> tuple[int, int | None]:
        """People with the label and without it."""
        return people_with(self.positive, self.subject), people_with(~self.positive, self.subject)

    def measures(self) -> Estimates:
        """Share with it, AUC, what the threshold does, calibration."""
        found = told_apart(self.positive, self.scores[:, 0], self.threshold, self.subject)
        return found | _calibration(self.positive, self.scores[:, 0], self.subject)

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """Those with the label, and those without it."""
        return {"scores_with": self.positive, "scores_without": ~self.positive}

    def calibration(self) -> Estimates:
        """Calibration, Brier score, and what the threshold does."""
        own = self.positive, self.scores[:, 0]
        found = _calibration(*own, self.subject)
        found["brier"] = mean_of((own[1] - own[0]) ** 2, self.subject, self.subjects)
        return found | _of_calls(own[1] >= self.threshold, own[0], self.subject)

    def fit(self) -> Updates:
        """By logistic regression."""
        return fit_updates(self.positive, self.scores[:, 0], self.subject)


class ScaleAnswers(Answers):
    """A scale: its expected level, its call, the cuts together, and the cut from which it counts as present."""

    @cached_property
    def reached(self) -> NDArray[np.bool_]:
        """Whether each recording is at least at each level but the lowest (n, w)."""
        return self.label.spread(self.targets) >= 0.5

    @property
    def at_cut(self) -> tuple[NDArray[np.bool_], Floats] | None:
        """Who is at the scale's own cut or above, and the probability of that; None without one."""
        if not self.label.is_cut:
            return None
        (place,) = self.label.asked
        return self.reached[:, place], self.scores[:, place]

    @property
    def counts(self) -> tuple[int, int | None]:
        """Those at least at the cut and those below it; without a cut those above the lowest level and the others."""
        yes_n = self.at_cut[0] if self.at_cut else self.reached[:, 0]
        low_n = yes_n if self.at_cut else self.reached[:, -1]
        return people_with(yes_n, self.subject), people_with(~low_n, self.subject)

    def measures(self) -> Estimates:
        """Mean, order and error of the answers, calibration at all cuts, and what the own cut does."""
        whose = self.subject, self.subjects
        found = {
            "mean_target": mean_of(self.targets, *whose),
            "pearson": correlation_of(self.expected(), self.targets, *whose),
            "mae_steps": self._off(),
        }
        own = told_apart(*self.at_cut, CALLED, self.subject) if self.at_cut else {}
        return found | own | self._together()

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """Those at the cut or above, and those below it; all without a cut."""
        if self.at_cut is None:
            return super().parts()
        return {"scores_with": self.at_cut[0], "scores_without": ~self.at_cut[0]}

    def calibration(self) -> Estimates:
        """Calibration at all cuts and at each, errors, and what the own cut does."""
        missed_n = ((self.scores - self.reached) ** 2).mean(axis=1)
        found = self._together() | {"rps": mean_of(missed_n, self.subject, self.subjects), "mae_steps": self._off()}
        if self.at_cut:
            found |= _of_calls(self.at_cut[1] >= CALLED, self.at_cut[0], self.subject)
        unknown = self.uncalibrated()
        for at, level in enumerate(self.label.shown_levels[1:]):
            if level not in unknown:
                own = _calibration(self.reached[:, at], self.scores[:, at], self.subject)
                found |= {f"{name}{AT}{level}": each for name, each in own.items()}
        return found

    def uncalibrated(self) -> list[str]:
        """The levels at whose cuts there are too few people on one side."""
        bearing = [bearing_people(reached_n, self.subject) for reached_n in self.reached.T]
        levels = self.label.shown_levels[1:]
        return [level for level, people in zip(levels, bearing, strict=True) if people < FEW_PEOPLE]

    def fit(self) -> Updates:
        """By logistic regression of all cuts."""
        return fit_scale_updates(self.reached, self.scores, self.subject)

    def _off(self) -> Estimate:
        steps_n = np.abs(self.label.steps(self.targets) - called(self.label, self.scores))
        return mean_of(steps_n, self.subject, self.subjects, RATIO)

    def _together(self) -> Estimates:
        """Calibration of the log-odds at all cuts at once."""
        cuts = self.reached.shape[1]
        return _calibration(self.reached.ravel(), self.scores.ravel(), np.repeat(self.subject, cuts))


class NumberAnswers(Answers):
    """A number: calibration is the line of least squares of the truth on the score."""

    def measures(self) -> Estimates:
        """Mean, order, calibration and error of the answers."""
        whose = self.subject, self.subjects
        found = {
            "mean_target": mean_of(self.targets, *whose),
            "pearson": correlation_of(self.scores[:, 0], self.targets, *whose),
        }
        return found | self.calibration()

    def calibration(self) -> Estimates:
        """The line of least squares, the mean that scores are off, and errors."""
        scores_n, whose = self.scores[:, 0], (self.subject, self.subjects)
        away_n = self.targets - scores_n
        return {
            "calibration_slope": slope_of(scores_n, self.targets, *whose),
            "calibration_intercept": mean_of(away_n, *whose),
            "mae": mean_of(np.abs(away_n), *whose, RATIO),
            "rmse": root_mean_square(away_n, *whose),
        }

    def fit(self) -> Updates:
        """By least squares."""
        return fit_number_updates(self.targets, self.scores[:, 0], self.subject)

    def updated(self, update: Update) -> Answers:
        """The same with new values."""
        return replace(self, scores=update.moved(self.scores))


class ChoiceAnswers(Answers):
    """A choice: how often the likeliest kind is right. It has no threshold, and nothing of it is recalibrated."""

    def measures(self) -> Estimates:
        """How often the likeliest kind is right."""
        everything_n = np.ones(len(self.targets), dtype=bool)
        right_n = self.targets == self.expected()
        return {"accuracy": share_of(right_n, everything_n, self.subject, self.subjects)}

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """None: a kind has no order."""
        return {}


_CLASSES: dict[str, type[Answers]] = {
    YES_NO: YesNoAnswers,
    SCALE: ScaleAnswers,
    NUMBER: NumberAnswers,
    CHOICE: ChoiceAnswers,
}


def answers_of(predictions: Predictions, kinds: LabelKinds, label: str, threshold: float) -> Answers:
    """The recordings of a label with a target."""
    at = kinds.names.index(label)
    subject_N = number_subjects(predictions.subjects, len(predictions.uids))
    targets_N, scores_Nw = predictions.targets[:, at], predictions.of_label(at).astype(np.float64)
    valid_N = ~np.isnan(targets_N)
    own = kinds.labels[at]
    return _CLASSES[own.kind](own, targets_N[valid_N], scores_Nw[valid_N], subject_N[valid_N], threshold)


def told_apart(
    positive_n: NDArray[np.bool_], scores_n: Floats, threshold: float, subject_n: NDArray[np.intp]
) -> Estimates:
    """The share of recordings with the label, and how scores and calls tell them from the others."""
    subjects, everybody_n = int(subject_n.max()) + 1, np.ones(len(positive_n), bool)
    return {
        "prevalence": share_of(positive_n, everybody_n, subject_n, subjects),
        "auc": auc_of(positive_n, scores_n, subject_n, subjects, bearing_people(positive_n, subject_n)),
        **_of_calls(scores_n >= threshold, positive_n, subject_n),
    }


def _of_calls(called_n: NDArray[np.bool_], positive_n: NDArray[np.bool_], subject_n: NDArray[np.intp]) -> Estimates:
    subjects = int(subject_n.max()) + 1
    return {
        "sensitivity": share_of(called_n, positive_n, subject_n, subjects),
        "specificity": share_of(~called_n, ~positive_n, subject_n, subjects),
    }


def _calibration(positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp]) -> Estimates:
    fit = recalibration(positive_n, scores_n, subject_n, int(subject_n.max()) + 1)
    return {"calibration_slope": fit.slope, "calibration_intercept": fit.intercept}
