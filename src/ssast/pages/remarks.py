"""Warn in sentences against misreading scores: too few people, thresholds that call all or none, trivial answers."""

from collections.abc import Mapping, Sequence
from math import comb, factorial
from typing import Any

from ssast.metrics.score_entries import parts_of
from ssast.pages.shown_kinds import SHOWN
from ssast.pages.tables import TITLES, number

FEW_WAYS = 20
"""Below so many ways to deal the labels out, luck alone gives the best of them in more than one case of 20."""


def remarks(metrics: Mapping[str, Any]) -> list[str]:
    """What to know before reading the scores of metrics.json, a sentence each."""
    trivial = [_trivial(part) for part in parts_of(metrics)]
    found = (_too_few(metrics), *_of_thresholds(metrics), _plain(metrics), *trivial)
    return [sentence for sentence in found if sentence]


def is_told_from_luck(metrics: Mapping[str, Any], label: str) -> bool:
    """Whether labels can be dealt to the people (or clips) in enough ways for luck to be told from skill."""
    return _ways(metrics, label) >= FEW_WAYS


def first_epoch(log: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where the lines of a training log say that the first of several epochs was the best."""
    losses = {line["epoch"]: line.get("validation_loss") for line in log if "epoch" in line}
    known = {epoch: loss for epoch, loss in losses.items() if loss is not None}
    if len(known) < 2 or min(known, key=lambda epoch: known[epoch]) != min(losses):
        return ""
    return best_is_first(len(losses))


def best_is_first(epochs: int) -> str:
    """What it may mean that the validation loss never fell below that of the first epoch."""
    return (
        f"The best of {epochs} epochs by validation loss is the first: more training did not help. Perhaps the "
        "validation clips are too few to choose by (--val_share), or the learning rate is too high."
    )


def unchosen_sentence(reasons: Mapping[str, str]) -> str:
    """Which labels have the threshold 0.5 because none could be chosen, and why."""
    by_reason: dict[str, list[str]] = {}
    for label, why in reasons.items():
        by_reason.setdefault(why, []).append(label)
    groups = "; ".join(f"{', '.join(labels)} ({why})" for why, labels in by_reason.items())
    return f"No threshold could be chosen, so 0.5 calls the label: {groups}." if groups else ""


def _of_thresholds(metrics: Mapping[str, Any]) -> list[str]:
    found = []
    for word, pair in (("every", (1.0, 0.0)), ("no", (0.0, 1.0))):
        labels = [
            label
            for label, entry in metrics["labels"].items()
            if (entry.get("sensitivity"), entry.get("specificity")) == pair
        ]
        if labels:
            what = f"sensitivity {pair[0]:g} and specificity {pair[1]:g}, whatever the recording"
            found.append(f"At the threshold {word} clip is called {', '.join(labels)}: {what}.")
    return found


def _trivial(metrics: Mapping[str, Any]) -> str:
    """The labels where an answer without a model does as well."""
    name, answer = SHOWN[metrics["loss"]].trivial
    worse = []
    for label, entry in metrics["labels"].items():
        value, without = entry.get(name), (entry.get("baseline") or {}).get(name)
        is_known = None not in (value, without) and entry.get("n_positive") != 0  # without a yes F1 is 0 for everybody
        is_worse = is_known and (value <= without if name in ("f1", "accuracy") else value >= without)
        if is_worse:
            worse.append(f"{label} ({number(value)} against {number(without)})")
    return f"By {TITLES[name]} {answer} does at least as well as the model: {', '.join(worse)}." if worse else ""


def _plain(metrics: Mapping[str, Any]) -> str:
    """The labels where loudness, length and the average spectrum tell as much as the model does."""
    found = (metrics.get("plain_baseline") or {}).get("labels", {})
    worse = []
    for label, own in found.items():
        value = metrics["labels"][label].get(own["measure"])
        if None not in (value, own["value"]) and own["value"] >= value:
            worse.append(f"{label} ({TITLES[own['measure']]} {number(own['value'])} against {number(value)})")
    if not worse:
        return ""
    what = "A plain baseline of loudness, length and average spectrum does at least as well as the model"
    return f"{what}: {', '.join(worse)}."


def _too_few(metrics: Mapping[str, Any]) -> str:
    if not metrics.get("resamples"):
        return ""
    labels = [label for label in metrics["labels"] if not is_told_from_luck(metrics, label)]
    units = "clips" if metrics["subjects"] is None else f"{metrics.get('unit', 'subject')}s"
    return f"Too few {units} to tell the scores from luck: {', '.join(labels)}." if labels else ""


def _ways(metrics: Mapping[str, Any], label: str) -> int:
    """In how many ways labels can be dealt out: to whole people where they name one answer each."""
    entry, pooled = metrics["labels"][label], (metrics.get("by_subject") or {}).get("labels", {})
    units = entry["n"] if metrics["subjects"] is None else min(entry["n"], metrics["subjects"])
    if "n_positive" in entry and (label in pooled or metrics["subjects"] is None):
        own = pooled.get(label, entry)
        return comb(own["n"], own["n_positive"])
    return factorial(min(units, FEW_WAYS))
