"""Keep the pooled states of recordings on this machine, found by what is in a recording and by what made the states.

Each recording has a file of its own in the cache, found by what is in the recording and by what made the states, so
that other splits, seeds and runs find it too. A run reads them from one table, which lasts as long as it does.
Of a recording that is heard whole there are the states of each of its windows. What was found in its sound is kept too:
a recording whose states are kept need not be read again.
Shapes: R rows, W windows of a recording, K poolings, N layers, D width, B clips of a batch.
"""

import hashlib
import json
import shutil
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssast.data.batch import Batch
from ssast.data.loader import Loader
from ssast.data.storage.atomic_writes import first_line
from ssast.data.storage.cache import Cache, fingerprint_of
from ssast.data.storage.fingerprints import KeptValues
from ssast.errors import UserError
from ssast.safe_reading import json_of

_FORMAT = "pooled 1"
_FINDINGS_FORMAT = "doubts 2"
"""The version of the judgement; it changes whenever recordings are judged otherwise."""
CHECKSUM_BYTES = 4

Values = NDArray[np.float32]


@dataclass(frozen=True)
class States:
    """Which states of a clip: those of `layers`, pooled in the ways of `tasks`, `width` float32 values each."""

    tasks: tuple[str, ...]
    layers: tuple[int, ...]
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, N, D)"""
        return len(self.tasks), len(self.layers), self.width

    @property
    def bytes(self) -> int:
        """The bytes of one clip."""
        return 4 * len(self.tasks) * len(self.layers) * self.width

    def within(self, larger: "States") -> tuple[list[int], list[int]]:
        """Where these tasks and layers are among those of `larger`."""
        return [larger.tasks.index(task) for task in self.tasks], [larger.layers.index(one) for one in self.layers]


def packed_floats(values: Values) -> bytes:
    """Numbers with their checksum."""
    raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return raw + zlib.crc32(raw).to_bytes(CHECKSUM_BYTES, "little")


def unpacked_floats(packed: bytes, size: int, *, any_number: bool = False) -> Values | None:
    """The numbers (one axis), `size` bytes of them or `any_number` of times that; None where they are damaged."""
    raw = packed[:-CHECKSUM_BYTES]
    is_whole = raw and not len(raw) % size and (any_number or len(raw) == size)
    if not is_whole or zlib.crc32(raw).to_bytes(CHECKSUM_BYTES, "little") != packed[-CHECKSUM_BYTES:]:
        return None
    return np.frombuffer(raw, dtype="<f4")


class FeatureStore:
    """Pooled states of recordings in the cache, by content; `made_by` names all else that they depend on.

    What was kept with `whole`, a larger choice of states, serves as well. `in_windows` says that recordings have any
    number of windows.
    """

    def __init__(self, cache: Cache, made_by: str, states: States, whole: States, *, in_windows: bool = False):
        self.cache, self.made_by, self.states, self.whole, self.in_windows = cache, made_by, states, whole, in_windows

    def find(self, content: str | None) -> Values | None:
        """The states (K, N, D) or (W, K, N, D) of a recording; None where they are not kept, or were damaged."""
        if content is None:
            return None
        own = self._read(content, self.states)
        if own is not None or self.states == self.whole:
            return own
        larger = self._read(content, self.whole)
        tasks, layers = self.states.within(self.whole)
        return None if larger is None else larger.take(tasks, axis=-3).take(layers, axis=-2)

    def keep(self, content: str | None, values: Values) -> None:
        """Keep the states of a recording, complete or not at all; the least recently used go where room is short."""
        if content is None:
            return
        packed = packed_floats(values)

        def fill(unfinished: Path) -> None:
            unfinished.write_bytes(packed)

        self.cache.get(self._key(content, self.states), len(packed), fill)

    def _read(self, content: str, states: States) -> Values | None:
        whole = None if self.in_windows else states.bytes + CHECKSUM_BYTES
        place = self.cache.find(self._key(content, states), whole)
        if place is None:
            return None
        try:
            found = unpacked_floats(place.read_bytes(), states.bytes, any_number=self.in_windows)
        except FileNotFoundError:  # another process made room
            return None
        if found is None:
            place.unlink(missing_ok=True)
        if found is None or not np.isfinite(found).all():  # an older version may have kept what is computed anew
            return None
        return found.reshape((-1, *states.shape) if self.in_windows else states.shape)

    def _key(self, content: str, states: States) -> str:
        return fingerprint_of(_FORMAT, self.made_by, content, states.tasks, states.layers, states.width)


class KeptFindings:
    """Sound findings of recordings in the cache, by content; `heard_as` names all else that they depend on.

    What is kept is written at the end of a `with`.
    """

    def __init__(self, cache: Cache, heard_as: str):
        self.values, self.heard_as = KeptValues(cache), heard_as

    def __enter__(self) -> "KeptFindings":
        return self

    def __exit__(self, *_: object) -> None:
        self.values.flush()

    def find(self, contents: Iterable[str | None]) -> dict[str, dict[str, str]]:
        """The details by kind, none for a recording without findings, of those contents that have been judged."""
        keys = {self._key(content): content for content in contents if content is not None}
        found = {keys[key]: _details(value) for key, value in self.values.find(list(keys)).items()}
        return {content: details for content, details in found.items() if details is not None}

    def keep(self, content: str | None, details: Mapping[str, str]) -> None:
        """Keep those of one recording."""
        if content is not None:
            self.values.keep(self._key(content), json.dumps(dict(details)).encode())

    def _key(self, content: str) -> str:
        return fingerprint_of(_FINDINGS_FORMAT, self.heard_as, content)


def _details(value: bytes) -> dict[str, str] | None:
    """None where a disk failed."""
    try:
        found = json_of(value.decode())
    except ValueError:
        return None
    return {str(kind): str(detail) for kind, detail in found.items()} if isinstance(found, dict) else None


def weights_name(module: nn.Module) -> str:
    """A name for the values of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


class StatesTable:
    """The states of a run's recordings in one file, which goes with the run; memory holds what is being read of it.

    A recording has one row, or one for each of its windows.
    """

    def __init__(self, cache: Cache, uids: Sequence[str], states: States):
        self.states, self.uids = states, list(uids)
        self._rows_of: dict[str, range] = {}
        self._count = 0
        folder = cache.hold()
        self._path = folder / "states"
        self._file = open(self._path, "w+b")  # noqa: SIM115 - it stays open until all rows are there
        self._values: Any = None
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def put(self, uid: str, values: Values | None) -> bool:
        """Take the states (K, N, D), or (W, K, N, D), of a recording; False where there are none."""
        if values is None:
            return False
        rows = values.size // (self.states.bytes // 4)
        with self._sentence():
            self._file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
        self._rows_of[uid] = range(self._count, self._count + rows)
        self._count += rows
        return True

    def finish(self) -> "StatesTable":
        """The table, ready to be read."""
        shape = (self._count, *self.states.shape)
        with self._sentence():
            self._file.close()
        self._values = np.memmap(self._path, "<f4", "r", shape=shape) if shape[0] else np.zeros(shape, "<f4")
        return self

    def __contains__(self, uid: str) -> bool:
        return uid in self._rows_of

    def windows(self, uids: Sequence[str]) -> list[int]:
        """How many rows each of these recordings has."""
        return [len(self._rows_of[uid]) for uid in uids]

    def read(self, uids: Sequence[str], states: States) -> Tensor:
        """The states (B, N, D) of these recordings, all their rows, in the one pooling of `states`."""
        (task,), layers = states.within(self.states)
        rows = [row for uid in uids for row in self._rows_of[uid]]
        return torch.from_numpy(np.array(self._values[rows, task])[:, layers])

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError):  # what is left to be written cannot be
                self._file.close()
            raise UserError(
                f"cannot write {self._path}: {first_line(error).lower()}; free space, set SSAST_CACHE to another "
                "folder, or pass --features never.",
                path=self._path,
            ) from error


@dataclass(frozen=True)
class PooledBatches:
    """The batches of a loader with pooled states in place of recordings; those without states are left out."""

    loader: Loader
    table: StatesTable
    states: States

    def __iter__(self) -> Iterator[Batch]:
        data = self.loader.dataset.dataset  # type: ignore[attr-defined]
        for keys in self.loader.batch_sampler or ():
            there = [key for key in keys if data.uids[key[0]] in self.table]
            rows, uids = [row for row, _ in there], [data.uids[row] for row, _ in there]
            targets_BN = data.targets[rows]
            if data.drawn is not None and there:
                targets_BN = torch.stack([data.answer(*key) for key in there])
            yield {"uid": uids, "targets": targets_BN, "pooled": self.table.read(uids, self.states)}
