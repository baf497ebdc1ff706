import numpy as np
import pandas as pd

from ssast.data.storage.location import Location
from ssast.metrics.predictions import Predictions
from ssast.metrics.scores import score
from ssast.pages.flow_figure import flow_section
from ssast.runs.reviewing.whole_review import add_flow
from ssast.runs.rows import Rows

REASONS = {
    "u0": "recording u0: it has 0 samples; get a whole copy",
    "u1": "it is cut off: its header promises 900 and 17 are there; get a whole copy",
    "u2": "it is cut off: its header promises 300 and 4 are there; get a whole copy",
}


def flow(reasons=REASONS, speakers=True):
    frame = pd.DataFrame({"ill": [1.0] * 10}, index=pd.Index([f"u{n}" for n in range(10)], name="uid"))
    if speakers:
        frame["speaker"] = ["a", "a", "b", "b", "b", "c", "c", "d", "d", "d"]
    targets = np.array([[1.0], [0], [1], [0], [1], [np.nan]])
    predictions = Predictions([f"u{n}" for n in range(4, 10)], ["ill"], np.full((6, 1), 0.5), targets)
    metrics = score(targets, predictions.scores, ["ill"])
    add_flow(metrics, Rows(frame, ["ill"], Location("test.csv")), predictions, reasons)
    return metrics


def test_every_recording_of_the_table_is_scored_or_left_out_with_its_reason():
    found = flow()["flow"]
    assert found["table"] == {"recordings": 10, "people": 4}
    assert found["scored"] == {"recordings": 6, "people": 3}
    assert found["left_out"]["recordings"] == 4
    assert found["left_out"]["reasons"] == [
        {"reason": "it is cut off: its header promises N and N are there", "recordings": 2},
        {"reason": "it has N samples", "recordings": 1},
        {"reason": "no reason was noted", "recordings": 1},
    ]
    assert found["labels"]["ill"] == {"known": 5, "empty": 1, "with": 3}


def test_many_reasons_end_in_others_and_without_people_only_recordings_count():
    reasons = {f"u{n}": word for n, word in enumerate(["a", "b", "c", "d"])}
    assert len(flow(reasons)["flow"]["left_out"]["reasons"]) == 4
    assert flow(speakers=False)["flow"]["scored"] == {"recordings": 6, "people": None}


def test_the_diagram_names_each_step_and_each_loss_in_one_picture():
    text = flow_section(flow())
    assert text.count("<rect") == 5
    assert text.count('class="loss"') == 2
    for words in ("In the table: 10 recordings of 4 speakers", "Left out: 4 recordings", "ill: 5, of which 3 with"):
        assert words in text
    assert flow_section({}) == ""
