import pandas as pd
import pytest

from ssast.data.tables.label_file import answered, asked_kinds, kinds_in_table, kinds_place, needs_answers
from ssast.errors import UserError
from ssast.model.label_kinds import LabelKind, LabelKinds


def asked(folder, yaml=None, labels="ill\nrough\nvoice\nage\n", loss="BCE"):
    (folder / "labels.txt").write_text(labels)
    if yaml is not None:
        (folder / "labels.yaml").write_text(yaml)
    return asked_kinds(folder / "labels.txt", loss)


def test_without_a_file_of_kinds_all_labels_are_what_the_loss_learns(tmp_path):
    assert asked(tmp_path, loss="MSE") == LabelKinds.plain("MSE", ["ill", "rough", "voice", "age"])


def test_the_file_beside_the_labels_says_what_each_is(tmp_path):
    yaml = """
    rough: {kind: ordinal, levels: [0, 1, 2, 3], cut: 2, weight: 2, raters: [anna, ben]}
    voice: CE
    age: {kind: MSE}
    """
    found = asked(tmp_path, yaml).labels
    assert found == (
        LabelKind("ill"),
        LabelKind("rough", "ordinal", (0, 1, 2, 3), 2, 2, ("anna", "ben")),
        LabelKind("voice", "CE"),
        LabelKind("age", "MSE"),
    )
    assert str(kinds_place(tmp_path / "labels.txt")) == str(tmp_path / "labels.yaml")


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("smooth: ordinal", "names the label 'smooth', which .*labels.txt does not have"),
        ("rough: {kind: scale}", "of the label 'rough' kind 'scale', expected BCE, MSE, ordinal, CE"),
        ("rough: {kind: ordinal, level: [1, 2]}", "'level', expected kind, levels, cut, weight, raters"),
        ("rough: {kind: ordinal, levels: [3, 2, 1]}", "expected 2 to 100 rising numbers"),
        ("rough: {kind: ordinal, levels: [1, 2], cut: 1}", "cut '1', expected one of its levels above the lowest"),
        ("ill: {levels: [0, 1]}", "levels for kind BCE, expected them for ordinal or CE only"),
        ("age: {kind: MSE, cut: 3}", "a cut for kind MSE"),
        ("rough: {kind: ordinal, weight: -1}", "weight '-1', expected a number above 0"),
        ("rough: {kind: ordinal, raters: [a, a]}", "expected the names of different columns"),
        ("voice: {kind: CE, levels: [a]}", "expected 2 to 100 different words"),
        ("voice: {kind: CE, levels: [no, yes]}", "yes and no in quotes"),
        ("[rough]", r"holds a list of 1, expected a line a label"),
        ("rough: [1, 2]", "expected entries such as kind and levels"),
        ("rough: {kind: ordinal", "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_said_with_what_was_expected(tmp_path, yaml, told):
    with pytest.raises(UserError, match=told):
        asked(tmp_path, yaml)


def test_levels_raters_and_kinds_that_nobody_named_come_from_the_training_table():
    frame = pd.DataFrame({"rough_r1": [1, 3], "rough_r2": [2, 2], "voice": ["modal", "creaky"], "ill": [0, 1]})
    kinds = LabelKinds((LabelKind("ill"), LabelKind("rough", "ordinal"), LabelKind("voice", "CE")))
    found = kinds_in_table(kinds, frame, "train.csv").labels
    assert found[1] == LabelKind("rough", "ordinal", (1.0, 2.0, 3.0), raters=("rough_r1", "rough_r2"))
    assert found[2].levels == ("creaky", "modal")
    given = LabelKinds((LabelKind("voice", "CE", ("modal", "creaky", "hoarse")),))
    assert kinds_in_table(given, frame, "train.csv") == given


@pytest.mark.parametrize(
    ("label", "cells", "told"),
    [
        (LabelKind("x", "ordinal"), [2, 2], "has 1 levels in train.csv, expected 2 to 100"),
        (LabelKind("x", "ordinal"), [0, 500], "has 501 levels"),
        (LabelKind("x", "CE"), ["a", "a"], "has 1 kinds in train.csv"),
        (LabelKind("x", "CE"), ["a", "b" * 200], "has the kind '.*expected a word of one line"),
        (
            LabelKind("x", "ordinal", cut=9.0),
            [1, 2],
            "the cut 9 of the label 'x' is none of its levels above the lowest",
        ),
    ],
)
def test_a_table_that_does_not_fit_the_kind_is_refused(label, cells, told):
    with pytest.raises(UserError, match=told):
        kinds_in_table(LabelKinds((label,)), pd.DataFrame({"x": cells}), "train.csv")


def test_tables_get_one_number_a_label_in_place_of_its_raters_columns():
    train = pd.DataFrame({"x_r1": [1, 3], "x_r2": [2, 3], "kind": ["b", "a"], "age": [40, 50]}, index=["u1", "u2"])
    test = pd.DataFrame({"x": [2], "kind": ["a"], "age": [60]}, index=["u3"])
    kinds = LabelKinds((LabelKind("x", "ordinal"), LabelKind("kind", "CE")))
    made, known = answered({"train": train, "test": test}, kinds)
    assert made["train"].to_dict("list") == {"age": [40, 50], "x": [1.5, 3], "kind": [1, 0]}
    assert made["test"].to_dict("list") == {"age": [60], "x": [2], "kind": [0]}
    assert known.labels[0].levels == (1, 2, 3)


def test_a_column_of_numbers_is_an_answer_already_unless_several_people_gave_it():
    assert not needs_answers({"train": pd.DataFrame({"x": [0, 1]})}, LabelKind("x"))
    assert needs_answers({"train": pd.DataFrame({"x": ["0;1", "1"]})}, LabelKind("x"))
    assert needs_answers({"train": pd.DataFrame({"x_r1": [0], "x_r2": [1]})}, LabelKind("x"))
    assert needs_answers({"train": pd.DataFrame({"x": [0, 1]})}, LabelKind("x", "ordinal"))
