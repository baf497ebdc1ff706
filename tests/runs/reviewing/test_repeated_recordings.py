import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.runs.reviewing.repeated_recordings import find_repeats, read_embeddings, read_scores


def table(tmp_path, sessions):
    rows = [
        {"uid": f"{person}{session}", "speaker": person, "Session": session}
        for person, own in sessions.items()
        for session in own
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    return find_repeats(Location(str(tmp_path / "table.csv")))


def test_sessions_come_in_the_order_of_their_numbers_or_of_the_alphabet_and_people_without_two_are_left_out(tmp_path):
    people = {"a": ["10", "9"], "b": ["2026-03-01", "2026-02-01"], "c": ["pre", "post", "late"], "d": ["1"]}
    found = table(tmp_path, people)
    firsts = [(first, second) for first, second in found.uids]
    assert firsts[0] == (["a9"], ["a10"])
    assert firsts[1] == (["b2026-02-01"], ["b2026-03-01"])
    assert firsts[2] == (["clate"], ["cpost"])
    assert (found.once, found.more, found.unit) == (1, 1, "speaker")


def test_numbers_in_the_names_of_sessions_count_as_numbers_and_nothing_need_be_said(tmp_path):
    found = table(tmp_path, {name: ["visit 10", "visit 2"] for name in "abc"})
    assert found.uids[0] == (["avisit 2"], ["avisit 10"])
    assert not any("order" in one for one in found.sentences())
    found = table(tmp_path, {name: ["2026-10-01", "2026-9-30"] for name in "abc"})
    assert found.uids[0] == (["a2026-9-30"], ["a2026-10-01"])
    assert not any("order" in one for one in found.sentences())


def test_names_of_sessions_that_have_no_order_are_said_in_the_one_that_is_taken(tmp_path):
    found = table(tmp_path, {name: ["pre", "post"] for name in "abc"})
    assert found.sentences()[-1] == (
        "Careful: sessions are taken in the order post, pre; number them 1 and 2 if another is right."
    )


@pytest.mark.parametrize("first", ["15.03.2026", "3/15/26", "15-03-2026 10:00"])
def test_dates_that_countries_read_apart_are_refused(tmp_path, first):
    with pytest.raises(UserError, match="write dates as 2024-05-31, or number the sessions"):
        table(tmp_path, {name: [first, "02.04.2026"] for name in "abc"})


def test_people_without_a_value_in_both_sessions_are_left_out_of_that_value(tmp_path):
    found = table(tmp_path, {name: ["1", "2"] for name in "abcd"})
    values = {f"{name}{session}": np.array([float(session)]) for name in "abcd" for session in "12"}
    del values["b2"]
    assert found.values(values)[:, :, 0].tolist() == [[1, 2]] * 3
    assert found.values({}).shape == (0, 2, 0)


def test_columns_of_targets_and_text_are_no_scores(tmp_path):
    (tmp_path / "predictions.csv").write_text("uid,ill,ill_target,note,hit_target\na,0.5,1,x,3\nb,,0,y,4\n")
    found = read_scores(tmp_path / "predictions.csv")
    assert set(found) == {"ill", "hit_target"}
    assert {uid: float(value[0]) for uid, value in found["ill"].items()} == {"a": pytest.approx(0.5)}


def test_a_column_with_an_infinite_value_is_refused(tmp_path):
    (tmp_path / "scores.csv").write_text("uid,ill\na,inf\nb,1\n")
    with pytest.raises(UserError, match="infinite value in ill"):
        read_scores(tmp_path / "scores.csv")


@pytest.mark.parametrize("row", [None, [], [float("nan"), 1.0], [None, 1.0], [0.0] * 70_000])
def test_an_embedding_that_is_missing_not_finite_or_endless_is_named(tmp_path, row):
    kind = pa.list_(pa.float32())
    pq.write_table(pa.table({"uid": ["a", "b"], "embedding": pa.array([[1.0, 2.0], row], kind)}), tmp_path / "e.pqt")
    with pytest.raises(UserError, match="the embedding of b is no list of 1 to 65,536 finite numbers"):
        read_embeddings(tmp_path / "e.pqt")
