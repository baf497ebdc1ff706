import numpy as np
import pandas as pd
import pytest

from ssast.data.tables.ratings import (
    DRAW,
    MEAN_RATING,
    SOFT,
    Ratings,
    levels_in,
    rater_columns,
    with_raters,
)
from ssast.errors import UserError
from ssast.model.label_kinds import LabelKind, LabelKinds

SCALE = LabelKind("rough", "ordinal", (1.0, 2.0, 3.0, 4.0))
VOICE = LabelKind("voice", "CE", ("breathy", "creaky", "modal"))
GAP = np.nan


def table(**columns):
    return pd.DataFrame(
        columns, index=pd.Index([f"r{at}" for at in range(len(next(iter(columns.values()))))], name="uid")
    )


def of(label, **columns):
    return Ratings.of(table(**columns), LabelKinds((label,)))


def test_columns_of_raters_are_taken_by_their_number():
    columns = ["rough_r10", "rough_r2", "rough", "rough_r1", "rough_rx", "rougher_r1", "rough_r1_old"]
    assert rater_columns(columns, "rough") == ["rough_r1", "rough_r2", "rough_r10"]


def test_raters_stand_in_for_a_label_that_has_no_column_of_its_own():
    kinds = LabelKinds((SCALE,))
    assert with_raters(kinds, ["rough_r1", "rough_r2"]).labels[0].raters == ("rough_r1", "rough_r2")
    assert with_raters(kinds, ["rough", "rough_r1"]).labels[0].raters == ()
    named = LabelKinds((LabelKind("rough", "ordinal", SCALE.levels, raters=("anna", "ben")),))
    assert with_raters(named, ["rough", "anna", "ben"]) == named
    assert with_raters(named, ["anna"], kept=False).labels[0].raters == ("anna",), "a test that one of them rated"
    assert with_raters(named, ["rough"], kept=False).labels[0].raters == ()


def test_another_table_may_have_more_or_fewer_numbered_raters_than_training():
    trained = with_raters(LabelKinds((SCALE,)), ["rough_r1", "rough_r2"])
    for columns in (["rough_r1", "rough_r2", "rough_r3"], ["rough_r2"], ["rough_r2", "rough_r4"]):
        assert with_raters(trained, columns, kept=False).labels[0].raters == tuple(columns)
    assert with_raters(trained, ["rough", "rough_r2", "rough_r3"], kept=False).labels[0].raters == ()


def test_ratings_of_several_columns_and_of_one_cell_are_the_same():
    raters = LabelKind("rough", "ordinal", SCALE.levels, raters=("rough_r1", "rough_r2", "rough_r3"))
    apart = of(raters, rough_r1=[3, 1, GAP], rough_r2=[4, GAP, GAP], rough_r3=[3, 2, GAP])
    joined = of(SCALE, rough=["3;4;3", "1;2", ""])
    spaced = of(SCALE, rough=["3 4 3", " 1  2 ", None])
    for found in (apart, joined, spaced):
        assert found.most == [3]
        assert found.values[:, 0].tolist()[:2] == [pytest.approx(10 / 3), 1.5]
        assert np.isnan(found.values[2, 0])


def test_a_rater_who_is_left_out_of_a_cell_is_a_gap_and_the_next_keeps_the_place():
    found = of(SCALE, rough=["3;4;2", "3;;2", ";4;2", "3;NA;2;", "NA NA 2", "3;4;", ";;"])
    rows = [[3, 4, 2], [3, GAP, 2], [GAP, 4, 2], [3, GAP, 2], [GAP, GAP, 2], [3, 4, GAP], [GAP, GAP, GAP]]
    np.testing.assert_array_equal(found.by_label[0], rows)
    kinds = of(VOICE, voice=["creaky;modal;creaky", "creaky;;modal", ";nan;modal"])
    np.testing.assert_array_equal(kinds.by_label[0], [[1, 2, 1], [1, GAP, 2], [GAP, GAP, 2]])


def test_a_scale_to_100_may_have_several_raters_and_12_500_is_one_number():
    scale = LabelKind("pain", "MSE")
    assert of(scale, pain=["100;85", "90; 100", "7"]).by_label[0].tolist()[:2] == [[100, 85], [90, 100]]
    with pytest.raises(UserError, match="expected a number"):
        of(scale, pain=["12 500", "7", "8"])


def test_kinds_that_are_long_numbers_stay_apart():
    frame = table(voice=[1234567, 1234568, 2])
    assert levels_in(frame, LabelKind("voice", "CE"), "x") == ["1234567", "1234568", "2"]


def test_a_kind_is_one_in_both_forms_of_unicode():
    frame = table(voice=["caf\u00e9", "cafe\u0301", "modal"])
    assert levels_in(frame, LabelKind("voice", "CE"), "x") == ["caf\u00e9", "modal"]
    apart = LabelKind("voice", "CE", ("cafe\u0301", "modal"))
    assert of(apart, voice=list(frame["voice"])).values[:, 0].tolist() == [0, 0, 1]


def test_a_mean_rating_and_the_share_of_raters_are_two_targets():
    found = of(SCALE, rough=["1;4", "2;2", "2;3"])
    assert found.targets(MEAN_RATING).tolist() == [[1, 0.5, 0], [1, 0, 0], [1, 0.5, 0]]
    assert found.targets(SOFT).tolist() == [[0.5, 0.5, 0.5], [1, 0, 0], [1, 0.5, 0]]


def test_raters_of_a_choice_share_it_and_the_commonest_kind_is_the_truth():
    found = of(VOICE, voice=["creaky;creaky;modal", "modal;breathy", None])
    assert found.values[:2, 0].tolist() == [1, 0], "of equals the first"
    assert found.targets(SOFT)[:2] == pytest.approx(np.array([[0, 2 / 3, 1 / 3], [0.5, 0, 0.5]]))
    assert np.isnan(found.targets(SOFT)[2]).all()


def test_one_rating_is_drawn_by_seed_epoch_and_row_and_each_comes_about_equally_often():
    found = of(SCALE, rough=["1;2;4"] * 300).drawn(seed=5)
    drawn = np.array([found(row, 0).sum() + 1 for row in range(300)])
    assert {level: 60 < (drawn == level).sum() < 140 for level in (1, 2, 4)} == {1: True, 2: True, 4: True}
    assert [found(7, epoch).tolist() for epoch in range(9)] == [found(7, epoch).tolist() for epoch in range(9)]
    assert len({tuple(found(7, epoch)) for epoch in range(9)}) > 1
    assert np.isnan(of(SCALE, rough=["", "1;2"]).drawn(1)(0, 0)).all()


def test_labels_that_the_same_raters_judged_take_one_rater_for_both():
    kinds = LabelKinds((SCALE, LabelKind("weak", "ordinal", SCALE.levels)))
    found = Ratings.of(table(rough=["1;4"] * 50, weak=["1;4"] * 50), kinds).drawn(seed=0)
    assert all(found(row, 0)[:3].tolist() == found(row, 0)[3:].tolist() for row in range(50))


def test_drawn_is_the_third_way():
    assert (MEAN_RATING, SOFT, DRAW) == ("mean", "soft", "draw")


@pytest.mark.parametrize(
    ("label", "cells", "told"),
    [
        (SCALE, [1, 7], "'7'.*one of the levels 1, 2, 3, 4"),
        (SCALE, ["1;7", "2;2"], "'1;7'.*one of the levels"),
        (SCALE, ["mild", "2"], "'mild'.*a number"),
        (VOICE, ["modal", "hoarse"], "'hoarse'.*one of breathy, creaky, modal, as in training"),
        (LabelKind("ill"), ["0;1", "0;2"], "'0;2'.*0 or 1"),
        (LabelKind("age", "MSE"), ["12 500", "3"], "'12 500'.*a number"),
    ],
)
def test_a_cell_that_a_label_cannot_have_is_named(label, cells, told):
    with pytest.raises(UserError, match=told):
        of(label, **{label.name: cells})


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    raters = LabelKind("rough", "ordinal", SCALE.levels, raters=("anna", "ben"))
    with pytest.raises(UserError, match=r"column 'ben' of the raters of the label 'rough' is not in the csv.*anna"):
        of(raters, anna=[1, 2])


def test_a_scale_has_every_whole_number_between_its_lowest_and_highest_rating():
    assert levels_in(table(rough=[0, 3, 1]), LabelKind("rough", "ordinal"), "train.csv") == [0, 1, 2, 3]
    assert levels_in(table(rough=["2;5", "3"]), LabelKind("rough", "ordinal"), "train.csv") == [2, 3, 4, 5]
    assert levels_in(table(voice=["b;a", "c", None]), LabelKind("voice", "CE"), "train.csv") == ["a", "b", "c"]
    with pytest.raises(UserError, match=r"2\.5.*whole numbers as levels of a scale"):
        levels_in(table(rough=[1, 2.5]), LabelKind("rough", "ordinal"), "train.csv")


@pytest.mark.parametrize("typed", [1e12, 1e300])
def test_a_typing_error_in_a_rating_makes_no_billion_levels(typed):
    with pytest.raises(UserError, match=r"the label 'rough' has over a million levels in train.csv, expected 2 to 100"):
        levels_in(table(rough=[1, 3, typed]), LabelKind("rough", "ordinal"), "train.csv")
