import numpy as np
import pytest

from ssast.model.label_kinds import LabelKind, LabelKinds

ILL, AGE = LabelKind("ill"), LabelKind("age", "MSE")
ROUGH = LabelKind("rough", "ordinal", (0.0, 1.0, 2.0, 3.0), cut=2.0, weight=2.0, raters=("rough_r1", "rough_r2"))
VOICE = LabelKind("voice", "CE", ("breathy", "creaky", "modal"))
MIXED = LabelKinds((ILL, ROUGH, VOICE, AGE))
GAP = np.nan


def test_each_label_has_the_outputs_of_its_kind_and_knows_where_they_lie():
    assert [label.width for label in MIXED.labels] == [1, 3, 3, 1]
    assert (MIXED.width, MIXED.slices) == (8, [slice(0, 1), slice(1, 4), slice(4, 7), slice(7, 8)])
    assert MIXED.outputs == [
        "ill",
        *("rough at least 1", "rough at least 2", "rough at least 3"),
        *("voice: breathy", "voice: creaky", "voice: modal"),
        "age",
    ]
    assert (MIXED.asked, MIXED.numbers) == ([0, 2, 4, 5, 6, 7], [7])
    assert MIXED.columns(["age", "rough"]) == [7, 1, 2, 3]


def test_targets_of_a_scale_say_at_least_each_cut_and_a_mean_rating_is_shared_by_two_levels():
    found = ROUGH.spread(np.array([0, 2, 3, 1.5, GAP]))
    assert found[:4].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0.5, 0]]
    assert np.isnan(found[4]).all()
    assert ROUGH.answers(found[:4]).tolist() == [0, 2, 3, 1.5], "a certain model answers what it was told"


def test_targets_of_a_choice_are_one_of_its_kinds():
    found = VOICE.spread(np.array([2, 0, GAP]))
    assert found[:2].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert np.isnan(found[2]).all()


def test_probabilities_of_levels_sum_to_one_and_give_the_cumulative_ones_again():
    at_least = -np.sort(-np.random.default_rng(1).random((50, 3)), axis=1)
    chances = ROUGH.level_chances(at_least)
    assert chances.sum(axis=1) == pytest.approx(1)
    assert np.cumsum(chances[:, ::-1], axis=1)[:, ::-1][:, 1:] == pytest.approx(at_least)
    assert ROUGH.answers(at_least) == pytest.approx(chances @ [0, 1, 2, 3])


def test_the_mean_of_several_windows_scores_is_again_a_distribution():
    windows = -np.sort(-np.random.default_rng(1).random((7, 3)), axis=1)
    mean = windows.mean(axis=0, keepdims=True)
    assert ROUGH.level_chances(mean)[0] == pytest.approx(ROUGH.level_chances(windows).mean(axis=0))


def test_a_scale_of_uneven_levels_answers_on_its_own_scale():
    uneven = LabelKind("x", "ordinal", (1.0, 2.0, 10.0))
    assert uneven.answers(np.array([[1, 1], [1, 0.5], [0, 0]])).tolist() == [10, 6, 1]
    assert uneven.steps(np.array([1, 6, 10, GAP]))[:3].tolist() == [0, 1.5, 2]


def test_what_is_kept_of_labels_makes_the_same_labels_again():
    again = LabelKinds.of_entries("mixed", MIXED.names, MIXED.entries())
    assert again == MIXED
    assert MIXED.entries()[1] == {
        "kind": "ordinal",
        "levels": [0.0, 1.0, 2.0, 3.0],
        "cut": 2.0,
        "weight": 2.0,
        "raters": ["rough_r1", "rough_r2"],
    }
    assert MIXED.entries()[0] == {"kind": "BCE"}


def test_labels_that_are_all_yes_no_or_all_numbers_are_plain_and_need_no_entries():
    plain = LabelKinds.plain("BCE", ["a", "b"])
    assert (plain.is_plain, plain.entries(), plain.loss, plain.outputs) == (True, None, "BCE", ["a", "b"])
    assert (MIXED.is_plain, MIXED.loss, LabelKinds((ROUGH,)).loss) == (False, "mixed", "ordinal")
    assert not LabelKinds((LabelKind("a", weight=2.0),)).is_plain


def test_labels_can_be_picked_named_otherwise_and_sorted_by_kind():
    assert MIXED.some(["age", "ill"]).labels == (AGE, ILL)
    assert MIXED.named(["1", "2", "3", "4"]).names == ["1", "2", "3", "4"]
    assert MIXED.alike() == {"BCE": ["ill"], "MSE": ["age"], "ordinal": ["rough"], "CE": ["voice"]}
    assert MIXED.spread(np.array([[1, 2, 0, 40.0]])).tolist() == [[1, 1, 1, 0, 1, 0, 0, 40]]
    assert MIXED.answers(MIXED.spread(np.array([[1, 2, 0, 40.0]]))).tolist() == [[1, 2, 0, 40]]
