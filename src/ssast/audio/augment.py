"""Alter waveforms and filterbanks by chance, as training asks for; all chance comes from the seed or generator passed.

Shapes: B clips of a batch, C channels, S samples, T frames, F mel bins, N labels, H holes.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, make_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssast.audio.alterations import ALTERATIONS
from ssast.errors import UserError

# Each alteration's probability, then each one's amount.
_SETTINGS = {each.name: 0.0 for each in ALTERATIONS} | {each.amount.name: each.amount.default for each in ALTERATIONS}
_Chances: Any = make_dataclass("_Chances", [(name, float, default) for name, default in _SETTINGS.items()], frozen=True)
HOLES = (8, 16)
HOLE_SIDE = 8
SHIFT_SHARES = (0.1, 0.05)


@dataclass(frozen=True)
class WaveformAugment(_Chances):
    """Alter a waveform by chance, as the table in `alterations.py` says.

    Each of its entries is two fields: its `name`, the probability a clip (default 0), and its amount's name. UserError:
    a value outside its range.
    """

    def __post_init__(self) -> None:
        for each in ALTERATIONS:
            _within(each.name, getattr(self, each.name), 0, 1, "it is a probability")
            _within(each.amount.name, getattr(self, each.amount.name), 0, each.amount.largest, "it is an amount")

    @property
    def active(self) -> bool:
        """Whether any alteration can happen."""
        return any(getattr(self, each.name) > 0 for each in ALTERATIONS)

    def __call__(self, waveform_CS: Tensor, sample_rate: int, *, seed: int) -> Tensor:
        """Return the altered waveform (C, S'), float32; the same seed gives the same bytes.

        Each alteration draws from the seed and its own name, so switching one on leaves the others as they were.
        """
        if not self.active or waveform_CS.shape[-1] == 0:
            return waveform_CS
        samples = np.ascontiguousarray(waveform_CS.detach().cpu().numpy(), dtype=np.float32)
        for each in ALTERATIONS:
            with _global_chance(f"{seed}/{each.name}"):
                if random.random() < getattr(self, each.name):
                    samples = each.make(getattr(self, each.amount.name), sample_rate)(samples, sample_rate)
        return torch.from_numpy(np.array(samples, dtype=np.float32, order="C"))


def mask_frequency(fbank_BTF: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Return the fbank with one band of each clip's bins at zero, of 0 to width - 1 bins."""
    band_BF = _bands(fbank_BTF.shape[0], fbank_BTF.shape[2], width, "freqm", generator).to(fbank_BTF.device)
    return fbank_BTF.masked_fill(band_BF[:, None, :], 0.0)


def mask_time(fbank_BTF: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Return the fbank with one stretch of each clip's frames at zero, of 0 to width - 1 frames."""
    band_BT = _bands(fbank_BTF.shape[0], fbank_BTF.shape[1], width, "timem", generator).to(fbank_BTF.device)
    return fbank_BTF.masked_fill(band_BT[:, :, None], 0.0)


def add_noise(fbank_BTF: Tensor, generator: torch.Generator) -> Tensor:
    """Return the fbank with noise of up to a tenth added, each clip then rolled along time by -10 to 9 frames."""
    clips, frames, _ = fbank_BTF.shape
    # Published: uniform noise times one uniform number a clip over ten; `randint(-10, 10)` leaves 10 out.
    level_B11 = _uniform((clips, 1, 1), generator) / 10
    roll_B1 = _integers(-10, 10, (clips, 1), generator).to(fbank_BTF.device)
    noise_BTF = _uniform(tuple(fbank_BTF.shape), generator)
    noisy_BTF = fbank_BTF + (noise_BTF * level_B11).to(fbank_BTF)
    source_BT = (torch.arange(frames, device=fbank_BTF.device) - roll_B1) % frames
    return noisy_BTF.gather(1, source_BT[:, :, None].expand_as(fbank_BTF))


def coarse_dropout(fbank_BTF: Tensor, generator: torch.Generator) -> Tensor:
    """Return the fbank with 8 to 16 squares of each clip, 8 frames by 8 bins, at zero."""
    clips, frames, bins = fbank_BTF.shape
    count_B1 = _integers(HOLES[0], HOLES[1] + 1, (clips, 1), generator)
    used_BH = torch.arange(HOLES[1], device=count_B1.device) < count_B1
    inside_BHT = _holes(clips, frames, generator) & used_BH[:, :, None]
    inside_BHF = _holes(clips, bins, generator)
    hit_BTF = torch.einsum("bht,bhf->btf", inside_BHT.float(), inside_BHF.float()) > 0
    return fbank_BTF.masked_fill(hit_BTF.to(fbank_BTF.device), 0.0)


def shift(fbank_BTF: Tensor, generator: torch.Generator) -> Tensor:
    """Return the fbank with each clip moved by up to a tenth of its frames and a twentieth of its bins; zeros enter."""
    clips, frames, bins = fbank_BTF.shape
    source_BT, held_BT = _moved(clips, frames, SHIFT_SHARES[0], generator)
    source_BF, held_BF = _moved(clips, bins, SHIFT_SHARES[1], generator)
    held_BTF = (held_BT[:, :, None] & held_BF[:, None, :]).to(fbank_BTF.device)
    rows_BTF = source_BT.to(fbank_BTF.device)[:, :, None].expand_as(fbank_BTF)
    columns_BTF = source_BF.to(fbank_BTF.device)[:, None, :].expand_as(fbank_BTF)
    return fbank_BTF.gather(1, rows_BTF).gather(2, columns_BTF).masked_fill(~held_BTF, 0.0)


def mixup(
    waveform_BS: Tensor,
    lengths_B: Tensor,
    targets_BN: Tensor,
    probability: float,
    generator: torch.Generator,
    alpha: float = 10.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (waveform, lengths, targets) with a share of the clips mixed with a partner out of the batch.

    lambda ~ Beta(alpha, alpha) weighs the clip and its labels, 1 - lambda the partner and its labels. Both are freed of
    the mean over their own true length first; the partner is cut or zero-padded to the clip's length, so padding stays
    zero. Clips that are not mixed stay untouched. A label that either side leaves unknown (NaN) is unknown in the mix.
    """
    _within("mixup", probability, 0, 1, "it is a probability")
    if not alpha > 0:
        raise UserError(f"mixup_alpha is {alpha}, expected a number above 0; Beta(10, 10) is the published choice")
    clips, samples = waveform_BS.shape
    chosen_B = (_uniform((clips,), generator) < probability).to(waveform_BS.device)
    partner_B = _integers(0, clips, (clips,), generator).to(waveform_BS.device)
    # torch draws no Beta from a passed generator, so the generator draws the seed of one that does.
    rng = np.random.default_rng(int(_integers(0, 2**62, (1,), generator)))
    weight_B1 = torch.from_numpy(rng.beta(alpha, alpha, (clips, 1))).to(waveform_BS)

    held_BS = torch.arange(samples, device=waveform_BS.device) < lengths_B.to(waveform_BS.device)[:, None]
    mean_B1 = (waveform_BS * held_BS).sum(1, keepdim=True) / held_BS.sum(1, keepdim=True).clamp(min=1)
    centred_BS = (waveform_BS - mean_B1) * held_BS
    mixed_BS = weight_B1 * centred_BS + (1 - weight_B1) * centred_BS[partner_B] * held_BS

    weight_BN, chosen_BN = weight_B1.to(targets_BN), chosen_B.to(targets_BN.device)[:, None]
    mixed_BN = weight_BN * targets_BN + (1 - weight_BN) * targets_BN[partner_B.to(targets_BN.device)]
    waveform_BS = torch.where(chosen_B[:, None], mixed_BS, waveform_BS)
    return waveform_BS, lengths_B, torch.where(chosen_BN, mixed_BN, targets_BN)


@contextmanager
def _global_chance(seed: str) -> Iterator[None]:
    """Seed the global `random` and `numpy.random`, which audiomentations draws from, and put both back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(seed)  # a text seeds by its SHA-512, so every process agrees
        np.random.seed(random.getrandbits(32))  # noqa: NPY002
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _within(name: str, value: float, low: float, high: float, what: str) -> None:
    """Raise a UserError unless low <= value <= high; NaN lies nowhere."""
    if not low <= value <= high:
        raise UserError(f"{name} is {value}, but {what} between {low} and {high:g}; give a value in that range")


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return numbers in [0, 1) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def _integers(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return int64 numbers in low .. high - 1 on the generator's device."""
    return torch.randint(low, high, shape, generator=generator, device=generator.device)


def _bands(clips: int, size: int, width: int, name: str, generator: torch.Generator) -> Tensor:
    """Return (B, size) bool, True on one run of a row: its length drawn below `width`, then its start."""
    if width < 0:
        raise UserError(f"{name} is {width}, expected 0 or more; 0 switches the mask off")
    width_B1 = _integers(0, max(min(width, size), 1), (clips, 1), generator)
    start_B1 = (_uniform((clips, 1), generator) * (size - width_B1 + 1)).floor()
    place = torch.arange(size, device=generator.device)
    return (place >= start_B1) & (place < start_B1 + width_B1)


def _holes(clips: int, size: int, generator: torch.Generator) -> Tensor:
    """Return (B, H, size) bool, True on the run that each hole covers."""
    side = min(HOLE_SIDE, size)
    start_BH1 = _integers(0, size - side + 1, (clips, HOLES[1], 1), generator)
    place = torch.arange(size, device=generator.device)
    return (place >= start_BH1) & (place < start_BH1 + side)


def _moved(clips: int, size: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return where each place of a moved row comes from (B, size), and whether that lay inside the row."""
    farthest = int(size * share)
    source = torch.arange(size, device=generator.device) - _integers(-farthest, farthest + 1, (clips, 1), generator)
    return source.clamp(0, size - 1), (source >= 0) & (source < size)
