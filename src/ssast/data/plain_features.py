"""Measure of each recording what needs no model: mean and deviation of its spectrogram, its loudness, its length.

A batch is measured on its way to a model, so no recording is read for it; what was measured is kept on this machine.
Shapes: B clips, S samples, T frames, F mel bins, R rows, P plain features (2 F + 2).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssast.data.batch import Batch
from ssast.data.features import Values, keep_floats, kept_floats
from ssast.data.prepare import Prepare
from ssast.data.storage.cache import Cache
from ssast.data.storage.fingerprints import fingerprint_of

_FORMAT = "plain 1"
_SILENCE = 1e-10
"""Added to the power of a recording, so that silence has a loudness (-100 dB)."""


class PlainFeatures:
    """The plain features of the recordings that were prepared so far, by uid; of a windowed one those of its start."""

    def __init__(self) -> None:
        self.found: dict[str, NDArray[np.float32]] = {}

    def add(self, made: Batch, sample_rate: int) -> None:
        """Measure those recordings of a prepared batch that were not met before."""
        new = [row for row, uid in enumerate(made["uid"]) if uid not in self.found]
        if not new:
            return
        with torch.no_grad():
            values_BP = plain_values(made["fbank"], made["frames"], made["waveform"], made["lengths"], sample_rate)
        rows_BP = values_BP.float().cpu().numpy()
        for row in new:
            self.found.setdefault(made["uid"][row], rows_BP[row].copy())

    def take(self, found: Mapping[str, NDArray[np.float32]]) -> None:
        """Take what other processes measured, or what was kept."""
        self.found |= found


def plain_values(
    fbank_BTF: Tensor, frames_B: Tensor, waveform_BS: Tensor, lengths_B: Tensor, sample_rate: int
) -> Tensor:
    """Mean and deviation of each mel bin over a clip's own frames, its loudness [dB], and its seconds (B, P)."""
    device = fbank_BTF.device
    own_BT1 = (torch.arange(fbank_BTF.shape[1], device=device) < frames_B.to(device)[:, None])[..., None]
    count_B1 = own_BT1.sum(1).clamp(min=1)
    mean_BF = (fbank_BTF * own_BT1).sum(1) / count_B1
    away_BTF = (fbank_BTF - mean_BF[:, None]) * own_BT1
    deviation_BF = ((away_BTF**2).sum(1) / count_B1).sqrt()
    lengths_B1 = lengths_B.to(device).clamp(min=1)[:, None]
    power_B1 = (waveform_BS.to(device) ** 2).sum(1, keepdim=True) / lengths_B1  # what lies behind the length is zero
    loudness_B1 = 10 * torch.log10(power_B1 + _SILENCE)
    return torch.cat([mean_BF, deviation_BF, loudness_B1, lengths_B1 / sample_rate], dim=1)


class MeasuringPrepare(Prepare):
    """Prepares batches, and measures those that are as they were recorded on the way."""

    def __init__(self, plain: PlainFeatures, *how: Any, alters: bool = False, **amounts: Any):
        super().__init__(*how, **amounts)
        self.plain, self.alters = plain, alters

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """As `Prepare`; a batch that training `alters` is not measured."""
        made = super().forward(batch, generator)
        if made["uid"] and not (self.alters and generator is not None):
            self.plain.add(made, self.frontend.sample_rate)
        return made


class KeptPlainFeatures:
    """Plain features of recordings in the cache, by content; `heard_as` names all else that they depend on."""

    def __init__(self, cache: Cache, heard_as: str, width: int):
        self.cache, self.heard_as, self.width = cache, heard_as, width

    def find(self, content: str | None) -> Values | None:
        """The features (P,) of a recording; None where they are not kept, or were damaged."""
        return None if content is None else kept_floats(self.cache, self._key(content), 4 * self.width)

    def keep(self, content: str | None, values: Values) -> None:
        """Keep the features of a recording, complete or not at all."""
        if content is not None:
            keep_floats(self.cache, self._key(content), values)

    def _key(self, content: str) -> str:
        return fingerprint_of(_FORMAT, self.heard_as, content)


def complete(
    plain: PlainFeatures,
    uids: Sequence[str],
    contents: Iterable[str | None],
    kept: KeptPlainFeatures | None,
    read: Callable[[list[str]], None],
) -> Values:
    """The features of these recordings (R, P), NaN where one cannot be used.

    Those that were measured are kept, those that were not are taken from what is `kept`, and the rest is `read`.
    """
    content_of = dict(zip(uids, contents, strict=True))
    known = {uid: kept.find(content_of[uid]) for uid in uids if kept is not None}
    plain.take({uid: values for uid, values in known.items() if values is not None and uid not in plain.found})
    read([uid for uid in uids if uid not in plain.found])
    for uid, values in known.items():
        if kept is not None and values is None and uid in plain.found:
            kept.keep(content_of[uid], plain.found[uid])
    width = len(next(iter(plain.found.values()), []))
    nothing = np.full(width, np.nan, dtype=np.float32)
    return np.stack([plain.found.get(uid, nothing) for uid in uids]) if uids else np.empty((0, width), np.float32)
