"""How often 95 % intervals hold the truth: simulated sets of 100 people, drawn with fixed seeds.

    python benchmarks/intervals.py [--sets 1000] [--people 100]

Each person has one clip or five; the label changes from clip to clip, or belongs to the person. The truth is measured
on a set of 300,000 clips of the same kind. A measure that a set leaves undefined does not count.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from simulated_raters import LABELS, judged, of_raters

from ssast.metrics.calibration import bearing_people, recalibration, smooth_curve
from ssast.metrics.estimates import auc_of
from ssast.metrics.external.answers import YesNoAnswers
from ssast.metrics.external.categories import Shares, beside, category_looks
from ssast.metrics.external.development import Spread, person_means
from ssast.metrics.external.looks import Look
from ssast.metrics.external.shift import above, label_looks
from ssast.metrics.measures import Floats
from ssast.metrics.reliability import repeatability
from ssast.metrics.review import net_benefit, predictive
from ssast.metrics.subgroups import FEW_PEOPLE, GAP_MEASURES, gap_interval, group_measures
from ssast.model.label_kinds import LabelKind

PREVALENCE, THRESHOLD = 0.1, 0.35
RETEST_TRUTH = {"icc_2_1": 1 / 1.37, "icc_3_1": 1 / 1.36, "sem": 0.6, "mdc95": 0.6 * 1.96 * 2**0.5}
"""Of a standard deviation of 1 between people, 0.6 within and 0.1 between sessions."""
CATEGORIES = {"sex": ("fm", (0.6, 0.4)), "smokes": ("nsu", (0.6, 0.25, 0.15))}
BENEFIT_AT, CURVE_AT = (0.1, 0.2, 0.4), (0.15, 0.3, 0.5)
RESAMPLES = 300
_BIG = 300_000
Span = tuple[float, list[float] | None]
"""A value, and its interval where there is one."""
Clips = tuple[NDArray[np.bool_], Floats, NDArray[np.intp]]
"""Whether each clip has the label, its score, and whose it is."""


def draw(rng: np.random.Generator, people: int, clips: int, *, of_people: bool) -> Clips:
    """Scores that are too sharp, of people who are alike within themselves."""
    subject_n = np.repeat(np.arange(people), clips)
    own_n, noise_n = rng.normal(size=people)[subject_n], rng.normal(size=people * clips)
    if of_people:
        positive_n = (rng.random(people) < 0.35)[subject_n]
        odds_n = 1.3 * (positive_n - 0.35) - 0.9 + 0.8 * own_n + 0.6 * noise_n
    else:
        odds_n = -1.0 + 0.96 * own_n + 0.72 * noise_n
        positive_n = rng.random(people * clips) < 1 / (1 + np.exp(-0.3 - 0.8 * odds_n))
    return positive_n, 1 / (1 + np.exp(-odds_n)), subject_n


def of_one_label(
    positive_n: NDArray[np.bool_], scores_n: Floats, subject_n: NDArray[np.intp]
) -> Iterator[tuple[str, Span]]:
    """Every measure of a yes/no label, with its interval."""
    subjects = int(subject_n.max()) + 1
    known = positive_n, scores_n, subject_n, subjects
    fit = recalibration(*known)
    found = {"slope": fit.slope, "intercept": fit.intercept}
    found["AUC"] = auc_of(*known, bearing_people(positive_n, subject_n))
    for threshold in BENEFIT_AT:
        found[f"net benefit at {threshold}"] = net_benefit(positive_n, scores_n, threshold, subject_n, subjects).model
    told = predictive(positive_n, scores_n >= THRESHOLD, PREVALENCE, subject_n, subjects)
    found |= {"PPV": told.ppv, "NPV": told.npv, "LR of a call": told.lr_positive, "LR of none": told.lr_negative}
    yield from ((name, (own.value, own.interval())) for name, own in found.items())
    curve = smooth_curve(*known)
    for at in CURVE_AT if curve else ():
        share, low, high = (float(np.interp(at, curve.score, line)) for line in (curve.share, curve.low, curve.high))
        yield f"curve at {at}", (share, [low, high])


def covered(
    make: Callable[[np.random.Generator, int], Any],
    measure: Callable[..., Any],
    truth: dict[str, float],
    sets: int,
    people: int,
) -> dict[str, float]:
    """By measure, the share of sets whose interval holds the truth."""
    hits: dict[str, list[bool]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for _ in range(sets):
        for name, (_, pair) in measure(*make(rng, people)):
            if pair is not None:
                hits[name].append(pair[0] <= truth[name] <= pair[1])
    return {name: float(np.mean(own)) for name, own in hits.items()}


def label_coverage(sets: int, people: int) -> dict[str, dict[str, float]]:
    """By kind of set, the coverage of each measure of a yes/no label."""
    table = {}
    for of_people in (False, True):
        for clips in (1, 5):

            def make(rng: np.random.Generator, people: int, clips: int = clips, of_people: bool = of_people) -> Clips:
                return draw(rng, people, clips, of_people=of_people)

            big = of_one_label(*make(np.random.default_rng(99), _BIG // clips))
            truth = {name: value for name, (value, _) in big}
            kind = f"label of {'people' if of_people else 'clips'}, {clips} clip{'s' if clips > 1 else ''} each"
            table[kind] = covered(make, of_one_label, truth, sets, people)
    return table


def two_groups(
    rng: np.random.Generator, people: int, clips: int = 5, slopes: tuple[float, float] = (1.0, 1.0)
) -> tuple[Clips, NDArray[np.bool_]]:
    """Clips of two groups of people whose truth follows the scores with these slopes, and who is in the second."""
    subject_n = np.repeat(np.arange(people), clips)
    second_n = (rng.random(people) < 0.45)[subject_n]
    odds_n = -0.8 + rng.normal(size=people)[subject_n] + 0.7 * rng.normal(size=people * clips)
    positive_n = rng.random(people * clips) < 1 / (1 + np.exp(-np.where(second_n, slopes[1], slopes[0]) * odds_n))
    return (positive_n, 1 / (1 + np.exp(-odds_n)), subject_n), second_n


def of_two_groups(known: Clips, second_n: NDArray[np.bool_], level: float = 0.95) -> Iterator[tuple[str, Span]]:
    """The gap of each measure, second group less first, with its interval; none where a group is too small."""
    positive_n, scores_n, subject_n = known
    halves = []
    for own_n in (~second_n, second_n):
        if bearing_people(positive_n[own_n], subject_n[own_n]) < FEW_PEOPLE:
            return
        half = positive_n[own_n], scores_n[own_n], scores_n[own_n] >= THRESHOLD, subject_n[own_n]
        halves.append(group_measures(*half, int(subject_n.max()) + 1))
    for name in GAP_MEASURES:
        first, second = halves[0][name], halves[1][name]
        yield f"gap of {name}", (second.value - first.value, gap_interval(second, first, level, same_people=True))


def gap_coverage(sets: int, people: int) -> dict[str, dict[str, float]]:
    """By kind of set, the coverage of the gap between two groups in each measure."""
    table = {}
    for slopes in ((1.0, 1.0), (1.0, 0.5)):
        for clips in (1, 5):
            make = partial(two_groups, clips=clips, slopes=slopes)
            big = of_two_groups(*make(np.random.default_rng(9), _BIG // clips))
            truth = {name: value for name, (value, _) in big}
            kind = f"two groups with slopes {slopes[0]} and {slopes[1]}, {clips} clip{'s' if clips > 1 else ''} each"
            table[kind] = covered(make, of_two_groups, truth, sets, people)
    for share in (1.0, 0.3):
        make = partial(two_tasks, share=share)
        truth = {name: value for name, (value, _) in of_two_groups(*make(np.random.default_rng(9), _BIG // 4))}
        table[f"two tasks, both by {share:.0%} of the people"] = covered(make, of_two_groups, truth, sets, people)
    return table


def two_tasks(rng: np.random.Generator, people: int, share: float = 1.0) -> tuple[Clips, NDArray[np.bool_]]:
    """Four clips a person, of whom a share has two in the second task and the rest four in one; and what is in it.

    People have the label or not, and a score of their own in both tasks; in the second it says less.
    """
    subject_n, place_n = np.repeat(np.arange(people), 4), np.tile(np.arange(4), people)
    has_both, in_second = rng.random(people) < share, rng.random(people) < 0.5
    second_n = np.where(has_both[subject_n], place_n >= 2, in_second[subject_n])
    positive_n, scores_n, _ = draw(rng, people, 4, of_people=True)
    odds_n = np.log(scores_n / (1 - scores_n)) + 0.6 * second_n * rng.normal(size=people * 4)
    return (positive_n, 1 / (1 + np.exp(-odds_n)), subject_n), second_n


def twice(rng: np.random.Generator, people: int, shift: float = 0.1) -> tuple[Floats]:
    """Scores (P, 2) of people in two sessions: one between people, 0.6 within them, and a shift of a session."""
    own = 5 + rng.normal(size=(people, 1))
    return (own + 0.6 * rng.normal(size=(people, 2)) + shift * rng.normal(size=2),)


def of_two_sessions(values: Floats) -> Iterator[tuple[str, Span]]:
    """Each measure of repeating, with its interval."""
    for name, own in repeatability(values).items():
        if name in RETEST_TRUTH:
            yield name, (own["value"], own["interval"])


def rater_coverage(sets: int, people: int) -> dict[str, dict[str, float]]:
    """By kind of label, the coverage of each measure of how far three raters agree, and the model with them."""
    table = {}
    for kind, label in LABELS.items():
        for clips in (1, 5):
            make = partial(judged, kind=kind, clips=clips)
            big = of_raters(*make(np.random.default_rng(7), _BIG // clips), resamples=0)
            truth = {name: value for name, (value, _) in big}
            named = f"three raters of {label.name}, {clips} clip{'s' if clips > 1 else ''} each"
            table[named] = covered(make, partial(of_raters, resamples=RESAMPLES), truth, sets, people)
    return table


def false_alarms(sets: int, people: int) -> float:
    """The share of sets without any gap in which a gap is named, of two columns of two groups and four measures."""
    named = []
    rng = np.random.default_rng(1)
    level = 1 - 0.05 / (2 * len(GAP_MEASURES))
    for _ in range(sets):
        known, second_n = two_groups(rng, people)
        other_n = (rng.random(people) < 0.45)[known[2]]
        found = [*of_two_groups(known, second_n, level), *of_two_groups(known, other_n, level)]
        named.append(any(pair is not None and not pair[0] <= 0 <= pair[1] for _, (_, pair) in found))
    return float(np.mean(named))


Place = tuple[dict[str, Spread], dict[str, Shares], Clips]
"""Properties of people, their categories, and their clips and answers."""


def of_a_place(rng: np.random.Generator, people: int, shift: float = 0.0) -> Place:
    """Four properties and two categories of people in a place, of two recordings each."""
    known = draw(rng, people, 2, of_people=True)
    subject_n = known[2]
    amounts = [shift + rng.normal(size=people)[subject_n] + rng.normal(size=2 * people) for _ in range(3)]
    amounts.append(rng.choice([3900.0, 7900.0], size=2 * people))
    spreads = {f"property {at}": Spread.of(person_means(own, subject_n)) for at, own in enumerate(amounts)}
    categories = {
        name: Shares.of(rng.choice(list(values), size=people, p=shares)[subject_n].tolist(), subject_n)
        for name, (values, shares) in CATEGORIES.items()
    }
    return spreads, categories, known


def looks_between(there: Place, here: Place) -> dict[str, Look]:
    """Everything in which one place is held against another."""
    (spreads, categories, known), (others, own_there, known_there) = here, there
    found = {name: look for name, own in spreads.items() if (look := above(own, others[name])) is not None}
    for column, own in categories.items():
        looks = category_looks(beside(own, own_there[column].kept()))
        found |= {f"{column}: {name}": look for name, look in looks.items()}
    summaries = [
        YesNoAnswers(LabelKind("ill"), 1.0 * own[0], own[1][:, None], own[2], THRESHOLD).summary()
        for own in (known, known_there)
    ]
    return found | label_looks(*summaries)


def place_coverage(sets: int, people: int) -> dict[str, dict[str, float]]:
    """How often the share of pairs in which a person of another place is higher lies in its interval."""
    table = {}
    for shift in (0.0, 0.8):
        rng = np.random.default_rng(2)
        # Each is the mean of two recordings: 1 between people and 1 / sqrt(2) within; so is the difference of two.
        truth = 0.5 if shift == 0 else float(0.5 + 0.5 * erf(shift / np.sqrt(2 * 1.5) / np.sqrt(2)))
        hits = []
        for _ in range(sets):
            there, here = of_a_place(rng, people), of_a_place(rng, people, shift)
            look = above(here[0]["property 0"], there[0]["property 0"])
            pair = None if look is None else look.interval(0.95)
            hits.append(pair is not None and pair[0] <= truth <= pair[1])
        table[f"two places, shift {shift}"] = {"share of pairs": float(np.mean(hits))}
    return table | category_coverage(sets, people)


def category_coverage(sets: int, people: int) -> dict[str, dict[str, float]]:
    """How often the gap in the share of a value between two places lies in its interval, by both shares."""
    table = {}
    for there, here in ((0.5, 0.5), (0.6, 0.8), (0.3, 0.1), (0.15, 0.15)):
        rng, hits = np.random.default_rng(4), []
        for _ in range(sets):
            own = [
                Shares.of(np.where(rng.random(people) < share, "f", "m").tolist(), np.arange(people))
                for share in (here, there)
            ]
            look = category_looks(beside(*own))["f"]
            pair = look.interval(0.95)
            hits.append(pair is not None and pair[0] <= here - there <= pair[1])
        table[f"a category, {there:.0%} there and {here:.0%} here"] = {"gap of the share": float(np.mean(hits))}
    return table


def place_alarms(sets: int, people: int) -> float:
    """The share of sets of two places without any shift in which one is named."""
    named, rng = [], np.random.default_rng(3)
    for _ in range(sets):
        looks = looks_between(of_a_place(rng, people), of_a_place(rng, people))
        level = 1 - 0.05 / len(looks)
        named.append(any(look.is_told(level) for look in looks.values()))
    return float(np.mean(named))


def show(table: dict[str, dict[str, float]]) -> None:
    """Print coverage in %, a block a kind of set."""
    for kind, found in table.items():
        print(f"\n{kind}")
        for name, share in found.items():
            print(f"  {name:24} {100 * share:5.1f} %", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--without", type=int, default=300, help="sets without any gap, for false alarms")
    asked = parser.parse_args()
    print(f"{asked.sets} sets of {asked.people} people: how often a 95 % interval holds the truth")
    show(label_coverage(asked.sets, asked.people))
    show(gap_coverage(asked.sets, asked.people))
    show({"two sessions": covered(twice, of_two_sessions, RETEST_TRUTH, asked.sets, asked.people)})
    show(rater_coverage(asked.sets, asked.people))
    alarms = false_alarms(asked.without, asked.people)
    print(f"\n{asked.without} sets without any gap: one is named in {100 * alarms:.1f} % of them")
    show(place_coverage(asked.sets, asked.people))
    alarms = place_alarms(asked.without, asked.people)
    print(f"\n{asked.without} sets of two places without any shift: one is named in {100 * alarms:.1f} % of them")


if __name__ == "__main__":
    main()
