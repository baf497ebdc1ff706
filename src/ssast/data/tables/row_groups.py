"""Write rows that come in tables of any sizes as one Parquet file, the same bytes however they came."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ssast.data.storage.atomic_writes import atomic_file


def write_rows(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], rows_a_group: int, *, use_dictionary: bool = True
) -> int:
    """Tables of any sizes as one parquet file with row groups of one size, moved into place whole; the number of rows.

    So the file has the same bytes however its rows came: in one run, with a break, or in parts.
    """
    count = 0
    with atomic_file(path) as unfinished, pq.ParquetWriter(unfinished, schema, use_dictionary=use_dictionary) as writer:
        for table in _of_one_size(tables, rows_a_group):
            writer.write_table(table.replace_schema_metadata(schema.metadata))
            count += table.num_rows
    return count


def _of_one_size(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each, the last with what is left, each in one piece."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows).combine_chunks()
            waiting = [whole.slice(rows)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting).combine_chunks()
