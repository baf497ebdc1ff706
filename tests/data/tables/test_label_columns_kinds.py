import numpy as np
import pytest

from ssast.data.tables.label_columns import (
    answer_table,
    called_levels,
    check_kind_columns,
    kind_names,
    level_columns,
    level_table,
    output_columns,
)
from ssast.errors import UserError
from ssast.model.label_kinds import LabelKind, LabelKinds

ROUGH, VOICE = LabelKind("rough", "ordinal", (1.0, 2.0, 3.0)), LabelKind("voice", "CE", ("creaky", "modal"))
MIXED = LabelKinds((LabelKind("ill"), ROUGH, VOICE))
SCORES = np.array([[0.25, 0.75, 0.25, 0.4, 0.6], [0.5, 0.25, 0.125, 0.9, 0.1]])


def test_columns_say_each_level_and_of_a_scale_at_least_each():
    assert level_columns(ROUGH) == ["rough_is_1", "rough_is_2", "rough_is_3", "rough_atleast_2", "rough_atleast_3"]
    assert level_columns(VOICE) == ["voice_is_creaky", "voice_is_modal"]
    assert level_columns(LabelKind("ill")) == []
    assert [output_columns(label) for label in MIXED.labels] == [
        ["ill"],
        ["rough_atleast_2", "rough_atleast_3"],
        ["voice_is_creaky", "voice_is_modal"],
    ]


def test_one_column_a_label_holds_its_probability_its_expected_level_or_its_likeliest_kind():
    found = answer_table(MIXED, SCORES, ["a", "b", "c"])
    assert found.to_dict("list") == {"a": [0.25, 0.5], "b": [2.0, 1.375], "c": ["modal", "creaky"]}


def test_the_levels_follow_as_probabilities():
    found = level_table(MIXED, SCORES)
    assert list(found.columns) == [*level_columns(ROUGH), *level_columns(VOICE)]
    assert found.iloc[0].tolist() == pytest.approx([0.25, 0.5, 0.25, 0.75, 0.25, 0.4, 0.6])
    assert level_table(LabelKinds.plain("BCE", ["ill"]), SCORES[:, :1]).shape == (2, 0)


def test_the_level_that_is_called_is_reached_with_at_least_a_half():
    assert called_levels(ROUGH, np.array([[0.5, 0.49], [0.4, 0.1], [1, 1]])) == ["2", "1", "3"]


def test_kinds_are_named_and_gaps_stay_gaps():
    assert kind_names(VOICE, np.array([1, np.nan, 0])) == ["modal", None, "creaky"]


def test_two_columns_of_one_name_are_refused_before_anything_is_computed():
    check_kind_columns(MIXED, "train.csv")
    clash = LabelKinds((ROUGH, LabelKind("rough_is_2")))
    with pytest.raises(UserError, match=r"would be called 'rough_is_2' with the labels and levels of train.csv"):
        check_kind_columns(clash, "train.csv")
