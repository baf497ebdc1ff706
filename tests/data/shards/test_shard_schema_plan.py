"""How rows are shared out over shards."""

from ssast.data.shards.shard_schema import planned_shards


def test_groups_and_shards_are_filled_in_the_order_of_the_rows():
    shards = planned_shards("t", [40_000] * 10, group_bytes=100_000, shard_bytes=200_000)
    assert [shard.name for shard in shards] == [f"t-0000{at}-of-00003.parquet" for at in range(3)]
    assert [shard.groups for shard in shards] == [
        (range(2), range(2, 4)),
        (range(4, 6), range(6, 8)),
        (range(8, 10),),
    ]
    assert [row for shard in shards for row in shard.rows] == list(range(10))


def test_what_is_larger_than_a_shard_has_one_for_itself():
    shards = planned_shards("t", [10, 10**9, 10], group_bytes=100_000, shard_bytes=200_000)
    assert [shard.groups for shard in shards] == [(range(1),), (range(1, 2),), (range(2, 3),)]


def test_empty_recordings_do_not_fill_a_group_without_end():
    (shard,) = planned_shards("t", [0] * 1000, group_bytes=100_000, shard_bytes=10**9)
    assert {len(group) for group in shard.groups} == {100}
