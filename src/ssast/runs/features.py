"""Give the pooled states of a frozen model for rows; each is computed once and kept on this machine."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from ssast import __version__
from ssast.audio.sound_findings import SoundFinding
from ssast.data.batch import Batch
from ssast.data.dataset import AudioDataset
from ssast.data.features import FeatureStore, KeptFindings, PooledBatches, States, StatesTable, Values, weights_name
from ssast.data.loader import Loader
from ssast.data.prepare import AudioSettings, Prepare
from ssast.data.storage.cache import cache, fingerprint_of
from ssast.data.storage.fingerprints import recording_fingerprints
from ssast.engine import distributed, inference
from ssast.engine.hardware import Engine
from ssast.engine.lengths import Grouping, answers
from ssast.engine.trainable import TrainingBatches
from ssast.engine.windows import mean_of_windows
from ssast.errors import UserError
from ssast.model.blocks import LENGTH_STEP
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import NUM_STATES, SSASTEncoder
from ssast.model.finite import check_answers
from ssast.model.head import POOLINGS
from ssast.runs.batches import ClipReader, RowBatches
from ssast.runs.context import say
from ssast.runs.output.skipped_recordings import SkippedRecordings
from ssast.runs.resuming import refuse_changed
from ssast.runs.rows import Rows

_Computed = tuple[str, Values, dict[str, str]]
JUDGED_AT_ONCE = 16
SHAPE = (*signature(SSASTEncoder).parameters, "mask_padding")
"""The settings of a model that its pooled states depend on, beside the weights."""


def own_states(model: SSASTForAudioClassification) -> States:
    """The states that the head of a model takes."""
    return States((model.task,), model.layers, model.v.width)


def all_states(model: SSASTForAudioClassification) -> States:
    """Every state in every pooling, as a sweep needs them."""
    return States(tuple(POOLINGS), tuple(range(NUM_STATES)), model.v.width)


@dataclass(frozen=True)
class Pooler:
    """What computes pooled states: a model, how recordings reach it, which states are asked for, and the arithmetic.

    With `autocast` they are as the training loop computes them, else as scoring does: the same in fp32, not in bf16.
    What it `keeps` lies in the cache of `cache_gb`. `in_windows` has the states of all windows of recordings that are
    heard whole, else there are those of their beginnings.
    """

    reader: ClipReader
    engine: Engine
    model: SSASTForAudioClassification
    states: States
    autocast: bool
    cache_gb: float
    keeps: bool = True
    in_windows: bool = False

    def made_by(self) -> str:
        """A fingerprint of all that the states depend on, except the recording and which states are asked for."""
        half = self.engine.bf16
        arithmetic = ("bf16 by autocast" if self.autocast else "bf16") if half else "fp32"
        shape = [(name, self.model.config[name]) for name in SHAPE]
        sound = [*sorted(self._heard.entries().items()), ("lib", self.reader.librosa)]
        ran_on = (self.engine.device.type, arithmetic, __version__, str(torch.__version__))
        cut = () if self.model.rounding is None else (LENGTH_STEP,)
        return fingerprint_of(weights_name(self.model.v), shape, sound, ran_on, *cut)

    def heard_as(self) -> str:
        """A fingerprint of the settings that decide what is heard of a recording."""
        names = ("sample_rate", "reduce", "clip_length", "target_length")
        whole = ["in windows"] if self.in_windows else []
        heard = [getattr(self.reader.audio, name) for name in names]
        return fingerprint_of(heard, self.reader.librosa, __version__, *whole)

    @property
    def _heard(self) -> AudioSettings:
        """The settings that the states depend on: those of beginnings serve however recordings are scored."""
        return self.reader.audio if self.in_windows else replace(self.reader.audio, window_overlap=None)

    def _dataset(self, source: Rows) -> AudioDataset:
        rows = Rows(source.frame, [], source.source)
        return self.reader.window_dataset(rows) if self.in_windows else self.reader.dataset(rows)

    def compute(self, source: Rows) -> Iterator[tuple[str, Values]]:
        """The uid and the states (K, N, D) of each recording that can be used, batch by batch through the model.

        In windows they are (W, K, N, D).
        """
        data, size = self._dataset(source), self.reader.loader_size
        if not self.in_windows:
            yield from self._values(self.reader.load(data, batch_size=size, is_part=True), len(data), size)
            return
        rows = self._values(self.reader.windows(data, 0, len(data), is_part=True), len(data), 1)
        for uid, windows in itertools.groupby(rows, key=lambda row: row[0]):
            yield uid, np.stack([values_KND for _, values_KND in windows])

    def _values(self, batches: Iterable[Batch], total: int, size: int) -> Iterator[tuple[str, Values]]:
        """The states of each row of the batches, whose loader notes what is doubtful on the way."""
        ready, quiet = self.reader.prepare(rounding=self.model.rounding), not distributed.is_main()
        apply = self._apply(ready)

        def values(batch: Batch) -> Tensor:
            return inference.values(apply, batch, self.engine)

        grouping = Grouping.of(ready, self.reader.loader_size)
        with tqdm(total=total, desc="pooling", unit="clip", dynamic_ncols=True, disable=quiet) as bar:
            for batch, values_BKND in answers(values, batches, grouping):
                yield from zip(batch["uid"], values_BKND.numpy(), strict=False)
                bar.update(min(batch.get("steps", 1) * size, total - bar.n))

    def judge(self, uids: list[str], source: Rows) -> Iterator[tuple[str, dict[str, str]]]:
        """The uid and the findings of recordings that are read for nothing else."""
        data = self._dataset(source.part(source.frame.loc[uids]))
        for batch in self.reader.load(data, batch_size=JUDGED_AT_ONCE, is_part=True):
            yield from ((uid, self.reader.skipped.about(uid)) for uid in batch["uid"])

    def _apply(self, ready: Prepare) -> Callable[[Batch], Tensor]:
        around = self.engine.autocast if self.autocast else nullcontext

        def pool(batch: Batch) -> Tensor:
            with around():
                made = ready(batch)
                states = self.states
                return self.model.poolings(made["fbank"], made["frames"], layers=states.layers, tasks=states.tasks)

        return pool


def pooled_table(pooler: Pooler, *sources: Rows) -> StatesTable:
    """The states of these rows' recordings: from the cache as far as it has them, the others computed and kept."""
    model = pooler.model.to(pooler.engine.device).eval()
    disk = cache(pooler.cache_gb)
    store = FeatureStore(disk, pooler.made_by(), pooler.states, all_states(model), in_windows=pooler.in_windows)
    rows = Rows(pd.concat([source.frame for source in sources]), [], sources[0].source)
    uids = list(rows.frame.index)
    content_of = dict(zip(uids, _contents(pooler, uids), strict=True))
    table = StatesTable(disk, uids, pooler.states)
    missing = distributed.anywhere([uid for uid in content_of if not table.put(uid, store.find(content_of[uid]))])
    if pooler.autocast:
        say(_sentence(len(missing), len(uids), disk.folder if pooler.keeps else None))
    changed: list[str] = []
    with KeptFindings(disk, pooler.heard_as()) as kept_findings:
        for uid, values_KND, details, content in _with_contents(pooler, _computed(pooler, rows, missing)):
            table.put(uid, values_KND)
            _add_findings(pooler.reader, uid, details)
            if content == content_of[uid]:
                store.keep(content, values_KND)
                kept_findings.keep(content, details)
            else:
                changed.append(uid)
        refuse_changed(distributed.anywhere(changed))
        computed = set(missing)
        _judge_kept(pooler, rows, {uid: content_of[uid] for uid in uids if uid not in computed}, kept_findings)
    return table.finish()


def _contents(pooler: Pooler, uids: Sequence[str]) -> list[str | None]:
    """What is in the recordings now, where their states are kept by it."""
    if not pooler.keeps:
        return [None] * len(uids)
    return list(recording_fingerprints(pooler.reader.recordings, uids, cache(pooler.cache_gb)))


def _with_contents(
    pooler: Pooler, rows: Iterator[_Computed]
) -> Iterator[tuple[str, Values, dict[str, str], str | None]]:
    """The rows with what is in their recordings once these were read: kept by what was in before, others' might be."""
    while some := list(itertools.islice(rows, pooler.reader.loader_size)):
        contents = _contents(pooler, [uid for uid, *_ in some])
        yield from ((*row, content) for row, content in zip(some, contents, strict=True))


def _judge_kept(pooler: Pooler, rows: Rows, kept: dict[str, str | None], kept_findings: KeptFindings) -> None:
    """Note the sound findings of recordings whose states are kept; recordings that were never judged are read again."""
    known = kept_findings.find(kept.values())
    for uid, content in kept.items():
        _add_findings(pooler.reader, uid, known.get(content or "", {}))
    unjudged = distributed.anywhere([uid for uid, content in kept.items() if content not in known])
    judged = distributed.in_shares(unjudged, lambda own: pooler.judge(own, rows), JUDGED_AT_ONCE)
    for uid, details in judged:
        _add_findings(pooler.reader, uid, details)
        kept_findings.keep(kept.get(uid), details)


def _add_findings(reader: ClipReader, uid: str, details: dict[str, str]) -> None:
    reader.skipped.add_findings(uid, [SoundFinding(kind, detail) for kind, detail in details.items()])


def _computed(pooler: Pooler, rows: Rows, missing: list[str]) -> Iterator[_Computed]:
    """The uid, the states and the findings of these recordings, each computed by one process and handed to all."""
    bad, size = pooler.reader.skipped, pooler.reader.loader_size

    def compute(own: list[str]) -> Iterator[_Computed]:
        for uid, values_KND in pooler.compute(rows.part(rows.frame.loc[own])):
            yield uid, values_KND, bad.about(uid)

    return distributed.in_shares(missing, compute, size)


def _sentence(missing: int, clips: int, folder: Path | None) -> str:
    once = "the base is frozen and recordings stay as they are: each goes through the base once"
    if folder is None:
        return f"{once}, and nothing of it is kept"
    known = "none" if missing == clips else f"{clips - missing}" if missing else "all"
    return f"{once} ({known} of the {clips} did before), and its pooled states are kept in {folder}"


def with_pooled(batches: TrainingBatches, table: StatesTable, states: States) -> TrainingBatches:
    """The same batches in the same order, with pooled states in place of recordings."""

    def swapped(loader: Iterable[Batch]) -> PooledBatches:
        return PooledBatches(cast(Loader, loader), table, states)

    return replace(
        batches,
        train=lambda epoch, start: swapped(batches.train(epoch, start)),
        validation=lambda: swapped(batches.validation()),
        prepare=lambda batch, generator=None: batch,
    )


def pooled_training_batches(pooler: Pooler, batches: TrainingBatches, *sources: Rows) -> TrainingBatches:
    """`with_pooled` for a model's own head, the recordings of these rows pooled first."""
    table = pooled_table(pooler, *sources)
    check_some(pooler.reader.skipped, table)
    return with_pooled(batches, table, pooler.states)


def check_some(skipped: SkippedRecordings, table: StatesTable) -> None:
    """UserError where not one of the recordings could be used."""
    if not any(uid in table for uid in table.uids):
        first = next(iter(skipped.reasons.values()), "")
        raise UserError(f"none of the {len(table.uids)} recordings can be used; the first: {first}")


def pooled_rows(pooler: Pooler, source: Rows) -> RowBatches:
    """Return the batches of `ClipReader.row_batches` with pooled states in place of recordings."""
    uids = list(source.frame.index)
    table, size = pooled_table(pooler, source), pooler.reader.loader_size
    if pooler.in_windows:
        batches_of = partial(_window_batches, table, pooler.states, uids, size)
        return RowBatches(batches_of, len(uids), 1, lambda batch: batch, unit="recording")

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for first in range(start * size, min(stop * size, len(uids)), size):
            there = [uid for uid in uids[first : first + size] if uid in table]
            yield {"uid": there, "pooled": table.read(there, pooler.states)}

    return RowBatches(batches, math.ceil(len(uids) / size), size, lambda batch: batch)


def _window_batches(
    table: StatesTable, states: States, uids: list[str], size: int, start: int, stop: int
) -> Iterator[Batch]:
    """The windows of recordings from one number to another, those of a recording together, in batches of about `size`.

    A row has the uid of its recording.
    """
    there: list[str] = []
    steps = 0
    for number, uid in enumerate(uids[start:stop], start):
        there += [uid] if uid in table else []
        steps += 1
        if sum(table.windows(there)) >= size or number == min(stop, len(uids)) - 1:
            yield {"uid": _names(table, there), "pooled": table.read(there, states), "steps": steps}
            there, steps = [], 0


def _names(table: StatesTable, uids: list[str]) -> list[str]:
    """The uid of each row that the table has of these recordings."""
    return [uid for uid, count in zip(uids, table.windows(uids), strict=True) for _ in range(count)]


def pooled_scores(model: SSASTForAudioClassification, table: StatesTable, batch: Batch, device: Any) -> Tensor:
    """Scores (B, N) of the recordings of a batch whose states are of this table: the means over their windows."""
    names, windows = _names(table, batch["uid"]), table.windows(batch["uid"])
    scores_WN = check_answers(names, model.score_pooled(batch["pooled"].to(device)).cpu())
    return torch.from_numpy(np.stack([mean_of_windows(own_WN.numpy()) for own_WN in scores_WN.split(windows)]))
