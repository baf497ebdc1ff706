"""Which column of a table names the audio files, and whose each file is; nothing is read, so names will do."""

import unicodedata

import pytest

from ssast.data.layout.file_column import FileColumn, name_files
from ssast.data.layout.filenames import FileNames
from ssast.data.layout.uids import doubtful, find_person, name_rows
from ssast.data.storage import atomic_writes
from ssast.data.storage.location import Location
from ssast.errors import UserError

EIGHT = range(1, 9)
NUMBERS = [f"{number}.wav" for number in EIGHT]
LETTERS = [f"a{number}.wav" for number in EIGHT]


def table_of(**columns) -> dict[str, dict[int, str]]:
    """Columns of cells, the first of them in line 2."""
    return {name: dict(enumerate(map(str, cells), 2)) for name, cells in columns.items()}


def named(files: list[str], table: dict[str, dict[int, str]], column: str | None = None, **rest) -> FileColumn:
    folder = Location("/x/mine")
    names = FileNames([folder / file for file in files], folder)
    return name_files(table, names, folder, column, rest.get("person", find_person(table, None)))


def pairs(found: FileColumn) -> dict[int, str]:
    return {line: " ".join(file.shown for file in files) for line, files in found.files_of.items()}


BACKWARDS = [9 - number for number in EIGHT]


@pytest.mark.parametrize(
    ("files", "columns", "both"),
    [
        (NUMBERS, {"nr": EIGHT, "recording": BACKWARDS}, "'nr' and 'recording'"),
        (NUMBERS[:2] + NUMBERS[3:], {"nr": EIGHT, "recording": BACKWARDS}, "'nr' and 'recording'"),
        (NUMBERS, {"nr": EIGHT, "code": [12 - number for number in EIGHT]}, "'nr' and 'code'"),
        (NUMBERS, {"uid": EIGHT, "file": BACKWARDS}, "'uid' and 'file'"),
        (NUMBERS, {"patient": EIGHT, "recording": BACKWARDS}, "'patient' and 'recording'"),
        ([f"{n:03d}.wav" for n in EIGHT], {"nr": EIGHT, "recording": BACKWARDS}, "'nr' and 'recording'"),
        (NUMBERS, {"nr": range(1, 17), "rec": [n for n in BACKWARDS for _ in (1, 2)]}, "'rec' and 'nr'"),
        (
            [*LETTERS, *(f"egg_{name}" for name in LETTERS)],
            {"audio": LETTERS, "egg": [f"egg_{name}" for name in LETTERS]},
            "'audio' and 'egg'",
        ),
        (["1.wav", "12.wav"], {"nr": [1, 2, 3, 4], "code": ["", "", "", 12]}, "'nr' and 'code'"),
    ],
)
def test_two_columns_that_could_name_the_files_are_refused_with_both_names(files, columns, both):
    with pytest.raises(UserError, match=f"{both} could both name .* say which one names them: --file_column"):
        named(files, table_of(**columns))


@pytest.mark.parametrize("recording", [[29 - n for n in EIGHT], [f"x{n}.flac" for n in EIGHT]])
def test_a_row_number_does_not_win_because_the_files_of_the_right_column_are_missing(recording):
    with pytest.raises(UserError, match=r"'recording' seems to name audio files, but none .* pass --file_column nr"):
        named(NUMBERS, table_of(nr=EIGHT, recording=recording))
    assert pairs(named(NUMBERS, table_of(nr=EIGHT, recording=recording), "nr"))[2] == "1.wav"


def test_numbers_that_fit_few_rows_are_refused_as_chance():
    with pytest.raises(UserError, match="'age' names audio files, by its numbers, and only in 2 of 8 rows"):
        named(["21.wav", "22.wav", "23b.wav"], table_of(code="stuvwxyz", age=range(15, 23)))


@pytest.mark.parametrize(
    "columns",
    [
        {"nr": EIGHT, "recording": [f"{n}.wav" for n in BACKWARDS]},
        {"nr": EIGHT, "recording": BACKWARDS, "grade": [0, 1, 2, 3] * 2, "y": [0, 1] * 4},
    ],
)
def test_the_right_column_is_taken_where_nothing_else_could_be_or_it_is_asked_for(columns):
    column = "recording" if columns["recording"] == BACKWARDS else None
    assert pairs(named(NUMBERS, table_of(**columns), column)) == {n + 1: f"{9 - n}.wav" for n in EIGHT}
    del columns["nr"]
    assert pairs(named(NUMBERS, table_of(**columns))) == {n + 1: f"{9 - n}.wav" for n in EIGHT}


@pytest.mark.parametrize(
    ("cell", "files", "meant"),
    [
        ("A1", ["a1.wav", "b.wav"], "a1.wav"),
        (r"C:\data\x\a1.wav", ["a1.wav"], "a1.wav"),
        ("/mnt/x/a1.wav", ["a1.wav", "y/a1.wav"], "a1.wav"),
        ("/mnt/y/a1.wav", ["x/a1.wav", "y/a1.wav"], "y/a1.wav"),
        ("./old/A1", ["old/a1.wav", "a1.wav"], "old/a1.wav"),
        ("a1", ["a1.wav", "old/a1.wav"], "a1.wav"),
        ("a1", ["A1.wav", "a1.wav"], "a1.wav"),
        ("a1.wav", ["a1.wav", "a1.mp3"], "a1.wav"),
        (unicodedata.normalize("NFC", "é1"), [unicodedata.normalize("NFD", "é1.wav")], "é1.wav"),
        (unicodedata.normalize("NFD", "é1"), [unicodedata.normalize("NFC", "É1.wav")], "É1.wav"),
        ("1", ["001.wav", "010.wav"], "001.wav"),
        ("1.0", ["001.wav"], "001.wav"),
        ("a1", ["x/a1.wav", "y/a1.wav"], "x/a1.wav y/a1.wav"),
        ("1", ["01.wav", "001.wav"], "01.wav 001.wav"),
        ("a1", ["a1.wav", "a1.mp3"], "a1.wav a1.mp3"),
        ("x/a1.wav", ["y/a1.wav"], ""),
        ("..", ["a1.wav"], ""),
        ("", ["a1.wav"], ""),
        ("9" * 5000, ["9.wav"], ""),
        ('=HYPERLINK("a1.wav")', ["a1.wav"], ""),
    ],
)
def test_a_cell_means_the_file_whose_name_it_spells(cell, files, meant):
    folder = Location("/x/mine")
    found = FileNames([folder / file for file in files], folder).meant(cell)
    assert unicodedata.normalize("NFC", " ".join(file.shown for file in found)) == meant


def test_names_that_fit_two_files_are_told_apart_from_missing_ones():
    table = table_of(file=["001.wav", "001.wav", "002.wav", "003.wav", "x/004.wav", "005.mp3"])
    found = named(["A/001.wav", "B/001.wav", "002.wav", "A/004.wav", "005.wav"], table)
    assert pairs(found) == {4: "002.wav"}
    assert sorted(found.unclear) == [2, 3]
    assert found.lacking == {
        5: "",
        6: "A/004.wav lies in another folder",
        7: "005.wav lies there with another ending",
    }
    assert [file.shown for file in found.unnamed] == ["A/001.wav", "B/001.wav", "A/004.wav", "005.wav"]


def test_all_doubled_rows_are_named_at_once():
    with pytest.raises(
        UserError, match=r"8 files are named in more than one row .* a1\.wav in lines 2 and 10, a2\.wav"
    ):
        named(LETTERS, table_of(recording=[*LETTERS, *LETTERS]))
    with pytest.raises(UserError, match="the lines 2 and 3 of the table all name a1"):
        named(LETTERS, table_of(recording=["a1", "A1.wav", "a2"]))


@pytest.mark.parametrize("files", [LETTERS, [f"{name[:-4]}_vowel.wav" for name in LETTERS]])
def test_one_column_may_name_both_file_and_person(files):
    found = named(files, table_of(patient=[name[:-4] for name in LETTERS], y=[0, 1] * 4))
    assert found.column == "patient"
    assert list(pairs(found).values()) == files


@pytest.mark.parametrize("pattern", ["P{}/a{}.wav", "P{}_{}.wav", "p{}-{}.wav", "x/P{} {}.wav", "P{}/2024/{}_P.wav"])
@pytest.mark.parametrize("column", ["patient", "code"])
def test_a_row_a_person_has_the_files_in_its_folder_or_with_its_code_in_front(pattern, column):
    people = range(1, 13)
    files = [pattern.format(person, take) for person in people for take in (1, 2)]
    found = named(files, table_of(**{column: [f"P{person}" for person in people], "y": [0, 1] * 6}))
    assert found.is_of_people
    assert pairs(found) == {person + 1: f"{pattern.format(person, 1)} {pattern.format(person, 2)}" for person in people}


def test_lost_zeros_and_numbered_sessions_do_not_mix_people():
    files = [f"{person:03d}/{session}.wav" for person in range(1, 31) for session in (1, 2, 3)]
    found = named(files, table_of(patient=range(1, 31)))
    assert pairs(found)[3] == "002/1.wav 002/2.wav 002/3.wav"
    assert len(found.files_of) == 30
    assert not found.unnamed


@pytest.mark.parametrize(
    ("files", "codes", "said"),
    [
        (
            ["P1_1.wav", "P1_2_a.wav", "P3_1.wav"],
            ["P1", "P1_2", "P3"],
            r"P1_2_a\.wav fits .* P1 \(line 2\), P1_2 \(line 3\)",
        ),
        (["P1/P2_a.wav", "P2/P1_a.wav"], ["P1", "P2"], r"P1/P2_a\.wav fits more than one code"),
        (["A/01/x.wav", "B/01/x.wav", "A/02/x.wav"], ["01", "01", "02"], r"01 in lines 2 and 3, .*as in A/01"),
        (["P1_a.wav", "P1_b.wav", "P2_a.wav"], ["P1", "P1", "P2"], "P1 in lines 2 and 3"),
    ],
)
def test_files_that_fit_two_people_are_refused(files, codes, said):
    with pytest.raises(UserError, match=said):
        named(files, table_of(patient=codes))


def test_the_folder_in_front_of_a_code_tells_two_sites_apart():
    found = named(["A/01/x.wav", "B/01/x.wav", "B/01/y.wav"], table_of(patient=["A/01", "B/01"]))
    assert pairs(found) == {2: "A/01/x.wav", 3: "B/01/x.wav B/01/y.wav"}


def test_further_files_of_a_named_one_are_a_person_s_only_where_the_column_says_who_speaks():
    files = ["P1.wav", "P1_b.wav", "P2.wav"]
    assert pairs(named(files, table_of(patient=["P1", "P2"]))) == {2: "P1.wav P1_b.wav", 3: "P2.wav"}
    found = named(files, table_of(code=["P1", "P2"]))
    assert pairs(found) == {2: "P1.wav", 3: "P2.wav"}
    assert [file.shown for file in found.begun] == ["P1_b.wav"]


def uids(files: list[str], table: dict[str, dict[int, str]]) -> list[str]:
    return [row.uid for row in name_rows(table, named(files, table))]


def test_uids_are_file_names_with_as_much_of_the_path_as_tells_them_apart():
    assert uids(["x/a.wav", "b .wav"], table_of(file=["a", "b"])) == ["a", "b"]
    assert uids(["x/a.wav", "y/a.wav"], table_of(file=["x/a", "y/a"])) == ["x-a", "y-a"]
    assert uids(["a.wav", "a.mp3"], table_of(file=["a.wav", "a.mp3"])) == ["a.wav", "a.mp3"]
    assert uids([unicodedata.normalize("NFD", "é.wav")], table_of(file=["é"])) == [unicodedata.normalize("NFC", "é")]


def test_file_names_that_windows_refuses_for_folders_become_others_there(monkeypatch):
    files, table = ["con.wav", "b. .wav", "Nul.x.wav"], table_of(file=["con.wav", "b. .wav", "Nul.x.wav"])
    assert uids(files, table) == ["con", "b", "Nul.x"]
    monkeypatch.setattr(atomic_writes, "ON_WINDOWS", True)
    assert uids(files, table) == ["con_", "b", "Nul_.x"]


@pytest.mark.parametrize("uid", ["CON", "u.", "lpt1.x", "ab:c"])
def test_uids_of_a_table_that_windows_refuses_are_one_sentence_there(uid, monkeypatch):
    """The folder of another name would be found by no csv."""
    table = table_of(uid=[uid, *"1abcdef"], file=LETTERS)
    assert uids(LETTERS, table)[0] == uid
    monkeypatch.setattr(atomic_writes, "ON_WINDOWS", True)
    with pytest.raises(UserError, match=rf"the uid '{uid}' of line 2 cannot be .* on Windows"):
        uids(LETTERS, table)


@pytest.mark.parametrize(
    ("files", "columns", "said"),
    [
        (
            LETTERS,
            {"uid": ["u", "U", "v", *"123", "v", "w"], "file": LETTERS},
            r"lines 2, 3 .* \(and so for 1 more\)",
        ),
        (LETTERS, {"uid": ["u", "", *"abcdef"], "file": LETTERS}, "column uid of the table is empty in line 3"),
        (LETTERS, {"uid": ["../u", *"1abcdef"], "file": LETTERS}, "not a plain folder name"),
        (LETTERS, {"uid": ["u" * 300, *"1abcdef"], "file": LETTERS}, "has 300 bytes"),
        (["a\nb.wav", "c.wav"], {"file": ["a\nb", "c"]}, "not a plain folder name"),
        (["P1/\udcff.wav", "P1/a.wav"], {"patient": ["P1"]}, r"P1/\\udcff\.wav is not text in UTF-8"),
    ],
)
def test_a_name_that_cannot_be_a_folder_is_one_sentence(files, columns, said):
    with pytest.raises(UserError, match=said):
        uids(files, table_of(**columns))


def test_a_code_with_two_sites_sexes_or_ages_is_told_and_a_year_more_is_not():
    table = table_of(
        subject=["01", "01", "02", "02", "03", "03", "04", "04"],
        site=["A", "B", "A", "A", "A", "", "B", "B"],
        sex=["f", "f", "f", "F", "f", "m", "m", "m"],
        Age=["30", "61", "40", "41,5", "50", "50", "?", "60"],
        usage=["1", "9", "1", "9", "1", "9", "1", "9"],
    )
    assert doubtful(table, "subject") == ["01 (site A and B, Age 30 and 61)", "03 (sex f and m)"]
