"""Count how much of the sound of long recordings a run does not hear, and say so in one sentence."""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from ssast.data.prepare import AudioSettings

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
