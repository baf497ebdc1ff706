"""Find clips and people among rows to be scored on which the model was trained."""

from collections.abc import Sequence

import pandas as pd

from ssast.data.tables.people import People, across, find_all_people
from ssast.runs.context import say


def overlap(scored: pd.DataFrame, trained: Sequence[pd.DataFrame], *, is_all: bool = True) -> str:
    """What is wrong with scores of these rows of a model trained on those; empty where nothing is.

    Where those are none, or not all (`is_all`), nothing is said of a missing column of people: the others may have it.
    What is found is then said to be the least.
    """
    least = "" if is_all else "at least "
    known = {uid for frame in trained for uid in frame.index}
    clips = int(scored.index.isin(known).sum())
    if clips:
        return (
            f"Careful: {least}{clips} of these {len(scored)} clips were used in training, "
            "so the scores do not say how well the model does on new recordings."
        )
    here, *there = find_all_people([scored, *trained])
    named = [people for people in there if people is not None]
    if here is None or not named:
        return _unnamed(here, named) if is_all and trained else ""
    return _same_people(here, named, least)


def say_overlap(scored: pd.DataFrame, trained: Sequence[pd.DataFrame]) -> None:
    """Print what `overlap` finds."""
    if careful := overlap(scored, trained):
        say(careful)


def _same_people(here: People, there: Sequence[People], least: str) -> str:
    """Who is among the scored and among the trained, by the same name or by one that may be another spelling of it."""
    trained = {name for people in there for name in people.known}
    shared = here.known & trained
    other = next((people.column for people in there if people.column != here.column), here.column)
    column = f"column {here.column}" if other == here.column else f"column {here.column}, in the training csv {other}"
    if shared:
        return (
            f"Careful: {least}{len(shared)} of these {len(here.known)} subjects ({column}) were in the training csv "
            "too, so the scores do not say how well the model does on new people."
        )
    alike = list(across(here.known, trained))
    if not alike:
        return ""
    first, second = alike[0]
    return (
        f"Careful: {least}{len(alike)} of these {len(here.known)} subjects ({column}) may have been in the training "
        f"csv too, spelled differently: {first} here, {second} there; `ssast check` names them all."
    )


def _unnamed(here: People | None, there: Sequence[People]) -> str:
    """A warning where only one of the two tables says who speaks, so that shared people cannot be found."""
    if here is None and not there:
        return ""
    sides = ("these rows name", "the training csv does") if here else ("the training csv names", "these rows do")
    column = here.column if here else there[0].column
    return (
        f"Careful: {sides[0]} people (column {column}) and {sides[1]} not, so people who are in both go unseen; "
        "add the column to both tables."
    )
