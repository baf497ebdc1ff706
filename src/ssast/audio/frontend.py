"""Compute Kaldi-compatible log-mel filterbanks (fbank) of waveforms, cut or padded to one length and normalised.

Shapes: B clips, S samples, T frames, W window samples, F mel bins, N bins of the Fourier transform.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssast.errors import UserError

WINDOW_MS = 25
SHIFT_MS = 10
PREEMPHASIS = 0.97
LOW_HZ = 20.0
FLOOR = torch.finfo(torch.float32).eps
_MOST = 1e6
_FRAMES_AT_ONCE = 65536  # bounds the memory of hour-long recordings: about 0.5 GB at 16 kHz


def mel(frequency: Tensor) -> Tensor:
    """Give the mel value of frequencies in Hz, by HTK's formula."""
    return 1127.0 * torch.log(1.0 + frequency / 700.0)


def mel_bank(sample_rate: int, num_mel_bins: int, fft_size: int) -> Tensor:
    """Give the triangular filters (F, N = fft_size / 2), corners equally far apart in mel from 20 Hz to Nyquist.

    The Nyquist bin has no weight, and a filter narrower than a bin may be empty, as in Kaldi.
    """
    bins_N = mel(torch.arange(fft_size // 2) * (sample_rate / fft_size))
    low, high = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (LOW_HZ, sample_rate / 2))
    step = (high - low) / (num_mel_bins + 1)
    left_F, centre_F, right_F = (
        low + (torch.arange(num_mel_bins)[:, None] + corner) * step for corner in (0.0, 1.0, 2.0)
    )
    rise_FN = (bins_N - left_F) / (centre_F - left_F)
    fall_FN = (right_F - bins_N) / (right_F - centre_F)
    return torch.minimum(rise_FN, fall_FN).clamp(min=0.0)


def window_and_shift(sample_rate: int) -> tuple[int, int]:
    """Give the samples of one window, and those from its start to the next one's; parts of a sample are dropped."""
    return int(sample_rate * 0.001 * WINDOW_MS), int(sample_rate * 0.001 * SHIFT_MS)


def samples_of(frames: int, sample_rate: int) -> int:
    """Give how many samples so many frames take."""
    window, shift = window_and_shift(sample_rate)
    return max(0, frames - 1) * shift + window


class Frontend(nn.Module):
    """Turn batches of waveforms into the fbank that the encoder takes, always in float32, on the module's device.

    `sample_rate` [Hz] is that of the waveforms; `mean` and `std` are those of the data set's raw fbank. UserError for
    values that no fbank can have.
    """

    window: Tensor
    bank: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        num_mel_bins: int = 128,
        target_length: int = 1024,
        mean: float = -4.2677393,
        std: float = 4.5689974,
    ):
        super().__init__()
        self.sample_rate, self.num_mel_bins, self.target_length = sample_rate, num_mel_bins, target_length
        self.mean, self.std = float(mean), float(std)
        if sample_rate < 100:
            raise UserError(f"sample_rate is {sample_rate} Hz; a frame shift of 10 ms needs at least 100 Hz")
        self.window_size, self.shift = window_and_shift(sample_rate)
        self.fft_size = 1 << (self.window_size - 1).bit_length()
        self._check()
        self.register_buffer("window", torch.hann_window(self.window_size, periodic=False), persistent=False)
        self.register_buffer("bank", mel_bank(sample_rate, num_mel_bins, self.fft_size), persistent=False)

    def _check(self) -> None:
        # Each Fourier bin lies under two filters at most, so beyond fft_size filters some are empty whatever the sound.
        if not 1 <= self.num_mel_bins <= self.fft_size:
            raise UserError(
                f"num_mel_bins is {self.num_mel_bins}; at {self.sample_rate} Hz it must be from 1 to {self.fft_size}"
            )
        if self.target_length < 1:
            raise UserError(f"target_length is {self.target_length}; it must be at least 1 frame")
        # Beyond this the fbank would leave what float32 can hold.
        if not (abs(self.mean) <= _MOST and 1 / _MOST <= self.std <= _MOST):
            raise UserError(
                f"mean is {self.mean} and std {self.std}; "
                f"expected numbers up to {_MOST:.0e}, and a std of at least {1 / _MOST:.0e}"
            )

    def _apply(self, fn, recurse=True):
        """Move with `.to(device)`, but stay float32 when the model around is turned into half precision."""
        super()._apply(fn, recurse)
        device = self.window.device
        self.window = torch.hann_window(self.window_size, periodic=False).to(device)
        self.bank = mel_bank(self.sample_rate, self.num_mel_bins, self.fft_size).to(device)
        return self

    def frames(self, lengths_B: Tensor) -> Tensor:
        """Give how many whole windows fit into each clip (int64); 0 where the clip is shorter than one window."""
        whole_B = torch.div(lengths_B.long() - self.window_size, self.shift, rounding_mode="floor") + 1
        return whole_B.clamp(min=0)

    def seconds(self, frames: Tensor) -> Tensor:
        """Give the time [s] of frames counted from 0, each at the middle of its window."""
        return (frames * self.shift + self.window_size / 2) / self.sample_rate

    def levels(self, waveform_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor, int]:
        """Give the waveforms whose mean square is the power of clips, their lengths (B,), and their rate [Hz]."""
        return waveform_BS, lengths_B, self.sample_rate

    def fbank(self, waveform_BS: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the raw log-mel (B, T, F), T of the longest clip and zeros past each clip's own frames.

        `lengths` (B,) holds each clip's samples, everything behind them is ignored; None means that all are full.
        """
        return self._fbank(waveform_BS, lengths, None)

    def _fbank(self, waveform_BS: Tensor, lengths: Tensor | None, most_frames: int | None) -> Tensor:
        device = self.window.device
        with torch.autocast(device.type, enabled=False):
            waveform_BS, lengths_B, longest = self._checked(waveform_BS, lengths)
            samples_S = torch.arange(waveform_BS.shape[1], device=device)
            waveform_BS = waveform_BS.masked_fill(samples_S >= lengths_B[:, None], 0.0)
            waveform_BS = waveform_BS - waveform_BS.sum(1, keepdim=True) / lengths_B.clamp(min=1)[:, None]
            count = max(0, (longest - self.window_size) // self.shift + 1)
            count = count if most_frames is None else min(count, most_frames)
            if count == 0 or len(waveform_BS) == 0:
                return waveform_BS.new_zeros(len(waveform_BS), count, self.num_mel_bins)
            windows_BTW = waveform_BS.unfold(1, self.window_size, self.shift)[:, :count]
            pieces = windows_BTW.split(max(1, _FRAMES_AT_ONCE // len(waveform_BS)), dim=1)
            fbank_BTF = torch.cat([self._log_mel(piece_BTW) for piece_BTW in pieces], dim=1)
            own_BT = torch.arange(count, device=device) < self.frames(lengths_B)[:, None]
            return fbank_BTF.masked_fill(~own_BT[:, :, None], 0.0)

    def _checked(self, waveform_BS: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, int]:
        if waveform_BS.ndim != 2:
            raise UserError(f"the waveform has shape {tuple(waveform_BS.shape)}; expected (clips, samples)")
        clips, samples = waveform_BS.shape
        if lengths is None:
            lengths = torch.full((clips,), samples)
        if lengths.shape != (clips,):
            raise UserError(f"lengths has shape {tuple(lengths.shape)}; expected one length for each of {clips} clips")
        longest, shortest = (int(lengths.max()), int(lengths.min())) if clips else (0, 0)
        if longest > samples or shortest < 0:
            raise UserError(f"lengths go from {shortest} to {longest}; expected 0 to the waveform's {samples} samples")
        device = self.window.device
        return waveform_BS.to(device, torch.float32), lengths.to(device, non_blocking=True), longest

    def _log_mel(self, windows_BTW: Tensor) -> Tensor:
        windows_BTW = windows_BTW - windows_BTW.mean(-1, keepdim=True)
        before_BTW = torch.cat([windows_BTW[..., :1], windows_BTW[..., :-1]], dim=-1)
        windows_BTW = (windows_BTW - PREEMPHASIS * before_BTW) * self.window
        power_BTN = torch.fft.rfft(windows_BTW, n=self.fft_size).abs().square()[..., :-1]
        # In float64, so that no setting for coarse float32 products (TF32, bf16) reaches it; Apple's devices have none.
        wide = torch.float32 if power_BTN.device.type == "mps" else torch.float64
        energy_BTF = (power_BTN.to(wide) @ self.bank.T.to(wide)).float()
        return energy_BTF.clamp(min=FLOOR).log()

    def fit(self, fbank_BTF: Tensor, length: int | None = None) -> Tensor:
        """Cut at the end or pad with zeros to (B, length, F), `length` frames or the target_length."""
        length = self.target_length if length is None else length
        missing = length - fbank_BTF.shape[1]
        return F.pad(fbank_BTF, (0, 0, 0, missing)) if missing > 0 else fbank_BTF[:, :length]

    def normalise(self, fbank_BTF: Tensor) -> Tensor:
        """Shift and scale by the data set's statistics."""
        # Published: divides by twice the std, and padding is normalised too (+0.467 with the default statistics).
        return (fbank_BTF - self.mean) / (2 * self.std)

    def forward(self, waveform_BS: Tensor, lengths: Tensor | None = None, *, length: int | None = None) -> Tensor:
        """Give the normalised fbank (B, target_length, F), or (B, length, F); frames beyond it are not computed."""
        length = self.target_length if length is None else length
        return self.normalise(self.fit(self._fbank(waveform_BS, lengths, length), length))
