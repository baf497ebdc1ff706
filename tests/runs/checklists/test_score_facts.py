"""What is said of scores follows from metrics.json, of whatever kind the labels are."""

import pytest

from ssast.runs.checklists import group_facts, model_facts, score_facts
from ssast.runs.checklists.records import Records, RunFolder

SCALE = {"kind": "ordinal", "qwk": 0.5, "mae_steps": 0.4, "intervals": {"qwk": [0.3, 0.7]}, "n": 9}
RATED = SCALE | {"raters": {"alpha": {"value": 0.61, "interval": [0.5, 0.7]}, "measure": "qwk"}}


def records(metrics=None, config=None):
    found = {"loss": "BCE", "labels": {}, "resamples": 20, "subjects": 5, "unit": "speaker"} | (metrics or {})
    files = {"metrics.json": found, "config.json": config or {}}
    run = RunFolder("run", {"finetune": {"mode": "finetune"}}, files, [], None, frozenset())
    return Records([run])


def texts(known):
    return " ".join(one.text for one in known.statements)


def test_scales_are_told_by_their_own_measures_and_by_their_raters():
    known = records({"labels": {"rough": RATED}})
    assert "rough: QWK 0.50 (0.30 to 0.70)" in texts(score_facts.performance_known(known))
    assert "QWK" in texts(score_facts.measures_known(known))
    assert "rough: its raters agree with each other at alpha 0.610" in texts(score_facts.raters_known(known))
    assert score_facts.judged_known(known) is None
    assert score_facts.raters_known(records({"labels": {"rough": SCALE}})) is None


def test_what_a_model_gives_follows_from_the_kinds_of_its_labels():
    config = {
        "labels": ["a", "b"],
        "loss": "mixed",
        "kinds": [{"kind": "BCE"}, {"kind": "ordinal", "levels": [1, 2, 3]}],
    }
    said = texts(model_facts.output_known(records(config=config)))
    assert said.startswith("For each label the model gives a probability from 0 to 1 or the probability of each level")
    assert "gives a number." in texts(model_facts.output_known(records(config={"num_labels": 1, "loss": "MSE"})))


@pytest.mark.parametrize(("column", "is_place"), [("Site", True), ("ward", False), ("hospital", True)])
def test_groups_that_are_places_are_clusters(column, is_place):
    groups = {"looked_at": 0, "few_people": 10, "columns": {column: {"note": "", "without": 0, "labels": {}}}}
    assert (group_facts.clusters_known(records({"groups": groups})) is not None) == is_place


def test_leaving_one_place_out_makes_its_column_a_cluster_whatever_it_is_called():
    groups = {"looked_at": 0, "few_people": 10, "columns": {"ward": {"note": "", "without": 0, "labels": {}}}}
    known = group_facts.clusters_known(records({"groups": groups, "sites": {"column": "ward"}}))
    assert "trained without it" in texts(known)


def test_intervals_and_estimates_of_groups_are_needed_for_performance():
    lacks = score_facts.performance_known(records({"labels": {"a": {"auc": 0.7}}, "resamples": 0})).lacks
    assert "no interval was asked for" in lacks
    assert "no group of people was scored" in lacks
    entry = {"people": 30, "events": 12, "n": 40, "auc": {"value": 0.7, "interval": None}}
    own = {"reference": "f", "groups": {"f": entry}, "gaps": []}
    columns = {"sex": {"note": "", "without": 0, "labels": {"a": own}}}
    groups = {"looked_at": 0, "few_people": 10, "columns": columns}
    assert score_facts.performance_known(records({"labels": {"a": {"auc": 0.7}}, "groups": groups})).lacks == ""


def test_recordings_that_served_for_recalibration_are_not_called_unusable():
    reasons = [{"reason": "their people served for recalibration", "recordings": 96}]
    flow = {"left_out": {"recordings": 96, "reasons": reasons}, "labels": {}}
    metrics = {"flow": flow, "external": {"recalibrated_on": {"recordings": 96}}}
    assert score_facts.poor_recordings_known(records(metrics)) is None
    assert "served for recalibration (96)" in texts(score_facts.losses_known(records(metrics)))
    flow["left_out"] = {"recordings": 98, "reasons": [*reasons, {"reason": "it is cut off", "recordings": 2}]}
    assert texts(score_facts.poor_recordings_known(records(metrics))).startswith("2 recordings could not be used")
