import re

import numpy as np
import pytest

from ssast.metrics.predictions import Predictions
from ssast.metrics.review import add_review
from ssast.metrics.scores import score
from ssast.pages.report_page import report_page
from ssast.pages.review_sections import decision_curve, predictive_table


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


def test_a_net_benefit_below_the_figure_is_left_out_and_not_bridged():
    at, model = [0.1, 0.2, 0.3, 0.4, 0.5], [0.4, 0.2, -0.5, -0.5, 0.1]
    everybody = [0.3, 0.1, -1, -2, -3]
    bounds = {"low": [None] * 5, "high": [None] * 5}
    text = decision_curve({"net_benefit": {"thresholds": at, "model": model, "everybody": everybody, **bounds}})
    lines = re.findall(r'<polyline class="first" points="([^"]*)"', text)
    assert [len(line.split()) for line in lines] == [3, 2]
    ends = [lines[0].split()[-1], lines[1].split()[0]]
    assert {end.split(",")[1] for end in ends} == {"210.0"}
    assert text.count('<polyline class="second"') == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((None, 0.8, None, 1), "Nothing is called, so there are no PPV and no likelihood ratio of a call."),
        ((1, 0.8, None, 0.4), "Every call is right here, so there is no interval of a call."),
        ((0, 0.8, 0, 1.1), "Every call is wrong here, so there is no interval of a call."),
        ((0.3, None, 1, None), "Everything is called, so there are no NPV and no likelihood ratio of no call."),
        ((0.3, 1, 1.5, 0), "No clip with the label is missed, so there is no interval of no call."),
        ((0.3, 0.8, 1.5, 0.4), "Only one person has the label, or lacks it, so there is no interval."),
    ],
)
def test_a_predictive_value_without_a_value_or_an_interval_says_why(values, said):
    names = ("ppv", "npv", "lr_positive", "lr_negative")
    found = {name: {"value": value, "interval": None} for name, value in zip(names, values, strict=True)}
    text = predictive_table({"at_threshold": found | {"prevalence": 0.1, "prevalence_is_given": True}})
    assert said in text


def test_numbers_and_pages_without_intervals_are_drawn_too():
    assert "Calibration, and how sure" not in page(loss="MSE")[0]
    assert "F1, set apart" in page(resamples=0)[0]
