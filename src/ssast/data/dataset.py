"""Give the recordings of a table one by one, as dictionaries that are ready to be batched.

Shapes: C channels, S samples, T frames, F mel bins, N labels.
"""

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch.utils.data import Dataset

from ssast.audio import augment
from ssast.audio.alterations import ALTERATIONS
from ssast.audio.augment import WaveformAugment
from ssast.audio.conform import ORDINARY_SECONDS, conform_waveform
from ssast.audio.decode import Recording, enough_memory_for_clip
from ssast.audio.frontend import WINDOW_MS, Frontend, samples_of
from ssast.audio.sound_findings import SoundFinding, judge
from ssast.data.batch import ClipItem
from ssast.data.judging import Blockwise, Judged, Watched, as_item
from ssast.data.loader import ITEM, EpochSampler, Loader, collate, derive_seed, loader
from ssast.data.long_recordings import LongRecording, Open
from ssast.data.prepare import Prepare
from ssast.data.recordings import check_uid, naming, prefetch, recording_blocks
from ssast.data.storage.location import Address, forget, locate
from ssast.data.tables.splits import find_split, read_split, split_validation
from ssast.data.tables.targets import check_targets, label_list, read_labels, targets
from ssast.errors import AudioError, UserError

__all__ = [
    "AudioConf",
    "AudioDataset",
    "EpochSampler",
    "Loader",
    "Prepare",
    "check_targets",
    "collate",
    "find_split",
    "label_list",
    "loader",
    "read_labels",
    "read_split",
    "split_validation",
    "targets",
]

CONF_KEYS = {each.name: each.key for each in ALTERATIONS if each.key}
"""What the seed's `audio_conf` calls otherwise."""
HOLDS = ("whole", "heard", "windows")
HELD_SECONDS = 300.0
"""Recordings up to here are held whole where they are cut to windows; longer ones are read twice, block by block."""


@dataclass(frozen=True)
class AudioConf:
    """How recordings become fbank: the seed's `audio_conf`, and the amounts that go with its probabilities.

    mixup is a probability, `clip_length` in seconds (0: whole), `resample_rate` in Hz. In the dictionary that `of`
    reads, the fields of `waveform` stand beside the others: probabilities such as tshift, and the amounts to them.
    """

    mean: float = -4.2677393
    std: float = 4.5689974
    resample_rate: int = 16000
    reduce: bool = True
    clip_length: float = 0.0
    mixup: float = 0.0
    num_mel_bins: int = 128
    target_length: int = 1024
    freqm: int = 0
    timem: int = 0
    noise: bool = False
    mixup_alpha: float = 10.0
    waveform: WaveformAugment = field(default_factory=WaveformAugment)

    @classmethod
    def of(cls, audio_conf: Mapping[str, object] | None) -> "AudioConf":
        """Check a dictionary, filling in defaults; UserError for an unknown key or a value that cannot be meant."""
        given = {key: value for key, value in (audio_conf or {}).items() if value is not None}
        own = {each.name: type(each.default) for each in fields(cls) if each.name != "waveform"}
        drawn = {CONF_KEYS.get(each.name, each.name): each.name for each in fields(WaveformAugment)}
        kinds = own | dict.fromkeys(drawn, float)
        unknown = [key for key in given if key not in kinds]
        if unknown:
            raise UserError(f"audio_conf has the unknown key {unknown[0]!r}; it takes {', '.join(kinds)}.")
        values = {key: _as_kind(key, value, kinds[key]) for key, value in given.items()}
        waveform = WaveformAugment(**{name: values.pop(key) for key, name in drawn.items() if key in values})
        conf = cls(**values, waveform=waveform)
        for name, low, high in (("resample_rate", 100, 1e6), ("clip_length", 0, 1e6), ("mixup", 0, 1)):
            if not low <= getattr(conf, name) <= high:
                raise UserError(f"audio_conf: {name} is {getattr(conf, name)}; expected {low:g} to {high:g}.")
        if 0 < conf.clip_length < WINDOW_MS / 1000:
            raise UserError(
                f"audio_conf: clip_length is {conf.clip_length} s; expected 0 or at least one window of 25 ms."
            )
        return conf

    def heard(self, blocks: Iterable[Recording], **how: Any) -> Recording:
        """A recording, given block by block, at the rate and length asked for; `how` as `conform_waveform` takes it.

        AudioError where that leaves less than one window.
        """
        mono, seconds = self.reduce, self.clip_length
        recording = conform_waveform(blocks, sample_rate=self.resample_rate, mono=mono, clip_seconds=seconds, **how)
        milliseconds = 1000 * recording.waveform.shape[-1] / self.resample_rate
        if milliseconds < WINDOW_MS:
            raise AudioError(f"it lasts {milliseconds:.1f} ms, less than one window of {WINDOW_MS} ms; remove it")
        return recording

    def item(self, opens: Open, hold: str, *, judges: bool = False) -> ClipItem:
        """The waveform (C, S) of a recording, as much of it as `hold` asks for, and the length of the whole.

        "whole": all; "heard": of a long one what reaches the fbank; "windows": of a long one nothing but "long", for
        who cuts it to windows. With `judges` also "findings", where there are any.
        """
        cut = hold == "heard" or (hold == "windows" and not self.clip_length)
        most = samples_of(self.target_length, self.resample_rate) if cut else None
        ordinary = HELD_SECONDS if hold == "windows" else ORDINARY_SECONDS
        read = Watched(opens())
        recording = self.heard(read if judges else read.blocks, most_samples=most, ordinary_seconds=ordinary)
        item: ClipItem = {"waveform": recording.waveform, "whole_length": recording.samples}
        if hold == "windows" and recording.whole_samples:
            return {**item, **self._long(opens, judges=judges), "waveform": recording.waveform[:, :0]}
        if judges:
            item |= as_item(self.sound_findings(read.recording(), recording, in_windows=hold == "windows"))
        return item

    def _long(self, opens: Open, *, judges: bool) -> ClipItem:
        """The item of a recording that is too long for the memory."""
        watch = Blockwise(self.reduce)
        counted = (lambda: watch.pass_on(opens())) if judges else opens
        long = replace(LongRecording.counted(counted, self.resample_rate, self.reduce), open=opens)
        return {"whole_length": long.samples, "long": long, **as_item(watch.findings())}

    def sound_findings(
        self, recording: Recording, heard: Recording, *, in_windows: bool = False
    ) -> tuple[SoundFinding, ...]:
        """What is wrong or odd about a recording as a model hears it; all of it is heard `in_windows`."""
        most = None if in_windows else self.most_samples
        return tuple(judge(recording, heard, most_samples=most, clip_seconds=self.clip_length, mono=self.reduce))

    @property
    def most_samples(self) -> int:
        """As many samples as `target_length` frames are made of."""
        return samples_of(self.target_length, self.resample_rate)

    def frontend(self) -> Frontend:
        """The fbank that it describes."""
        return Frontend(self.resample_rate, self.num_mel_bins, self.target_length, self.mean, self.std)

    def prepare(self, *, cdo: bool = False, shift: bool = False, mixup: float | None = None) -> Prepare:
        """The way from waveforms to fbank that it describes; `mixup` overrides its own."""
        return Prepare(
            self.frontend(),
            freqm=self.freqm,
            timem=self.timem,
            noise=self.noise,
            cdo=cdo,
            shift=shift,
            mixup=self.mixup if mixup is None else mixup,
            mixup_alpha=self.mixup_alpha,
        )


def check_hold(hold: str) -> str:
    """The same; UserError for a word that says nothing."""
    if hold not in HOLDS:
        raise UserError(f"hold is {hold!r}; expected {', '.join(HOLDS)}.")
    return hold


def _as_kind(name: str, value: Any, kind: type) -> Any:
    """The value as a bool, int or float; UserError where it is none."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UserError(f"audio_conf: {name} is {value!r}; expected a number, True or False.")
    if kind is not float and value != math.floor(value):
        raise UserError(f"audio_conf: {name} is {value!r}; expected a whole number.")
    if kind is bool and value not in (0, 1):
        raise UserError(f"audio_conf: {name} is {value!r}; expected True or False.")
    return kind(value)


class AudioDataset(Judged, Dataset[ClipItem]):
    """Recordings as dictionaries: uid, waveform (C, S), sample_rate, targets (N,), fbank (target_length, F).

    `annotations_df` is indexed by uid; `target_labels` (None, [] or an empty array for none) are columns of it, with
    empty cells as NaN. `prefix` is the folder of `<uid>/waveform.EXT` and `<uid>/metadata.json`, with `bucket` (a name
    or a google-cloud-storage Bucket) a folder in that bucket, with `study` the folder of that name in it. `librosa`
    chooses who decodes; `cdo` and `shift` are coarse dropout and affine shift of the fbank; without `with_fbank` items
    hold no fbank, and spectrogram masks, noise and mixup are left to `Prepare`. `hold` says what of a long recording is
    held: the "whole", what is "heard" (reaches the fbank, unless it is altered), or nothing but where it lies, for who
    reads it in "windows".

    `dataset[index]` is the item in epoch 0, `dataset[index, epoch]` in another: its chance comes from
    (seed, epoch, index) alone. AudioError, the uid in front, for a recording that cannot be used. Batches are made with
    `loader`, or with `collate` as the collate_fn of a DataLoader.
    """

    def __init__(
        self,
        annotations_df: pd.DataFrame,
        target_labels: Any,
        audio_conf: Mapping[str, object] | None,
        prefix: Address,
        bucket: Any = None,
        librosa: bool = False,
        cdo: bool = False,
        shift: bool = False,
        with_fbank: bool = True,
        *,
        seed: int = 0,
        study: str | None = None,
        project: str | None = None,
        hold: str = "whole",
    ):
        frame = annotations_df.set_index("uid") if "uid" in annotations_df.columns else annotations_df
        self.uids = [str(uid) for uid in frame.index]
        for uid in self.uids:
            check_uid(uid)
        self.labels = label_list(target_labels)
        self.targets = targets(frame, self.labels)
        self.conf = AudioConf.of(audio_conf)
        forget()  # a folder in a bucket may have changed since the last data set
        self.root = locate(prefix, study, bucket, project)
        if not self.root.is_dir():
            raise UserError(
                f"the data folder {self.root} does not exist; check --prefix, --study and --bucket_name.",
                path=self.root,
            )
        self.librosa, self.seed, self.hold = librosa, seed, check_hold(hold)
        self.augment = self.conf.waveform
        self.prepare = self.conf.prepare(cdo=cdo, shift=shift, mixup=0.0) if with_fbank else None

    def __len__(self) -> int:
        return len(self.uids)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Bring the recordings of these items into the cache where they lie in a bucket, several at once."""
        prefetch(self.root, [self.uids[index] for index in indices])

    def __getitem__(self, key: int | tuple[int, int]) -> ClipItem:
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        index = range(len(self))[index]  # negative numbers count from the end; IndexError beyond it
        item: ClipItem = {
            **self._heard(index, epoch),
            "uid": self.uids[index],
            "sample_rate": self.conf.resample_rate,
            "targets": self.targets[index].clone(),
        }
        if self.prepare is not None:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, index, ITEM))
            self._mix(item, epoch, generator)
            item["fbank"] = self.prepare(collate([item]), generator)["fbank"][0]
        return item

    def _heard(self, index: int, epoch: int) -> ClipItem:
        """The altered waveform (C, S) of a clip, at the rate and length asked for, and the length of the whole."""
        opens = partial(recording_blocks, self.root, self.uids[index], use_librosa=self.librosa)
        with naming(self.uids[index]), enough_memory_for_clip():
            hold = "whole" if self.augment.active else self.hold
            heard = self.conf.item(opens, hold, judges=self.is_new(index))
            if not self.augment.active:
                return heard
            seed = derive_seed(self.seed, epoch, index)
            waveform_CS = self.augment(heard["waveform"], self.conf.resample_rate, seed=seed)
        return {**heard, "waveform": waveform_CS, "whole_length": waveform_CS.shape[1]}

    def _mix(self, item: ClipItem, epoch: int, generator: torch.Generator) -> None:
        """With the probability `mixup`, mix another recording of the data set, drawn by chance, into the item."""
        if self.conf.mixup == 0 or not torch.rand((), generator=generator) < self.conf.mixup:
            return
        partner = int(torch.randint(len(self), (), generator=generator))
        try:
            waveform_CS = self._heard(partner, epoch)["waveform"]
        except AudioError:
            return  # said when its own turn comes
        pair = collate([item, {"uid": "", "waveform": waveform_CS, "targets": self.targets[partner]}])
        # A column that is 1 for the partner alone tells whether the draw inside this batch of two took it.
        targets_2N = torch.cat([pair["targets"], torch.tensor([[0.0], [1.0]])], dim=1)
        while True:
            waveform_2S, lengths_2, mixed_2N = augment.mixup(
                pair["waveform"], pair["lengths"], targets_2N, 1.0, generator, self.conf.mixup_alpha
            )
            if mixed_2N[0, -1] > 0:
                break
        item["waveform"] = waveform_2S[:1, : int(lengths_2[0])]
        item["targets"] = mixed_2N[0, :-1]
