"""Errors give as fields the names that their sentences hold: of places, recordings, people and cells of tables."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssast import redaction
from ssast.errors import UserError
from ssast.redaction import HIDDEN, Redaction

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "ssast"
NAMED = {
    "path": {"place", "path", "folder", "file", "root", "target", "record", "address", "source", "source.source"},
    "uid": {"uid", "row.uid"},
    "cell": {"cell", "cells"},
}
"""By field: what such a name is called where a sentence is made."""


def unnamed(source: str) -> Iterator[tuple[int, str]]:
    """(line, expression) of what a UserError or AudioError says and does not give as a field."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("UserError", "AudioError") and call.args:
            fields = {keyword.arg for keyword in call.keywords}
            for part in ast.walk(call.args[0]):
                said = ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ""
                if None not in fields and any(said in names and kind not in fields for kind, names in NAMED.items()):
                    yield call.lineno, said


def test_no_error_names_a_place_or_a_recording_in_its_sentence_alone():
    files = sorted(PACKAGE.rglob("*.py"))
    found = [(file.name, *one) for file in files for one in unnamed(file.read_text(encoding="utf-8"))]
    assert not found


def test_a_sentence_without_its_fields_is_found():
    assert list(unnamed('UserError(f"clip {uid} in {place}", uid=uid)')) == [(1, "place")]


@pytest.fixture
def redactor() -> Iterator[Redaction]:
    with redaction.redacting(Redaction(lambda kind, name: f"{abs(hash(name)) % 16**12:012x}")) as found:
        yield found


def told(error: UserError) -> str:
    """The sentence as a private run shows it, the hashes taken out."""
    return HIDDEN.sub(lambda word: word.group().rsplit("-", 1)[0].upper(), redaction.redacted_error(error))


def test_a_path_with_spaces_is_hidden_whole_where_the_error_names_it(redactor):
    path = "/daten/Klinik Nord/Hans Meier.csv"
    assert told(UserError(f"{path} is empty; write rows.", path=path)) == "PATH is empty; write rows."
    assert "Meier" in told(UserError("/daten/Klinik Sued/Hans Meier.csv is empty."))


def test_a_place_behind_a_known_one_keeps_the_name_of_that_one(redactor):
    redactor.learn_place("exp_dir", "/aus/Hans")
    path = "/aus/Hans/run.yaml"
    assert told(UserError(f"{path} cannot be read.", path=path)) == "EXP_DIR/run.yaml cannot be read."


def test_words_that_stand_for_no_path_stay(redactor):
    assert told(UserError("the csv lacks a column; see run.yaml.", path=["the csv", "run.yaml", ".", ""])) == (
        "the csv lacks a column; see run.yaml."
    )


def test_the_beginning_of_a_name_too_long_for_a_sentence_is_hidden_too(redactor):
    name = "Hans Meier aus Wolfratshausen " * 9
    cut = f"the clip {name[:100]}... is bad, and {name[:60]}"
    assert told(UserError(cut, uid=name)) == "the clip UID is bad, and UID"


def test_a_name_that_is_the_beginning_of_another_keeps_its_own_hash(redactor):
    short, long = "patient_0001_session_01", "patient_0001_session_01_again"
    redactor.learn("uid", [long, short])
    assert redaction.shown(f"clip {short}: cut off") == f"clip {redactor.hidden('uid', short)}: cut off"
    assert redaction.shown(f"clip {long}: cut off") == f"clip {redactor.hidden('uid', long)}: cut off"
    assert (
        redaction.shown("clip patient_0001_session_01_ag... is cut off")
        == f"clip {redactor.hidden('uid', long)} is cut off"
    )
    assert redaction.shown("clip patient_0001_session_01b") == "clip patient_0001_session_01b"


def test_short_words_and_numbers_that_an_error_names_are_hidden(redactor):
    said = told(UserError("line 3 has 'ja' for 'loud', expected a number", cell="ja"))
    assert said == "line 3 has 'CELL' for 'loud', expected a number"


def test_the_reason_that_a_worker_gives_keeps_its_fields(redactor):
    from ssast.data.loader import loader
    from ssast.errors import AudioError

    class Clips:
        uids = ("ab", "cd")

        def __len__(self) -> int:
            return 2

        def __getitem__(self, key: tuple[int, int]) -> None:
            uid = self.uids[key[0]]
            raise AudioError(f"clip {uid}: {uid} is in D:x.wav", uid=uid, path="x.wav")

    noted: list[tuple[str, str]] = []
    with pytest.raises(UserError) as caught:
        list(loader(Clips(), batch_size=1, on_bad_audio="skip", report=noted))
    assert caught.value.names == {"uid": ("ab",), "path": ("x.wav",)}
    with pytest.raises(AudioError) as caught:
        list(loader(Clips(), batch_size=1))
    assert caught.value.names["uid"] == ("ab",)
