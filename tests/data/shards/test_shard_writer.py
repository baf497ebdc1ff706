import tracemalloc

import pandas as pd
import pyarrow.parquet as pq

from ssast.data.shards.shard_schema import PlannedShard
from ssast.data.shards.shard_writer import PackedClip, PackedTable, write_shard

CLIP_BYTES = 1_000_000


def test_the_sound_of_a_row_group_is_let_go_before_that_of_the_next_one_comes(tmp_path):
    """It was held until the next one was there, so that packing took twice the memory."""
    rows, place = 60, tmp_path / "all-00000-of-00001.parquet"
    table = PackedTable("all", b"", pd.DataFrame(index=pd.Index(map(str, range(rows)), name="uid")), {})
    groups = tuple(range(first, first + 20) for first in range(0, rows, 20))
    clips = (PackedClip(str(row), "waveform.wav", bytes([row]) * CLIP_BYTES, None) for row in range(rows))
    tracemalloc.start()
    try:
        assert write_shard(place, PlannedShard("all", 0, 1, groups), table, clips) == rows
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.6 * 20 * CLIP_BYTES
    assert pq.read_metadata(place).num_row_groups == 3
