"""Offer a model as an upstream of s3prl: its downstream tasks get the hidden states of every layer.

s3prl itself is not needed here. In its checkout a file `s3prl/upstream/ssast_folder/hubconf.py` is one line,
`from ssast.adapters.s3prl import ssast as ssast_folder`; its `-u ssast_folder -k FOLDER` then takes a model folder.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ssast.adapters.embedding import DEFAULT, embedding_model
from ssast.adapters.time_steps import Stepwise
from ssast.errors import UserError
from ssast.model.encoder import NUM_STATES

_RATE = 16000


class UpstreamExpert(nn.Module):
    """A model as an upstream of s3prl: its 14 states over time, from the embedded input to the normalised last one.

    `ckpt` is a model folder, a published file or name, or a hub name (None: SSAST-Base-Frame-400). The encoder learns
    with the downstream task only with `freeze=False`; s3prl's own `-f` asks for gradients, which then reach it.
    `precision` is fp32, bf16, or auto: bf16 where the device to which s3prl moves the model is made for it.
    UserError: a model for another rate than 16 kHz.
    """

    def __init__(
        self,
        ckpt: str | None = None,
        model_config: str | None = None,
        *,
        freeze: bool = True,
        precision: str = "fp32",
        **_: Any,
    ):
        super().__init__()
        model = embedding_model(ckpt or DEFAULT)
        model.freeze = freeze
        model.v.requires_grad_(not freeze)
        self.steps = Stepwise(model, range(NUM_STATES), precision)
        if self.steps.frontend.sample_rate != _RATE:
            raise UserError(f"s3prl gives {_RATE} Hz, but this model hears {self.steps.frontend.sample_rate} Hz.")

    def get_downsample_rates(self, key: str) -> int:
        """Samples from one step to the next, the same for every key."""
        return self.steps.cutter.grid * self.steps.frontend.shift

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Tensor | list[Tensor]]:
        """`hidden_states`: 14 tensors (waveforms, steps of the longest, width), zeros behind shorter ones."""
        states, _ = self.steps(wavs)
        padded_BTND = nn.utils.rnn.pad_sequence(states, batch_first=True)
        hidden = list(padded_BTND.unbind(2))
        return {"hidden_states": hidden, "last_hidden_state": hidden[-1]}


def ssast(*given: Any, **more: Any) -> UpstreamExpert:
    """An entry for s3prl's hubconf: `ckpt` and `model_config`, by place or by name."""
    return UpstreamExpert(*given, **more)
