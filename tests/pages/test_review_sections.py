import re

import numpy as np

from ssast.metrics.predictions import Predictions
from ssast.metrics.review import add_review
from ssast.metrics.scores import score
from ssast.pages.report_page import report_page


def page(prevalence=None, resamples=20, loss="BCE"):
    rng = np.random.default_rng(4)
    targets = np.stack([rng.random(80) < 0.4, np.ones(80)], axis=1).astype(float)
    scores = np.clip(0.3 * targets + 0.7 * rng.random((80, 2)), 0.01, 0.99)
    predictions = Predictions([f"u{n}" for n in range(80)], ["ill", "all<b>"], scores, targets)
    metrics = score(targets, scores, predictions.labels, resamples=resamples, loss=loss)
    metrics |= {"unit": "clip", "by_subject": None}
    add_review(metrics, predictions, {"ill": 0.5}, prevalence)
    return report_page("A report", predictions, metrics), metrics["labels"]["ill"].get("review")


def test_the_page_shows_slope_predictive_values_at_their_prevalence_and_a_decision_curve():
    text, review = page(0.02)
    slope = review["calibration"]["slope"]
    assert f"<td>{slope['value']:.2f}\n{slope['interval'][0]:.2f} to {slope['interval'][1]:.2f}</td>" in text
    assert "For a prevalence of 0.020, as given" in text
    assert f"{review['at_threshold']['ppv']['value']:.2f}" in text
    assert "<figcaption>Net benefit</figcaption>" in text
    assert "0.02" not in (own := re.search(r"For a prevalence of ([^<]*)", page()[0])[1])
    assert own.endswith("of this set")


def test_a_label_of_one_class_says_why_there_is_no_slope():
    assert "all&lt;b&gt;: all 80 targets are positive, so there is no calibration slope" in page()[0]


def test_f1_stands_apart_from_the_table_of_scores():
    text = page()[0]
    table = text[text.index("Scores by label") : text.index("Calibration, and how sure")]
    assert "F1" not in table
    assert re.search(r"<details><summary>F1, set apart</summary>.*of always yes", text, re.S)


def test_lines_of_the_decision_curve_end_inside_the_figure():
    text = page()[0]
    figure = text[text.index("<figcaption>Net benefit</figcaption>") :].split("</svg>")[0]
    heights = [float(y) for points in re.findall(r'points="([^"]*)"', figure) for y in re.findall(r",([\d.]+)", points)]
    assert max(heights) <= 210.1
    assert min(heights) >= 9.9


def test_numbers_and_pages_without_intervals_are_drawn_too():
    assert "Calibration, and how sure" not in page(loss="MSE")[0]
    assert "F1, set apart" in page(resamples=0)[0]
