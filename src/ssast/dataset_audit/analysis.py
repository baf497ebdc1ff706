"""Measure how far each label can be told without the sound, from what else is known of each clip.

Shapes: N clips, L labels, n clips whose label is known, J ways (a trait as an amount, a trait as kinds), R shuffles.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssast.dataset_audit.audit_results import (
    AuditResults,
    BeforeAfter,
    KindShare,
    LabelResult,
    MatchedResult,
    Measured,
    TraitResult,
)
from ssast.dataset_audit.measures import ITSELF, MEASURE, NO_MEASURE, measured
from ssast.dataset_audit.single_traits import Luck, Way, _Guesses, luck
from ssast.dataset_audit.traits import Trait, is_practical, matched, traits
from ssast.metrics.intervals import number_subjects
from ssast.metrics.measures import SOFT_POSITIVE, Floats

if TYPE_CHECKING:
    import pandas as pd

_FEW_CLIPS = 20
"""A matched subset below this says nothing."""
LUCK = 0.97
"""Share of data sets without a confound in which nothing may stand out; 0.95 was flagged in 4 to 7 of 100."""
MATCHED_COLUMNS = 2
"""Columns that clips are matched on for a label, the strongest first."""
TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class Clips:
    """What an audit needs of each clip, in one order.

    `targets` (N, L) is NaN where a label is not known; `split` (N,) names the csv; `subjects` (N,) says whose each clip
    is, in words of `unit`; `scores` (N, L) is what a model said, NaN where it said nothing.
    """

    table: "pd.DataFrame"
    sources: Mapping[str, str]
    labels: Sequence[str]
    targets: Floats
    split: NDArray[Any]
    subjects: NDArray[Any] | None = None
    unit: str = "clip"
    scores: Floats | None = None


@dataclass(frozen=True)
class Label:
    """One label on the clips where it is known, prepared: `target_n` is what ways guess, `truth_n` what is scored."""

    rows_n: NDArray[np.intp]
    truth_n: Floats
    target_n: Floats
    subject_n: NDArray[np.intp]
    traits: list[Trait]
    guesses: _Guesses


def analyse(
    clips: Clips,
    *,
    loss: str = "BCE",
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> AuditResults:
    """audit.json without its leaks: how well each trait alone tells each label, and what is left on matched clips.

    An undefined number is None. `progress` passes the labels on, one when its turn has come.
    """
    found, left_out = traits(clips.table, clips.sources)
    subject_N = number_subjects(clips.subjects, len(clips.targets))

    def prepared(at: int) -> Label:  # one at a time: a label holds several numbers for each clip and trait
        return _prepare(clips.targets[:, at], found, subject_N, loss, seed)

    entries: dict[str, LabelResult] = {}
    chances: dict[str, Luck] = {}
    for at, label in enumerate(progress(list(clips.labels))):
        entries[label] = _describe(clips.targets[:, at], loss)
        if entries[label]["reason"] is None and found:
            own = prepared(at)
            chances[label] = luck(own.guesses, own.target_n, own.subject_n, resamples, [seed, 4, at])
            entries[label]["traits"] = _alone(own, clips.split, chances[label], loss, resamples, seed)
    _correct(entries, chances, found, NO_MEASURE[loss])
    for at, entry in enumerate(entries.values()):
        score_N = None if clips.scores is None or np.isnan(clips.scores[:, at]).all() else clips.scores[:, at]
        if names := _strongest(entry["traits"], found):
            own = prepared(at)
        entry["matched"] = [_match(own, entry, name, score_N, loss, resamples, seed) for name in names]
    return {
        "n": len(clips.targets),
        "splits": {str(name): int((clips.split == name).sum()) for name in dict.fromkeys(clips.split.tolist())},
        "subjects": None if clips.subjects is None else int(subject_N.max(initial=-1)) + 1,
        "unit": clips.unit,
        "loss": loss,
        "measure": MEASURE[loss],
        "resamples": resamples,
        "looks": sum(len(entry["traits"]) for entry in entries.values()),
        "traits": {own.name: {"title": own.title, "source": own.source, "kinds": _kinds(own)} for own in found},
        "left_out": left_out,
        "labels": entries,
    }


def _prepare(target_N: Floats, found: list[Trait], subject_N: NDArray[np.intp], loss: str, seed: int) -> Label:
    from scipy.stats import rankdata

    rows_n = np.flatnonzero(~np.isnan(target_N))
    truth_n = target_N[rows_n]
    if loss == "MSE":
        target_n = rankdata(truth_n) - (len(truth_n) + 1) / 2
    else:
        target_n = (truth_n >= SOFT_POSITIVE).astype(np.float64)
    subject_n = np.unique(subject_N[rows_n], return_inverse=True)[1]
    own = [trait.at(rows_n) for trait in found]
    is_usable = len(rows_n) > 0
    guesses = _Guesses(own if is_usable else [], subject_n, is_value=loss == "MSE", seed=seed)
    return Label(rows_n, truth_n, target_n, subject_n, own, guesses)


def _describe(target_N: Floats, loss: str) -> LabelResult:
    known_n = target_N[~np.isnan(target_N)]
    positives = int((known_n >= SOFT_POSITIVE).sum()) if loss == "BCE" else None
    reason = None
    if len(known_n) == 0:
        reason = "no clip has a value for it"
    elif len(np.unique(known_n if loss == "MSE" else known_n >= SOFT_POSITIVE)) < 2:
        reason = "all clips have the same value"
    return {"n": len(known_n), "n_positive": positives, "reason": reason, "traits": {}}


def _alone(
    own: Label, split_N: NDArray[Any], chance: Luck, loss: str, resamples: int, seed: int
) -> dict[str, TraitResult]:
    """Each trait's better way: the measure, its interval, what it rises with, and from train.csv to test.csv."""
    chosen = [_better_way(at, own.guesses.ways, chance) for at in range(len(own.traits))]
    scores = [own.guesses.scores(own.guesses.ways[j], own.traits, own.target_n) for j in chosen]
    sure = measured(own.truth_n, scores, own.subject_n, loss, resamples, seed)
    entries: dict[str, TraitResult] = {}
    for trait, j, found in zip(own.traits, chosen, sure, strict=True):
        way = own.guesses.ways[j]
        rises = own.guesses.rises(way, own.target_n) if way.is_amount else None
        entries[trait.name] = {
            **found,
            "way": "amount" if way.is_amount else "kinds",
            "rises": rises,
            "place": j,
            "from_train": _from_train(own, way, split_N[own.rows_n], loss, resamples, seed),
            "kinds": _shares(trait, own.truth_n, loss),
            "is_practical": is_practical(trait, _has(own.truth_n, loss), is_amount=way.is_amount),
        }
    return entries


def _better_way(trait: int, ways: Sequence[Way], chance: Luck) -> int:
    """The number of this trait's way that stands out most."""
    return max((j for j, way in enumerate(ways) if way.trait == trait), key=lambda j: float(chance.away[j]))


def _shares(trait: Trait, truth_n: Floats, loss: str) -> list[KindShare]:
    """Of each kind, or fifth of an amount, how many clips there are and their share with the label (MSE: its mean)."""
    value_n = truth_n if loss == "MSE" else (truth_n >= SOFT_POSITIVE).astype(np.float64)
    here = [(name, trait.codes == code) for code, name in enumerate(trait.names)]
    found: list[KindShare] = [
        {"name": name, "n": int(which.sum()), "mean": float(value_n[which].mean())}
        for name, which in here
        if any(which)
    ]
    return found if trait.amounts is not None else sorted(found, key=lambda kind: -kind["n"])


def _from_train(own: Label, way: Way, split_n: NDArray[Any], loss: str, resamples: int, seed: int) -> Measured | None:
    """The measure on test.csv of what train.csv alone says of this trait; None without both."""
    train_n, test_n = np.flatnonzero(split_n == TRAIN), np.flatnonzero(split_n == TEST)
    if min(len(train_n), len(test_n)) == 0:
        return None
    trait = own.traits[way.trait]
    if way.is_amount and trait.amounts is not None:
        learnt = _Guesses([trait.at(train_n)], own.subject_n[train_n], is_value=loss == "MSE", seed=seed)
        sign = 1.0 if learnt.rises(Way(0, True), own.target_n[train_n]) else -1.0
        score_n = sign * trait.amounts[test_n]
    else:
        code_n, target_n = trait.codes[train_n], own.target_n[train_n]
        away_G = np.bincount(code_n, target_n - target_n.mean(), len(trait.names))
        score_n = (away_G / (np.bincount(code_n, minlength=len(trait.names)) + 2.0))[trait.codes[test_n]]
    subject_n = np.unique(own.subject_n[test_n], return_inverse=True)[1]
    return measured(own.truth_n[test_n], [score_n], subject_n, loss, resamples, seed)[0]


def _correct(
    entries: dict[str, LabelResult], chances: Mapping[str, Luck], found: Sequence[Trait], nothing: float
) -> None:
    """Give each trait the level that luck reaches at most and its p, corrected for every look that was taken.

    The largest distance from its own mean among all ways and labels of a shuffle is what luck can do (Westfall and
    Young's maximum); each label was shuffled for itself, which can only make the level higher.
    """
    if not chances:
        return
    most_R = np.max([own.shuffled.max(axis=1) for own in chances.values()], axis=0)
    level = float(np.quantile(most_R, LUCK))
    for label, own in chances.items():
        for trait in found:
            entry = entries[label]["traits"][trait.name]
            j = entry.pop("place")
            entry["chance"] = min(1.0, float(own.mean[j] + level * own.spread[j]))  # no measure here goes further
            entry["away"] = float(own.away[j])
            reached = int((most_R >= own.away[j] - 1e-9).sum())
            entry["p"] = (1 + reached) / (1 + len(most_R))
            # As in the report of a model: beyond chance, and sure to be on that side.
            is_sure = entry["interval"] is not None and entry["interval"][0] > nothing
            is_beyond = entry["value"] is not None and entry["p"] <= 1 - LUCK
            entry["is_flagged"] = is_beyond and is_sure and entry["is_practical"]
            entry["beyond_luck"] = "no" if not is_beyond else "tiny" if not entry["is_practical"] else "unsure"
            entry["beyond_luck"] = "yes" if entry["is_flagged"] else entry["beyond_luck"]
            entry["is_form"] = _is_form(trait, entry, nothing)


def _strongest(entries: Mapping[str, TraitResult], found: Sequence[Trait]) -> list[str]:
    """What tells most of the recordings' own traits, and of the columns the strongest that are beyond luck.

    Apart, because a column can be another form of the label, and would hide what can be heard; one that tells it as
    well as the label itself is passed over, because it would hide the other columns.
    """
    known = [trait for trait in found if trait.name in entries and entries[trait.name]["value"] is not None]
    known.sort(key=lambda trait: (entries[trait.name]["is_flagged"], entries[trait.name]["value"]), reverse=True)
    heard = [trait.name for trait in known if trait.source == "recording"]
    columns = [trait.name for trait in known if trait.source != "recording" and not entries[trait.name]["is_form"]]
    told = [name for name in columns if entries[name]["is_flagged"]][:MATCHED_COLUMNS]
    return heard[:1] + (told or ([] if heard else columns[:1]))


def _is_form(trait: Trait, entry: TraitResult, nothing: float) -> bool:
    """Whether a column tells a label so well that it is likely another form of it."""
    itself = ITSELF["auc" if nothing else "spearman"]
    value = entry["value"]
    return trait.source != "recording" and entry["is_flagged"] and value is not None and value >= itself


def _has(truth_n: Floats, loss: str) -> NDArray[np.bool_]:
    """Who has the label; of values, who is above their median."""
    found: NDArray[np.bool_] = (
        truth_n > np.median(truth_n) if loss == "MSE" and len(truth_n) else truth_n >= SOFT_POSITIVE
    )
    return found


def _match(
    own: Label, entry: LabelResult, name: str, score_N: Floats | None, loss: str, resamples: int, seed: int
) -> MatchedResult:
    """A trait, and the model where one is given, before and after matching clips on that trait."""
    at = [trait.name for trait in own.traits].index(name)
    way = Way(at, entry["traits"][name]["way"] == "amount")
    of_trait_n = own.guesses.scores(way, own.traits, own.target_n)
    of_model_n = None if score_N is None else score_N[own.rows_n]
    among_n = np.arange(len(own.rows_n)) if of_model_n is None else np.flatnonzero(~np.isnan(of_model_n))
    truth_n = own.truth_n[among_n]
    kept_n = among_n[matched(own.traits[at].at(among_n), _has(truth_n, loss), seed)]

    def both(score_n: Floats) -> BeforeAfter:
        parts = []
        for rows_n in (among_n, kept_n):
            subject_n = np.unique(own.subject_n[rows_n], return_inverse=True)[1]
            parts.append(measured(own.truth_n[rows_n], [score_n[rows_n]], subject_n, loss, resamples, seed)[0])
        return {"before": parts[0], "after": parts[1]}

    return {
        "on": name,
        "n": len(among_n),
        "kept": len(kept_n),
        "kept_subjects": len(np.unique(own.subject_n[kept_n])),
        "is_enough": len(kept_n) >= _FEW_CLIPS,
        "trait": both(of_trait_n),
        "model": None if of_model_n is None else both(of_model_n),
    }


def _kinds(trait: Trait) -> int | None:
    """How many kinds there are; None for an amount."""
    return None if trait.amounts is not None else len(trait.names)
