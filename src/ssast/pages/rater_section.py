"""Show how far raters agree, and the model with them, for the screen and for the page."""

from collections.abc import Mapping
from typing import Any

from ssast.pages.html import Breakable, escape, table
from ssast.pages.tables import counted, number, span, with_span

_TITLES = {"qwk": "kappa with quadratic weights", "kappa": "Cohen's kappa", "ccc": "concordance (CCC)"}
_ROWS = {
    "alpha": "Krippendorff's alpha of all ratings",
    "icc_2_1": "ICC(2,1) of the clips that all rated",
    "rater_with_mean": "a rater with the mean of the others",
    "rater_with_rater": "a rater with another rater",
    "model_with_rater": "the model with a rater",
    "difference": "the model minus a rater",
}
_SAME = "all ratings of clips that several people rated are the same, so nothing says how far they agree beyond luck"
_NOTHING: Mapping[str, Any] = {"value": None}


def rater_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """For each label that several people rated: how far they agree, the ceiling, and the model beside it."""
    return [_sentence(label, own["raters"]) for label, own in metrics["labels"].items() if "raters" in own]


def _sentence(label: str, found: Mapping[str, Any]) -> str:
    if found["alpha"]["value"] is None:
        return f"{label}: {_SAME}"
    is_icc = found.get("icc_2_1", _NOTHING)["value"] is not None
    agree = f"alpha {with_span(found['alpha'])}" + (f", ICC(2,1) {with_span(found['icc_2_1'])}" if is_icc else "")
    sentence = f"{label}: its raters agree with each other at {agree}{_alone(found)}"
    if found.get("rater_with_rater", _NOTHING)["value"] is None:
        return sentence
    pairs = f"a rater with another {with_span(found['rater_with_rater'])}, the model with a rater"
    own = found.get("rater_with_mean", _NOTHING)
    ceiling = "" if own["value"] is None else f"a rater with the others' mean {with_span(own)}, "
    return f"{sentence}; {_TITLES[found['measure']]}: {ceiling}{pairs} {with_span(found['model_with_rater'])}"


def _alone(found: Mapping[str, Any]) -> str:
    return " (of a single clip that two people rated)" if found.get("n") == 1 else ""


def _unsaid(found: Mapping[str, Any]) -> list[str]:
    """Why a measure has no value."""
    if found["alpha"]["value"] is None:
        return [f"{_SAME[0].upper()}{_SAME[1:]}."]
    lacks_icc = "icc_2_1" in found and found["icc_2_1"]["value"] is None
    return ["ICC(2,1) takes two clips that all of them rated, and ratings that differ."] if lacks_icc else []


def rater_section(metrics: Mapping[str, Any]) -> str:
    """A table a label with the agreement of its raters, and one with each rater; empty where nobody rated twice."""
    rated = {label: own["raters"] for label, own in metrics["labels"].items() if "raters" in own}
    if not rated:
        return ""
    text = (
        "How far people agree is the ceiling of a model that learned from them: nobody can know better what they will "
        "say. A model that agrees with a rater as one rater with another cannot be told from one of them by this. "
        "Raters are numbered in the order of their columns, or of the ratings in a cell."
    )
    parts = [_of_label(label, own) for label, own in rated.items()]
    return f"<h2>The raters</h2><p>{escape(text)}</p>{''.join(parts)}"


def _of_label(label: str, found: Mapping[str, Any]) -> str:
    head = [Breakable(label), "value", "95 % interval"]
    rows = [
        [title, number(found[name]["value"]), span(found[name]["interval"])]
        for name, title in _ROWS.items()
        if name in found
    ]
    rated = f"{counted(found['n'], 'clip')} with two ratings or more, {found['most']} at most"
    text = f"{rated}; pairs by {_TITLES[found['measure']]}."
    why = "".join(f'<p class="soft">{escape(sentence)}</p>' for sentence in _unsaid(found))
    each = [[name, number(own["model"]), number(own["others"])] for name, own in found.get("each", {}).items()]
    single = table(["with", "the model", "the other raters, mean"], each) if each else ""
    return f'{table(head, rows)}<p class="soft">{escape(text)}</p>{why}{single}'
