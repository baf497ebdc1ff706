"""People are told apart by the text of their codes, in columns that are judged over all tables of a run."""

import numpy as np
import pandas as pd
import pytest

from ssast.data.tables.folds import assign_folds
from ssast.data.tables.people import across, find_all_people, find_people, number_in, spelled_twice
from ssast.data.tables.splits import read_split, split_validation
from ssast.data.tables.targets import check_targets, label_values, targets
from ssast.dataset_audit.people_check import people_remarks
from ssast.errors import UserError


@pytest.fixture
def tables(tmp_path):
    def read(**contents):
        for name, content in contents.items():
            (tmp_path / f"{name}.csv").write_text(content)
        return {name: read_split(tmp_path / f"{name}.csv") for name in contents}

    return read


def remarks(splits):
    return [(split, finding, detail) for _, split, finding, detail in people_remarks(splits)]


TRAIN = "uid,speaker,y\na,1,0\nb,2,1\n"
SHARED = {
    "an empty cell": (TRAIN, "uid,speaker,y\nd,1,0\ne,,1\nf,9,0\n", "1: 1 clips in train, 1 in test"),
    "person 1 alone": (TRAIN, "uid,speaker,y\nd,1,0\ne,1,1\n", "1: 1 clips in train, 2 in test"),
    "R's NA": (TRAIN, "uid,speaker,y\nd,2,0\ne,NA,1\n", "2: 1 clips in train, 1 in test"),
    "letters beside numbers": (TRAIN, "uid,speaker,y\nd,2,0\ne,K7,1\n", "2: 1 clips in train, 1 in test"),
    "capitals": (TRAIN, "uid,Speaker,y\nd,2,0\n", "2: 1 clips in train, 1 in test"),
    "another column": (
        TRAIN,
        "uid,subject,y\nd,2,0\n",
        "2: 1 clips in train, 1 in test (column speaker in train, subject in test)",
    ),
    "a name in camel case": (
        "uid,SubjectID,y\na,1,0\nb,2,1\n",
        "uid,SubjectID,y\nd,2,0\n",
        "2: 1 clips in train, 1 in test",
    ),
    "names joined otherwise": ("uid,Speaker ID\na,1\nb,2\n", "uid,speakerId\nd,2\n", "2: 1 clips in train, 1 in test"),
    "names in capitals": ("uid,PATIENTID\na,1\nb,2\n", "uid,patient-id\nd,2\n", "2: 1 clips in train, 1 in test"),
    "a second column": ("uid,subject,speaker\na,x,1\nb,y,2\n", "uid,speaker\nd,2\n", "2: 1 clips in train, 1 in test"),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_person_in_both_splits_is_seen_however_the_tables_are_written(tables, case):
    """One empty cell once turned 1 into 1.0, which is nobody in the other table."""
    train, test, detail = SHARED[case]
    found = remarks(tables(train=train, test=test))
    assert ("train and test", "subject in both splits", detail) in found


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["2.1", "3"], ["2.10", "4"]),
        (["10000000000000001", "5"], ["10000000000000002", "6"]),
        (["1e3", "5"], ["1000", "6"]),
        (["007", "5"], ["7", "6"]),
    ],
)
def test_codes_that_are_equal_as_numbers_are_different_people(tables, train, test):
    csv = {name: "uid,speaker\n" + "".join(f"{name}{n},{code}\n" for n, code in enumerate(codes)) for name, codes in
           (("train", train), ("test", test))}  # fmt: skip
    assert not [one for one in remarks(tables(**csv)) if one[1] == "subject in both splits"]


def test_validation_and_folds_keep_people_apart_whose_codes_are_equal_as_numbers(tables):
    codes = [f"2.{n}" for n in range(1, 31)]
    frame = tables(train="uid,speaker\n" + "".join(f"u{n},{code}\n" for n, code in enumerate(codes * 2)))["train"]
    assert "by speaker (3 of 30)" in split_validation(frame, 0.1, 0)[2]
    assert "by speaker (30)" in assign_folds(frame, np.zeros((60, 0)), 5, 0)[1]


def test_whole_numbers_hash_as_they_always_did(tables):
    """The validation rows of a table of plain numbers, as an earlier version drew them."""
    frame = tables(train="uid,speaker\n" + "".join(f"u{n:02d},{n // 2}\n" for n in range(40)))["train"]
    assert list(split_validation(frame, 0.1, 0)[1].index) == ["u06", "u07", "u26", "u27"]


def test_na_names_nobody_and_each_such_row_stands_alone(tables):
    codes = [*(f"p{n}" for n in range(12)), *["NA"] * 12]
    frame = tables(train="uid,speaker\n" + "".join(f"u{n},{code}\n" for n, code in enumerate(codes)))["train"]
    assert find_people(frame).names[-1] is None
    assert "of 24" in split_validation(frame, 0.25, 0)[2]
    assert remarks({"train": frame}) == [
        (
            "train",
            "person not known",
            "NA in 12 rows of speaker is taken as empty; give a person of that name another code",
        )
    ]


def test_a_word_for_unknown_is_noted(tables):
    found = remarks(tables(train="uid,patient\na,P1\nb,unknown\nc,unknown\nd,\n"))
    assert [one[2] for one in found] == [
        "unknown in 2 rows of patient is taken as one person; leave the cells of unknown people empty"
    ]


def test_a_column_patient_of_answers_in_all_tables_names_nobody_and_is_a_label(tables):
    splits = tables(train="uid,patient\na,1\nb,0\n", test="uid,patient\nc,yes\nd,NA\n")
    assert find_all_people(list(splits.values())) == [None, None]
    assert "the column patient holds nothing but yes/no answers" in remarks(splits)[0][2]
    check_targets(splits["train"], ["patient"], "BCE")
    assert targets(splits["train"], ["patient"]).flatten().tolist() == [1, 0]
    assert label_values(splits["train"], ["patient"]).tolist() == [[1], [0]]


@pytest.mark.parametrize("words", ["ja nein", "oui non", "Si No", "si\u0301 no", "WAHR FALSCH", "sim n\u00e3o"])
def test_answers_in_other_languages_are_no_people(tables, words):
    yes, no = words.split()
    table = tables(train=f"uid,patient,PatientID\na,{yes},7\nb,{no},8\n")["train"]
    assert find_people(table).names == ["7", "8"]


def test_a_name_in_one_word_comes_after_those_that_are_written_out(tables):
    table = tables(train="uid,SubjectID,participant_id,y\na,1,X,0\nb,2,Y,1\n")["train"]
    assert find_people(table).column == "participant_id"
    assert find_people(table.drop(columns="participant_id")).unit == "subject"


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("M\u00fcller", "Mu\u0308ller", r"(M\xfcller, Mu\u0308ller)"),
        ("P\u00a01", "P 1", r"(P 1, P\xa01)"),
        ("x", "\u200bx", r"(x, \u200bx)"),
    ],
)
def test_codes_that_look_the_same_are_told_letter_by_letter(tables, here, there, said):
    splits = tables(train=f"uid,speaker\na,{here}\nb,A1\n", test=f"uid,speaker\nc,{there}\nd,a1\n")
    told = [detail for _, finding, detail in remarks(splits) if finding == "two spellings"]
    assert [detail for detail in told if "the eye does not see" in detail] == [
        detail for detail in told if "A1" not in detail
    ]
    (own,) = (detail for detail in told if "A1" not in detail)
    assert set(said[1:-1].split(", ")) == set(own.split("not see (")[1].split(")")[0].split(", "))


def test_speaker_ids_0_and_1_are_people(tables):
    assert find_people(tables(train="uid,speaker_id\na,0\nb,1\n")["train"]).known == {"0", "1"}


@pytest.mark.parametrize(
    "names", [("01", "1"), ("1", "1.0"), ("P01", "p1"), ("P-7", "P 07"), ("müller", "mu\u0308ller"), ("\uff11", "1")]
)
def test_two_spellings_of_a_code_are_noted_and_stay_two_people(tables, names):
    splits = tables(train=f"uid,speaker\na,{names[0]}\nb,x\n", test=f"uid,speaker\nc,{names[1]}\nd,z\n")
    (found,) = remarks(splits)
    assert found[:2] == ("train and test", "two spellings")
    assert f"{names[0]} in train" in found[2]
    assert f"{names[1]} in test" in found[2]
    assert [set(pair) for pair in across({names[0], "x"}, {names[1], "z"})] == [set(names)]


@pytest.mark.parametrize(
    "names", [("2.1", "2.10"), ("1-1", "11"), ("S1_1", "S11"), ("10", "1"), ("?", "-"), ("a", "b")]
)
def test_codes_of_different_people_are_no_spellings_of_each_other(names):
    assert not list(spelled_twice(names))


def test_columns_of_other_names_are_told(tables):
    found = remarks(tables(train=TRAIN, test="uid,patient\nd,7\n"))
    assert found == [
        (
            "train and test",
            "different person columns",
            "speaker in train, patient in test: the codes are compared all the same; give the column one name",
        )
    ]


def test_one_code_on_two_sites_is_told_by_the_facts_that_differ(tables):
    splits = tables(
        train="uid,subject,site,Age (years),sex\na,P1,Bonn,34,f\nb,P2,Bonn,51,M\nc,P2,Bonn,52,male\n",
        test="uid,subject,site,Age (years),sex\nd,P1,Ulm,71,F\n",
    )
    told = [detail for _, finding, detail in remarks(splits) if finding == "different facts"]
    assert told == ["P1: site Bonn in a, Ulm in d; age 34 in a, 71 in d; correct the cells, or give each person a code"]


def test_tables_made_in_python_keep_their_codes():
    frame = pd.DataFrame({"speaker": [3, 4, 3]}, index=list("abc"))
    assert find_people(frame).names == ["3", "4", "3"]
    assert find_people(pd.DataFrame({"speaker": ["x", None, float("nan"), pd.NA]})).names == ["x", None, None, None]


@pytest.mark.parametrize("code", ["1.23457E+16", '"1,23E+11"', "9e+15"])
def test_codes_that_a_spreadsheet_shortened_are_noted(tables, code):
    splits = tables(train=f"uid,speaker\na,{code}\nb,{code}\nc,1e3\nd,E16\n")
    shown = code.strip('"')
    ((_, finding, detail),) = remarks(splits)
    assert finding == "person not known"
    assert detail.startswith(f"{shown} in 2 rows of speaker looks like a long number that a spreadsheet shortened")


@pytest.mark.parametrize("words", ["yes no", "ja nein", "Oui NON"])
def test_a_label_of_words_is_refused_with_the_numbers_to_write(tables, words):
    yes, no = words.split()
    table = tables(train=f"uid,y\na,{yes}\nb,{no}\n")["train"]
    with pytest.raises(UserError, match="expected a number: 1 for yes, 0 for no;"):
        targets(table, ["y"])
    with pytest.raises(UserError, match="expected a number;"):
        targets(tables(train=f"uid,y\na,{yes}\nb,perhaps\n")["train"], ["y"])


def test_a_number_has_a_point_or_a_comma_and_is_finite():
    assert [number_in(cell) for cell in ("2.5", "2,5", " -3 ", 4, 0.5)] == [2.5, 2.5, -3, 4, 0.5]
    assert {number_in(cell) for cell in ("", "visit 2", "1_2", "inf", "nan", "1.234,5", None, float("nan"))} == {None}
