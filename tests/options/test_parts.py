"""A share of the recordings: which one a run takes, where it begins and ends, and what is its own in a folder."""

import pytest

import ssast
from ssast.errors import UserError
from ssast.options.parts import WHOLE, Part, settled_part

ARRAY = {"SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_MAX": "14", "SLURM_ARRAY_TASK_COUNT": "5"}


@pytest.mark.parametrize("rows", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("count", [1, 3, 64])
def test_parts_lie_side_by_side_and_differ_by_one_row_at_most(rows, count):
    bounds = [Part(number, count).bounds(rows) for number in range(1, count + 1)]
    assert [bounds[0][0], *(stop for _, stop in bounds)] == [*(start for start, _ in bounds), rows]
    sizes = {stop - start for start, stop in bounds}
    assert max(sizes) - min(sizes) <= 1


def test_where_there_are_edges_parts_begin_and_end_at_the_nearest_alone():
    edges = [0, 90, 100, 180, 400]
    assert [Part(number, 4).bounds(400, edges) for number in (1, 2, 3, 4)] == [
        (0, 100),
        (100, 180),
        (180, 400),
        (400, 400),
    ]
    assert Part(2, 3).bounds(100, range(0, 101, 24)) == (24, 72)


def test_the_whole_takes_all_rows_under_plain_names():
    assert WHOLE.bounds(7, [0, 7]) == (0, 7)
    assert WHOLE.named("predicted.csv") == "predicted.csv"


def test_names_tell_whose_a_file_is():
    own = Part(3, 64)
    assert own.named("bad_audio.csv") == "bad_audio_part-003-of-064.csv"
    assert own.owns(".parts/extract_part-003-of-064/part-1")
    assert not own.owns("run.yaml")
    assert not Part(3, 6).owns("x_part-003-of-064.parquet")
    assert WHOLE.owns("run.yaml")
    assert not WHOLE.owns("run-extract_part-003-of-064.yaml")


@pytest.mark.parametrize(("text", "said"), [("3/64", "3/64"), (" 03/064 ", "3/64"), ("1/1", "1/1"), (None, None)])
def test_a_number_and_a_count_say_the_part_whatever_the_machine_says(text, said):
    assert settled_part(text, ARRAY | {"SLURM_ARRAY_TASK_ID": "12"}) == said


def test_auto_is_the_place_in_a_slurm_array_whatever_it_counts_from():
    assert settled_part("auto", ARRAY | {"SLURM_ARRAY_TASK_ID": "12"}) == "3/5"
    assert settled_part("auto/5", ARRAY | {"SLURM_ARRAY_TASK_ID": "14"}) == "5/5"


def test_auto_with_a_count_is_the_place_in_a_kubernetes_job():
    assert settled_part("auto/64", {"JOB_COMPLETION_INDEX": "0"}) == "1/64"


def test_an_array_without_the_option_takes_no_part(monkeypatch):
    for name, value in (ARRAY | {"SLURM_ARRAY_TASK_ID": "12"}).items():
        monkeypatch.setenv(name, value)
    options = ssast.options.record.resolve(mode="predict", finetuned_mdl_path="model", files="a.wav")
    assert options.part is None


def test_the_record_holds_the_part_that_auto_found(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "6")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    options = ssast.options.record.resolve(mode="predict", finetuned_mdl_path="model", files="a.wav", part="auto/8")
    assert options.part == "7/8"


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("0/4", {}, "count from 1"),
        ("5/4", {}, "part 5 of 4"),
        ("third", {}, "such as 3/64"),
        ("3 of 64", {}, "such as 3/64"),
        ("auto", {}, "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX"),
        ("auto", {"JOB_COMPLETION_INDEX": "3"}, "auto/64"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "part 5 of 4"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "-1"}, "a whole number"),
        ("auto/64", ARRAY | {"SLURM_ARRAY_TASK_ID": "12"}, "has 5"),
        ("auto", ARRAY | {"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_COUNT": "3"}, "without gaps"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "12"}, "SLURM_ARRAY_TASK_COUNT"),
    ],
)
def test_what_is_no_part_is_refused_in_one_sentence(text, environment, words):
    with pytest.raises(UserError, match=words):
        settled_part(text, environment)
