import pandas as pd
import pytest

from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.model.label_kinds import LabelKind, LabelKinds
from ssast.runs.reviewing.groups import group_columns
from ssast.runs.rows import Rows


def columns(asked, kinds=None, **cells):
    count = len(next(iter(cells.values())))
    frame = pd.DataFrame(cells, index=pd.Index([f"u{n}" for n in range(count)], name="uid"))
    kinds = kinds or LabelKinds.plain("BCE", ["ill"])
    return group_columns(asked, Rows(frame, kinds.names, Location("test.csv"), kinds))


def test_text_and_few_numbers_are_groups_as_they_stand_and_empty_cells_none():
    sex, code = columns("sex, code", sex=["f", "m", None, "f"], code=[1.0, 2.0, 1.0, None])
    assert sex.groups == ["f", "m", None, "f"]
    assert code.groups == ["1", "2", "1", None]
    assert columns(None, sex=["f"]) == columns(" ,", sex=["f"]) == []


def test_many_numbers_are_cut_into_thirds_at_whole_numbers_and_the_cuts_are_told():
    (age,) = columns("age", age=[20.5 + n for n in range(30)])
    assert age.note == "age is cut at 30 and 40"
    assert age.names == ["under 30", "30 to under 40", "40 and over"]
    assert [age.groups.count(name) for name in age.names] == [10, 10, 10]


def test_numbers_are_cut_where_it_is_asked_and_the_edge_belongs_above():
    (age,) = columns("age:40:65", age=[39.9, 40, 64, 65, None])
    assert age.groups == ["under 40", "40 to under 65", "40 to under 65", "65 and over", None]
    (small,) = columns("gain", gain=[n / 100 for n in range(12)])
    assert small.note == "gain is cut at 0.0367 and 0.0733"


@pytest.mark.parametrize(
    ("asked", "cells", "part"),
    [
        ("site", {"sex": ["f"]}, "names 'site', which is no column of test.csv; it has sex."),
        ("age:old", {"age": [3]}, "cuts 'age' at old, expected numbers"),
        ("sex:3", {"sex": ["f", "m"]}, "cuts 'sex', which holds no numbers"),
        ("name", {"name": [f"n{n}" for n in range(30)]}, "has 30 different cells"),
    ],
)
def test_what_cannot_be_a_group_is_one_sentence(asked, cells, part):
    with pytest.raises(UserError, match="--groups") as error:
        columns(asked, **cells)
    assert part in str(error.value)


def test_groups_of_labels_that_have_no_yes_are_refused():
    scale = LabelKind("rough", "ordinal", (0, 1, 2), cut=1)
    assert columns("sex", LabelKinds((scale,)), sex=["f"])[0].names == ["f"]
    kinds = LabelKinds((LabelKind("grade", "ordinal", (0, 1, 2)), LabelKind("age", "MSE")))
    with pytest.raises(UserError, match="gives a cut, but grade, age is none; leave it out"):
        columns("sex", kinds, sex=["f"])


def test_a_private_run_hides_the_names_of_places_and_shows_the_sexes(monkeypatch):
    monkeypatch.setattr("ssast.redaction.shown_name", lambda kind, name: f"{kind}-hash")
    sex, site = columns("sex,site", sex=["f", "female"], site=["Mayo", "Bern"])
    assert sex.groups == ["f", "female"]
    assert site.groups == ["group-hash", "group-hash"]


def test_spellings_in_other_capitals_and_blanks_are_one_group_by_the_commonest():
    """F and f were two groups, so that none was large enough, and half of a site was left out in its place."""
    (sex,) = columns("sex", sex=["F", "f", "f", "m", "M ", "Bad  Berka", "bad berka", "bad berka"])
    assert sex.groups == ["f", "f", "f", "M ", "M ", "bad berka", "bad berka", "bad berka"]
    assert sex.note == "Bad  Berka counts as bad berka, F counts as f, m counts as M "
    assert columns("band", band=["<40", ">40"])[0].groups == ["<40", ">40"]


def test_a_word_among_numbers_has_no_group_and_leaves_the_others_cut():
    """One `unknown` made every age a group of its own, and a decimal comma beside it was lost."""
    ages = [*(str(20 + n) for n in range(10)), "30,5", "unknown", None]
    (age,) = columns("age", age=ages)
    assert age.names == ["under 23", "23 to under 27", "27 and over"]
    assert age.groups[-3:] == ["27 and over", None, None]
    assert age.note == "age is cut at 23 and 27; 1 cell with text counts as empty"
    (asked,) = columns("age:25", age=["24,5", "25", "n.k.", "??"])
    assert asked.groups == ["under 25", "25 and over", None, None]
    assert asked.note == "age is cut at 25; 2 cells with text count as empty"


def test_codes_with_leading_zeros_are_names_however_many_they_are():
    """Sites 01 to 12 were cut into thirds, as if 12 were more of a site."""
    (site,) = columns("site", site=[f"{n:02d}" for n in range(1, 13)])
    assert site.names == [f"{n:02d}" for n in range(1, 13)]
