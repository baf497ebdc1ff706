"""Labels from the columns of a clinic's table: answers, numbers, and one yes/no label for each word of a column."""

import math

import pytest

from ssast.data.layout.labels import find_labels, nearly_answers
from ssast.errors import UserError


def table_of(**columns) -> dict[str, dict[int, str]]:
    return {name: dict(enumerate(cells, 2)) for name, cells in columns.items()}


def labels(table, *spread: str, given=None) -> dict[str, list[float | None]]:
    found = find_labels(table, given, spread, []).cells
    return {name: [None if math.isnan(cell) else cell for cell in cells.values()] for name, cells in found.items()}


def test_each_word_of_a_column_becomes_a_label_and_missing_cells_stay_missing():
    table = table_of(diagnosis=["PD", "HC", "", "n/a", "PD", "MS"], smoker=["yes", "no"] * 3)
    assert labels(table, "diagnosis") == {
        "diagnosis_HC": [0, 1, None, None, 0, 0],
        "diagnosis_MS": [0, 0, None, None, 0, 1],
        "diagnosis_PD": [1, 0, None, None, 1, 0],
    }
    assert find_labels(table, None, ["diagnosis"], []).made["diagnosis_MS"] == ("diagnosis", "MS")


def test_several_columns_answers_among_them_and_numbers_go_together():
    table = table_of(diagnosis=["PD", "HC", "PD"], breathy=["Yes", "no", ""], grade=["1", "2,5", "3"])
    found = labels(table, "diagnosis", "breathy", given=["grade"])
    assert list(found) == ["grade", "diagnosis_HC", "diagnosis_PD", "breathy"]
    assert found["breathy"] == [1, 0, None]
    assert found["grade"] == [1, 2.5, 3]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"d": ["a, b", "a; b", "a, b"]}, ["d_a_b", "d_a_b_2"]),
        ({"d": ["PD", "HC", "PD"], "d_PD": ["1", "2", "3"]}, ["d_HC", "d_PD_2"]),
        ({"d": ["PD", "HC", "PD"], "D_pd": ["1", "2", "3"]}, ["d_HC", "d_PD_2"]),
        ({"d": ["target", "call", "call"]}, ["d_call_2", "d_target_2"]),
        ({"d": ["x", "x_target", "x"]}, ["d_x", "d_x_target_2"]),
        ({"d": ["tremör", '"', "tremör"]}, ["d_2", "d_tremör"]),
        ({"d": ["x" * 100, "x" * 99 + "y", "x" * 100]}, ["d_" + "x" * 58, "d_" + "x" * 58 + "_2"]),
        ({"what, exactly": ["a\nb", "c", "c"]}, ["what_exactly_a_b", "what_exactly_c"]),
    ],
)
def test_names_of_labels_meet_neither_a_column_nor_each_other(columns, names):
    assert list(labels(table_of(**columns), next(iter(columns)))) == names


@pytest.mark.parametrize(
    "columns", [["mean"], ["Mean", "x"], ["x", "x_target"], ["x", "X_call"], ["subject"], ["seconds", "seconds_score"]]
)
def test_a_column_of_answers_that_no_run_could_take_as_label_is_refused_before_anything_is_written(columns):
    table = table_of(**{name: ["1", "0", "1"] for name in columns})
    with pytest.raises(
        UserError,
        match=r"of the table has the same name as .*; rename the column, or name other labels with --label_txt",
    ):
        find_labels(table, None, [], [])


@pytest.mark.parametrize("words", ["ja nein", "oui non", "S\u00ed No", "si no", "WAHR FALSCH", "vrai faux", "ja nej"])
def test_answers_in_other_languages_are_one_label(words):
    yes, no = words.split()
    assert labels(table_of(ill=[yes, no, "", yes])) == {"ill": [1, 0, None, 1]}
    assert labels(table_of(ill=[yes, no, "", yes]), "ill") == {"ill": [1, 0, None, 1]}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["PD"] * 3, "holds only 'PD', and a label needs two answers"),
        ([""] * 3, "holds nothing"),
        ([f"word {number}" for number in range(21)] * 2, "holds 21 different entries .* at most 20"),
        (["a", "b", "c"], "each in one row only"),
        (["PD", "pd", "HC"], "holds 'PD' and 'pd', which look like one entry"),
        (["PD", "P D", "P  D"], "holds 'P  D' and 'P D'"),
        (["PD", "none", "PD"], "line 3 of the table has 'none' .* may mean that nothing is known"),
        (["PD", "#REF!", "PD"], "line 3 of the table has '#REF!'"),
    ],
)
def test_words_that_make_no_labels_are_refused_in_a_sentence(cells, said):
    with pytest.raises(UserError, match=said):
        labels(table_of(diagnosis=cells), "diagnosis")


@pytest.mark.parametrize("cell", ["1e400", "01.02.2020", "00:01.5", "1_0", "perhaps", "=A1", "inf"])
def test_a_cell_of_a_chosen_label_that_is_no_number_is_named_with_its_line(cell):
    with pytest.raises(
        UserError,
        match=r"line 3 of the table has '.*' for 'y', .* --label_column y to make a label of each of its entries",
    ):
        labels(table_of(y=["1", cell]), given=["y"])
    assert labels(table_of(y=["1", cell, "0"])) == {}


def test_a_chosen_label_whose_comma_may_part_thousands_is_refused():
    with pytest.raises(UserError, match=r"line 3 of the table has '1,234' for 'f2', expected numbers without marks"):
        labels(table_of(f2=["987", "1,234", ""]), given=["f2"])
    assert labels(table_of(f2=["0,987", "1,234"]), given=["f2"]) == {"f2": [0.987, 1.234]}


def test_a_column_that_nearly_holds_answers_is_found():
    assert nearly_answers(dict(enumerate(["yes", "no", "no", "?", "", "yes"]))) == "?"
    assert nearly_answers(dict(enumerate(["yes", "no", "no", "", "yes"]))) == ""
    assert nearly_answers(dict(enumerate(["0", "1", "1", "2", "0", "1"]))) == ""
    assert nearly_answers(dict(enumerate(["yes", "maybe", "no", "?"]))) == ""
