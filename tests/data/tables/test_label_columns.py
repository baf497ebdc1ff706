"""Labels that have the name of a column or row that results make up are refused before anything is trained."""

import pytest

from ssast.data.tables.label_columns import check_label_names, predicted_table, score_columns
from ssast.data.tables.targets import read_labels
from ssast.errors import UserError


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["tremor", "tremor_target"], "'tremor_target' .* a column of predictions.csv"),
        (["x", "X_Call"], "'X_Call' .* a column of predicted.csv .x_call."),
        (["file", "file_score"], "'file_score' .* a column of predicted.csv"),
        (["UID", "y"], "'UID' .* a column of predictions.csv .uid."),
        (["subject"], "'subject' .* a column of predictions.csv"),
        (["y", "Mean"], "'Mean' .* the row of the labels' mean"),
    ],
)
def test_a_label_that_meets_a_generated_name_is_refused(tmp_path, labels, said):
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    with pytest.raises(UserError, match=said) as caught:
        read_labels(tmp_path / "labels.txt")
    assert "labels.txt" in str(caught.value)
    assert "rename it there" in str(caught.value)


@pytest.mark.parametrize(
    "labels", [["Label", "AUC"], ["file", "seconds"], ["target"], ["y", "Y"], ["means"], ["x_score", "x"], ["patient"]]
)
def test_names_that_nothing_else_has_are_labels(labels):
    check_label_names(labels)


def test_scores_stay_apart_from_a_tables_own_columns_and_a_table_may_be_asked_alone():
    assert score_columns(["File", "windows", "start_seconds", "x"]) == [
        *("File_score", "windows_score", "start_seconds_score", "x")
    ]
    check_label_names(["x", "x_target"], [predicted_table])
