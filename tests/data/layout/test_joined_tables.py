"""Tables joined by named keys: what fits, what does not, and columns that two tables have."""

import time

import pytest

from ssast.data.layout.joined_tables import join_table, read_keys
from ssast.errors import UserError


def table(text: str) -> dict[str, dict[int, str]]:
    header, *rows = [line.split() for line in text.strip().splitlines()]
    cells = dict(enumerate(rows, start=2))
    return {name: {line: row[at].replace("-", "") for line, row in cells.items()} for at, name in enumerate(header)}


RECORDINGS = table("subject session age\nP1 1 40\nP1 2 41\nP2 1 -\nP3 1 50")


def test_a_table_of_people_goes_to_all_their_recordings():
    made = join_table(RECORDINGS, table("participant_id sex\nP1 F\nP2 M\nP3 F"), "people.tsv", [])
    assert list(made.cells["sex"].values()) == ["F", "F", "M", "F"]
    assert made.told == ["people.tsv joined by subject = participant_id: 4 of 4 recordings found their row"]


def test_sessions_go_to_the_recordings_of_the_person_and_the_session():
    sessions = table("record_id session_id dose\nP1 1 low\nP1 2 high\nP2 1 none\nP3 1 low")
    made = join_table(RECORDINGS, sessions, "sessions.tsv", [])
    assert list(made.cells["dose"].values()) == ["low", "high", "none", "low"]


def test_what_fits_nothing_on_either_side_is_counted_and_kept_empty():
    made = join_table(RECORDINGS, table("subject sex\nP1 F\np2 M\nP9 M"), "people.tsv", [])
    assert list(made.cells["sex"].values()) == ["F", "F", "", ""]
    (sentence,) = made.told
    assert "2 of 4 recordings found their row, 2 have none and empty cells there (P2, P3)" in sentence
    assert "2 of its 3 rows fit no recording (p2, P9)" in sentence
    assert "1 may be the same, spelled otherwise: P2 and p2" in sentence


def test_keys_of_two_different_rows_are_refused_and_equal_rows_count_once():
    with pytest.raises(UserError, match=r"2 of 3 keys .subject. in more than one row.* those of P1 in lines 2 and 3"):
        join_table(RECORDINGS, table("subject sex\nP1 F\nP1 M\nP2 M\nP2 F\nP3 F"), "people.tsv", [])
    made = join_table(RECORDINGS, table("subject sex\nP1 F\nP1 F\nP2 M\nP3 F"), "people.tsv", [])
    assert made.told[1] == "rows of people.tsv that are there twice count once (1)"


def test_a_column_of_two_tables_stays_one_where_it_agrees():
    made = join_table(RECORDINGS, table("subject session age\nP1 1 40\nP1 2 41\nP2 1 77\nP3 1 -"), "sessions.tsv", [])
    assert list(made.cells["age"].values()) == ["40", "41", "77", "50"]
    assert made.told[1].endswith(
        "age is in sessions.tsv too and agrees, so it is kept once; 1 empty cells were filled from it"
    )


def test_a_column_of_two_tables_becomes_two_where_it_does_not_agree():
    made = join_table(RECORDINGS, table("subject age uid\nP1 40 x\nP2 - y\nP3 51 z"), "people.tsv", [])
    assert list(made.cells["age"].values()) == ["40", "41", "", "50"]
    assert list(made.cells["people_age"].values()) == ["40", "40", "", "51"]
    assert "people_uid" in made.cells
    assert "uid" not in made.cells
    assert "age of people.tsv is called people_age, since 2 recordings have other values" in made.told[1]


def test_keys_are_named_where_they_are_called_otherwise():
    codes = table("code site\nP1 a\nP2 b\nP3 c")
    with pytest.raises(UserError, match=r"people.tsv .code, site. has no column of participants or sessions"):
        join_table(RECORDINGS, codes, "people.tsv", [])
    made = join_table(RECORDINGS, codes, "people.tsv", read_keys("subject = code"))
    assert list(made.cells["site"].values()) == ["a", "a", "b", "c"]
    with pytest.raises(UserError, match="--join_on has '=code'"):
        read_keys("=code")


def test_a_table_that_fits_nobody_is_refused():
    with pytest.raises(UserError, match=r"no row of people.tsv fits a recording by subject: it has X1, the recordings"):
        join_table(RECORDINGS, table("subject sex\nX1 F"), "people.tsv", [])


def test_prefixes_of_bids_and_spaces_of_tasks_do_not_matter():
    recordings = {"participant_id": {2: "sub-1"}, "session": {2: "1"}, "task": {2: "Rainbow-Passage"}}
    further = {"record_id": {2: "1"}, "session_id": {2: "ses-1"}, "task_name": {2: "rainbow passage"}, "f0": {2: "120"}}
    assert join_table(recordings, further, "static_features.tsv", []).cells["f0"] == {2: "120"}


def test_tables_of_thousands_of_people_that_do_not_fit_are_told_apart_at_once():
    people = range(20_000)
    ours = {"participant_id": {line: f"A{line:06d}x" for line in people}}
    theirs = {"participant_id": {line: f"B{line:06d}y" for line in people} | {20_000: "A000001x"}}
    began = time.perf_counter()
    assert "1 of 20000 recordings found their row" in join_table(ours, theirs, "t.csv", []).told[0]
    assert time.perf_counter() - began < 10  # a set made anew for each row took minutes
