from dataclasses import replace

from ssast.runs.checklists import people_facts
from ssast.runs.checklists.records import Records, RunFolder


def a_run(flow):
    metrics = {"labels": {}, "resamples": 20, "subjects": 5, "unit": "speaker", "flow": flow}
    return RunFolder("run", {"finetune": {"mode": "finetune"}}, {"metrics.json": metrics}, [], None, frozenset())


def said(known):
    return " ".join(one.text for one in known.statements)


def test_people_and_events_of_each_part_are_told_and_an_older_model_leaves_the_item_open():
    counts = {"recordings": 40, "people": 9}
    flow = {"table": counts, "scored": counts, "left_out": {"reasons": []}, "labels": {"a": {"with": 8, "empty": 0}}}
    run = a_run(flow)
    yes_no = {"known": 20, "with": 8, "people_with": 1, "people_without": 3}
    labels = {"a": yes_no, "rough": {"known": 9, "levels": {"1": 4, "2": 5}}, "age": {"known": 7}}
    part = {"recordings": 20, "people": 4, "labels": labels}
    kept = {"unit": "speaker", "recordings": 25, "people": 5, "parts": {"training": part}}
    known = people_facts.numbers_known(Records([replace(run, files=run.files | {"development.json": kept})]))
    assert known.lacks == ""
    assert said(known).startswith(
        "Training: 20 recordings of 4 speakers. Answers: a 8 of 20 with the label (1 speaker with it, 3 without), "
        "rough 9 (1: 4, 2: 5), age 7. In the table 40 recordings of 9 speakers"
    )
    del kept["parts"]
    older = people_facts.numbers_known(Records([replace(run, files=run.files | {"development.json": kept})]))
    assert "Trained and chosen on 25 recordings of 5 speakers." in said(older)
    assert older.lacks.startswith("Not known: people and events of training")
    assert people_facts.numbers_known(Records([a_run(None)])) is None
