"""Predict the labels of recordings and waveforms with a fine-tuned model: `model.predict`.

`model/` knows no sound, so the class whose `predict` reads recordings stands here, above the one that it is made of.

Shapes: C channels, S samples, W windows, N labels.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssast.audio.decode import Recording
from ssast.audio.sound_findings import WRONGS, SoundFinding
from ssast.data.audio_conf import Judged, as_item
from ssast.data.audio_files import FileDataset, find_audio
from ssast.data.batch import Batch, ClipItem
from ssast.data.dataset import AudioConf
from ssast.data.loader import loader
from ssast.data.prepare import AudioSettings, Prepare
from ssast.data.recordings import naming
from ssast.data.storage.location import Location, as_location, forget
from ssast.data.tables.label_columns import WINDOW, answer_table, level_table, score_columns
from ssast.engine.hardware import in_precision
from ssast.engine.inference import loader_size, on_device
from ssast.engine.lengths import Grouping, answers
from ssast.engine.windows import WINDOW_POOLINGS, Cutter, pool_windows, window_batches, window_rows
from ssast.errors import AudioError, UserError
from ssast.model.checkpoints.config_entries import HIGHEST_OVERLAP
from ssast.model.classification import SSASTForAudioClassification as Classifier
from ssast.model.encoder import check_choice
from ssast.model.label_kinds import LabelKinds

__all__ = ["SSASTForAudioClassification", "WindowPredictor", "label_names"]


@dataclass(frozen=True)
class WindowPredictor:
    """How a model hears: recordings at `conf`, cut by `cutter`, made to fbanks by `prepare`."""

    model: Classifier
    conf: Mapping[str, object]
    cutter: Cutter
    prepare: Prepare

    @classmethod
    def of(cls, model: Classifier, audio: AudioSettings, overlap: float, device: torch.device) -> "WindowPredictor":
        """The predictor of a model with these settings, windows sharing `overlap`, 0 to below 1.

        A clip_length among the settings bounds the window, since the model has learned from no longer clips; recordings
        are heard whole.
        """
        frontend = audio.frontend()
        cutter = Cutter.of(frontend, overlap, most_seconds=audio.clip_length)
        prepare = Prepare(frontend, rounding=model.rounding).to(device)
        return cls(model, replace(audio, clip_length=0.0).conf(), cutter, prepare)

    def batches(self, recordings: Iterable[Batch], size: int) -> Iterator[Batch]:
        """Batches of at most `size` windows of recordings, which a loader gives one by one."""
        return window_batches(recordings, self.cutter, size)

    def scores(self, batch: Batch) -> Tensor:
        """Scores (W, N) of a batch of windows."""
        made = self.prepare(batch)
        return self.model.predict_scores(made["fbank"], frames=made["frames"])

    @property
    def rows(self) -> Callable[[Batch, Tensor], pa.Table]:
        """What makes table rows of a batch and its scores."""
        return partial(window_rows, self.cutter)


def label_names(model: Classifier) -> list[str]:
    """The model's labels, or where it kept no names their numbers."""
    return list(model.labels or [f"label {number}" for number in range(model.num_labels)])


class Waveforms(Judged, Dataset[ClipItem]):
    """Waveforms in memory as items like those of `FileDataset`; their uids are their numbers."""

    def __init__(self, waveforms: Sequence[Any], sample_rate: int | None, audio_conf: Mapping[str, object]):
        if not sample_rate or sample_rate < 1:
            raise UserError(f"waveforms came with the sample_rate {sample_rate}; give theirs in Hz.")
        self.waveforms, self.sample_rate, self.conf = list(waveforms), int(sample_rate), AudioConf.of(audio_conf)
        self.uids = [str(number) for number in range(len(self.waveforms))]

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, key: tuple[int, int]) -> ClipItem:
        index = key[0]
        with naming(self.uids[index]):
            recording = Recording(_waveform(self.waveforms[index]), self.sample_rate)
            heard = self.conf.heard([recording])
            found = self.conf.sound_findings(recording, heard, in_windows=True) if self.is_new(index) else ()
        item: ClipItem = {"uid": self.uids[index], "waveform": heard.waveform, "targets": torch.empty(0)}
        return {**item, **as_item(found)}


def _waveform(given: Any) -> Tensor:
    """A waveform as (C, S) float32; AudioError where it is none."""
    waveform = torch.as_tensor(given).detach().cpu()
    if waveform.dim() not in (1, 2) or waveform.numel() == 0 or not waveform.is_floating_point():
        shape = f"{tuple(waveform.shape)} of {waveform.dtype}"
        raise AudioError(f"it is {shape}; give floats between -1 and 1 as (samples,) or (channels, samples)")
    waveform_CS = waveform.float().reshape(-1, waveform.shape[-1])
    if len(waveform_CS) > waveform_CS.shape[1]:
        raise AudioError(f"it has {len(waveform_CS)} channels of {waveform_CS.shape[1]} samples; turn it round")
    if not waveform_CS.isfinite().all():
        raise AudioError("it holds samples that are NaN or infinite; correct it")
    return waveform_CS


class SSASTForAudioClassification(Classifier):
    """The classifier of `model/`, which also reads recordings: `predict`."""

    def predict(
        self,
        recordings: Any,
        sample_rate: int | None = None,
        *,
        window_overlap: float | None = None,
        window_pooling: str = "mean",
        mask_padding: bool | None = None,
        windows: bool = False,
        batch_size: int = 8,
        num_workers: int = 0,
        on_bad_audio: str = "error",
        precision: str = "fp32",
    ) -> pd.DataFrame:
        """What the model says of recordings: one row each, indexed by `file`, one column a label (float32).

        Of a scale that is the expected level, of a choice the likeliest kind; the probabilities follow them.
        `recordings` is an audio file or folder, a waveform (S,) or (C, S) with its `sample_rate` in Hz, or a list of
        either; waveforms are indexed by `recording`, their number. Recordings longer than the model's input are cut
        into windows that share `window_overlap` (None: as the model was fine-tuned, else half), whose scores become one
        by `window_pooling` (mean or max); `windows=True` gives a row a window instead, with start_seconds and
        end_seconds. `mask_padding` keeps the
        padding of short ones out (None: as the model was fine-tuned). A recording that is silent to the model, or far
        beyond full scale, has its row, and there is a warning. One that cannot be used is an AudioError, or with
        on_bad_audio="skip" has no row. `precision` is fp32, as Python takes it, auto, as `ssast predict` does (bf16
        where the processor is made for it; the third digit differs), or bf16. UserError: no such file, no audio in a
        folder, waveforms without a rate.
        """
        check_choice("window_pooling", window_pooling, WINDOW_POOLINGS)
        device, audio = self.v.pos_embed.device, settings_of(self)
        model = in_precision(self, precision, device)
        with _for_now(model, mask_padding):
            predictor = WindowPredictor.of(model, audio, usual_share(window_overlap, audio), device)
            data, index = _data(recordings, sample_rate, predictor.conf, any_name=on_bad_audio == "skip")
            data.judges = True
            one_by_one = loader(data, batch_size=1, num_workers=num_workers, on_bad_audio=on_bad_audio, note=_warn)
            heard = answers(
                lambda batch: on_device(predictor.scores, batch, device),
                predictor.batches(one_by_one, batch_size),
                Grouping.of(predictor.prepare, loader_size(batch_size, device)),
            )
            tables = [predictor.rows(batch, scores_WN) for batch, scores_WN in heard if batch["uid"]]
        return _table(tables, index, self.label_kinds.named(label_names(self)), None if windows else window_pooling)


def usual_share(given: float | None, audio: AudioSettings) -> float:
    """`audio.share` of what Python was given; UserError out of range."""
    if given is not None and not 0 <= given <= HIGHEST_OVERLAP:
        raise UserError(f"window_overlap is {given}; expected a share from 0 to {HIGHEST_OVERLAP}.")
    return audio.share(given)


def _warn(uid: str, findings: Sequence[SoundFinding]) -> None:
    """A Python warning for each finding that makes the model hear something else than the recording."""
    for finding in findings:
        if finding.kind in WRONGS:
            warnings.warn(f"recording {uid}: {finding.kind}: {finding.detail}", stacklevel=2)


def settings_of(model: Classifier) -> AudioSettings:
    """How a model hears; its input is as it is now, whatever length it was fine-tuned at."""
    encoder = model.v
    return AudioSettings.kept(model.frontend, num_mel_bins=encoder.num_mel_bins, target_length=encoder.target_length)


def _data(given: Any, sample_rate: int | None, conf: Mapping[str, object], *, any_name: bool) -> tuple[Any, str]:
    """A data set of the files or waveforms that were given, and the name of the index of its rows."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    one_by_one: list[Any] = list(given) if several else [given]
    if not one_by_one:
        raise UserError("there are no recordings to predict; give a file, a folder, a waveform or a list of them.")
    named = [isinstance(one, str | os.PathLike | Location) for one in one_by_one]
    if all(named):
        forget()
        return FileDataset(
            find_audio([as_location(one) for one in one_by_one], any_name=any_name), conf, hold="windows"
        ), "file"
    if any(named):
        raise UserError("files and waveforms came mixed in one list; predict them one kind after the other.")
    return Waveforms(one_by_one, sample_rate, conf), "recording"


@contextlib.contextmanager
def _for_now(model: Classifier, mask_padding: bool | None) -> Iterator[None]:
    """The model in evaluation mode and, unless None, with `mask_padding`; afterwards as before."""
    before, trains = model.mask_padding, model.training
    model.mask_padding = before if mask_padding is None else mask_padding
    model.eval()
    try:
        yield
    finally:
        model.mask_padding = before
        model.train(trains)


def _table(tables: list[pa.Table], index: str, kinds: LabelKinds, pooling: str | None) -> pd.DataFrame:
    """One row a recording, or a window where no pooling is named."""
    if pooling is None:
        rows = [row for table in tables for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
        names, times = [row[0] for row in rows], [row[1:3] for row in rows]
        frame = pd.DataFrame(times, columns=list(WINDOW[1:]), index=_index(names, index))
        values = np.array([row[3] for row in rows], np.float32).reshape(len(rows), kinds.width)
        answers = answer_table(kinds, values, score_columns(kinds.names)).set_index(frame.index)
        return pd.concat([frame, answers, level_table(kinds, values).set_index(frame.index)], axis=1)
    pooled = list(pool_windows(tables, pooling))
    values = np.array([one.values for one in pooled], np.float32).reshape(len(pooled), kinds.width)
    answers = pd.concat([answer_table(kinds, values, kinds.names), level_table(kinds, values)], axis=1)
    return answers.set_index(_index([one.uid for one in pooled], index))


def _index(names: list[str], called: str) -> pd.Index:
    return pd.Index(names if called == "file" else [int(name) for name in names], name=called)
