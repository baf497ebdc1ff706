"""Draw the figures of an audit for one label: what each trait tells alone, and how the strongest one spreads.

Shapes: N clips, n clips whose label is known.
"""

from typing import Any

import numpy as np

from ssast.dataset_audit.audit_results import AuditResults, TraitResult
from ssast.dataset_audit.measures import NO_MEASURE
from ssast.dataset_audit.terms import MEASURE_NAMES
from ssast.dataset_audit.traits import UNITS, Trait
from ssast.metrics.measures import SOFT_POSITIVE, Floats
from ssast.pages.figures import WIDTH, Plot, ticks
from ssast.pages.html import escape, table
from ssast.pages.tables import number, span

ROW, FOOT = 34.0, 40.0
MOST_KINDS = 12
_MOST_DOTS = 400
_RIGHT = 14.0


def forest(audit: AuditResults, label: str) -> str:
    """Each trait's measure with its interval, orange where it stands above luck, which a tick marks."""
    entries = audit["labels"][label]["traits"]
    values = {name: one["value"] for name, one in entries.items() if one["value"] is not None}
    names = sorted(values, key=lambda name: -values[name])
    low = min([NO_MEASURE[audit["loss"]] - 0.1, *values.values()])
    low = max(low, 0.0) if audit["loss"] == "BCE" else low
    height = ROW * len(names) + FOOT

    def across(value: float) -> float:
        return _RIGHT + (min(max(value, low), 1.0) - low) / (1 - low) * (WIDTH - 2 * _RIGHT)

    parts = []
    for value in ticks(low, 1.0):
        x = across(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - FOOT:.0f}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - FOOT + 15:.0f}" text-anchor="middle">{value:g}</text>')
    for at, name in enumerate(names):
        parts.append(_row(audit["traits"][name]["title"], entries[name], ROW * at, across))
    shown = "; ".join(f"{audit['traits'][name]['title']} {number(values[name], 2)}" for name in names)
    parts.append(
        f'<text x="{WIDTH / 2:.0f}" y="{height - 6:.0f}" text-anchor="middle">{MEASURE_NAMES[audit["measure"]]}</text>'
    )
    legend = [("second", "beyond luck"), ("first", "not, or not surely"), ("soft", "what luck reaches")]
    keys = "".join(f'<span class="key {kind}"></span>{escape(text)} ' for kind, text in legend)
    return (
        "<figure><figcaption>What each trait alone tells</figcaption>"
        f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(shown)}">{"".join(parts)}</svg>'
        f'<p class="keys">{keys}</p></figure>'
    )


def _row(title: str, entry: TraitResult, top: float, across: Any) -> str:
    kind, middle = ("second" if entry["is_flagged"] else "first"), top + 24
    value = entry["value"] or 0.0
    low, high = entry["interval"] or (value, value)
    luck = across(entry["chance"])
    shown = title if len(title) <= 34 else f"{title[:33]}…"
    note = f"<title>{escape(title)}: {number(value, 2)} ({span(entry['interval'], 2)})</title>"
    return (
        f'<text x="{_RIGHT:.0f}" y="{top + 13:.0f}">{escape(shown)} {number(value, 2)}</text>'
        f'<line class="soft" x1="{luck:.1f}" x2="{luck:.1f}" y1="{middle - 7:.0f}" y2="{middle + 7:.0f}"/>'
        f'<polyline class="{kind}" points="{across(low):.1f},{middle:.0f} {across(high):.1f},{middle:.0f}"/>'
        f'<circle class="{kind}" cx="{across(value):.1f}" cy="{middle:.0f}" r="4.5">{note}</circle>'
    )


def strongest_figure(trait: Trait, entry: TraitResult, target_N: Floats, loss: str) -> str:
    """How the strongest trait spreads over the clips with and without the label; of kinds, a table."""
    title = f"The strongest: {trait.title}"
    unit = f" [{UNITS[trait.name]}]" if trait.name in UNITS and trait.source == "recording" else ""
    if trait.amounts is None:
        head = ["value", "clips", "share with the label" if loss == "BCE" else "mean of the label"]
        kinds = [
            [kind["name"], kind["n"], f"{kind['mean']:.0%}" if loss == "BCE" else number(kind["mean"], 2)]
            for kind in entry["kinds"][:MOST_KINDS]
        ]
        more = len(entry["kinds"]) - MOST_KINDS
        rest = f'<p class="soft">and {more} more</p>' if more > 0 else ""
        return f"<figure><figcaption>{escape(title)}</figcaption>{table(head, kinds)}{rest}</figure>"
    known_n = ~np.isnan(target_N) & ~np.isnan(trait.amounts)
    amount_n, target_n = trait.amounts[known_n], target_N[known_n]
    if loss == "MSE":
        drawn = np.unique(np.linspace(0, len(amount_n) - 1, _MOST_DOTS).round().astype(np.intp))
        ends = float(amount_n.min()), float(amount_n.max())
        heights = float(target_n.min()), float(target_n.max())
        plot = Plot(ends, heights, x_name=f"{trait.title}{unit}", y_name="label")
        return plot.dots(amount_n[drawn], target_n[drawn]).figure(title, f"Scatter of {trait.title} and the label")
    return _histogram(amount_n, target_n >= SOFT_POSITIVE, title, f"{trait.title}{unit}")


def _histogram(amount_n: Floats, has_n: Any, title: str, x_name: str) -> str:
    edges = np.linspace(float(amount_n.min()), float(amount_n.max()), 21)
    shares = [100 * np.histogram(amount_n[which], edges)[0] / max(1, which.sum()) for which in (~has_n, has_n)]
    plot = Plot((edges[0], edges[-1]), (0, float(max(map(np.max, shares)))), x_name=x_name, y_name="% of the clips")
    plot.bars(edges, shares[0], "first").bars(edges, shares[1], "second")
    legend = [("second", "with the label"), ("first", "without")]
    return plot.figure(title, f"How {x_name} spreads over the clips with and without the label", legend)
