import numpy as np
import pandas as pd
import pytest

from ssast.data.tables.folds import ValueFolds, assign_folds, people_in_folds
from ssast.errors import UserError


def table(subjects=20, clips=3, **columns):
    uids = [f"{n:03d}" for n in range(subjects * clips)]
    owner = np.repeat([f"p{n:02d}" for n in range(subjects)], clips)
    return pd.DataFrame({"subject": owner, **columns}, index=pd.Index(uids, name="uid"))


def test_no_subject_is_in_two_folds_and_all_rows_are_in_one():
    frame = table()
    fold, sentence = assign_folds(frame, np.zeros((60, 0)), 5, seed=1)
    assert frame.assign(fold=fold).groupby("subject")["fold"].nunique().max() == 1
    assert sorted(np.bincount(fold)) == [12] * 5
    assert "by subject (20)" in sentence


def test_folds_have_their_share_of_every_label():
    frame = table()
    targets = np.stack([np.repeat(np.arange(20) < 5, 3), np.repeat(np.arange(20) % 4 == 0, 3)], axis=1).astype(float)
    fold, _ = assign_folds(frame, targets, 5, seed=0)
    for label in range(2):
        assert list(np.bincount(fold, targets[:, label])) == [3] * 5


def test_the_folds_depend_on_seed_and_names_and_not_on_the_order_of_the_rows():
    frame = table()
    targets = np.zeros((60, 0))
    first, _ = assign_folds(frame, targets, 4, seed=0)
    again, _ = assign_folds(frame[::-1], targets, 4, seed=0)
    other, _ = assign_folds(frame, targets, 4, seed=1)
    assert list(first) == list(again[::-1])
    assert list(first) != list(other)


def test_rows_are_dealt_out_where_subjects_are_too_few_or_unknown():
    few, sentence = assign_folds(table(subjects=3, clips=4), np.zeros((12, 0)), 4, seed=0)
    assert sorted(np.bincount(few)) == [3] * 4
    assert "row by row" in sentence
    frame = table(subjects=6, clips=2)
    frame.loc[frame.index[:2], "subject"] = None
    fold, _ = assign_folds(frame, np.zeros((12, 0)), 5, seed=0)
    assert set(fold) == set(range(5))


def test_fewer_people_than_folds_are_warned_of_and_as_many_are_not():
    """Each fold said it, and the scores of all folds together did not."""
    told = people_in_folds(table(subjects=3, clips=4), 4)
    assert told.startswith("Careful: 4 folds are more than the 3 subjects (column subject), so rows were dealt out")
    assert told.endswith("Give --folds 3 at most.")
    assert people_in_folds(table(subjects=4, clips=4), 4) == ""
    assert people_in_folds(table(subjects=4, clips=4).drop(columns="subject"), 9) == ""


def test_no_fold_is_empty_however_unlike_the_subjects_are():
    owner = ["big"] * 50 + ["a", "b", "c"]
    frame = pd.DataFrame({"subject": owner}, index=[str(n) for n in range(53)])
    fold, _ = assign_folds(frame, np.ones((53, 1)), 4, seed=0)
    assert set(fold) == set(range(4))


def test_more_folds_than_rows_are_refused():
    with pytest.raises(UserError, match="--folds 9 is more than the 6 rows"):
        assign_folds(table(subjects=2), np.zeros((6, 0)), 9, seed=0)


def test_folds_of_a_column_have_one_value_each_and_know_its_people_elsewhere():
    frame = pd.DataFrame({"speaker": ["a", "a", "b", "c", None, None]}, index=pd.Index(list("uvwxyz"), name="uid"))
    folds = ValueFolds.of(frame, "site", ["N", "S", "S", "N", "S", "N"])
    assert folds.values == ["N", "S"]
    assert list(folds.fold) == [0, 1, 1, 0, 1, 0]
    assert list(frame.index[folds.elsewhere(0)]) == ["v"], "a speaks at N too; the rows of nobody are not one person"
    assert list(frame.index[folds.elsewhere(1)]) == ["u"]


@pytest.mark.parametrize(
    ("values", "message"), [(["N", None], "which is empty in 1 of 2 rows"), (["N", "N"], "has one value in all rows")]
)
def test_a_column_with_gaps_or_one_value_makes_no_folds(values, message):
    with pytest.raises(UserError, match=message):
        ValueFolds.of(pd.DataFrame(index=pd.Index(["u", "v"], name="uid")), "site", values)
