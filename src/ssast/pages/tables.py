"""Make rows of short text from the scores of `metrics.json`, for the screen and for the page."""

from collections.abc import Mapping
from typing import Any

from ssast.data.tables.label_columns import MEAN
from ssast.metrics.level_measures import AT
from ssast.metrics.score_entries import parts_of
from ssast.pages.shown_kinds import SHOWN

TITLES = {
    "auc": "AUC",
    "average_precision": "AP",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "prevalence": "prevalence",
    "brier": "Brier",
    "ece": "ECE",
    "mae": "MAE",
    "rmse": "RMSE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "ccc": "CCC",
    "qwk": "QWK",
    "mae_steps": "MAE (steps)",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}
UNDEFINED = "-"


def number(value: float | None, digits: int = 3) -> str:
    """A value with so many decimals; large ones with three figures, and a dash for None."""
    if value is None:
        return UNDEFINED
    return f"{value:z.{digits}f}" if abs(value) < 100 else f"{value:.3g}"


def counted(count: int, what: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def were(count: int) -> str:
    """The verb of so many: `was`, `were`."""
    return "was" if count == 1 else "were"


def span(pair: list[float] | None, digits: int = 3) -> str:
    """An interval as `0.812 to 0.901`."""
    return UNDEFINED if pair is None else f"{number(pair[0], digits)} to {number(pair[1], digits)}"


def with_span(found: Mapping[str, Any]) -> str:
    """A value, and its interval in brackets where it has one."""
    return number(found["value"]) + (f" ({span(found['interval'], 2)})" if found["interval"] else "")


def screen_tables(metrics: Mapping[str, Any]) -> list[str]:
    """The tables of `screen_rows`, one for each kind of labels."""
    return [text_table(screen_rows(part)) for part in parts_of(metrics)]


def screen_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The header, a row a label and the mean: clips, the leading measure with interval and chance, and the others.

    All labels are of one kind.
    """
    loss, kind = metrics["loss"], SHOWN[metrics["loss"]]
    is_sure = "intervals" in metrics["mean"]
    header = ["label", "clips"] + (["positive"] if loss == "BCE" else []) + [TITLES[kind.leading]]
    header += (["95 % interval", "chance up to"] if is_sure else []) + [TITLES[name] for name in kind.on_screen]
    rows = [
        header
        + (["threshold"] if loss == "BCE" else [f"{TITLES[name]} {answer}" for name, answer in kind.baseline.items()])
    ]
    for label, entry in [*metrics["labels"].items(), (MEAN, metrics["mean"])]:
        own = [label, str(entry.get("n", ""))] + ([str(entry.get("n_positive", ""))] if loss == "BCE" else [])
        own.append(number(entry[kind.leading]))
        if is_sure:
            own += [span(entry["intervals"][kind.leading]), number(entry["chance"][kind.leading])]
        own += [number(entry[name]) for name in kind.on_screen]
        own += [number((entry.get("baseline") or {}).get(name)) for name in (kind.baseline if loss != "BCE" else ())]
        threshold = number(entry["threshold"]) if "threshold" in entry else ""
        rows.append(own + ([threshold] if loss == "BCE" else []))
    return _with_plain(_with_ceiling(rows, metrics), metrics)


def _with_ceiling(rows: list[list[str]], metrics: Mapping[str, Any]) -> list[list[str]]:
    """The rows with how far a rater agrees with the mean of the others, where that is by the leading measure too."""
    found = {label: own["raters"] for label, own in metrics["labels"].items() if "raters" in own}
    found = {label: own for label, own in found.items() if own["measure"] == SHOWN[metrics["loss"]].leading}
    told = {label: own["rater_with_mean"] for label, own in found.items() if "rater_with_mean" in own}
    return _with_column(rows, "a rater", told) if told else rows


def _with_plain(rows: list[list[str]], metrics: Mapping[str, Any]) -> list[list[str]]:
    """The rows with what a plain baseline reaches in the leading measure, and its interval, where there is one."""
    found = (metrics.get("plain_baseline") or {}).get("labels")
    if not found or not any(label in found for label in metrics["labels"]):
        return rows
    return _with_column(rows, "plain baseline", found)


def _with_column(rows: list[list[str]], title: str, found: Mapping[str, Any]) -> list[list[str]]:
    """The rows with one more column: a value and its interval for the labels that have one."""
    cells = [title]
    for label, *_ in rows[1:]:
        own = found.get(label)
        cells.append("" if own is None else with_span(own))
    return [[*row, cell] for row, cell in zip(rows, cells, strict=True)]


def reasons(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each label with an undefined measure."""
    return [f"{label}: {_titled(entry['reason'])}" for label, entry in metrics["labels"].items() if entry["reason"]]


def _titled(reason: str) -> str:
    names, _, why = reason.removeprefix("undefined: ").partition("; ")
    return f"{why}, so there is no {', '.join(map(title_of, names.split(', ')))}"


def title_of(name: str) -> str:
    """What a measure is called, also at one cut of a scale: `AUC at least 3`."""
    plain, _, level = name.partition(AT)
    return TITLES.get(plain, plain) + (f" at least {level}" if level else "")


def text_table(rows: list[list[str]]) -> str:
    """The rows as aligned text: the first column to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
