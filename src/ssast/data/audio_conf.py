"""Say how recordings become fbank, in the words of the seed's `audio_conf`; read them so, and judge them as they pass.

What a model may not hear rightly of a recording is kept, block by block. Shapes: C channels, S samples.
"""

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from ssast.audio.alterations import ALTERATIONS
from ssast.audio.augment import WaveformAugment
from ssast.audio.conform import ORDINARY_SECONDS, conform, conform_waveform
from ssast.audio.decode import Recording
from ssast.audio.frontend import WINDOW_MS, Frontend, samples_of
from ssast.audio.sound_findings import SoundFinding, judge, length_entry
from ssast.data.batch import ClipItem, LongRecording, Open
from ssast.data.prepare import Prepare
from ssast.data.random_crops import RandomCrop
from ssast.errors import AudioError, UserError

IN_ALL = ("silent", "very quiet", "channels cancel", "silent channel", "different channels", "copied channels", "8 bit")
"""What is true of a long recording only where it is true of each of its blocks."""


class Watched:
    """The blocks of a recording as they pass; they are kept until they are judged."""

    def __init__(self, blocks: Iterable[Recording]):
        self.blocks, self.kept = blocks, list[Recording]()

    def __iter__(self) -> Iterator[Recording]:
        for block in self.blocks:
            self.kept.append(block)
            yield block

    def recording(self) -> Recording:
        """The blocks that have passed, as one recording."""
        first = self.kept[0]
        if len(self.kept) == 1:
            return first
        return replace(first, waveform=torch.cat([block.waveform for block in self.kept], dim=1))


class Blockwise:
    """The sound findings about a long recording that is heard whole, gathered as its blocks pass."""

    def __init__(self, mono: bool):
        self.mono, self.count = mono, 0
        self.found: dict[str, tuple[int, SoundFinding]] = {}

    def pass_on(self, blocks: Iterable[Recording]) -> Iterator[Recording]:
        """Pass the blocks on, each judged by itself."""
        for block in blocks:
            self.count += 1
            heard = conform(block, sample_rate=block.sample_rate, mono=self.mono)
            for finding in judge(replace(block, whole_samples=0), heard, mono=self.mono):
                self.found[finding.kind] = self.found.get(finding.kind, (0, finding))[0] + 1, finding
            yield block

    def findings(self) -> list[SoundFinding]:
        """The findings that hold for the whole recording, or for a part where that is enough."""
        findings = []
        for kind, (times, finding) in self.found.items():
            if times == self.count:
                findings.append(finding)
            elif kind not in IN_ALL:
                findings.append(SoundFinding(kind, f"in part of it: {finding.detail}"))
        return findings


class Judged:
    """A data set that judges each recording the first time that it is read, once it `judges`."""

    judges = False

    def is_new(self, index: int) -> bool:
        """Whether a recording is to be judged now."""
        known: bytearray = self.__dict__.setdefault("judged", bytearray())
        known.extend(bytes(max(0, index + 1 - len(known))))
        if not self.judges or known[index]:
            return False
        known[index] = True
        return True


def as_item(findings: Iterable[SoundFinding]) -> ClipItem:
    """The entry of an item that holds sound findings; no entry where there are none."""
    kept = tuple(findings)
    return {"findings": kept} if kept else {}


CONF_KEYS = {each.name: each.key for each in ALTERATIONS if each.key}
"""What the seed's `audio_conf` calls otherwise."""
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
            whole = read.recording()
            found = self.sound_findings(whole, recording, in_windows=hold == "windows")
            item |= as_item((*found, length_entry(whole.samples / whole.sample_rate)))
        return item

    def _long(self, opens: Open, *, judges: bool) -> ClipItem:
        """The item of a recording that is too long for the memory."""
        watch = Blockwise(self.reduce)
        counted = (lambda: watch.pass_on(opens())) if judges else opens
        long = replace(LongRecording.counted(counted, self.resample_rate, self.reduce), open=opens)
        found = [*watch.findings(), length_entry(long.samples / self.resample_rate)] if judges else []
        return {"whole_length": long.samples, "long": long, **as_item(found)}

    def sound_findings(
        self, recording: Recording, heard: Recording, *, in_windows: bool = False
    ) -> tuple[SoundFinding, ...]:
        """What is wrong or odd about a recording as a model hears it; all of it is heard `in_windows`."""
        most = None if in_windows else self.most_samples
        return tuple(judge(recording, heard, most_samples=most, clip_seconds=self.clip_length, mono=self.reduce))

    def crop(self, samples: int, seed: int) -> RandomCrop:
        """A stretch of so many samples, drawn from a seed."""
        share = float(torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
        most = round(self.clip_length * self.resample_rate)
        return RandomCrop(share, samples, self.resample_rate, self.reduce, most)

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


def _as_kind(name: str, value: Any, kind: type) -> Any:
    """The value as a bool, int or float; UserError where it is none."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UserError(f"audio_conf: {name} is {value!r}; expected a number, True or False.")
    if kind is not float and value != math.floor(value):
        raise UserError(f"audio_conf: {name} is {value!r}; expected a whole number.")
    if kind is bool and value not in (0, 1):
        raise UserError(f"audio_conf: {name} is {value!r}; expected True or False.")
    return kind(value)
