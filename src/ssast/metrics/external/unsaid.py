"""Say what cannot be said of a model in another place, each in a sentence with its reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ssast.metrics.external.answers import Answers, ScaleAnswers
from ssast.metrics.external.categories import Shares
from ssast.metrics.external.development import Development, LabelSummary, Spread
from ssast.metrics.external.kept import counted_people
from ssast.metrics.external.recalibrating import Updates
from ssast.metrics.subgroups import FEW_PEOPLE
from ssast.metrics.threshold_rules import DEFAULT_THRESHOLD
from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO, LabelKind


@dataclass(frozen=True)
class LabelHere:
    """A label's answers and summary here, its summary in development, and what was fitted; None where there is none."""

    answers: Answers
    summary: LabelSummary
    there: LabelSummary | None
    updates: Updates | None


def unsaid_of_inputs(here: Mapping[str, Spread], there: Development) -> Iterator[str]:
    """Which properties of recordings and people cannot be held against development."""
    few = {"there": there.people, "here": max((own.people for own in here.values()), default=0)}
    for where, people in few.items():
        if people < FEW_PEOPLE:
            yield (
                f"Shift of the recordings: with {counted_people(people)} "
                f"{'in development' if where == 'there' else 'here'} it is not told from luck; it takes {FEW_PEOPLE}"
            )
    if min(few.values()) < FEW_PEOPLE:
        return
    known = {name: own.people for name, own in here.items() if own.people >= FEW_PEOPLE}
    for name in sorted({*here, *there.properties}):
        if name not in known or name not in there.properties:
            where = "here" if name not in known else "in development"
            yield f"Shift of {name}: it is not known of {FEW_PEOPLE} people {where}"


def unsaid_of_categories(here: Mapping[str, Shares], there: Mapping[str, Shares]) -> Iterator[str]:
    """Which columns that put people into groups cannot be held against development."""
    for column, own in there.items():
        if column in here and here[column].people and not set(own.values) & set(here[column].values):
            yield f"Shift of {column}: none of its values here is one of development's, so they are not compared"
        elif column in here and here[column].people < FEW_PEOPLE:
            yield f"Shift of {column}: it is not known of {FEW_PEOPLE} people here"


def unsaid_of_label(
    label: str, own: LabelHere, thresholds: Mapping[str, float], *, is_developed: bool
) -> Iterator[str]:
    """What cannot be said of a label; `is_developed` says whether the model keeps its development."""
    kind = own.answers.label
    if kind.kind == YES_NO and label not in thresholds:
        yield f"{label}: the model has no threshold of its own to carry over, so {DEFAULT_THRESHOLD:g} calls it"
    elif kind.kind == SCALE and kind.cut is None:
        yield f"{label}: labels.yaml gave the model no cut from which it counts as present, so none is carried over"
    elif kind.kind == NUMBER:
        yield f"{label}: it is a number, so no threshold is carried over"
    elif kind.kind == CHOICE:
        yield f"{label}: it is one kind of several, so no threshold is carried over and nothing recalibrated"
    of_each = "" if own.summary.people_without is None else " of each"
    if not own.summary.measures:
        people = _too_few(kind, own.summary.counts)
        verb = "is" if own.summary.counts == (1, None) else "are"
        yield f"{label}: {people} here {verb} too few to say how well it is told; it takes {FEW_PEOPLE}{of_each}"
    if is_developed and own.there is None:
        yield f"{label}: development keeps no measures of it to hold these against"
    elif own.there is not None and not own.there.measures:
        people = _too_few(kind, own.there.counts)
        verb = "was" if own.there.counts == (1, None) else "were"
        yield (
            f"{label}: {people} in the model's own test {verb} too few to hold these measures against; "
            f"it takes {FEW_PEOPLE}{of_each}"
        )
    yield from _of_updates(label, own)


def _of_updates(label: str, own: LabelHere) -> Iterator[str]:
    if own.updates is None:
        return
    if own.updates.reason:
        yield f"{label}: {own.updates.reason}"
    if own.updates.both is not None and own.updates.both.slope <= 0:
        yield (
            f"{label}: the fitted slope is not above 0, so the scores have the wrong order here, "
            "which no recalibration mends"
        )
    elif own.updates.falls:
        yield (
            f"{label}: scores are lower here where the truth is higher, so they have the wrong order, which no "
            "recalibration mends"
        )
    if lacking := _uncalibrated_cuts(own):
        yield (
            f"{label}: fewer than {FEW_PEOPLE} people are on one side of the cut at {lacking}, so calibration there is "
            "not measured"
        )


def _uncalibrated_cuts(own: LabelHere) -> str:
    """The levels of a scale at whose cuts there are too few people, in words."""
    if not isinstance(own.answers, ScaleAnswers) or not own.summary.measures:
        return ""
    return " and at ".join(own.answers.uncalibrated())


def _too_few(label: LabelKind, counts: tuple[int, int | None]) -> str:
    """How many people there are of what it takes ten of each, in words."""
    if counts[1] is None:
        return f"{counted_people(counts[0])} with a target"
    if label.kind == SCALE and label.cut is None:
        return f"{counted_people(counts[0])} above the lowest level and {counts[1]} below the highest"
    if label.kind == SCALE:
        return f"{counted_people(counts[0])} at least at {label.cut:g} and {counts[1]} below it"
    return f"{counted_people(counts[0])} with it and {counts[1]} without it"
