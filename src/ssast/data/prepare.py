"""Say how audio is heard, and turn a batch of waveforms into the fbank that a model takes, on the module's device.

The settings have one name for each number; model folders keep them.
Shapes: B clips, S samples, T frames, F mel bins, N labels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ssast.audio import augment
from ssast.audio.alterations import SPECTROGRAM_ALTERATIONS
from ssast.audio.frontend import Frontend
from ssast.audio.power_spectrogram import LogMelFrontend
from ssast.data.batch import Batch
from ssast.errors import AudioError, UserError

OPTION_OF = {"sample_rate": "resample_rate", "mean": "dataset_mean", "std": "dataset_std"}
"""The options that the seed calls otherwise."""
USUAL_OVERLAP = 0.5
"""The share of a window that it has in common with the next."""


@dataclass(frozen=True)
class AudioSettings:
    """How audio is heard.

    `sample_rate` [Hz] that recordings are brought to, `num_mel_bins` and `target_length` [frames of 10 ms] of the
    spectrogram, `mean` and `std` of the data set's log-mel values, whether channels are averaged (`reduce`; else the
    first is used), and how much of each recording counts (`clip_length` [s], 0: all). With a `window_overlap`, a share
    of a window, recordings are scored and embedded whole, in windows (None: their beginning is). `spectrograms` says
    that recordings come as power spectrograms; that is true of data, so no model folder keeps it.
    """

    sample_rate: int = 16000
    num_mel_bins: int = 128
    target_length: int = 1024
    mean: float = -4.2677393
    std: float = 4.5689974
    reduce: bool = True
    clip_length: float = 0.0
    window_overlap: float | None = None
    spectrograms: bool = False

    @classmethod
    def kept(cls, frontend: Mapping[str, Any] | None, **others: Any) -> "AudioSettings":
        """The settings that a model folder keeps, `others` before them, defaults for what neither has."""
        values = {**(frontend or {}), **others}
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    def share(self, given: float | None = None) -> float:
        """What windows have in common: as `given`, else as the model was fine-tuned, else half."""
        return next(share for share in (given, self.window_overlap, USUAL_OVERLAP) if share is not None)

    def entries(self) -> dict[str, object]:
        """The values by name, as model folders keep them; what is None is left out."""
        found = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        return found if self.spectrograms else {name: found[name] for name in found if name != "spectrograms"}

    def frontend(self) -> Frontend:
        """The frontend that makes fbanks with these settings."""
        kind = LogMelFrontend if self.spectrograms else Frontend
        return kind(self.sample_rate, self.num_mel_bins, self.target_length, self.mean, self.std)

    def conf(self) -> dict[str, object]:
        """Return the settings as the seed's `audio_conf`, which data sets take."""
        values = replace(self, window_overlap=None, spectrograms=False).entries()
        return {"resample_rate" if name == "sample_rate" else name: value for name, value in values.items()}


class Prepare(nn.Module):
    """Waveforms to normalised fbank in the published order, with chance only where a generator is given (training).

    `mixup` is the probability that a clip is mixed with another, `mixup_alpha` shapes the share it keeps. `amounts` are
    those of SPECTROGRAM_ALTERATIONS by name: what bounds a masked width, or on or off. With `rounding` (of a model that
    keeps padding out) a batch's fbank is as long as that says of the longest clip. UserError where an amount is too
    wide.
    """

    def __init__(
        self,
        frontend: Frontend,
        *,
        rounding: Callable[[int], int] | None = None,
        mixup: float = 0.0,
        mixup_alpha: float = 10.0,
        **amounts: float,
    ):
        super().__init__()
        if unknown := amounts.keys() - {each.name for each in SPECTROGRAM_ALTERATIONS}:
            raise TypeError(f"there is no spectrogram augmentation {', '.join(sorted(unknown))}")
        self.frontend, self.rounding = frontend, rounding
        self.mixup, self.mixup_alpha, self.amounts = mixup, mixup_alpha, amounts
        for each in SPECTROGRAM_ALTERATIONS:
            limit = getattr(frontend, each.at_most) if each.at_most else 1
            if not 0 <= amounts.get(each.name, 0) <= limit:
                raise UserError(f"{each.name} is {amounts[each.name]}; expected 0 (off) to {limit}.")

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The batch with "fbank" (B, T, F) and "frames" (B,), each clip's own frames of it; targets mixed.

        T is the target_length, or with `rounding` the batch's own length.
        Tensors are moved to the module's device. AudioError for a recording that the loader could not read.
        """
        if batch.get("bad"):
            raise AudioError(batch["bad"][0].reason, **batch["bad"][0].names)
        device = self.frontend.window.device
        # Lengths stay where they are: the frontend asks for their numbers, and a GPU would have to be waited for.
        waveform_BS, lengths_B = batch["waveform"].to(device), batch["lengths"]
        targets_BN = batch["targets"].to(device)
        if generator is not None and self.mixup > 0 and len(waveform_BS):
            waveform_BS, lengths_B, targets_BN = augment.mixup(
                waveform_BS, lengths_B, targets_BN, self.mixup, generator, self.mixup_alpha
            )
        fbank_BTF = self._fbank(waveform_BS, lengths_B, generator)
        frames_B = self.frontend.frames(lengths_B).clamp(max=self.frontend.target_length).to(device, non_blocking=True)
        made: Batch = {"waveform": waveform_BS, "lengths": lengths_B, "targets": targets_BN}
        return {**batch, **made, "fbank": fbank_BTF, "frames": frames_B}

    def lengths(self, samples_B: Tensor) -> list[int]:
        """How many frames of each clip of so many samples go through the model."""
        if self.rounding is None:
            return [self.frontend.target_length] * len(samples_B)
        frames = self.frontend.frames(samples_B).clamp(max=self.frontend.target_length)
        return list(map(self.rounding, frames.tolist()))

    def _fbank(self, waveform_BS: Tensor, lengths_B: Tensor, generator: torch.Generator | None) -> Tensor:
        length = max(self.lengths(lengths_B), default=self.frontend.target_length)
        if generator is None or not len(waveform_BS):
            return self.frontend(waveform_BS, lengths_B, length=length)
        # Altered at the whole length, so that a place is hit with the same chance as in a clip that is padded.
        fbank_BTF = self.frontend.fit(self.frontend.fbank(waveform_BS, lengths_B))
        fbank_BTF = self.frontend.normalise(self._altered(fbank_BTF, generator, is_raw=True))
        return self._altered(fbank_BTF, generator, is_raw=False)[:, :length]

    def _altered(self, fbank_BTF: Tensor, generator: torch.Generator, *, is_raw: bool) -> Tensor:
        """The fbank after those augmentations that are on, before or after it was normalised."""
        for each in SPECTROGRAM_ALTERATIONS:
            amount = self.amounts.get(each.name, each.off)
            if amount and each.is_raw == is_raw:
                width = (amount,) if each.at_most else ()
                fbank_BTF = getattr(augment, each.apply)(fbank_BTF, *width, generator)
        return fbank_BTF
