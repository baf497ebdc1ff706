"""What files are called after clips: no two that a disk may take for one, and nothing that Windows refuses."""

import unicodedata

import pytest

from ssast.data.storage import atomic_writes
from ssast.data.storage.disk_names import apart, on_disk


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a", "b", "P 1.x"], ["a", "b", "P 1.x"]),
        (["a", "A", "a"], ["a", "A-2", "a-3"]),
        (["a", "A", "A-2", "a-2"], ["a", "A-3", "A-2", "a-2-2"]),
        (["é", unicodedata.normalize("NFD", "É")], ["é", unicodedata.normalize("NFD", "É") + "-2"]),
        (["straße", "STRASSE"], ["straße", "STRASSE-2"]),
        ([], []),
    ],
)
def test_names_that_a_disk_may_take_for_one_get_numbers_and_the_others_stay(names, files):
    assert apart(names) == files


ODD = {
    "CON": "CON_",
    "nul": "nul_",
    "Com1.left": "Com1_.left",
    "LPT².x.y": "LPT²_.x.y",
    "aux .x": "aux _.x",
    "a.": "a",
    "a. .": "a",
    "...": "_",
    "a:b?": "a_b_",
}


@pytest.mark.parametrize("name", ODD)
def test_names_that_windows_refuses_are_mended_there_alone(name, monkeypatch):
    assert on_disk(name) == name
    monkeypatch.setattr(atomic_writes, "ON_WINDOWS", True)
    assert on_disk(name) == ODD[name]
    assert on_disk(ODD[name]) == ODD[name]


def test_names_that_hold_such_a_word_stay_on_windows_too(monkeypatch):
    monkeypatch.setattr(atomic_writes, "ON_WINDOWS", True)
    names = ["control", "P.con", "com10", "COM", "a-nul", ".con"]
    assert apart(names) == names


def test_what_was_mended_stays_apart_from_a_clip_of_that_name(monkeypatch):
    monkeypatch.setattr(atomic_writes, "ON_WINDOWS", True)
    assert apart(["a.", "a", "con_", "CON"]) == ["a", "a-2", "con_", "CON_-2"]
