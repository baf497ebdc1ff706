"""A collated batch of waveforms in; the batch with the fbank that the model takes out, made on the module's device.

Shapes: B clips, S samples, T frames, F mel bins, N labels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssast.audio import augment
from ssast.audio.frontend import Frontend
from ssast.errors import AudioError, UserError


class Prepare(nn.Module):
    """Waveforms to normalised fbank in the published order, with chance only where a generator is given (training).

    `freqm` and `timem` bound the masked bins and frames, `mixup` is the probability that a clip is mixed with another,
    `mixup_alpha` shapes the share it keeps; `noise`, `cdo` (coarse dropout) and `shift` are on or off.
    """

    def __init__(
        self,
        frontend: Frontend,
        *,
        freqm: int = 0,
        timem: int = 0,
        noise: bool = False,
        cdo: bool = False,
        shift: bool = False,
        mixup: float = 0.0,
        mixup_alpha: float = 10.0,
    ):
        super().__init__()
        self.frontend = frontend
        self.freqm, self.timem, self.noise, self.cdo, self.shift = freqm, timem, noise, cdo, shift
        self.mixup, self.mixup_alpha = mixup, mixup_alpha
        for name, width, limit in (
            ("freqm", freqm, frontend.num_mel_bins),
            ("timem", timem, frontend.target_length),
        ):
            if not 0 <= width <= limit:
                raise UserError(f"{name} is {width}; expected 0 (off) to {limit}.")

    def forward(self, batch: Mapping[str, Any], generator: torch.Generator | None = None) -> dict[str, Any]:
        """The batch with "fbank" (B, target_length, F) and "frames" (B,), each clip's own frames of it; targets mixed.

        Tensors are moved to the module's device. AudioError for a recording that the loader could not read.
        """
        if batch.get("bad"):
            raise AudioError(batch["bad"][0].reason, **batch["bad"][0].names)
        device = self.frontend.window.device
        waveform_BS, lengths_B, targets_BN = (batch[name].to(device) for name in ("waveform", "lengths", "targets"))
        if generator is not None and self.mixup > 0 and len(waveform_BS):
            waveform_BS, lengths_B, targets_BN = augment.mixup(
                waveform_BS, lengths_B, targets_BN, self.mixup, generator, self.mixup_alpha
            )
        fbank_BTF = self._fbank(waveform_BS, lengths_B, generator)
        frames_B = self.frontend.frames(lengths_B).clamp(max=self.frontend.target_length)
        made = {"waveform": waveform_BS, "lengths": lengths_B, "targets": targets_BN}
        return {**batch, **made, "fbank": fbank_BTF, "frames": frames_B}

    def _fbank(self, waveform_BS: Tensor, lengths_B: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or not len(waveform_BS):
            return self.frontend(waveform_BS, lengths_B)
        fbank_BTF = self.frontend.fit(self.frontend.fbank(waveform_BS, lengths_B))
        if self.freqm:
            fbank_BTF = augment.mask_frequency(fbank_BTF, self.freqm, generator)
        if self.timem:
            fbank_BTF = augment.mask_time(fbank_BTF, self.timem, generator)
        fbank_BTF = self.frontend.normalise(fbank_BTF)
        if self.noise:
            fbank_BTF = augment.add_noise(fbank_BTF, generator)
        if self.cdo:
            fbank_BTF = augment.coarse_dropout(fbank_BTF, generator)
        if self.shift:
            fbank_BTF = augment.shift(fbank_BTF, generator)
        return fbank_BTF
