import numpy as np
import pandas as pd

from ssast.data.storage.location import Location
from ssast.metrics.predictions import Predictions
from ssast.metrics.subgroups import GroupColumn
from ssast.model.label_kinds import LabelKinds
from ssast.runs.reviewing.whole_review import reviewed_scores
from ssast.runs.rows import Rows


def test_groups_and_flow_follow_the_rows_of_the_table_when_predictions_come_in_another_order():
    rng = np.random.default_rng(0)
    uids = [f"u{n}" for n in range(90)]
    frame = pd.DataFrame({"ill": rng.integers(0, 2, 90), "sex": ["f", "m"] * 45}, index=pd.Index(uids, name="uid"))
    order = [uid for uid in rng.permutation(uids) if uid != "u0"]
    targets = frame.loc[order, ["ill"]].to_numpy(float)
    predictions = Predictions(order, ["ill"], rng.random((89, 1)), targets)
    source = Rows(frame, ["ill"], Location("t.csv"), LabelKinds.plain("BCE", ["ill"]))
    groups = [GroupColumn("sex", list(frame["sex"]))]
    told = {"prevalence": 0.2, "plain": {"ill": rng.random(89)}, "groups": groups, "reasons": {"u0": "it is cut off"}}
    metrics = reviewed_scores(predictions, source, {"ill": 0.4}, resamples=5, left_out=1, not_scored=["well"], **told)
    found = metrics["groups"]["columns"]["sex"]["labels"]["ill"]["groups"]
    assert {name: own["events"] for name, own in found.items()} == {
        name: int(frame.loc[order].query(f"sex == '{name}'")["ill"].sum()) for name in ("f", "m")
    }
    assert (metrics["n"], metrics["left_out"], metrics["not_scored"]) == (89, 1, ["well"])
    assert metrics["flow"]["left_out"]["reasons"] == [{"reason": "it is cut off", "recordings": 1}]
    assert metrics["labels"]["ill"]["review"]["at_threshold"]["prevalence"] == 0.2
    assert metrics["plain_baseline"]["labels"]["ill"]["value"] is not None
