"""Name traits, labels and measures in the words of an audit, and tell what is still told of labels on matched clips."""

from ssast.dataset_audit.audit_results import AuditResults, MatchedResult, Measured
from ssast.pages.tables import counted, number, span

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


def matched_sentences(audit: AuditResults, label: str, found: MatchedResult) -> list[str]:
    """How many clips remain once they are alike in a trait, and what is still told on them."""
    title = titled(found["on"], audit)
    pair = f"with {label!r} and without it" if audit["loss"] == "BCE" else f"above the median of {label!r} and others"
    whose = "" if audit["unit"] == "clip" else f", of {counted(found['kept_subjects'], audit['unit'])}"
    kept = f"Clips {pair} that are alike in {title} were paired: {found['kept']} of {found['n']} remain{whose}."
    if not found["is_enough"]:
        why = "The two groups hardly overlap in it, or there are too few clips"
        return [kept, f"{why}: this data set cannot tell {label!r} from {title}."]
    return [sentence for sentence in (kept, _of_trait(audit, found), of_model(audit, label, found)) if sentence]


def _of_trait(audit: AuditResults, found: MatchedResult) -> str:
    before, after = found["trait"]["before"], found["trait"]["after"]
    if before["value"] is None or after["value"] is None:
        return ""
    if after["interval"] is None:
        end = f"there are too few {audit['unit']}s for an interval"
    elif _side(audit, after):
        end = "the pairs still differ in it, so the matching is not perfect"
    else:
        end = "so the matching did its work"
    return (
        f"The {MEASURE_NAMES[audit['measure']]} of {titled(found['on'], audit)} itself goes from "
        f"{number(before['value'], 2)} to {number(after['value'], 2)}{between(after)}: {end}."
    )


def _side(audit: AuditResults, entry: Measured) -> int:
    """1 where the whole interval is above what nothing gives, -1 where it is below, else 0."""
    nothing = 0.5 if audit["loss"] == "BCE" else 0.0
    if entry["interval"] is None:
        return 0
    return int(entry["interval"][0] > nothing) - int(entry["interval"][1] < nothing)


def of_model(audit: AuditResults, label: str, found: MatchedResult) -> str:
    """What becomes of a model's score on clips alike in a trait; empty without a model or with too few clips."""
    if not found["model"] or not found["is_enough"]:
        return ""
    before, after = found["model"]["before"], found["model"]["after"]
    if before["value"] is None or after["value"] is None:
        return ""
    title, name = titled(found["on"], audit), MEASURE_NAMES[audit["measure"]]
    start = (
        f"On clips alike in {title} the model's {name} for {label!r} goes from "
        f"{number(before['value'], 2)}{between(before)} to {number(after['value'], 2)}{between(after)}"
    )
    return f"{capital(start)}{_of_change(audit, found, before, after)}"


def _of_change(audit: AuditResults, found: MatchedResult, before: Measured, after: Measured) -> str:
    nothing = "0.5" if audit["loss"] == "BCE" else "0"
    title, was, stays = titled(found["on"], audit), _side(audit, before), _side(audit, after)
    if before["interval"] is None or after["interval"] is None or after["value"] is None:
        return f"; there are too few {audit['unit']}s for an interval."
    if was < 0:
        return f": it tells the label the wrong way round, so nothing follows about {title}."
    if not was:
        return f": on all clips it is not shown to be above {nothing}, so nothing follows about {title}."
    if stays > 0:
        return f": it still tells the label, so it hears more than {title}."
    if after["value"] >= before["interval"][0]:
        return f": it need not have changed, but {found['kept']} clips are too few to be sure."
    return f": on {found['kept']} such clips it cannot be shown to hear anything beyond {title}."
