"""Judge recordings as they are read, block by block, and keep what a model may not hear rightly of them.

Shapes: C channels, S samples.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from ssast.audio.conform import conform
from ssast.audio.decode import Recording
from ssast.audio.sound_findings import SoundFinding, judge
from ssast.data.batch import ClipItem

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
