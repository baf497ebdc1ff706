"""Turn a batch of waveforms into the fbank that the model takes, on the device of the module.

Shapes: B clips, S samples, T frames, F mel bins, N labels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssast.audio import augment
from ssast.audio.alterations import SPECTROGRAM_ALTERATIONS
from ssast.audio.frontend import Frontend
from ssast.data.batch import Batch
from ssast.errors import AudioError, UserError


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
