"""Apply a function to every batch and write its results part by part, so that a killed pass can be continued."""

import contextlib
import itertools
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ssast.data.batch import Batch
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.tables.row_groups import write_rows
from ssast.engine import distributed
from ssast.engine.hardware import Engine, to_device
from ssast.engine.lengths import SUMMED_TOGETHER, Grouping, answers
from ssast.model.finite import check_answers
from ssast.safe_reading import json_file

SECONDS_A_PART = 20.0
"""A part is closed after so long [s]: what a kill can cost."""
BYTES_A_PART = 64 << 20
"""So much is held in memory at most before it is written."""
TABLES_APART = 64
"""So many small tables of a part lie beside each other before they are joined."""
ROWS_AT_ONCE = 2048
"""So many rows of the parts are in memory when they are put together."""
_TRIES = 5
_PART = re.compile(r"part-[0-9]{9,12}-[0-9]{9,12}(-[0-9]{9,12})?")
"""Its first step, the one after its last, and of what was spilled a number."""
CPU_CLIPS = 8
"""On a CPU exactly so many clips go through the model at once: matrix kernels, and with them the last digits, depend
on the number of rows, so this gives a clip the same bytes in any batch."""


@dataclass(frozen=True)
class FinishedPass:
    """A finished pass: parquet parts in order, with the columns that its `rows` made, the last of them `values`."""

    folder: Path

    @property
    def parts(self) -> list[Path]:
        """The parts' files in the order of the clips."""
        return sorted(self.folder.glob("part-*.parquet"))

    def tables(self) -> Iterator[pa.Table]:
        """A few rows after the other, so that memory stays flat."""
        for part in self.parts:
            with pq.ParquetFile(part) as file:
                for rows in file.iter_batches(ROWS_AT_ONCE, use_threads=False):
                    yield pa.Table.from_batches([rows])

    def write_parquet(self, path: Path, column: str, facts: Mapping[bytes, bytes] | None = None) -> int:
        """All rows as one parquet file, `values` as `column`, moved into place whole; the number of rows.

        `facts` go into the metadata of the file.
        """
        tables = self.tables()
        first = next(tables, CLIP_ROWS.empty_table())
        names = [*first.column_names[:-1], column]
        schema = first.rename_columns(names).schema.with_metadata(dict(facts) if facts else None)
        renamed = (table.rename_columns(names) for table in itertools.chain([first], tables))
        return write_rows(path, schema, renamed, ROWS_AT_ONCE, use_dictionary=False)

    def remove(self) -> None:
        """Delete the parts once the result that was made of them is in place."""
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # another mode's parts may lie beside it
            self.folder.parent.rmdir()


def float_lists(values_RD: Tensor) -> pa.ListArray:
    """Rows of numbers (R, D) as a column of lists of float32."""
    rows, width = values_RD.shape
    flat = pa.array(values_RD.reshape(-1).numpy(), pa.float32())
    ends = pa.array([width * row for row in range(rows + 1)], pa.int32())
    return pa.ListArray.from_arrays(ends, flat, type=CLIP_ROWS.field("values").type)


# The name that a Parquet file gives to what is in a list: so tables are the same before and after they were in one.
CLIP_ROWS = pa.schema([("uid", pa.string()), ("values", pa.list_(pa.field("element", pa.float32())))])


def clip_rows(batch: Batch, values_BD: Tensor) -> pa.Table:
    """One row a clip: its `uid` and its `values`."""
    return pa.table({"uid": batch["uid"], "values": float_lists(values_BD)}, schema=CLIP_ROWS)


def run_inference(
    apply: Callable[[Batch], Tensor],
    batches: Callable[[int, int], Iterable[Batch]],
    *,
    steps: int,
    folder: Path,
    key: str,
    engine: Engine,
    title: str,
    rows: Callable[[Batch, Tensor], pa.Table] = clip_rows,
    unit: str = "batch",
    opened: Callable[[], Any] = lambda: None,
    grouping: Grouping | None = None,
) -> FinishedPass:
    """Run `apply` (prepared batch -> (B, ...)) over `batches(start, stop)`, without what a pass of the same `key` did.

    Of several processes each takes its share of the steps, writes its own parts, and comes back when all are there.
    `steps` is the number of steps in all, each a `unit`. A batch is one step, unless it says under "steps" how many it
    finishes: with 0 the next one goes on with the same. `rows` makes table rows of a batch and its values. Parts lie in
    `folder`; parts of another key are deleted first, which is said. `opened` is called once it is known that what lies
    there is of this pass, and may `forget_steps`. With a `grouping` clips go through the model by their lengths, and
    rows still come in the order of the clips. Nothing but one part is held in memory.
    """
    missing = _open_parts(folder, key, steps, opened)
    own = distributed.share(missing)
    done = (steps - sum(map(len, missing))) if distributed.size() == 1 else 0
    total, quiet = done + sum(map(len, own)), not distributed.is_main()
    with tqdm(total=total, initial=done, desc=title, unit=unit, dynamic_ncols=True, disable=quiet) as bar:
        for numbers in own:
            part = _Part(folder, numbers.start)
            several = batches(numbers.start, numbers.stop)
            for batch, found in answers(lambda batch: values(apply, batch, engine), several, grouping):
                part = _keep(part, rows(batch, found) if batch["uid"] else None, batch)
                bar.update(batch.get("steps", 1))
            part.close()
    distributed.wait()
    return FinishedPass(folder)


def _keep(part: "_Part", table: pa.Table | None, batch: Batch) -> "_Part":
    """Add a batch's rows to a part; the part to go on with, a new one where this is full or old enough."""
    done = batch.get("steps", 1)
    part.add(table, done)
    is_old = time.monotonic() - part.opened > SECONDS_A_PART
    if done and (is_old or part.bytes > BYTES_A_PART):
        return part.close()
    if part.bytes > BYTES_A_PART:
        part.spill()
    return part


def values(apply: Callable[[Batch], Tensor], batch: Batch, engine: Engine) -> Tensor:
    """What `apply` says of a batch's clips, in memory as float32: for a clip the same bytes in any batch of a CPU."""
    return on_device(apply, batch, engine.device)


@torch.inference_mode()
def on_device(apply: Callable[[Batch], Tensor], batch: Batch, device: torch.device) -> Tensor:
    """Compute `values` without an engine; AudioError for a clip whose values are not finite."""
    if not batch["uid"]:
        return torch.empty(0, 0)
    if device.type != "cpu":
        return check_answers(batch["uid"], apply(to_device(batch, device)).float().cpu())
    answers = torch.cat([apply(piece) for piece in _pieces(batch)])[: len(batch["uid"])].float()
    return check_answers(batch["uid"], answers)


def _pieces(batch: Batch) -> Iterator[Batch]:
    """The batch as pieces of CPU_CLIPS clips, the last clip repeated to fill the last piece."""
    clips = len(batch["uid"])
    for start in range(0, clips, CPU_CLIPS):
        rows = torch.arange(start, start + CPU_CLIPS).clamp(max=clips - 1)
        piece = {key: value[rows] for key, value in batch.items() if torch.is_tensor(value)}
        if "waveform" in piece:
            piece["waveform"] = F.pad(piece["waveform"], (0, -piece["waveform"].shape[-1] % SUMMED_TOGETHER))
        yield cast(Batch, piece | {"uid": [batch["uid"][row] for row in rows]})


def loader_size(batch_size: int, device: torch.device) -> int:
    """How many clips to load at once: on a CPU `batch_size` rounded up to whole pieces."""
    return -(-batch_size // CPU_CLIPS) * CPU_CLIPS if device.type == "cpu" else batch_size


def _open_parts(folder: Path, key: str, steps: int, opened: Callable[[], Any]) -> list[range]:
    """Make the parts folder ready for `key`; the steps that no part holds yet."""
    if distributed.is_main():
        note = folder / "key.json"
        if _noted(note) != key:
            if any(folder.glob("part-*.parquet")):
                tqdm.write(f"what lies in {folder} was computed with other options, files or versions: it begins anew")
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder)
            with atomic_file(note) as unfinished:
                Path(unfinished).write_text(json.dumps(key), encoding="utf-8")
        _drop_unreadable(folder)
        opened()
        finished = {first for first, end in map(_numbers, folder.glob("part-*.parquet")) if end > first}
        for part in folder.glob("part-*.parquet"):
            if _numbers(part)[0] not in finished:  # spilled from a step that was never finished
                part.unlink()
    distributed.wait()
    done = sorted(_numbers(part) for part in folder.glob("part-*.parquet"))
    edges = [(0, 0), *done, (steps, steps)]
    gaps = [range(end, first) for (_, end), (first, _) in pairwise(edges) if first > end]
    distributed.wait()  # all have looked before the first writes
    return gaps


def _make(folder: Path) -> None:
    """Make a folder; again where another part of the run took the empty one around it away meanwhile."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(FileNotFoundError):
            return folder.mkdir(parents=True)
    return folder.mkdir(parents=True)


def _drop_unreadable(folder: Path) -> None:
    """Delete files that are named as parts but cannot be read as such; their steps are computed again."""
    for part in folder.glob("part-*.parquet"):
        try:
            is_part = _PART.fullmatch(part.stem) and part.is_file() and pq.read_schema(part) is not None
        except (OSError, pa.ArrowException):
            is_part = False
        if not is_part:
            shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()


def _noted(note: Path) -> Any:
    """The key that the parts of an earlier pass were made with; None where it cannot be told."""
    try:
        return json_file(note)
    except (OSError, ValueError):
        return None


def forget_steps(folder: Path, steps: Iterable[int]) -> None:
    """Delete the parts that hold any of these steps, so that they are computed again."""
    for part in folder.glob("part-*.parquet"):
        first, end = _numbers(part)
        if any(first <= step < end for step in steps):
            part.unlink()


def _numbers(part: Path) -> tuple[int, int]:
    """The first step of a part and the one after its last; both are equal for rows that were spilled."""
    first, end = part.stem.split("-")[1:3]
    return int(first), int(end)


class _Part:
    """Rows of the steps from number `first` on, in memory or, where they are many, spilled beside the part to come.

    Spilled rows lie in `part-FIRST-FIRST-NUMBER`, which sorts before `part-FIRST-END`, and count only with that.
    """

    def __init__(self, folder: Path, first: int):
        self.folder, self.first, self.end = folder, first, first
        self.tables: list[pa.Table] = []
        self.small: list[pa.Table] = []
        self.bytes = self.spilled = 0
        self.opened = time.monotonic()

    def add(self, table: pa.Table | None, steps: int) -> None:
        self.end += steps
        if table is not None:
            self.small.append(table)
            self.bytes += table.nbytes
        if len(self.small) == TABLES_APART:
            self._join()

    def _join(self) -> None:
        """One table of many small ones, which take ten times the memory of what is in them."""
        if self.small:
            self.tables.append(pa.concat_tables(self.small).combine_chunks())
        self.small = []

    def spill(self) -> None:
        """Write the rows in memory, which may be of a step that is not finished."""
        self._write(f"part-{self.first:09d}-{self.first:09d}-{self.spilled:09d}")
        self.spilled += 1

    def close(self) -> "_Part":
        """Write the part, complete or not at all; the part to go on with."""
        if self.end > self.first:
            self._write(f"part-{self.first:09d}-{self.end:09d}")
        return _Part(self.folder, self.end)

    def _write(self, name: str) -> None:
        self._join()
        with atomic_file(self.folder / f"{name}.parquet") as unfinished:
            table = pa.concat_tables(self.tables) if self.tables else CLIP_ROWS.empty_table()
            pq.write_table(table, unfinished, use_dictionary=False, row_group_size=ROWS_AT_ONCE)
        self.tables, self.bytes = [], 0
