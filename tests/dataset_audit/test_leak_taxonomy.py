"""Each way to leak is found where it was planted, and is said to be unseen where nothing could show it."""

import pandas as pd
import pytest

from ssast import redaction
from ssast.dataset_audit.leak_taxonomy import FOUND, NOT_FOUND, NOT_SEEN, Seen, leak_rows, leak_summary
from ssast.dataset_audit.survey import findings

AUDIT = {"n": 6, "unit": "speaker", "subjects": 3, "looks": 8, "labels": {}, "traits": {}}


def table(uids, speakers, **more):
    index = pd.Index(list(uids), name="uid")
    return pd.DataFrame({"speaker": list(speakers), "ill": [1.0] * len(index), **more}, index=index)


def ways(train=None, test=None, audit=AUDIT, **more):
    """The rows by the first word and the last, as `L3.2 both`."""
    splits = {"train": table("abcd", "pqqr") if train is None else train}
    splits["test"] = table("xy", "st") if test is None else test
    seen = Seen(splits, ["ill"], findings({}, splits), **more)
    return {f"{row['row'].split()[0]} {row['row'].split()[-1]}": row for row in leak_rows(audit, seen)}


def test_what_was_looked_at_and_what_cannot_be_seen_are_told_apart():
    found = ways()
    statuses = {name: row["status"] for name, row in found.items()}
    assert statuses == {
        "L1.1 set": NOT_FOUND,
        "L1.2 test": NOT_SEEN,
        "L1.3 test": NOT_SEEN,
        "L1.4 twice": NOT_FOUND,
        "L2 use": NOT_FOUND,
        "L3.1 test": NOT_SEEN,
        "L3.2 both": NOT_FOUND,
        "L3.2 pretraining": NOT_SEEN,
        "L3.3 come": NOT_SEEN,
    }
    assert leak_summary(list(found.values())).startswith("Ways to leak: 0 found, 4 looked at")


def test_people_in_both_splits_are_found_also_in_another_spelling():
    assert "1 speaker in both splits" in ways(test=table("xy", "ps"))["L3.2 both"]["what"]
    spelled = ways(table("ab", ["p01", "q2"]), table("xy", ["P1", "s3"]))["L3.2 both"]
    assert (spelled["status"], "another spelling" in spelled["what"]) == (FOUND, True)
    unnamed = ways(test=table("xy", "st").drop(columns="speaker"))["L3.2 both"]
    assert unnamed["status"] == NOT_SEEN


@pytest.mark.parametrize(
    ("train", "test", "status", "said"),
    [
        (["2024-01-01", "2024-03-01", "2024-05-02", "2024-06-01"], ["2024-05-01", "2024-07-01"], FOUND, "2 training"),
        (["2024-01-01"] * 4, ["2024-05-01", "2024-07-01"], NOT_FOUND, "No training recording"),
        (["2024-01-01T10:00:00"] * 3 + ["May"], ["2024-05-01"] * 2, NOT_SEEN, "1 date cannot be read"),
        ([20240601] * 4, [20240501] * 2, FOUND, "4 training recordings"),
        (["May"] * 4, ["June"] * 2, NOT_SEEN, "The dates of a csv cannot be read"),
    ],
)
def test_training_later_than_the_test_is_found_by_its_dates(train, test, status, said):
    row = ways(table("abcd", "pqqr", Recorded=train), table("xy", "st", recorded=test))["L3.1 test"]
    assert (row["status"], said in row["what"]) == (status, True), row


def test_a_private_run_tells_no_date():
    dated = table("abcd", "pqqr", recorded=["2024-06-01"] * 4), table("xy", "st", recorded=["2024-05-01"] * 2)
    assert "2024-05-01" in ways(*dated)["L3.1 test"]["what"]
    with redaction.redacting(redaction.Redaction(lambda kind, name: "0" * 12)):
        assert "2024-05-01" not in ways(*dated)["L3.1 test"]["what"]


def test_people_of_the_pretraining_are_looked_for_in_the_test():
    def row(heard, note=""):
        return ways(pretraining=[heard], note=note)["L3.2 pretraining"]

    assert row(table("mn", "uv"))["status"] == NOT_FOUND
    assert "1 x person by name" in row(table("mn", "us"))["what"]
    assert "1 x recording" in row(table("mx", "uv"))["what"]
    assert row(table("mn", "uv"), note="a table is not opened")["status"] == NOT_SEEN
    assert row(table("mn", "uv").drop(columns="speaker"))["status"] == NOT_SEEN


def test_the_record_of_a_model_tells_of_its_normalisation_and_folds():
    assert ways(normalised=True)["L1.2 test"]["status"] == NOT_FOUND
    assert ways(normalised=False)["L1.2 test"]["status"] == NOT_SEEN
    assert "folds" in ways(folds=True)["L1.1 set"]["what"]


def test_a_trait_that_tells_a_label_is_a_feature_that_should_not_be_there():
    traits = {"loudness": {"title": "loudness", "source": "recording", "kinds": None}}
    labels = {"ill": {"traits": {"loudness": {"beyond_luck": "yes", "value": 0.9}}}}
    row = ways(audit=AUDIT | {"traits": traits, "labels": labels})["L2 use"]
    assert (row["status"], "ill by loudness" in row["what"]) == (FOUND, True)
    assert ways(audit=AUDIT | {"looks": 0})["L2 use"]["status"] == NOT_SEEN
