"""Read each label's kind of answer, from `labels.yaml` beside labels.txt and the table, and say what looks unmeant.

Shapes: R rows, J ratings of a row at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssast.data.storage.location import Address, Location, as_location
from ssast.data.tables.label_columns import check_kind_columns
from ssast.data.tables.ratings import Ratings, check_level_count, is_rated, levels_in, with_raters
from ssast.data.tables.targets import check_targets, read_labels
from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import entry_fault
from ssast.model.label_kinds import (
    CHOICE,
    LONGEST_LEVEL,
    NUMBER,
    SCALE,
    YES_NO,
    Doubles,
    KindEntry,
    LabelKind,
    LabelKinds,
)
from ssast.safe_reading import MOST_BYTES, UNSEEN, brief, is_number, some, yaml_of


def kinds_place(label_txt: Address) -> Location:
    """Where the file of kinds lies that belongs to a file of labels: its name with .yaml at the end."""
    there = as_location(label_txt)
    return there.parent / f"{there.name.rsplit('.', 1)[0]}.yaml"


def asked_kinds(label_txt: Address, loss: str) -> LabelKinds:
    """The labels of a file, each of the kind that the .yaml beside it says, else of `loss`; levels may lack yet.

    UserError for what `read_labels` refuses, and for a .yaml that cannot be meant.
    """
    names, place = read_labels(label_txt), kinds_place(label_txt)
    content = _content(place) if place.exists() and place.name != as_location(label_txt).name else {}
    if unknown := [name for name in content if name not in names]:
        raise UserError(
            f"{place} names the label {brief(unknown[0])!r}, which {label_txt} does not have ({some(names)}); "
            "name it there too, or take it out.",
            path=[place, label_txt],
        )
    return LabelKinds.of_entries(loss, names, [_entry(content.get(name), loss, name, place) for name in names])


def _content(place: Location) -> Mapping[str, Any]:
    try:
        content = yaml_of(place.read_text(MOST_BYTES))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{place} cannot be read ({error}); correct it.", path=place) from error
    if not isinstance(content or {}, dict):
        raise UserError(
            f"{place} holds {brief(content, 40)}, expected a line a label such as `breathy: {{kind: ordinal}}`; "
            "correct it.",
            path=place,
        )
    return content or {}


def _entry(given: Any, loss: str, name: str, place: Location) -> KindEntry:
    """What is said of a label; a bare word is its kind."""
    given = {} if given is None else {"kind": given} if isinstance(given, str) else given
    entry = {"kind": loss} | dict(given) if isinstance(given, dict) else given
    if isinstance(entry, dict) and isinstance(entry.get("levels"), list) and entry.get("kind") == CHOICE:
        entry["levels"] = [f"{level:.15g}" if is_number(level) else level for level in entry["levels"]]
    if wrong := entry_fault(entry):
        raise UserError(f"{place} says of the label {brief(name)!r} {wrong}; correct it.", path=place)
    return entry


def kinds_in_table(kinds: LabelKinds, frame: pd.DataFrame, source: object) -> LabelKinds:
    """The labels with their raters' columns and levels, as the training table has them where nothing was said.

    UserError for a scale or a choice of fewer than two levels, or of more than MOST_LEVELS.
    """
    kinds = with_raters(kinds, [str(column) for column in frame.columns])
    found = kinds.changed(lambda label: {"levels": label.levels or tuple(_levels(frame, label, source))})
    for label in found.labels:
        if label.cut is not None and label.cut not in label.levels[1:]:
            raise UserError(
                f"the cut {label.cut:g} of the label {label.name!r} is none of its levels above the lowest "
                f"({some(label.shown_levels[1:], 12)}); correct labels.yaml."
            )
    check_kind_columns(found, source=source)
    return found


def needs_answers(splits: Mapping[str, pd.DataFrame], label: LabelKind) -> bool:
    """Whether the label's column is not yet one number a row, as those of yes/no labels and numbers are."""
    return not LabelKinds((label,)).is_plain or any(is_rated(frame, label) for frame in splits.values())


def answered(splits: Mapping[str, pd.DataFrame], kinds: LabelKinds) -> tuple[dict[str, pd.DataFrame], LabelKinds]:
    """The tables with one number a label, a mean rating or that of a kind, in place of its raters' columns.

    With them come the labels with the levels of the first table. UserError where a table does not fit its labels.
    """
    known, made = kinds_in_table(kinds, next(iter(splits.values())), f"{next(iter(splits))}.csv"), {}
    raters = {column for label in known.labels for column in label.raters}
    for name, frame in splits.items():
        own = with_raters(known, [str(column) for column in frame.columns], kept=False)
        values = pd.DataFrame(Ratings.of(frame, own, f"{name}.csv").values, index=frame.index, columns=known.names)
        others = [column for column in frame.columns if column not in raters and column not in known.names]
        made[name] = frame[others].join(values)
    return made, known


def as_numbers(
    splits: dict[str, pd.DataFrame], label_txt: Location, loss: str, places: Mapping[str, Location]
) -> tuple[dict[str, pd.DataFrame], list[str], str]:
    """For the audit, which knows yes/no labels (BCE) and values (MSE): tables of numbers, the labels, which they are.

    Scales are values. UserError for choices and for labels of several kinds.
    """
    kinds = asked_kinds(label_txt, loss)
    if kinds.loss not in (YES_NO, NUMBER, SCALE):
        raise UserError(
            f"audit takes labels that are all yes/no, all numbers or all scales, but those of {label_txt} are "
            f"{kinds.loss}; name some of one kind in a file of their own.",
            path=label_txt,
        )
    if not any(needs_answers(splits, label) for label in kinds.labels):
        for name, frame in splits.items():
            check_targets(frame, kinds.names, kinds.loss, places[name])
        return splits, kinds.names, kinds.loss
    return answered(splits, kinds)[0], kinds.names, NUMBER if kinds.loss == SCALE else kinds.loss


def _levels(frame: pd.DataFrame, label: LabelKind, source: object) -> Sequence[Any]:
    if label.kind not in (SCALE, CHOICE):
        return ()
    levels = levels_in(frame, label, source)
    check_level_count(len(levels), label, source)
    if long := [one for one in levels if isinstance(one, str) and (len(one) > LONGEST_LEVEL or UNSEEN.search(one))]:
        raise UserError(
            f"the label {label.name!r} has the kind {brief(long[0])!r} in {source}, expected a word of one line; "
            "correct it.",
            cell=long[0],
            path=source,
        )
    return levels


_CODES = {-99.0, -9.0, -1.0, 9.0, 88.0, 99.0}
"""What tables write for a rating that is not there."""
_REPEATED = [float(str(digit) * times) for digit in (7, 8, 9) for times in (1, 2, 3, 4)]
_NUMBER_CODES = frozenset([-1.0, 9.0, *(-code for code in _REPEATED), *(code for code in _REPEATED if code > 9)])
"""The same for numbers, as statistics programs have them: -1, -9, 99, 777, 888, 999."""
_HEAVY = 20.0
"""A squared error that begins above this leaves little of the other labels' losses, which begin at about 1."""


def doubts(label: LabelKind, own_RJ: Doubles, is_mixed: bool) -> Iterator[str]:
    """What in the ratings of a label is perhaps not meant; `is_mixed` where other labels are no numbers."""
    if told := code_doubt(label, own_RJ):
        yield told
    if unseen := unseen_ends(label, own_RJ):
        shown = some([f"{level:g}" for level in unseen])
        yield f"no row of the training csv rates {label.name!r} as {shown}, so that is not learned"
    if label.kind == NUMBER and is_mixed and label.weight * (square := float(np.nanmean(own_RJ**2))) > _HEAVY:
        weight = np.format_float_positional(float(f"{1 / square:.1g}"))  # YAML reads 1e-05 as text
        yield (
            f"numbers as large as those of {label.name!r} have squared errors that outweigh the other labels; give it "
            f"a weight of about {weight} in labels.yaml"
        )


def code_doubt(label: LabelKind, own_RJ: Doubles) -> str:
    """A sentence where ratings of a label look like codes of missing ones; empty elsewhere."""
    codes = likely_codes(label, own_RJ)
    shown, what = " and ".join(f"{code:g}" for code in codes), "level" if label.kind == SCALE else "value"
    sentence = f"{shown} {'counts' if len(codes) == 1 else 'count'} as a {what} of {label.name!r}"
    return f"{sentence}; where it means missing, leave the cells empty" if codes else ""


def code_doubts(splits: Mapping[str, pd.DataFrame], kinds: LabelKinds) -> Iterator[tuple[str, str]]:
    """For each table of scales and numbers with what look like codes of missing ratings: its name, and a sentence.

    A label that a table does not fit is passed over.
    """
    for label in kinds.labels:
        for name, frame in splits.items() if label.kind in (SCALE, NUMBER) else ():
            try:
                own = kinds_in_table(LabelKinds((label,)), frame, f"{name}.csv")
                ratings = Ratings.of(frame, own, f"{name}.csv")
            except UserError:
                continue
            if told := code_doubt(own.labels[0], ratings.by_label[0]):
                yield name, told


def likely_codes(label: LabelKind, own_RJ: Doubles) -> list[float]:
    """Ratings that look like codes of missing ones, apart from all others or alone below 0.

    Of a scale its first or last level; of numbers those of `_NUMBER_CODES` that lie farther from the others than these
    lie from each other.
    """
    found = sorted(set(own_RJ[~np.isnan(own_RJ)].tolist()))
    if label.kind == NUMBER:
        return _number_codes(found)
    if label.kind != SCALE or len(found) < 3:
        return []
    is_low = found[0] in _CODES and found[1] >= 0
    is_high = found[-1] in _CODES and found[-1] - found[-2] > 2
    return [level for level, is_code in ((found[0], is_low), (found[-1], is_high)) if is_code]


def _number_codes(found: Sequence[float]) -> list[float]:
    others = [value for value in found if value not in _NUMBER_CODES]
    if len(others) < 2:
        return []
    low, high = others[0], others[-1]
    far = high - low
    codes = (value for value in found if value in _NUMBER_CODES)
    return [code for code in codes if code < 0 <= low or low - code > far or code - high > far]


def unseen_ends(label: LabelKind, own_RJ: Doubles) -> list[float]:
    """Levels of a scale below all ratings, or above them; between two that were given a scale knows its place."""
    seen = own_RJ[~np.isnan(own_RJ)]
    if label.kind != SCALE or not len(seen):
        return []
    return [float(level) for level in label.levels if level < seen.min() or level > seen.max()]
