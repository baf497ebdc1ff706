"""Write the page of `ssast retest`: how well scores and embeddings repeat in people who were recorded twice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssast.metrics.measures import Floats
from ssast.pages.figures import Plot
from ssast.pages.html import Breakable, bullets, escape, page, table
from ssast.pages.review_sections import with_interval
from ssast.pages.tables import UNDEFINED, number

_COLUMNS = {
    "icc_2_1": "ICC(2,1)",
    "icc_3_1": "ICC(3,1)",
    "sem": "standard error of measurement",
    "mdc95": "minimal detectable change",
    "within_cv": "within-person variation",
    "bias": "second - first",
    "limit_low": "lower limit",
    "limit_high": "upper limit",
}
_READING = (
    "ICC: share of the variance that is between people; 1 repeats perfectly. A shift of everybody between the sessions "
    "counts against ICC(2,1), not against ICC(3,1).",
    "Standard error of measurement: how far a session lies from a person's own level, one standard deviation, "
    "in units of the score. It is the standard deviation of the differences, divided by the square root of two.",
    "Minimal detectable change: a person whose score moves by less cannot be told from one who did not change (95 %).",
    "Within-person variation: standard deviation within a person over the mean, where all values are above 0.",
    "Second - first, with its limits: 95 % of people lie between the lower and the upper limit (Bland and Altman).",
    "The intervals are by person. Those of ICC, standard error and change are exact where differences are normal; "
    "look at the figure.",
)
_MOST_FIGURES = 40


def retest_page(
    title: str,
    sentences: Sequence[str],
    scores: Mapping[str, Mapping[str, Any]],
    embeddings: Mapping[str, Mapping[str, Any]],
    pairs: Mapping[str, Floats],
) -> str:
    """The page as html; `scores` and `embeddings` hold results by name, `pairs` the values (P, 2) of each score."""
    parts = [f"<h1>{escape(title)}</h1>", f'<div class="note"><p>{escape(" ".join(sentences))}</p></div>']
    if scores:
        rows = [
            [Breakable(name), own["people"], *(with_interval(own[key], 3) for key in _COLUMNS)]
            for name, own in scores.items()
        ]
        parts.append(f"<h2>Scores</h2>{table(['score', 'people', *_COLUMNS.values()], rows)}")
        figures = [_bland_altman(name, pairs[name], scores[name]) for name in list(scores)[:_MOST_FIGURES]]
        parts.append(f'<h2>Differences of each person</h2><div class="figures">{"".join(figures)}</div>')
    if embeddings:
        head = ["embeddings", "people", "dimensions", "ICC(2,1), median", "deciles", "ICC(3,1), median", "deciles"]
        parts.append(f"<h2>Embeddings</h2>{table(head, [_embedding(*each) for each in embeddings.items()])}")
    parts.append(f"<h2>How to read the numbers</h2>{bullets(_READING)}")
    return page(title, "\n".join(parts), styles=("report.css",))


def _embedding(name: str, own: Mapping[str, Any]) -> list[Any]:
    cells: list[Any] = [Breakable(name), own["people"], own["dimensions"]]
    for key in ("icc_2_1", "icc_3_1"):
        deciles = own[key]["deciles"]
        between = UNDEFINED if deciles is None else f"{number(deciles[0], 2)} to {number(deciles[1], 2)}"
        cells += [with_interval(own[key], 3), between]
    return cells


def _bland_altman(name: str, pairs: Floats, own: Mapping[str, Any]) -> str:
    """Each person's difference of both sessions along the mean of both, with the limits of agreement."""
    mean_P, away_P = pairs.mean(axis=1), pairs[:, 1] - pairs[:, 0]
    lines = [own[key]["value"] for key in ("bias", "limit_low", "limit_high")]
    heights = np.array([*away_P, *lines, 0.0])
    margin = 0.08 * (float(np.ptp(heights)) or 1.0)
    ends = float(mean_P.min()), float(mean_P.max())
    plot = Plot(
        ends,
        (float(heights.min()) - margin, float(heights.max()) + margin),
        x_name="mean of both sessions",
        y_name="second - first",
    )
    for height, kind in zip(lines, ("first", "soft", "soft"), strict=True):
        plot.line(plot.x, (height, height), kind)
    caption = f"Differences of {len(pairs)} people between the sessions, with the limits of agreement"
    keys = [("second", "a person"), ("first", "mean difference"), ("soft", "95 % limits")]
    return plot.dots(mean_P, away_P, "second").figure(name, caption, keys)
