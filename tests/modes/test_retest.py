import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ssast
from ssast import cli
from ssast.errors import UserError
from ssast.metrics.reliability import repeatability


@pytest.fixture
def visits(tmp_path):
    """Twenty people with two sessions of two recordings each, one with a single session, one with three."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(22):
        level = 5 + rng.normal()
        sessions = {20: ["1"], 21: ["10", "9", "2"]}.get(person, ["1", "2"])
        for session in sessions:
            for take in range(2):
                uid = f"{person:02d}_{session}_{take}"
                rows.append({"uid": uid, "speaker": f"p{person}", "session": session, "breathy": level + rng.normal()})
    table = pd.DataFrame(rows)
    table.drop(columns="breathy").to_csv(tmp_path / "visits.csv", index=False)
    (tmp_path / "run").mkdir()
    table[["uid", "breathy"]].assign(breathy_target=1.0).to_csv(tmp_path / "run" / "predictions.csv", index=False)
    vectors = [[value, -value, 1.0] for value in table["breathy"]]
    pq.write_table(pa.table({"uid": table["uid"].tolist(), "embedding": vectors}), tmp_path / "layer6.pqt")
    return tmp_path


def pairs(visits):
    table = pd.read_csv(visits / "visits.csv").merge(pd.read_csv(visits / "run" / "predictions.csv"))
    means = table.groupby(["speaker", "session"])["breathy"].mean().unstack()
    chosen = means.loc[[name for name in means.index if name not in ("p20", "p21")], [1, 2]].to_numpy()
    return np.concatenate([chosen, means.loc[["p21"], [2, 9]].to_numpy()])


def test_scores_and_embeddings_of_two_sessions_are_held_against_each_other(visits, capsys):
    words = ["retest", str(visits / "run"), str(visits / "layer6.pqt"), "-d", str(visits / "visits.csv")]
    assert cli.main([*words, "-o", str(visits / "out"), "--resamples", "20"]) == 0
    said = capsys.readouterr().out
    for sentence in ("21 speakers were recorded", "1 speaker with one session", "more than two sessions", "2 at most"):
        assert sentence in said
    found = json.loads((visits / "out" / "retest.json").read_text())
    own = found["scores"]["run: breathy"]
    assert own["people"] == 21
    assert own["icc_2_1"]["value"] == pytest.approx(repeatability(pairs(visits))["icc_2_1"]["value"])
    assert found["embeddings"]["layer6"]["icc_2_1"]["value"] == pytest.approx(own["icc_2_1"]["value"])
    table = pd.read_csv(visits / "out" / "retest.csv").set_index(["name", "measure"])
    assert table.loc[("run: breathy", "mdc95"), "value"] == pytest.approx(own["mdc95"]["value"])
    assert (visits / "out" / "retest.html").read_text().count("<figure>") == 1


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda table: table.drop(columns="session"), "has no column session, only speaker"),
        (lambda table: table.drop(columns="speaker"), "does not say who speaks"),
        (lambda table: table[table["session"] == 1], "has 0 people with two sessions"),
    ],
)
def test_a_table_that_tells_no_sessions_is_one_sentence(visits, change, part):
    change(pd.read_csv(visits / "visits.csv")).to_csv(visits / "visits.csv", index=False)
    with pytest.raises(UserError) as error:
        ssast.retest(runs=str(visits / "run"), data_split_root=str(visits / "visits.csv"), exp_dir=str(visits / "out"))
    assert part in str(error.value)


def test_values_that_cannot_be_read_are_one_sentence(visits):
    (visits / "text.csv").write_text("uid,word\na,b\n")
    (visits / "few.csv").write_text("uid,x\n00_1_0,1\n00_2_0,2\n")
    (visits / "bad.pqt").write_bytes(b"PAR1 no parquet")
    pq.write_table(pa.table({"uid": ["a", "a"], "embedding": [[1.0], [2.0]]}), visits / "twice.pqt")
    pq.write_table(pa.table({"uid": ["a"], "embedding": ["x"]}), visits / "words.pqt")
    parts = {
        "text.csv": "no column of numbers",
        "few.csv": "of both sessions of 1 people",
        "bad.pqt": "cannot be read as",
    }
    parts |= {"twice.pqt": "more than one embedding", "words.pqt": "holds string", "gone.csv": "does not exist"}
    for name, part in parts.items():
        with pytest.raises(UserError) as error:
            ssast.retest(
                runs=str(visits / name), data_split_root=str(visits / "visits.csv"), exp_dir=str(visits / "out")
            )
        assert part in str(error.value)
