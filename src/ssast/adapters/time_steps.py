"""Give the encoder's states over time for waveforms of any length, with the middle of each step in seconds.

Shapes: S samples, B windows, W samples of a window, N chosen states, T steps of time, D width.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssast.data.prepare import Prepare
from ssast.engine.hardware import Engine, wants_bf16
from ssast.engine.predictor import settings_of
from ssast.engine.windows import Cutter, Window
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.finite import check_answers

WINDOWS_AT_ONCE = 8


class Stepwise(nn.Module):
    """States over time of whole recordings, heard in windows that share half of their length.

    They are those that `ssast extract --over_time True` writes; where windows overlap a step comes from the one that
    has it farther from its edges. A waveform shorter than one window of 25 ms is padded to that. `precision` is fp32,
    bf16 or auto (bf16 where the device is made for it); weights and states stay float32, so that the model may learn.
    """

    def __init__(self, model: SSASTForAudioClassification, layers: Sequence[int], precision: str = "fp32"):
        super().__init__()
        self.model, self.layers, self.precision = model, tuple(layers), precision
        wants_bf16(torch.device("cpu"), precision)  # a wrong word is said at once
        self.frontend = settings_of(model).frontend()
        self.prepare = Prepare(self.frontend, rounding=model.rounding)
        self.cutter = Cutter.in_steps(self.frontend, 0.5, model.v)

    def forward(self, waveforms: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """For each waveform (S,) its states (T, N, D) and the middles of its steps (T,) in seconds."""
        padded = [F.pad(wave_S, (0, max(0, self.frontend.window_size - len(wave_S)))) for wave_S in waveforms]
        pieces = [(at, window) for at, wave_S in enumerate(padded) for window in self.cutter.cut(len(wave_S))]
        heard: dict[int, tuple[Tensor, Tensor]] = {}
        for numbers in self._parts([window for _, window in pieces]):
            part = [pieces[number] for number in numbers]
            cut = [padded[at][window.begin : window.end] for at, window in part]
            heard |= zip(numbers, self._heard(cut, part), strict=True)
        states: list[list[Tensor]] = [[] for _ in padded]
        times: list[list[Tensor]] = [[] for _ in padded]
        for number, (at, _) in enumerate(pieces):
            own_TND, time_T = heard[number]
            states[at].append(own_TND)
            times[at].append(time_T)
        whole = [torch.cat(one) for one in states]
        for number, states_TND in enumerate(whole):
            check_answers([f"waveform {number}"], states_TND[None], "the states over time")
        return whole, [torch.cat(one) for one in times]

    def _parts(self, windows: list[Window]) -> Iterator[list[int]]:
        """The numbers of the windows that go through the model together: they have one length."""
        lengths = self.prepare.lengths(torch.tensor([window.end - window.begin for window in windows]))
        for _, group in itertools.groupby(sorted(range(len(windows)), key=lengths.__getitem__), lengths.__getitem__):
            numbers = list(group)
            for start in range(0, len(numbers), WINDOWS_AT_ONCE):
                yield numbers[start : start + WINDOWS_AT_ONCE]

    def _heard(self, cut: list[Tensor], part: list[tuple[int, Window]]) -> list[tuple[Tensor, Tensor]]:
        """The states (T, N, D) of each window's own steps, and their times (T,)."""
        lengths_B = torch.tensor([len(wave_W) for wave_W in cut], device=cut[0].device)
        waves_BW = nn.utils.rnn.pad_sequence(cut, batch_first=True)
        frames_B = self.frontend.frames(lengths_B).clamp(max=self.frontend.target_length)
        fbank_BTF = self.frontend(waves_BW, lengths_B, length=max(self.prepare.lengths(lengths_B)))
        with Engine(waves_BW.device, wants_bf16(waves_BW.device, self.precision)).autocast():
            states_BNTD = self.model.column_states(fbank_BTF, self.layers, frames_B).float()
        begins_T = torch.arange(states_BNTD.shape[2]) * self.cutter.grid
        middles_T = self.model.v.middles[: len(begins_T)].double()
        heard = []
        for states_NTD, frames, (_, window) in zip(states_BNTD, frames_B.tolist(), part, strict=True):
            own_T = (begins_T >= window.first) & (begins_T < min(window.last, frames))
            own_TND = states_NTD[:, own_T.to(states_NTD.device)].transpose(0, 1)
            heard.append((own_TND, self.frontend.seconds(middles_T[own_T] + window.start)))
        return heard
