import numpy as np
import pandas as pd

from ssast.data.storage.location import Location
from ssast.model.label_kinds import LabelKind, LabelKinds
from ssast.runs.reviewing.development import part_counts
from ssast.runs.rows import Rows

KINDS = LabelKinds((LabelKind("ill"), LabelKind("rough", "ordinal", (0, 1, 2)), LabelKind("age", "MSE")))


def test_recordings_people_and_answers_of_a_part_are_counted_without_those_that_were_skipped():
    frame = pd.DataFrame(
        {
            "speaker": ["a", "a", "b", "c", "d"],
            "ill": [1, 0, 1, np.nan, 0],
            "rough": [0, 2, 2, np.nan, 1],
            "age": [30.0, 30.0, np.nan, 60.0, 50.0],
        },
        index=pd.Index(list("vwxyz"), name="uid"),
    )
    rows = Rows(frame, KINDS.names, Location("train.csv"), KINDS)
    assert part_counts(rows, frame.drop(index="z")) == {
        "recordings": 4,
        "people": 3,
        "labels": {
            "ill": {"known": 3, "with": 2, "people_with": 2, "people_without": 1},
            "rough": {"known": 3, "levels": {"0": 1, "1": 0, "2": 2}},
            "age": {"known": 3},
        },
    }


def test_one_person_of_validation_is_one_person():
    frame = pd.DataFrame(
        {"speaker": ["a", "a", "b"], "ill": [1, 0, 1], "rough": [0, 0, 0], "age": [1.0, 1.0, 2.0]},
        index=pd.Index(list("xyz"), name="uid"),
    )
    validation = Rows(frame.iloc[:2], KINDS.names, Location("train.csv"), KINDS)
    found = part_counts(validation, frame)
    assert (found["recordings"], found["people"]) == (2, 1)
    assert found["labels"]["ill"] == {"known": 2, "with": 1, "people_with": 1, "people_without": 1}
