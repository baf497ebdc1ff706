"""Take a stretch of a long recording, another one each time, and read no more than that where its format allows it.

Shapes: C channels, S samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ssast.audio.conform import conformed
from ssast.audio.decode import Recording, Span
from ssast.audio.frontend import WINDOW_MS
from ssast.data.batch import ClipItem, WindowReader
from ssast.errors import AudioError

MARGIN_SECONDS = 0.05
"""So much is read beside a stretch that is resampled, which makes it equal to that of the whole within 1e-6."""


@dataclass(frozen=True)
class RandomCrop:
    """Which stretch of a recording: it is `samples` long at `sample_rate` [Hz], mixed down where it is to be `mono`.

    `share`, from 0 to below 1, says which of all its beginnings. Only the first `most` samples of the recording count
    (0: all); one that is not longer than the stretch is taken whole.
    """

    share: float
    samples: int
    sample_rate: int
    mono: bool
    most: int = 0

    def within(self, whole: int, step: int = 1) -> Span:
        """Return where the stretch begins, at a whole `step`, and where it ends in a recording of so many samples."""
        counted = min(whole, self.most) if self.most else whole
        begin = int(self.share * max(1, counted - self.samples + 1)) // step * step
        return begin, min(counted, begin + self.samples)

    def span(self, samples: int, rate: int) -> Span:
        """What is read of a recording of so many samples at another rate: from one sample up to another."""
        begin, end = self._within(samples, rate)
        step = rate // math.gcd(rate, self.sample_rate)
        margin = 0 if rate == self.sample_rate else math.ceil(MARGIN_SECONDS * rate / step) * step
        last = math.ceil(end * rate / self.sample_rate)
        return max(0, begin * rate // self.sample_rate - margin), min(samples, last + margin)

    def cut(self, read: Recording) -> ClipItem:
        """The stretch (C, S), and the length of the whole, of what `span` asked for."""
        samples, rate = read.whole_samples, read.sample_rate
        (begin, end), (first, _) = self._within(samples, rate), self.span(samples, rate)
        before, whole = first * self.sample_rate // rate, self._resampled(samples, rate)
        (made,) = conformed([read], sample_rate=self.sample_rate, mono=self.mono)
        waveform_CS = made.waveform[:, begin - before : end - before].clone()
        return {"waveform": waveform_CS, "whole_length": min(whole, self.most or whole)}

    def _within(self, samples: int, rate: int) -> Span:
        """Do what `within` does for samples at another rate, beginning with a sample that both rates have."""
        return self.within(self._resampled(samples, rate), self.sample_rate // math.gcd(rate, self.sample_rate))

    def _resampled(self, samples: int, rate: int) -> int:
        return max(1, round(samples * self.sample_rate / rate))


Sought = Callable[[Callable[[int, int], Span]], Recording | None]
"""A function that reads of a recording what it is asked for; None where its format does not allow that."""


def cropped(
    crop: RandomCrop, sought: Sought, whole: Callable[..., ClipItem], *, judges: bool, refuses_damage: bool
) -> ClipItem:
    """The item of a stretch. `whole` reads all of the recording, as an item for who cuts it to windows.

    Where it `judges`, all of the recording is read, and damage anywhere is an AudioError if it `refuses_damage`; else
    only damage in the stretch is one, so that what is left out depends on the stretch alone.
    """
    item = _judged(whole, refuses_damage=refuses_damage) if judges else None
    read = sought(crop.span)
    if read is not None:
        found = crop.cut(read)
    else:
        own = item or whole()
        samples = own["whole_length"]
        found = {"waveform": _window(own, *crop.within(samples)), "whole_length": samples}
    milliseconds = 1000 * found["waveform"].shape[1] / crop.sample_rate
    if milliseconds < WINDOW_MS:
        raise AudioError(f"it lasts {milliseconds:.1f} ms, less than one window of {WINDOW_MS} ms; remove it")
    return {**found, "findings": item["findings"]} if item and "findings" in item else found


def _judged(whole: Callable[..., ClipItem], *, refuses_damage: bool) -> ClipItem | None:
    try:
        return whole(judges=True)
    except AudioError:
        if refuses_damage:
            raise
        return None


def _window(item: ClipItem, begin: int, end: int) -> Tensor:
    """Samples `begin` to `end` (C, S) of a recording that is held whole, or is read again."""
    if "long" in item:
        return WindowReader(item["long"]).window(begin, end)[None]
    return item["waveform"][:, begin:end].clone()
