"""What is said of scores follows from metrics.json, of whatever kind the labels are."""

from dataclasses import replace

import pytest

from ssast.runs.checklists import model_facts, people_facts, score_facts
from ssast.runs.checklists.records import Records, RunFolder

SCALE = {"kind": "ordinal", "qwk": 0.5, "mae_steps": 0.4, "intervals": {"qwk": [0.3, 0.7]}, "n": 9}
RATED = SCALE | {"raters": {"alpha": {"value": 0.61, "interval": [0.5, 0.7]}, "measure": "qwk", "n": 9}}


def records(metrics=None, config=None, **options):
    found = {"loss": "BCE", "labels": {}, "resamples": 20, "subjects": 5, "unit": "speaker"} | (metrics or {})
    files = {"metrics.json": found, "config.json": config or {}}
    run = RunFolder("run", {"finetune": {"mode": "finetune"} | options}, files, [], None, frozenset())
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
    finetuned = {"freeze": True, "unfreeze_last": 0, "lora_rank": 0, "optim": "adam", "learning_rate": 0.01}
    finetuned |= {"epochs": 3, "loss": "BCE", "seed": 0}
    (run,) = records(config=config | {"model_size": "tiny"}).runs
    run = replace(run, records={"finetune": {"mode": "finetune"} | finetuned})
    assert "loss BCE and ordinal, seed 0." in texts(model_facts.building_known(Records([run])))
    assert "gives a number." in texts(model_facts.output_known(records(config={"num_labels": 1, "loss": "MSE"})))


@pytest.mark.parametrize(("begun", "words"), [(None, "its base of random weights"), ("a.pth", "its pretrained base")])
def test_a_base_that_was_never_pretrained_is_called_random(begun, words):
    """A model that began with `--pretrained_mdl_path none` was said to keep its pretrained base."""
    known = records(config={"model_size": "tiny", "labels": ["a"]}, pretrained_mdl_path=begun)
    assert f"{words} kept as it was, with a head of 1 answer" in texts(model_facts.building_known(known))


def test_the_size_of_each_group_stands_apart_from_its_name():
    """Group 0 of 21 people read `0 21 speakers`."""
    entry = {"people": 21, "events": 4, "n": 40}
    own = {"reference": None, "groups": {"0": entry}, "gaps": []}
    groups = {"columns": {"sex": {"note": "", "without": 0, "labels": {"ill": own}}}}
    known = people_facts.group_sizes_known(records({"groups": groups}))
    assert texts(known) == "By sex: 0: 21 speakers with 4 events of ill."


@pytest.mark.parametrize(("column", "is_place"), [("Site", True), ("ward", False), ("hospital", True)])
def test_groups_that_are_places_are_clusters(column, is_place):
    groups = {"looked_at": 0, "few_people": 10, "columns": {column: {"note": "", "without": 0, "labels": {}}}}
    assert (people_facts.clusters_known(records({"groups": groups})) is not None) == is_place


def test_leaving_one_place_out_makes_its_column_a_cluster_whatever_it_is_called():
    groups = {"looked_at": 0, "few_people": 10, "columns": {"ward": {"note": "", "without": 0, "labels": {}}}}
    known = people_facts.clusters_known(records({"groups": groups, "sites": {"column": "ward"}}))
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
