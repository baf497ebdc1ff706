"""Share the rows of a table out over shards and their row groups, by the sizes of the recordings alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ssast.data.shards.shard_schema import shard_name

MB = 10**6
_ROW_BYTES = 1000
"""A row counts for so much at least, so that empty ones fill no group without end."""


@dataclass(frozen=True)
class PlannedShard:
    """One file: its number among the `count` of a table, and the rows of each of its row groups."""

    table: str
    number: int
    count: int
    groups: tuple[range, ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return shard_name(self.table, self.number, self.count)

    @property
    def rows(self) -> range:
        """All its rows."""
        return range(self.groups[0].start, self.groups[-1].stop)


def planned_shards(table: str, sizes: Sequence[int], *, group_bytes: int, shard_bytes: int) -> list[PlannedShard]:
    """The shards of a table whose recordings have these sizes; no group and no shard holds more, or else one row."""
    groups = list(_filled([max(size, _ROW_BYTES) for size in sizes], group_bytes))
    weights = [sum(max(sizes[row], _ROW_BYTES) for row in rows) for rows in groups]
    files = list(_filled(weights, shard_bytes))
    return [
        PlannedShard(table, number, len(files), tuple(groups[at] for at in numbers))
        for number, numbers in enumerate(files)
    ]


def _filled(weights: Sequence[int], most: int) -> Iterator[range]:
    """Stretches of numbers whose weights are together at most so much."""
    first = held = 0
    for at, weight in enumerate(weights):
        if at > first and held + weight > most:
            yield range(first, at)
            first = at
            held = 0
        held += weight
    if weights:
        yield range(first, len(weights))
