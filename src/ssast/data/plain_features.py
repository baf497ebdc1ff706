"""Measure of each recording what needs no model: mean and deviation of its spectrogram, its loudness, its length.

Behind these P plain features stand its noise and its bandwidth, which tell of the room and the microphone alone.
A batch is measured on its way to a model, so no recording is read for it; what was measured is kept on this machine.
Shapes: B clips, S samples, T frames, F mel bins, R rows, P plain features (2 F + 2).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssast.audio.frontend import FLOOR, Frontend
from ssast.data.batch import Batch
from ssast.data.features import Values, packed_floats, unpacked_floats
from ssast.data.prepare import Prepare
from ssast.data.storage.cache import Cache
from ssast.data.storage.fingerprints import KeptValues, fingerprint_of

_FORMAT = "plain 2"
_SILENCE = 1e-10
"""Added to the power of a recording, so that silence has a loudness (-100 dB)."""
PLACE_VALUES = 2
"""Noise and bandwidth."""
DECIBEL = 10 / float(np.log(10))
"""dB in one natural logarithm of a power."""
_QUIET_SHARE, _BAND_DB = 0.1, 60.0
"""The noise is the level that the quietest tenth of the frames stays below; the band ends so far below its peak."""


class PlainFeatures:
    """The plain features of the recordings that were prepared so far, by uid; of a windowed one those of its start.

    `asked` are those that were looked for in the cache, where nobody looks again.
    """

    def __init__(self) -> None:
        self.found: dict[str, NDArray[np.float32]] = {}
        self.asked: set[str] = set()

    def add(self, made: Batch, frontend: Frontend) -> None:
        """Measure those recordings of a prepared batch that were not met before."""
        new = [row for row, uid in enumerate(made["uid"]) if uid not in self.found]
        if not new:
            return
        with torch.no_grad():
            own = made["fbank"], made["frames"]
            waveform_BS, lengths_B, sample_rate = frontend.levels(made["waveform"], made["lengths"])
            values_BP = plain_values(*own, waveform_BS, lengths_B, sample_rate)
            rows = torch.cat([values_BP, place_values(*own, frontend)], dim=1).float().cpu().numpy()
        for row in new:
            self.found.setdefault(made["uid"][row], rows[row].copy())

    def take(self, found: Mapping[str, NDArray[np.float32]]) -> None:
        """Take what other processes measured, or what was kept."""
        self.found |= found

    def values(self, uids: Sequence[str]) -> Values:
        """The features of these recordings (R, P), NaN where one cannot be used."""
        width = len(next(iter(self.found.values()), []))
        nothing = np.full(width, np.nan, dtype=np.float32)
        return np.stack([self.found.get(uid, nothing) for uid in uids]) if uids else np.empty((0, width), np.float32)


def plain_values(
    fbank_BTF: Tensor, frames_B: Tensor, waveform_BS: Tensor, lengths_B: Tensor, sample_rate: int
) -> Tensor:
    """Mean and deviation of each mel bin over a clip's own frames, its loudness [dB], and its seconds (B, P)."""
    device = fbank_BTF.device
    own_BT1 = _own(fbank_BTF, frames_B)[..., None]
    count_B1 = own_BT1.sum(1).clamp(min=1)
    mean_BF = (fbank_BTF * own_BT1).sum(1) / count_B1
    away_BTF = (fbank_BTF - mean_BF[:, None]) * own_BT1
    deviation_BF = ((away_BTF**2).sum(1) / count_B1).sqrt()
    lengths_B1 = lengths_B.to(device).clamp(min=1)[:, None]
    power_B1 = (waveform_BS.to(device) ** 2).sum(1, keepdim=True) / lengths_B1  # what lies behind the length is zero
    loudness_B1 = 10 * torch.log10(power_B1 + _SILENCE)
    return torch.cat([mean_BF, deviation_BF, loudness_B1, lengths_B1 / sample_rate], dim=1)


def place_values(fbank_BTF: Tensor, frames_B: Tensor, frontend: Frontend) -> Tensor:
    """The level of a clip's quietest frames [dB], and the highest frequency [Hz] that is heard of it (B, 2)."""
    raw_BTF = fbank_BTF.float() * (2 * frontend.std) + frontend.mean
    own_BT = _own(fbank_BTF, frames_B)
    level_BT = raw_BTF.logsumexp(2).masked_fill(~own_BT, torch.inf).sort(1).values
    quiet_B1 = ((own_BT.sum(1, keepdim=True) - 1).clamp(min=0) * _QUIET_SHARE).long()
    noise_B1 = level_BT.gather(1, quiet_B1).nan_to_num(posinf=float(np.log(FLOOR))) * DECIBEL
    count_B1 = own_BT.sum(1, keepdim=True).clamp(min=1)
    power_BF = raw_BTF.masked_fill(~own_BT[..., None], -torch.inf).logsumexp(1) - count_B1.log()
    # What lies at the floor of the spectrogram is no sound, however quiet the recording is.
    lowest_B1 = (power_BF.amax(1, keepdim=True) - _BAND_DB / DECIBEL).clamp(min=float(np.log(4 * FLOOR)))
    centre_F = frontend.bank.argmax(1) * frontend.sample_rate / frontend.fft_size
    band_B1 = torch.where(power_BF > lowest_B1, centre_F.to(power_BF), 0.0).amax(1, keepdim=True)
    return torch.cat([noise_B1, band_B1], dim=1)


def _own(fbank_BTF: Tensor, frames_B: Tensor) -> Tensor:
    """Which frames are a clip's own (B, T)."""
    device = fbank_BTF.device
    return torch.arange(fbank_BTF.shape[1], device=device) < frames_B.to(device)[:, None]


class MeasuringPrepare(Prepare):
    """Prepares batches, and measures those that are as they were recorded on the way."""

    def __init__(self, plain: PlainFeatures, *how: Any, alters: bool = False, **amounts: Any):
        super().__init__(*how, **amounts)
        self.plain, self.alters = plain, alters

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Prepare the batch as `Prepare` does; a batch that training `alters` is not measured."""
        made = super().forward(batch, generator)
        if made["uid"] and not (self.alters and generator is not None):
            self.plain.add(made, self.frontend)
        return made


class KeptPlainFeatures:
    """Plain features of recordings in the cache, by content; `heard_as` names all else that they depend on."""

    def __init__(self, cache: Cache, heard_as: str, width: int):
        self.values, self.heard_as, self.width = KeptValues(cache), heard_as, width

    def find(self, contents: Iterable[str | None]) -> dict[str, Values]:
        """The features (P,) of those contents of which they are kept."""
        keys = {self._key(content): content for content in contents if content is not None}
        packed = self.values.find(list(keys))
        found = {keys[key]: unpacked_floats(value, 4 * self.width) for key, value in packed.items()}
        return {content: values for content, values in found.items() if values is not None}

    def keep(self, measured: Mapping[str, Values]) -> None:
        """Keep features by content."""
        with self.values:
            for content, values in measured.items():
                self.values.keep(self._key(content), packed_floats(values))

    def _key(self, content: str) -> str:
        return fingerprint_of(_FORMAT, self.heard_as, content)


def complete(
    plain: PlainFeatures,
    uids: Sequence[str],
    contents: Iterable[str | None],
    kept: KeptPlainFeatures | None,
    read: Callable[[list[str]], None],
) -> None:
    """Find the features of these recordings, and keep what was measured.

    Those that were not measured are taken from what is `kept`, and the rest is `read`.
    """
    content_of = dict(zip(uids, contents, strict=True))
    known = {} if kept is None else kept.find(content_of.values())
    there = {uid: known[content] for uid, content in content_of.items() if content in known}
    plain.take({uid: values for uid, values in there.items() if uid not in plain.found})
    read([uid for uid in uids if uid not in plain.found])
    if kept is not None:
        new = {content: plain.found[uid] for uid, content in content_of.items() if content and uid in plain.found}
        kept.keep({content: values for content, values in new.items() if content not in known})
    plain.asked.update(uids)
