"""Name what a data set gives of a recording, and what a batch of recordings holds.

Shapes: B clips, C channels, S samples, T frames, F mel bins, N labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from torch import Tensor

from ssast.audio.sound_findings import SoundFinding
from ssast.data.long_recordings import LongRecording
from ssast.model.head import ModelInput


@dataclass(frozen=True)
class Bad:
    """A recording that cannot be used, and why; not `skippable` where going on would hide something worse.

    `names` are those that the reason holds, by kind, as the error had them.
    """

    uid: str
    reason: str
    skippable: bool
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ClipItem(TypedDict, total=False):
    """One recording, as much of it as the data set was asked for."""

    uid: str
    waveform: Tensor
    """(C, S)"""
    whole_length: int
    """Samples of the whole recording, of which a long one may be held in part."""
    long: LongRecording
    """What stands for a recording that is not held at all."""
    sample_rate: int
    targets: Tensor
    """(N,)"""
    fbank: Tensor
    """(T, F)"""
    findings: tuple[SoundFinding, ...]


class Batch(ModelInput, total=False):
    """Collated clips, and what preparing them for the model adds (`ModelInput`)."""

    uid: list[str]
    waveform: Tensor
    """(B, S), channel 0, padded with zeros."""
    lengths: Tensor
    """(B,) samples of each waveform."""
    whole_lengths: Tensor
    """(B,) samples of the whole recordings, of which long ones may be held in part."""
    long: list[LongRecording | None]
    """What stands for recordings that are not held at all."""
    bad: list[Bad]
    findings: list[tuple[str, Sequence[SoundFinding]]]
    """What is doubtful about recordings, with their uids."""
    windows: list[Any]
    """Which `Window` of `engine/` each row is."""
    steps: int
    """How many recordings this batch of windows finishes."""
    sample_rate: int
    name: str
    """What the output of the one clip is called."""
