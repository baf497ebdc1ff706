"""Cut recordings of any length into overlapping windows as long as a model's input, and make rows of the results.

Shapes: S samples, B windows, N labels, T steps of time, D width.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ssast.audio.frontend import Frontend
from ssast.data.batch import Batch, ClipItem, WindowReader
from ssast.data.loader import collate
from ssast.engine.inference import CLIP_ROWS, ROWS_AT_ONCE, FinishedPass, float_lists
from ssast.model.encoder import SSASTEncoder

Source = Callable[[int, int], Tensor]
"""A function that gives samples (S,) of a recording, from one up to another; calls go forward in time."""
Waiting = tuple[str, Source, list["Window"]]


@dataclass(frozen=True)
class Window:
    """Samples `begin` to `end` of a recording, from its frame `start` on.

    Where windows overlap a step of time belongs to one of them: to this one if it starts at `first` to `last` (not in
    it), in frames of the window.
    """

    start: int
    begin: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Cutter:
    """How recordings become windows of `length` frames, one every `hop`, the last one ending with the recording.

    `grid` divides every start, so that steps of `grid` frames are the same ones in each window, of which `reach` frames
    start one.
    """

    frontend: Frontend
    length: int
    hop: int
    grid: int
    reach: int

    @classmethod
    def of(cls, frontend: Frontend, overlap: float, *, most_seconds: float = 0.0) -> "Cutter":
        """Windows as long as the model's input, or as `most_seconds` (0: no matter), sharing `overlap` (0 to 1)."""
        length = frontend.target_length
        if most_seconds:
            most = torch.tensor(round(most_seconds * frontend.sample_rate))
            length = min(length, max(1, int(frontend.frames(most))))
        return cls(frontend, length, max(1, round(length * (1 - overlap))), 1, length)

    @classmethod
    def in_steps(cls, frontend: Frontend, overlap: float, encoder: SSASTEncoder) -> "Cutter":
        """Windows as long as the model's input, at whole steps of its patches, none of which is left out between."""
        grid = encoder.stride[1]
        reach = encoder.grid[1] * grid
        hop = max(grid, min(round(encoder.target_length * (1 - overlap) / grid) * grid, reach))
        return cls(frontend, encoder.target_length, hop, grid, reach)

    def cut(self, samples: int) -> list[Window]:
        """The windows of a recording; one with all its samples where it is not longer than that."""
        frames = int(self.frontend.frames(torch.tensor(samples)))
        if frames <= self.length:
            return [Window(0, 0, samples, 0, self.reach)]
        tail = -(-(frames - self.length) // self.grid) * self.grid
        starts = [*range(0, frames - self.length, self.hop), tail]
        edges = [self._between(one, other) for one, other in itertools.pairwise(starts)]
        firsts, lasts = [0, *edges], [*edges, tail + self.reach]
        return [
            Window(start, *self._samples(start, samples), first - start, last - start)
            for start, first, last in zip(starts, firsts, lasts, strict=True)
        ]

    def _between(self, start: int, following: int) -> int:
        """The frame in the middle of what two windows share, where the second takes over from the first."""
        return (start + self.reach + following) // 2 // self.grid * self.grid

    def _samples(self, start: int, samples: int) -> tuple[int, int]:
        begin, shift = start * self.frontend.shift, self.frontend.shift
        end = begin + (self.length - 1) * shift + self.frontend.window_size
        return begin, samples if samples - end < shift else end

    def seconds(self, samples: int) -> float:
        """The time of a sample."""
        return samples / self.frontend.sample_rate


def window_batches(recordings: Iterable[Batch], cutter: Cutter, size: int) -> Iterator[Batch]:
    """Batches of at most `size` windows, in order, of the loader's batches of one recording or, left out, of none.

    They are the loader's, with "windows" and with "steps", how many recordings a batch finishes. Short recordings share
    a batch; of the windows of a long one only those of one batch are there at a time.
    """
    waiting: list[Waiting] = []
    steps = 0
    for batch in recordings:
        whole = zip(batch["waveform"], batch.get("long") or itertools.repeat(None), strict=False)
        lengths = batch["whole_lengths"].tolist()
        for uid, (waveform_S, long), length in zip(batch["uid"], whole, lengths, strict=True):
            source = WindowReader(long).window if long else partial(_samples, waveform_S)
            waiting.append((uid, source, cutter.cut(length)))
        steps += 1
        if sum(len(windows) for _, _, windows in waiting) >= size:
            yield from _packed(waiting, size, steps)
            waiting, steps = [], 0
    if steps:
        yield from _packed(waiting, size, steps)


def _samples(waveform_S: Tensor, begin: int, end: int) -> Tensor:
    return waveform_S[begin:end]


def _packed(waiting: list[Waiting], size: int, steps: int) -> Iterator[Batch]:
    pieces = [(uid, source, window) for uid, source, windows in waiting for window in windows]
    for start in range(0, max(1, len(pieces)), size):
        part = pieces[start : start + size]
        items: list[ClipItem] = [
            {"uid": uid, "waveform": source(window.begin, window.end)[None], "targets": torch.empty(0)}
            for uid, source, window in part
        ]
        is_last = start + size >= len(pieces)
        yield {**collate(items), "windows": [window for _, _, window in part], "steps": steps if is_last else 0}


def window_rows(cutter: Cutter, batch: Batch, values_BN: Tensor) -> pa.Table:
    """One row a window: uid, start_seconds and end_seconds in the recording, values."""
    windows: list[Window] = batch["windows"]
    return pa.table(
        {
            "uid": batch["uid"],
            "start_seconds": [cutter.seconds(window.begin) for window in windows],
            "end_seconds": [cutter.seconds(window.end) for window in windows],
            "values": float_lists(values_BN),
        }
    )


def step_rows(cutter: Cutter, middle_T: Tensor, batch: Batch, values_BTD: Tensor) -> pa.Table:
    """One row a step of time: uid, time (its middle, in seconds of the recording), values.

    Each step comes from the window that has it farthest from its edges; steps that start in padding are left out.
    """
    frames_B = cutter.frontend.frames(batch["lengths"]).tolist()
    begins_T = np.arange(len(middle_T)) * cutter.grid
    kept, times, uids = [], [], []
    for uid, window, frames, values_TD in zip(batch["uid"], batch["windows"], frames_B, values_BTD, strict=True):
        own_T = (begins_T >= window.first) & (begins_T < min(window.last, frames))
        kept.append(values_TD[torch.from_numpy(own_T[: len(values_TD)])])  # a short clip has no others
        times.append(cutter.frontend.seconds(middle_T[torch.from_numpy(own_T)].double() + window.start))
        uids += [uid] * int(own_T.sum())
    time = pa.array(torch.cat(times).numpy(), pa.float64())
    return pa.table({"uid": uids, "time": time, "values": float_lists(torch.cat(kept))})


@dataclass(frozen=True)
class WindowedRecording:
    """The result for a whole recording: its length, how many windows it had, and one value (N,) a label."""

    uid: str
    seconds: float
    windows: int
    values: np.ndarray


WINDOW_POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda values_WN: values_WN.mean(axis=0, dtype=np.float64),
    "max": lambda values_WN: values_WN.max(axis=0),
}
"""How the values of windows become those of the recording."""


def pool_windows(tables: Iterable[pa.Table], pooling: str) -> Iterator[WindowedRecording]:
    """The recordings of tables of `window_rows`, one after the other, each made of all its windows."""
    for uid, rows in itertools.groupby(_rows(tables), key=lambda row: row[0]):
        ends, values = zip(*((end, values_N) for _, end, values_N in rows), strict=True)
        yield WindowedRecording(
            uid, max(ends), len(ends), WINDOW_POOLINGS[pooling](np.stack(values)).astype(np.float32)
        )


def _rows(tables: Iterable[pa.Table]) -> Iterator[tuple[str, float, np.ndarray]]:
    for table in tables:
        yield from zip(table["uid"].to_pylist(), table["end_seconds"].to_pylist(), _values(table), strict=True)


def _values(table: pa.Table) -> np.ndarray:
    values_WN: np.ndarray = table["values"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    return values_WN


@dataclass(frozen=True)
class WindowedPass(FinishedPass):
    """A finished pass over windows, read as one over recordings: each has the mean of its windows' values.

    The parts hold one row a window, as `clip_rows` makes it.
    """

    def tables(self) -> Iterator[pa.Table]:
        """One row a recording."""
        rows = (row for table in super().tables() for row in zip(table["uid"].to_pylist(), _values(table), strict=True))
        own = itertools.groupby(rows, key=lambda row: row[0])
        pooled = ((uid, mean_of_windows(np.stack([values_N for _, values_N in windows]))) for uid, windows in own)
        while some := list(itertools.islice(pooled, ROWS_AT_ONCE)):
            values_RN = torch.from_numpy(np.stack([values_N for _, values_N in some]))
            yield pa.table({"uid": [uid for uid, _ in some], "values": float_lists(values_RN)}, schema=CLIP_ROWS)


def mean_of_windows(values_WN: np.ndarray) -> np.ndarray:
    """The values (N,) of a recording, as `pool_windows` makes them of those of its windows."""
    values_N: np.ndarray = WINDOW_POOLINGS["mean"](values_WN).astype(np.float32)
    return values_N
