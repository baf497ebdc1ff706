"""Explain in sentences what a model may not hear rightly of recordings, and how much of long ones it does not hear."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssast.audio.sound_findings import CLIPPED_SHARE, FINDING_FACTS, LOUD, ODDITIES, QUIET_DB, STILL_SECONDS, WRONGS
from ssast.data.prepare import AudioSettings

_NAMED = 3
"""Recordings that a sentence names."""
# Of one recording, and of several.
SAID = {
    "silent": ("is silent to the model", "are silent to the model"),
    "channels cancel": (
        "has channels of opposite sign, which cancel each other in the mean that the model hears",
        "have channels of opposite sign, which cancel each other in the mean that the model hears",
    ),
    "beyond full scale": (
        f"goes beyond {LOUD:g} times full scale, which shifts its spectrogram",
        f"go beyond {LOUD:g} times full scale, which shifts their spectrograms",
    ),
    "cut": (
        "is longer than what the model hears of it (--target_length, --clip_length)",
        "are longer than what the model hears of them (--target_length, --clip_length)",
    ),
    "silent channel": (
        "has a silent channel, which makes the mean that the model hears quieter",
        "have a silent channel, which makes the mean that the model hears quieter",
    ),
    "different channels": (
        "holds different sounds in its channels, of which the model hears the mean",
        "hold different sounds in their channels, of which the model hears the mean",
    ),
    "very quiet": (f"stays below {QUIET_DB:g} dB of full scale", f"stay below {QUIET_DB:g} dB of full scale"),
    "clipped": (
        f"is clipped in more than {CLIPPED_SHARE:.1%} of its samples",
        f"are clipped in more than {CLIPPED_SHARE:.1%} of their samples",
    ),
    "digital silence": (
        f"holds digital silence of {STILL_SECONDS * 1000:g} ms or more, whose amount can tell a label",
        f"hold digital silence of {STILL_SECONDS * 1000:g} ms or more, whose amount can tell a label",
    ),
}
KINDS = (*WRONGS, *ODDITIES, *FINDING_FACTS)

FindingDetails = Mapping[str, Mapping[str, str]]
"""The details of each kind, by uid."""


def finding_sentences(findings: FindingDetails, total: int, what: str = "recordings") -> list[str]:
    """A sentence for each kind that a run should hear of, the worst first, with the first few recordings' names."""
    return [
        f"{_head(kind, len(findings[kind]), total, what)}: {_named(findings[kind])}."
        for kind in SAID
        if findings.get(kind)
    ]


def finding_counts(findings: FindingDetails) -> dict[str, int]:
    """How many recordings there are of each kind, for a record; kinds without any are left out."""
    return {kind: len(findings[kind]) for kind in KINDS if findings.get(kind)}


def finding_note(details: Mapping[str, str]) -> str:
    """What is doubtful about one recording, by kind, as one line; empty where nothing is."""
    return "; ".join(f"{kind}: {details[kind]}" for kind in SAID if kind in details)


def named(names: Sequence[str], most: int = _NAMED) -> str:
    """`a, b, c and 24 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _head(kind: str, count: int, total: int, what: str) -> str:
    one = what.removesuffix("s")
    if total == 1:
        return f"The {one} {SAID[kind][0]}"
    return f"{count} of {total} {what} {SAID[kind][0 if count == 1 else 1]}"


def _named(details: Mapping[str, str]) -> str:
    """The first few uids, the first one with its numbers."""
    first, *others = details
    return named([f"{first} ({details[first]})", *others])


_SLACK_SECONDS = 0.025
"""One more window of the spectrogram would fit into this; where a clip_length cuts, one more step of 10 ms counts."""
_CLIP_SLACK_SECONDS = 0.01


@dataclass(frozen=True)
class UnheardSound:
    """How many recordings are `longer` than the `heard_seconds` of each that are heard, and how much sound that leaves.

    `what` names the recordings. Where it is of `each_epoch`, another part is left each time.
    """

    what: str
    heard_seconds: float
    recordings: int
    longer: int
    seconds: float
    unheard_seconds: float
    each_epoch: bool = False

    @classmethod
    def of(
        cls, lengths: Iterable[float], audio: AudioSettings, *, what: str = "recordings", each_epoch: bool = False
    ) -> "UnheardSound":
        """That of recordings of these lengths [s], of which one stretch or the beginning is heard."""
        heard, slack = audio.target_length / 100, _SLACK_SECONDS
        if 0 < audio.clip_length < heard:
            heard, slack = audio.clip_length, _CLIP_SLACK_SECONDS
        known = array("d", lengths)
        longer = [length for length in known if length >= heard + slack - 1e-4]
        unheard = math.fsum(length - heard for length in longer)
        return cls(what, heard, len(known), len(longer), math.fsum(known), unheard, each_epoch)

    @property
    def facts(self) -> dict[str, float]:
        """The numbers, for a record or for metrics.json."""
        seconds = {"seconds": round(self.seconds, 2), "unheard_seconds": round(self.unheard_seconds, 2)}
        return {"recordings": self.recordings, "longer": self.longer, **seconds}

    @property
    def sentence(self) -> str:
        """`5 of 12 recordings are longer than ...`; empty where none is."""
        if not self.longer:
            return ""
        many = "is" if self.longer == 1 else "are"
        share = 100 * self.unheard_seconds / self.seconds
        epoch = " in an epoch, which hears another stretch of them each time" if self.each_epoch else ""
        return (
            f"{self.longer} of {self.recordings} {self.what} {many} longer than the {self.heard_seconds:g} s that are "
            f"heard of each: {_duration(self.unheard_seconds)} of {_duration(self.seconds)} of sound ({share:.2g} %) "
            f"are not heard{epoch}"
        )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"
