import numpy as np
import pandas as pd
import pytest

from ssast.data.tables.label_file import code_doubts, doubts, likely_codes, unseen_ends
from ssast.model.label_kinds import LabelKind, LabelKinds

SCALE = LabelKind("rough", "ordinal", (1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize(
    ("ratings", "codes"),
    [
        ([0, 1, 2, 3], []),
        ([0, 1, 2, 9], [9]),
        ([-1, 0, 1, 2], [-1]),
        ([-9, 1, 2, 99], [-9, 99]),
        ([-3, -2, -1, 0, 1], []),
        ([-1, 1], []),
        (list(range(1, 10)), []),
        ([7, 8, 9], []),
    ],
)
def test_a_level_at_the_end_of_a_scale_may_be_a_code_of_missing_ratings(ratings, codes):
    assert likely_codes(SCALE, np.array(ratings, dtype=float)[:, None]) == codes


@pytest.mark.parametrize(
    ("numbers", "codes"),
    [
        ([101.5, 999, 187, 140, np.nan], [999]),
        ([0, 60, 120, -9], [-9]),
        ([3.5, 7, 9.5, 88, 99], [88, 99]),
        ([0.2, 0.4, -999, 9999], [-999, 9999]),
        ([-2.1, -1, 0.3, 9], [9]),
        ([-1.5, -1, 0.2, 1.1], []),
        ([20, 35, 60, 88, 99], []),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], []),
        ([999, 999], []),
        ([5, 999], []),
    ],
)
def test_a_number_far_from_all_others_may_be_a_code_of_missing_ones(numbers, codes):
    """Pitches of 999 Hz, which meant that nobody had measured, were learned and scored without a word."""
    assert likely_codes(LabelKind("pitch", "MSE"), np.array(numbers, dtype=float)[:, None]) == codes


def test_codes_are_told_for_each_table_and_one_that_does_not_fit_is_passed_over():
    kinds = LabelKinds((LabelKind("pitch", "MSE"), LabelKind("rough", "ordinal"), LabelKind("ill", "BCE")))
    train = pd.DataFrame(
        {"pitch": ["a", "b", "c"], "rough_r1": [0, 1, 2], "rough_r2": [9, 1, np.nan], "ill": [0, 1, 9]}
    )
    test = pd.DataFrame({"pitch": [101, 888, 120], "rough": [0, 1, 2], "ill": [0, 1, 0]})
    assert list(code_doubts({"train": train, "test": test}, kinds)) == [
        ("test", "888 counts as a value of 'pitch'; where it means missing, leave the cells empty"),
        ("train", "9 counts as a level of 'rough'; where it means missing, leave the cells empty"),
    ]


def test_levels_beyond_all_ratings_are_not_learned_and_those_between_are():
    """A scale of 0 to 3 whose 3 nobody had in training was scored on it without a word."""
    ratings = np.array([[0.0, 2.0], [np.nan, 2.0]])
    scale = LabelKind("rough", "ordinal", (0, 1, 2, 3))
    assert unseen_ends(scale, ratings) == [3]
    assert unseen_ends(LabelKind("rough", "ordinal", (-1, 0, 2)), ratings) == [-1]
    assert unseen_ends(scale, np.full((2, 1), np.nan)) == unseen_ends(LabelKind("age", "MSE"), ratings) == []


def test_a_number_far_from_0_outweighs_labels_of_other_kinds_and_a_weight_is_named():
    """Ages of 40 to 51 years had a loss of 632 beside a yes or no of 0.7, which was hardly learned."""
    ages = np.array([[40.0], [np.nan], [50.0]])
    (told,) = doubts(LabelKind("age", "MSE"), ages, is_mixed=True)
    assert "outweigh the other labels; give it a weight of about 0.0005 in labels.yaml" in told
    assert "about 0.00001 in" in next(doubts(LabelKind("pitch", "MSE"), ages * 6, is_mixed=True))
    assert list(doubts(LabelKind("age", "MSE", weight=0.0005), ages, is_mixed=True)) == []
    assert list(doubts(LabelKind("age", "MSE"), ages, is_mixed=False)) == []
    assert list(doubts(LabelKind("score", "MSE"), ages / 20, is_mixed=True)) == []
