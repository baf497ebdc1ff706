"""Turn power spectrograms of a short-time Fourier transform into the log-mel frames that the frontend makes of sound.

They are those that torchaudio makes with n_fft = win_length = 400 and hop_length = 160 at 16 kHz: a periodic Hann
window, centred frames, no pre-emphasis. The frontend's frames lie 2.5 ms from theirs, its Fourier bins are finer, it
weakens low frequencies before the window; all that is brought over as well as power alone allows.
`benchmarks/spectrograms.py` measures what is left.

Shapes: B clips, S values, T frames, N Fourier bins, F mel bins.
"""

import math

import torch
from torch import Tensor

from ssast.audio.frontend import FLOOR, PREEMPHASIS, Frontend, mel_bank
from ssast.errors import AudioError

POWER_RATE, FFT_SIZE, HOP = 16000, 400, 160
POWER_BINS = FFT_SIZE // 2 + 1
_OUR_FFT = 512
_LATER = (FFT_SIZE / 2) / HOP - 1
"""By so many hops our first frame, which begins with the sound, lies behind their second one."""
_LEAST = 1e-12
_FRAMES_A_SECOND = POWER_RATE // HOP


def check_power(power_NT: Tensor) -> Tensor:
    """Return the spectrogram as (T, N); AudioError where it is no power spectrogram of 201 bins."""
    rows, columns = power_NT.shape if power_NT.dim() == 2 else (0, 0)
    if rows != POWER_BINS:
        turned = ", so time and frequency are exchanged: turn it round" if columns == POWER_BINS else ""
        raise AudioError(
            f"its spectrogram has {rows} rows of {columns} values, expected {POWER_BINS} frequencies (n_fft "
            f"{FFT_SIZE} at {POWER_RATE} Hz), each with a value a frame{turned}"
        )
    if columns < 4:
        raise AudioError(f"its spectrogram has {columns} frames, expected at least 4 (30 ms); remove it")
    if not bool(torch.isfinite(power_NT).all()):
        raise AudioError("its spectrogram holds values that are no numbers (NaN or infinite); compute it anew")
    if bool((power_NT < 0).any()):
        raise AudioError(
            "its spectrogram holds negative values, so they are decibels or logarithms, and linear power is expected; "
            "decibels that were cut at a floor, or that left frames out, do not give the embeddings of the sound"
        )
    return power_NT.T


def log_mel_of_power(power_TN: Tensor, num_mel_bins: int = 128) -> Tensor:
    """The log-mel frames (T', F) as the frontend makes them of the sound, without those that reach over its ends."""
    # Our frame k is centred on sample 160 k + 200, theirs on 160 k; a straight line between their logarithms.
    first = math.floor(_LATER) + 1
    share = _LATER - math.floor(_LATER)
    log_TN = power_TN.double().clamp(min=_LEAST).log()
    frames = max(1, len(log_TN) - 3)
    log_TN = (1 - share) * log_TN[first : first + frames] + share * log_TN[first + 1 : first + 1 + frames]
    bins_N = torch.arange(_OUR_FFT // 2, dtype=torch.float64)
    # Between bins amplitudes come nearest, of those, powers and logarithms (tried on real speech).
    power_TN = _at((log_TN / 2).exp(), bins_N * FFT_SIZE / _OUR_FFT).square()
    weakened_N = 1 + PREEMPHASIS**2 - 2 * PREEMPHASIS * torch.cos(2 * math.pi * bins_N / _OUR_FFT)
    energy_TF = (power_TN * weakened_N) @ mel_bank(POWER_RATE, num_mel_bins, _OUR_FFT).double().T
    return energy_TF.clamp(min=FLOOR).log().float()


def _at(values_TN: Tensor, places_N: Tensor) -> Tensor:
    """The values between bins, on straight lines."""
    below_N = places_N.floor().long()
    share_N = places_N - below_N
    return (1 - share_N) * values_TN[:, below_N] + share_N * values_TN[:, below_N + 1]


class LogMelFrontend(Frontend):
    """A frontend whose clips are no waveforms but log-mel frames, one after the other in a row of values.

    So they go the way of waveforms: padded with zeros to a batch (B, S), with `lengths` in values.
    """

    def frames(self, lengths_B: Tensor) -> Tensor:
        """Give how many frames each clip has."""
        return torch.div(lengths_B.long(), self.num_mel_bins, rounding_mode="floor")

    def levels(self, waveform_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor, int]:
        """Give the level of each frame (B, T), how many there are (B,), and how many a second has.

        Their mean square is the power of the sound after pre-emphasis.
        """
        frames_B = self.frames(lengths_B)
        log_BTF = self._folded(waveform_BS, waveform_BS.shape[1] // self.num_mel_bins)
        mean_square = 2 / (self.fft_size * self.window.square().sum())
        level_BT = (log_BTF.exp().sum(2) * mean_square).sqrt()
        own_BT = torch.arange(level_BT.shape[1], device=level_BT.device) < frames_B.to(level_BT.device)[:, None]
        return level_BT * own_BT, frames_B, _FRAMES_A_SECOND

    def _folded(self, waveform_BS: Tensor, count: int) -> Tensor:
        return waveform_BS[:, : count * self.num_mel_bins].unflatten(1, (count, self.num_mel_bins))

    def _fbank(self, waveform_BS: Tensor, lengths: Tensor | None, most_frames: int | None) -> Tensor:
        waveform_BS, lengths_B, longest = self._checked(waveform_BS, lengths)
        count = longest // self.num_mel_bins
        count = count if most_frames is None else min(count, most_frames)
        if count == 0 or len(waveform_BS) == 0:
            return waveform_BS.new_zeros(len(waveform_BS), count, self.num_mel_bins)
        own_BT = torch.arange(count, device=waveform_BS.device) < self.frames(lengths_B)[:, None]
        return self._folded(waveform_BS, count).masked_fill(~own_BT[:, :, None], 0.0)
