"""Show how far raters agree, and the model with them, for the screen and for the page."""

from collections.abc import Mapping
from typing import Any

from ssast.pages.html import Breakable, escape, table
from ssast.pages.tables import number, span

_TITLES = {"qwk": "kappa with quadratic weights", "kappa": "Cohen's kappa", "ccc": "concordance (CCC)"}
_ROWS = {
    "alpha": "Krippendorff's alpha of all ratings",
    "icc_2_1": "ICC(2,1) of the clips that all rated",
    "rater_with_mean": "a rater with the mean of the others",
    "rater_with_rater": "a rater with another rater",
    "model_with_rater": "the model with a rater",
    "difference": "the model minus a rater",
}


def rater_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """For each label that several people rated: how far they agree, the ceiling, and the model beside it."""
    return [_sentence(label, own["raters"]) for label, own in metrics["labels"].items() if "raters" in own]


def _sentence(label: str, found: Mapping[str, Any]) -> str:
    agree = [f"alpha {_cell(found['alpha'])}", f"ICC(2,1) {_cell(found['icc_2_1'])}" if "icc_2_1" in found else ""]
    sentence = f"{label}: its raters agree with each other at {', '.join(filter(None, agree))}"
    if "rater_with_rater" not in found:
        return sentence
    pairs = f"a rater with another {_cell(found['rater_with_rater'])}, the model with a rater"
    ceiling = f"a rater with the others' mean {_cell(found['rater_with_mean'])}, " if "rater_with_mean" in found else ""
    return f"{sentence}; {_TITLES[found['measure']]}: {ceiling}{pairs} {_cell(found['model_with_rater'])}"


def _cell(estimate: Mapping[str, Any]) -> str:
    interval = estimate["interval"]
    return number(estimate["value"]) + (f" ({span(interval, 2)})" if interval else "")


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
    text = (
        f"{found['n']} clips with two ratings or more, {found['most']} at most; pairs by {_TITLES[found['measure']]}."
    )
    each = [[name, number(own["model"]), number(own["others"])] for name, own in found.get("each", {}).items()]
    single = table(["with", "the model", "the other raters, mean"], each) if each else ""
    return f'{table(head, rows)}<p class="soft">{escape(text)}</p>{single}'
