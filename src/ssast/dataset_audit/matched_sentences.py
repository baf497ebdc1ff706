"""Explain in sentences how well labels are still told on clips that are alike in a trait."""

from ssast.dataset_audit.audit_results import AuditResults, MatchedResult, Measured
from ssast.dataset_audit.terms import MEASURE_NAMES, between, capital, titled
from ssast.pages.tables import counted, number


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
