"""Hold a saved model of any kind as one record, and load its tensors exactly or say what differs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssast.errors import UserError
from ssast.model.blocks import fit_positions, patch_grid
from ssast.model.encoder import SSASTEncoder
from ssast.model.finite import check_weights
from ssast.safe_reading import brief

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MOST_HEADER_BYTES = 4 << 20
"""Of a safetensors file: 20,000 are usual."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved model: `source` as it was named, `config` with its class and sizes, `state_dict` in float32.

    `beside` holds the text files that travel with it: its thresholds and its card. `home` is its folder on this disk.
    UserError: NaN, infinity or absurd numbers among the weights.
    """

    source: str
    config: dict[str, Any]
    state_dict: dict[str, Tensor]
    beside: dict[str, str] = field(default_factory=dict)
    home: Path | None = None

    def __post_init__(self) -> None:
        # Every way in leads through here: own folders, published and older files, the hub.
        check_weights(self.state_dict, self.source)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along frequency and time that its positions belong to."""
        sizes = {name: self.config[name] for name in ("fshape", "tshape", "num_mel_bins", "target_length")}
        strides = {name: self.config.get(name) for name in ("fstride", "tstride")}
        return patch_grid(
            **sizes, fstride=strides["fstride"] or sizes["fshape"], tstride=strides["tstride"] or sizes["tshape"]
        )

    def encoder_state(self, encoder: SSASTEncoder) -> dict[str, Tensor]:
        """The encoder's entries under the encoder's own names, positions fitted to `encoder`'s patch grid."""
        state = {key.removeprefix("v."): value for key, value in self.state_dict.items() if key.startswith("v.")}
        if self.grid != encoder.grid and "pos_embed" in state:
            self._check_positions(state["pos_embed"], encoder)
            state["pos_embed"] = fit_positions(state["pos_embed"], self.grid, encoder.grid, encoder.num_prefix)
        return state

    def _check_positions(self, positions_1LD: Tensor, encoder: SSASTEncoder) -> None:
        """UserError unless there is one position for each patch that the config describes."""
        expected = (1, encoder.num_prefix + self.grid[0] * self.grid[1], encoder.width)
        if tuple(positions_1LD.shape) != expected:
            raise UserError(
                f"{self.source} has position embeddings of shape {tuple(positions_1LD.shape)}, but its config.json "
                f"describes {expected}; save the model again, or ask who made it.",
                path=self.source,
            )


def difference(expected: Mapping[str, torch.Size], found: Mapping[str, torch.Size]) -> str:
    """How two lists of tensors differ, at most three differences a kind; empty where they agree."""
    kinds = {
        "missing": [key for key in expected if key not in found],
        "unexpected": [key for key in found if key not in expected],
        "of another shape": [
            f"{key} {tuple(found[key])} instead of {tuple(expected[key])}"
            for key in expected
            if key in found and found[key] != expected[key]
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(brief(name, 120) for name in names[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
        if names
    )


def shapes(state_dict: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of every tensor, by name."""
    return {key: value.shape for key, value in state_dict.items()}


def load_exactly(module: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Give the module these tensors as its own; UserError that lists what differs unless names and shapes agree."""
    differs = difference(shapes(module.state_dict()), shapes(state_dict))
    if differs:
        raise UserError(
            f"the weights in {source} do not fit the model they should fill ({differs}); check the sizes.", path=source
        )
    module.load_state_dict({key: value.clone() for key, value in state_dict.items()}, assign=True)


def check_header(weights_file: Path) -> None:
    """ValueError where the list of tensors at the head of a safetensors file is longer than any model's."""
    with open(weights_file, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"its list of tensors takes {length} bytes")


def looks_like_hub_name(name: str) -> bool:
    """Whether a name is read as organisation/model on the hub: two plain parts, the first not a folder here."""
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).parent.exists()
