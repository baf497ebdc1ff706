"""Name traits, labels and measures in the words of an audit."""

from ssast.dataset_audit.audit_results import AuditResults, Measured
from ssast.pages.tables import counted, span

MEASURE_NAMES = {"auc": "AUC", "spearman": "rank correlation"}
MOST_TOLD = 3
"""Labels that the summary speaks of one by one."""


def people(audit: AuditResults) -> str:
    """How many there are of those whose clips these are."""
    return counted(audit["subjects"] or 0, audit["unit"])


def who(label: str, audit: AuditResults) -> str:
    """What a trait tells."""
    return f"who has {label!r}" if audit["loss"] == "BCE" else f"the value of {label!r}"


def spoken(name: str, audit: AuditResults) -> str:
    """A trait as the subject of a sentence."""
    own = audit["traits"][name]
    return f"the recording's {own['title']}" if own["source"] == "recording" else titled(name, audit)


def titled(name: str, audit: AuditResults) -> str:
    """A trait as what clips are alike in."""
    own = audit["traits"][name]
    if own["source"] == "recording":
        return str(own["title"])
    return f"the column {name}" if own["source"] == "csv" else f"the field {name} of {own['source']}"


def flagged(audit: AuditResults, verdict: str = "yes") -> list[tuple[str, str]]:
    """Labels and the traits of this verdict on them, the strongest first: "yes" is beyond luck, "unsure" may be."""
    found = [
        (entry["value"] or 0.0, label, name)
        for label, own in audit["labels"].items()
        for name, entry in own["traits"].items()
        if entry.get("beyond_luck") == verdict
    ]
    return [(label, name) for _, label, name in sorted(found, key=lambda one: -one[0])]


def between(entry: Measured) -> str:
    """The interval in brackets, where there is one."""
    return f" ({span(entry['interval'], 2)})" if entry["interval"] else ""


def article(name: str) -> str:
    """A name with a or an before it."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def capital(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]
