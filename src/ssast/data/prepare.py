"""Turn a batch of waveforms into the fbank that the model takes, on the device of the module.

Shapes: B clips, S samples, T frames, F mel bins, N labels.
"""

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
    those of SPECTROGRAM_ALTERATIONS by name: what bounds a masked width, or on or off. UserError where one is too wide.
    """

    def __init__(self, frontend: Frontend, *, mixup: float = 0.0, mixup_alpha: float = 10.0, **amounts: float):
        super().__init__()
        if unknown := amounts.keys() - {each.name for each in SPECTROGRAM_ALTERATIONS}:
            raise TypeError(f"there is no spectrogram augmentation {', '.join(sorted(unknown))}")
        self.frontend, self.mixup, self.mixup_alpha, self.amounts = frontend, mixup, mixup_alpha, amounts
        for each in SPECTROGRAM_ALTERATIONS:
            limit = getattr(frontend, each.at_most) if each.at_most else 1
            if not 0 <= amounts.get(each.name, 0) <= limit:
                raise UserError(f"{each.name} is {amounts[each.name]}; expected 0 (off) to {limit}.")

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The batch with "fbank" (B, target_length, F) and "frames" (B,), each clip's own frames of it; targets mixed.

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

    def _fbank(self, waveform_BS: Tensor, lengths_B: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or not len(waveform_BS):
            return self.frontend(waveform_BS, lengths_B)
        fbank_BTF = self.frontend.fit(self.frontend.fbank(waveform_BS, lengths_B))
        fbank_BTF = self.frontend.normalise(self._altered(fbank_BTF, generator, is_raw=True))
        return self._altered(fbank_BTF, generator, is_raw=False)

    def _altered(self, fbank_BTF: Tensor, generator: torch.Generator, *, is_raw: bool) -> Tensor:
        """The fbank after those augmentations that are on, before or after it was normalised."""
        for each in SPECTROGRAM_ALTERATIONS:
            amount = self.amounts.get(each.name, each.off)
            if amount and each.is_raw == is_raw:
                width = (amount,) if each.at_most else ()
                fbank_BTF = getattr(augment, each.apply)(fbank_BTF, *width, generator)
        return fbank_BTF
