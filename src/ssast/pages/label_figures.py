"""Draw the figures of the report page as html: those of one label, and those of the training log.

Shapes: N clips, n clips with a target.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssast.metrics import curves
from ssast.metrics.level_measures import AT, truth
from ssast.metrics.measures import Floats
from ssast.model.label_kinds import LabelKind
from ssast.pages.figures import Plot
from ssast.pages.html import escape, table
from ssast.pages.review_sections import decision_curve, predictive_table
from ssast.pages.sentences import label_sentence
from ssast.pages.tables import number, title_of

_MOST_DOTS = 800
UNIT_SQUARE: dict[str, Any] = {"x": (0, 1), "y": (0, 1)}


def yes_no_figures(targets_N: Floats, scores_N: Floats, entry: Mapping[str, Any]) -> str:
    """ROC, precision-recall, calibration, scores and confusion of a label, or the sentence why there are none."""
    positive_n, scores_n = curves.known(targets_N, scores_N)
    if len(positive_n) == 0 or positive_n.all() or not positive_n.any():
        return f"<p>No figures: {escape((entry['reason'] or '').partition('; ')[2])}.</p>"
    counts = curves.Confusion.of(entry)
    review = entry.get("review") or {}
    figures = [
        _roc(positive_n, scores_n, counts, entry),
        _calibration(positive_n, scores_n, entry),
        decision_curve(review),
        _distributions(positive_n, scores_n, entry["threshold"]),
        _precision_recall(positive_n, scores_n, entry),
        f"<div>{_confusion(counts)}{predictive_table(review)}</div>",
    ]
    return f'<p>{escape(label_sentence(entry, counts))}</p><div class="figures">{"".join(figures)}</div>'


def _roc(positive_n: Any, scores_n: Floats, counts: curves.Confusion, entry: Mapping[str, Any]) -> str:
    curve = curves.roc(positive_n, scores_n).thinned()
    here = counts.false / (counts.false + counts.spared), counts.found / (counts.found + counts.missed)
    plot = Plot(**UNIT_SQUARE, x_name="1 - specificity", y_name="sensitivity").line([0, 1], [0, 1], "soft")
    plot.line(curve.x, curve.y).dots(*here, "second", radius=5, notes=["at the threshold"])
    caption = f"ROC curve with AUC {number(entry['auc'])}"
    return plot.figure("ROC", caption, [("first", "model"), ("second", "at the threshold"), ("soft", "coin")])


def _precision_recall(positive_n: Any, scores_n: Floats, entry: Mapping[str, Any]) -> str:
    curve, share = curves.precision_recall(positive_n, scores_n).thinned(), float(np.mean(positive_n))
    plot = Plot(**UNIT_SQUARE, x_name="recall (sensitivity)", y_name="precision").line([0, 1], [share, share], "soft")
    caption = f"Precision-recall curve with average precision {number(entry['average_precision'])}"
    return plot.line(curve.x, curve.y).figure("Precision and recall", caption, [("first", "model"), ("soft", "coin")])


def _calibration(positive_n: Any, scores_n: Floats, entry: Mapping[str, Any]) -> str:
    bins = curves.calibration(positive_n, scores_n)
    most = max(own.clips for own in bins)
    plot = Plot(**UNIT_SQUARE, x_name="mean score", y_name="share with the label").line([0, 1], [0, 1], "soft")
    notes = [f"{own.clips} clips: mean score {own.score:.2f}, {own.share:.2f} with the label" for own in bins]
    radii = [3 + 6 * (own.clips / most) ** 0.5 for own in bins]
    keys = [("first", "ten bins, larger: more clips"), ("soft", "perfect")]
    if smooth := ((entry.get("review") or {}).get("calibration") or {}).get("curve"):
        plot.band(smooth["score"], smooth["low"], smooth["high"]).line(smooth["score"], smooth["share"], "second")
        keys.insert(1, ("second", "smooth curve, 95 % interval"))
    plot.dots([own.score for own in bins], [own.share for own in bins], radius=radii, notes=notes)
    caption = f"Calibration in ten bins and as a smooth curve, expected calibration error {number(entry['ece'])}"
    return plot.figure("Calibration", caption, keys)


def _distributions(positive_n: Any, scores_n: Floats, threshold: float | None) -> str:
    low, high = min(0.0, float(scores_n.min())), max(1.0, float(scores_n.max()))
    edges = np.linspace(low, high, 21)
    shares = [100 * np.histogram(scores_n[own], edges)[0] / own.sum() for own in (~positive_n, positive_n)]
    plot = Plot((low, high), (0, float(max(map(np.max, shares)))), x_name="score", y_name="% of the clips")
    plot.bars(edges, shares[0], "first").bars(edges, shares[1], "second")
    if threshold is not None:
        plot.mark(threshold, "threshold")
    caption = "How the scores of the clips with and without the label spread"
    return plot.figure("Scores", caption, [("second", "with the label"), ("first", "without")])


def _confusion(counts: curves.Confusion) -> str:
    rows = [["with the label", counts.found, counts.missed], ["without it", counts.false, counts.spared]]
    return f"<figure><figcaption>At the threshold</figcaption>{table(['clips', 'called', 'not called'], rows)}</figure>"


def level_figures(targets_N: Floats, scores_Nw: Floats, entry: Mapping[str, Any], label: LabelKind) -> str:
    """The table of truth and answer, the probability that each level got where it was the truth, and AUCs by cut."""
    known_n = np.flatnonzero(~np.isnan(targets_N))
    if len(known_n) == 0:
        return "<p>No figures: no clip has a target.</p>"
    levels = label.shown_levels
    rows = [[f"in truth {name}", *counts] for name, counts in zip(levels, entry["confusion"], strict=True)]
    figures = [f"<figure><figcaption>Truth and answer</figcaption>{table(['clips', *levels], rows)}</figure>"]
    chance_nK = label.level_chances(scores_Nw[known_n])
    truth_n = truth(label, targets_N[known_n])
    means = [
        [f"in truth {name}", *(f"{share:.2f}" for share in chance_nK[truth_n == at].mean(axis=0))]
        for at, name in enumerate(levels)
        if (truth_n == at).any()
    ]
    shown = table(["mean probability", *levels], means)
    figures.append(f"<figure><figcaption>What the model thinks likely</figcaption>{shown}</figure>")
    cuts = [[title_of(name), number(value)] for name, value in entry.items() if AT in name]
    if cuts:
        figures.append(f"<figure><figcaption>Each cut of the scale</figcaption>{table(['cut', 'AUC'], cuts)}</figure>")
    return f'<div class="figures">{"".join(figures)}</div>'


def value_figures(targets_N: Floats, scores_N: Floats, entry: Mapping[str, Any]) -> str:
    """Scatter of value and truth, errors along the truth, and their histogram."""
    valid_n = np.flatnonzero(~np.isnan(targets_N))
    if len(valid_n) == 0:
        return "<p>No figures: no clip has a target.</p>"
    drawn = valid_n[np.unique(np.linspace(0, len(valid_n) - 1, _MOST_DOTS).round().astype(np.intp))]
    truth, value = targets_N[drawn], scores_N[drawn]
    error_n = scores_N[valid_n] - targets_N[valid_n]
    ends = float(min(truth.min(), value.min())), float(max(truth.max(), value.max()))
    scatter = Plot(ends, ends, x_name="truth", y_name="value of the model").line(ends, ends, "soft")
    errors = Plot(ends, _ends(error_n), x_name="truth", y_name="value - truth").line(ends, (0, 0), "soft")
    edges = np.linspace(*_ends(error_n), 21)
    shares = 100 * np.histogram(error_n, edges)[0] / len(error_n)
    spread = Plot(_ends(error_n), (0, float(shares.max())), x_name="value - truth", y_name="% of the clips")
    figures = [
        scatter.dots(truth, value).figure("Value and truth", f"Scatter, Pearson {number(entry['pearson'])}"),
        errors.dots(truth, value - truth).figure("Errors along the truth", "Errors against the truth"),
        spread.bars(edges, shares).mark(0, "").figure("Errors", f"Histogram, mean error {number(entry['mae'])}"),
    ]
    some = f"<p>{len(drawn)} of {len(valid_n)} clips are drawn.</p>" if len(drawn) < len(valid_n) else ""
    return f'{some}<div class="figures">{"".join(figures)}</div>'


def _ends(values_n: Floats) -> tuple[float, float]:
    low, high = float(values_n.min()), float(values_n.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def training_figures(lines: Sequence[Mapping[str, Any]]) -> str:
    """Losses and learning rate by epoch, of the lines of log.jsonl."""
    epochs = [line["epoch"] for line in lines]
    names = {"first": ("train_loss", "training"), "second": ("validation_loss", "validation")}
    series = {kind: _series(lines, name) for kind, (name, _) in names.items()}
    figures = [_curves_over(epochs, series, "Loss", [(kind, words) for kind, (_, words) in names.items()])]
    figures.append(_curves_over(epochs, {"first": _series(lines, "learning_rate")}, "Learning rate", []))
    return "".join(figures)


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> Floats:
    return np.array([np.nan if line.get(name) is None else line[name] for line in lines], dtype=np.float64)


def _curves_over(epochs: Sequence[int], series: Mapping[str, Floats], title: str, legend: list[tuple[str, str]]) -> str:
    values = np.concatenate([known for own in series.values() if len(known := own[~np.isnan(own)])] or [np.zeros(1)])
    plot = Plot(
        (epochs[0], epochs[-1]),
        (min(0.0, float(values.min())), float(values.max())),
        x_name="epoch",
        y_name="",
        is_counted=True,
    )
    for kind, own in series.items():
        has = ~np.isnan(own)
        plot.line(np.array(epochs)[has], own[has], kind).dots(np.array(epochs)[has], own[has], kind, radius=2.5)
    return plot.figure(title, f"{title} by epoch", legend)
