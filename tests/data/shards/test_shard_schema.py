"""What a packed shard holds."""

import pandas as pd
import pyarrow as pa
import pytest

from ssast.data.shards.shard_schema import column, column_types, shard_name, shard_of
from ssast.errors import UserError


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(["a", "b", "c"], name="uid"))


def test_whole_numbers_are_int64_others_double_and_the_rest_text():
    table = frame(
        whole=[1.0, None, 3.0], half=[1.5, 2.0, None], far=[2.0**60, 1, 1], text=["x", None, "007"], none=None
    )
    types = column_types({"train": table})["train"]
    assert types == {
        "whole": pa.int64(), "half": pa.float64(), "far": pa.float64(), "text": pa.string(), "none": pa.string()
    }  # fmt: skip
    assert column(table["whole"], types["whole"]).to_pylist() == [1, None, 3]
    assert column(table["half"], types["half"]).to_pylist() == [1.5, 2.0, None]
    assert column(table["text"], types["text"]).to_pylist() == ["x", None, "007"]


def test_a_column_of_two_tables_has_one_type_that_holds_both():
    types = column_types({"train": frame(one=[1, 2, 3], two=[1, 2, 3]), "test": frame(one=[0.5, 1, 1], two=["x"] * 3)})
    assert types["train"] == types["test"] == {"one": pa.float64(), "two": pa.string()}
    assert column(frame(two=[1, 2, 3])["two"], pa.string()).to_pylist() == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["audio", "ssast_metadata"])
def test_a_column_that_shards_need_themselves_is_refused(name):
    with pytest.raises(UserError, match=f"column '{name}'"):
        column_types({"train": frame(**{name: [1, 2, 3]})})


def test_the_name_of_a_shard_says_table_number_and_count():
    assert shard_name("train", 3, 12) == "train-00003-of-00012.parquet"
    assert shard_of(shard_name("my-table", 3, 12)) == ("my-table", 3, 12)
    assert [shard_of(name) for name in ("train.parquet", "train-1-of-2.parquet", "x-00000-of-00001.csv")] == [None] * 3
