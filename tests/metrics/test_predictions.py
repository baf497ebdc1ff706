import numpy as np
import pandas as pd
import pytest

from ssast.errors import UserError
from ssast.metrics.predictions import Predictions, pool, read_predictions

NAN = float("nan")


def predictions(**changes):
    of = {
        "uids": ["007", "a,b", "NA", "x"],
        "labels": ["ill", "old"],
        "scores": np.array([[0.25, 0.5], [0.75, 0.1], [0.3, 0.2], [0.9, 1 / 3]], dtype=np.float32),
        "targets": np.array([[1, 0], [NAN, 1], [0, 0.5], [0, 1]]),
        "subjects": np.array(["p1", "p1", "p2", None], dtype=object),
        "unit": "speaker",
    }
    return Predictions(**(of | changes))


def test_predictions_come_back_from_parquet_as_they_were(tmp_path):
    before = predictions()
    before.write_parquet(tmp_path / "predictions.parquet")
    after = read_predictions(tmp_path, before.labels)
    assert (after.uids, after.unit) == (before.uids, "speaker")
    assert list(after.subjects[:3]) == ["p1", "p1", "p2"]
    assert pd.isna(after.subjects[3])
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.targets, before.targets)


def test_predictions_come_back_from_csv_with_their_uids_as_text(tmp_path):
    before = predictions()
    before.table().to_csv(tmp_path / "predictions.csv")
    after = read_predictions(tmp_path, before.labels)
    assert (after.uids, after.unit, after.subjects) == (before.uids, "clip", None)
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.targets, before.targets)


def test_a_folder_without_predictions_or_without_a_label_is_named(tmp_path):
    with pytest.raises(UserError, match="has no predictions"):
        read_predictions(tmp_path, ["ill"])
    predictions().write_parquet(tmp_path / "predictions.parquet")
    with pytest.raises(UserError, match="lack the column 'tall'"):
        read_predictions(tmp_path, ["tall"])


def test_a_subject_gets_the_mean_score_of_its_clips_and_a_clip_of_nobody_stands_alone():
    pooled, varying = pool(predictions())
    assert (pooled.uids, pooled.labels, varying) == (["p1", "p2", "x"], ["ill"], ["old"])
    np.testing.assert_allclose(pooled.scores[:, 0], [0.5, 0.3, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(pooled.targets[:, 0], [1, 0, 0])


def test_a_subject_without_any_target_stays_without():
    pooled, varying = pool(predictions(targets=np.array([[NAN, 0], [NAN, 0], [0, 1], [1, 1]])))
    assert varying == []
    np.testing.assert_array_equal(pooled.targets, [[NAN, 0], [0, 1], [1, 1]])


def test_some_clips_can_be_taken_in_another_order():
    few = predictions().at([2, 0])
    assert (few.uids, list(few.subjects)) == (["NA", "007"], ["p2", "p1"])
    np.testing.assert_array_equal(few.targets, [[0, 0.5], [1, 0]])


def strangers(folder, table):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(table), folder / "predictions.parquet")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"uid": ["a", "b"], "x": ["1", "two"], "x_target": [0, 1]}, "hold more than numbers"),
        ({"uid": ["a", "b"], "x": [0.5, float("nan")], "x_target": [0, 1]}, "hold a score that is no number"),
        ({"uid": ["a", "a"], "x": [0.5, 0.5], "x_target": [0, 1]}, "or a clip twice"),
    ],
)
def test_the_predictions_of_a_stranger_are_one_sentence_where_they_cannot_be(tmp_path, table, said):
    strangers(tmp_path, table)
    with pytest.raises(UserError, match=said):
        read_predictions(tmp_path, ["x"])


def test_a_small_file_of_millions_of_predictions_is_not_unfolded(tmp_path):
    strangers(tmp_path, {"uid": ["a"] * 2_000_000, "x": [0.5] * 2_000_000, "x_target": [0] * 2_000_000})
    with pytest.raises(UserError, match="unfolds to 6,000,000 values"):
        read_predictions(tmp_path, ["x"])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"\xff\xfe\x00"])
def test_tables_that_are_none_are_one_sentence(tmp_path, content):
    (tmp_path / "predictions.parquet").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(tmp_path, ["x"])


def test_a_csv_of_a_million_columns_is_not_read(tmp_path):
    more = ",".join(map(str, range(1_000_000)))
    (tmp_path / "predictions.csv").write_text(f"uid,x,x_target,{more}\na,0.5,1,{more}\n")
    with pytest.raises(UserError, match="more than 100,000 columns"):
        read_predictions(tmp_path, ["x"])


def test_of_a_csv_only_the_columns_of_the_labels_are_read(tmp_path):
    (tmp_path / "predictions.csv").write_text("more,x_target,uid,x\n=1+1,1,a,0.5\n")
    found = read_predictions(tmp_path, ["x"])
    assert (found.uids, found.scores.tolist(), found.targets.tolist()) == (["a"], [[0.5]], [[1.0]])


def test_names_that_unfold_to_gigabytes_are_not_unfolded(tmp_path):
    import pyarrow as pa

    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), ["x" * 1_000_000])
    strangers(tmp_path, {"uid": names, "x": np.zeros(1000), "x_target": np.zeros(1000)})
    with pytest.raises(UserError, match="a name of 1000000 bytes"):
        read_predictions(tmp_path, ["x"])
