import pytest

from ssast.errors import UserError
from ssast.runs.checklists.items import Checklist
from ssast.runs.checklists.probast import PROBAST
from ssast.runs.checklists.study_file import LONGEST_ANSWER, QUESTIONS, read_study, write_template
from ssast.runs.checklists.tripod import TRIPOD

BOTH = (TRIPOD, PROBAST)


def read(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    return read_study(str(tmp_path / "study.yaml"), BOTH)


def test_every_key_answers_an_item_and_every_item_names_keys_that_exist():
    used = [key for checklist in BOTH for item in checklist.items for key in item.keys]
    assert set(used) == set(QUESTIONS)


def test_the_template_names_all_keys_and_answers_nothing(tmp_path):
    write_template(tmp_path / "study.yaml", BOTH)
    text = (tmp_path / "study.yaml").read_text()
    assert all(f"\n{key}:\n" in text for key in QUESTIONS)
    found = read(tmp_path, text)
    assert (found.texts, found.answers) == ({}, {})


def test_texts_numbers_dates_and_lists_are_texts(tmp_path):
    found = read(tmp_path, "title: ' A '\ndates: 2024-05-01\nsetting: [a, 2]\nfunding: false\nethics:\n")
    assert found.texts == {"title": "A", "dates": "2024-05-01", "setting": "a; 2", "funding": "no"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("titel: x", "there is no titel; did you mean title"),
        ("answers:\n  tripod 99: x", "answers: there is no tripod 99"),
        ("answers: x", "answers is no list"),
        ("title: {a: b}", "title holds a dict, expected a text"),
        ("title: [[a]]", "title holds a list, expected a text"),
        (f"title: {'x' * (LONGEST_ANSWER + 1)}", "say it in short"),
        ("title: &a x\nsetting: *a", "alias"),
        ("- x", "holds a list"),
        ("title: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_in_it_is_one_sentence(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_said_with_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="--template True"):
        read_study(str(tmp_path / "none.yaml"), BOTH)


@pytest.mark.parametrize(("checklist", "count"), [(TRIPOD, 52), (PROBAST, 34)])
def test_items_are_numbered_as_in_the_papers(checklist: Checklist, count):
    numbers = [item.number for item in checklist.items]
    assert len(set(numbers)) == len(numbers) == count
    whole = {int("".join(filter(str.isdigit, number.split(".")[0]))) for number in numbers}
    assert whole == set(range(1, 28 if checklist is TRIPOD else 5))
