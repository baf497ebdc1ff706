"""Encode spectrograms: cut them into patches, make tokens of these, and give the states and attention of every layer.

Shapes: B batch, T frames, F mel bins, P patches, K values a patch (fshape * tshape), L tokens (prefix + patches),
D width, H heads, N states. A name's suffix gives its axes, so `tokens_BLD` is (B, L, D).
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.blocks import EPS, Block, LayerNorm, PatchEmbed, first_columns, patch_grid, rounded_length, sinusoids

DEPTH = 12
NUM_STATES = DEPTH + 2


@dataclass(frozen=True)
class Size:
    """Width D, attention heads H and prefix tokens (class token, and the distillation token where there is one)."""

    width: int
    heads: int
    prefix: int = 2


SIZES = {
    "tiny": Size(192, 3),
    "small": Size(384, 6),
    "base": Size(768, 12),
    "base_nokd": Size(768, 12, prefix=1),
}


@dataclass(frozen=True)
class Trace:
    """States, layer + 1 of (B, L, D), and the attention (B, H, L, L) of every block that ran, in one graph."""

    states: list[Tensor]
    attentions: list[Tensor]


def check_layer(layer: int) -> int:
    """The state's index 0..13 for a layer given as 0..13 or -1 (the last); UserError for anything else."""
    if isinstance(layer, bool) or not isinstance(layer, Integral) or not -1 <= int(layer) < NUM_STATES:
        raise UserError(
            f"layer {layer!r} does not exist; give 0 (embedded input), 1 to {DEPTH} (block outputs), "
            f"{NUM_STATES - 1} or -1 (normalised output of the last block)."
        )
    return int(layer) % NUM_STATES


def check_choice(name: str, value: object, choices: object) -> None:
    """Raise a UserError that names the option and its choices unless the value is one of them."""
    known = list(choices)  # type: ignore[call-overload]
    if value not in known:
        raise UserError(f"{name} {value!r} is unknown; choose one of {', '.join(map(str, known))}.")


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Weights drawn inside come from the seed and leave the ambient state alone; with None, from the ambient state."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class SSASTEncoder(nn.Module):
    """The Audio Spectrogram Transformer: fbank -> patches -> prefix and patch tokens -> 12 blocks -> 14 states.

    What sets it apart from a plain vision transformer: patches are slices of the whole height (frames) or squares, and
    may overlap; one or two prefix tokens stand in front; positions are learned, start as sinusoids, and are carried
    over to other grids; padding can be kept out of the attention; every state is given, from the input's (0) to the
    normalised last one (13).

    Source: Gong et al. 2022, "SSAST: Self-Supervised Audio Spectrogram Transformer", AAAI, arXiv 2110.09784. Parameter
    names are the published ones, patches are ordered frequency-major (index = f_index * t_dim + t_index).

    `model_size` is tiny, small, base or base_nokd; `fshape`, `fstride` and `num_mel_bins` count mel bins, `tshape`,
    `tstride` and `target_length` count frames; a stride of None equals the patch shape. `grid` is (f_dim, t_dim).
    Initial weights come from torch's ambient random state. UserError: unknown size, no room for a single patch.
    """

    def __init__(
        self,
        model_size: str = "base",
        fshape: int = 128,
        tshape: int = 2,
        fstride: int | None = None,
        tstride: int | None = None,
        num_mel_bins: int = 128,
        target_length: int = 1024,
    ):
        super().__init__()
        check_choice("model_size", model_size, SIZES)
        size = SIZES[model_size]
        self.shape = (fshape, tshape)
        self.stride = (fshape if fstride is None else fstride, tshape if tstride is None else tstride)
        self.num_mel_bins, self.target_length = num_mel_bins, target_length
        self.grid = patch_grid(*self.shape, *self.stride, num_mel_bins, target_length)
        self.num_patches, self.num_prefix = self.grid[0] * self.grid[1], size.prefix
        self.width, self.heads = size.width, size.heads
        self.cls_token = nn.Parameter(torch.empty(1, 1, size.width))
        if size.prefix == 2:
            self.dist_token = nn.Parameter(torch.empty(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.empty(1, size.prefix + self.num_patches, size.width))
        self.patch_embed = PatchEmbed(size.width, self.shape, self.stride)
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(DEPTH))
        self.norm = LayerNorm(size.width, eps=EPS)
        if not self.pos_embed.is_meta:  # there a file's weights follow; and torch loads its compiler for such sums
            self._initialise()

    @property
    def middles(self) -> Tensor:
        """The middle of each step of time, that is of a column of patches, in frames: (steps,)."""
        return torch.arange(self.grid[1]) * self.stride[1] + (self.shape[1] - 1) / 2

    def shortened(self, length: int) -> Self:
        """The same encoder as it hears clips of so many frames (`rounded`), as one made for that length.

        Weights are shared, positions are copied and do not learn.
        """
        other = copy.copy(self)
        other._parameters = dict(self._parameters)
        other.target_length, other.grid = length, (self.grid[0], (length - self.shape[1]) // self.stride[1] + 1)
        other.num_patches = other.grid[0] * other.grid[1]
        other.pos_embed = nn.Parameter(self._positions(other.num_patches).detach(), requires_grad=False)
        return other

    def _initialise(self) -> None:
        """Xavier weights, sinusoidal positions (both train on); the prefix as published, normal with deviation 0.02.

        Published: everything normal with deviation 0.02; there, small data sets stay on the first plateau of the
        pretext task (docs/decisions.md has the curves).
        """
        for tokens in (*self._prefix(), self.pos_embed):
            nn.init.trunc_normal_(tokens, std=0.02)
        with torch.no_grad():
            self.pos_embed[0, self.num_prefix :] = sinusoids(self.grid, self.width)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def _prefix(self) -> list[nn.Parameter]:
        return [self.cls_token, self.dist_token] if self.num_prefix == 2 else [self.cls_token]

    def rounded(self, frames: int) -> int:
        """How many frames of a clip with so many own frames go through the model where padding is kept out."""
        return rounded_length(frames, self.grid[1], self.shape[1], self.stride[1], self.target_length)

    def check(self, fbank_BTF: Tensor, *, may_be_short: bool = False) -> None:
        """Raise a UserError unless the fbank is (B, target_length, num_mel_bins), or may be short and has a patch."""
        least = self.shape[1] if may_be_short else self.target_length
        is_sound = fbank_BTF.dim() == 3 and fbank_BTF.shape[2] == self.num_mel_bins
        if not is_sound or not least <= fbank_BTF.shape[1] <= self.target_length:
            raise UserError(
                f"the fbank has shape {tuple(fbank_BTF.shape)}, but this model takes (clips, {self.target_length} "
                f"frames, {self.num_mel_bins} mel bins); prepare it with the model's target_length and num_mel_bins."
            )

    def patches(self, fbank_BTF: Tensor) -> Tensor:
        """Patch values (B, P, K), patches and their values frequency-major; UserError for a fbank of another shape.

        Of a short fbank, whose padding was hidden, they are those of the first columns of the grid.
        """
        self.check(fbank_BTF, may_be_short=True)
        grid_BftFT = fbank_BTF.transpose(1, 2).unfold(1, self.shape[0], self.stride[0])
        grid_BftFT = grid_BftFT.unfold(2, self.shape[1], self.stride[1])
        return grid_BftFT.flatten(3).flatten(1, 2)

    def embed(self, patches_BPK: Tensor) -> Tensor:
        """Linear projection of patch values: (B, P, K) -> (B, P, D)."""
        return self.patch_embed(patches_BPK)

    def tokens(self, embedded_BPD: Tensor) -> Tensor:
        """Prefix tokens set in front and positions added: (B, P, D) -> (B, L, D)."""
        prefix = [token.expand(embedded_BPD.shape[0], -1, -1) for token in self._prefix()]
        return torch.cat([*prefix, embedded_BPD], dim=1) + self._positions(embedded_BPD.shape[1])

    def _positions(self, patches: int) -> Tensor:
        """The positions (1, L, D) of the prefix and of so many patches."""
        if patches == self.num_patches:
            return self.pos_embed
        return first_columns(self.pos_embed, self.grid, patches // self.grid[0], self.num_prefix)

    def placed(self, embedded_BMD: Tensor, index_BM: Tensor, patches: int) -> Tensor:
        """The positions of those of `patches` that each clip's row of `index_BM` names, added to tokens (B, M, D)."""
        return embedded_BMD + F.embedding(index_BM, self._positions(patches)[0, self.num_prefix :])

    def renumbered(self, index_BM: Tensor, old: int, new: int) -> Tensor:
        """Numbers of patches of a grid of `old` columns as those of one of `new` columns."""
        return index_BM // old * new + index_BM % old if old != new else index_BM

    def prefix_tokens(self, batch: int) -> Tensor:
        """The prefix tokens with their positions: (B, prefix, D)."""
        tokens_1CD = torch.cat([*self._prefix()], dim=1) + self.pos_embed[:, : self.num_prefix]
        return tokens_1CD.expand(batch, -1, -1)

    def hide_padding(self, fbank_BTF: Tensor, frames_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The fbank with zeros past each clip's own frames, and which patches (B, P) hold at least one own frame.

        Zeros, the mean of a normalised fbank, keep a patch that is only partly padding free of what the padding holds.
        Without frame counts the fbank comes back as it is, with None; with them it may be short, if all own frames are
        in it (`rounded`).
        """
        self.check(fbank_BTF, may_be_short=frames_B is not None)
        if frames_B is None:
            return fbank_BTF, None
        frames_B1 = torch.as_tensor(frames_B, device=fbank_BTF.device).reshape(-1, 1)
        if frames_B1.shape[0] != fbank_BTF.shape[0]:
            raise UserError(
                f"{frames_B1.shape[0]} frame counts came with {fbank_BTF.shape[0]} clips; give one for each clip."
            )
        own_BT = torch.arange(fbank_BTF.shape[1], device=fbank_BTF.device) < frames_B1
        columns = (fbank_BTF.shape[1] - self.shape[1]) // self.stride[1] + 1
        start_P = torch.arange(columns, device=fbank_BTF.device).repeat(self.grid[0]) * self.stride[1]
        return fbank_BTF.masked_fill(~own_BT.unsqueeze(2), 0), start_P < frames_B1

    def key_mask(self, valid_BP: Tensor | None) -> Tensor | None:
        """(B, 1, 1, L), True where a token may be attended to: the prefix always, patches where valid."""
        return None if valid_BP is None else F.pad(valid_BP, (self.num_prefix, 0), value=True)[:, None, None]

    def _first(self, layer: int) -> list[Block]:
        """The blocks that run up to a state."""
        return cast(list[Block], list(self.blocks)[:layer])

    def stream(self, tokens_BLD: Tensor, layer: int = -1, mask: Tensor | None = None) -> Iterator[Tensor]:
        """The states (B, L, D) one by one from the tokens to `layer`; later blocks do not run."""
        last = check_layer(layer)
        yield tokens_BLD
        for block in self._first(last):
            tokens_BLD = block(tokens_BLD, mask)
            yield tokens_BLD
        if last > DEPTH:
            yield self.norm(tokens_BLD)

    def forward(self, fbank_BTF: Tensor, layer: int = -1, frames: Tensor | None = None) -> list[Tensor]:
        """States (B, L, D) from 0 (embedded input) over 1..12 (block outputs) to 13 (normalised 12), up to `layer`.

        `fbank_BTF` (B, target_length, num_mel_bins) is normalised; `frames` (B,) counts each clip's own frames and
        keeps the padding after them out of the attention; with it the fbank may be as short as `rounded`. Blocks past
        `layer` (0..13, -1 the last) do not run.
        UserError: a fbank of another shape, a layer that does not exist.
        """
        fbank_BTF, valid_BP = self.hide_padding(fbank_BTF, frames)
        tokens_BLD = self.tokens(self.embed(self.patches(fbank_BTF)))
        return list(self.stream(tokens_BLD, layer, self.key_mask(valid_BP)))

    def trace(self, fbank_BTF: Tensor, layer: int = -1, frames: Tensor | None = None) -> Trace:
        """States as `forward` gives them, and the attention (B, H, L, L) of every block up to `layer`.

        The weights are float32 nodes of the graph, so gradients with respect to them can be asked for wherever the
        tokens or the fbank require them.
        """
        last = check_layer(layer)
        fbank_BTF, valid_BP = self.hide_padding(fbank_BTF, frames)
        mask, attentions = self.key_mask(valid_BP), []
        states = [self.tokens(self.embed(self.patches(fbank_BTF)))]
        if torch.is_grad_enabled() and not states[0].requires_grad:
            states[0].requires_grad_()  # so that a frozen encoder has a graph too
        for block in self._first(last):
            tokens_BLD, weights_BHLL = block.trace(states[-1], mask)
            states.append(tokens_BLD)
            attentions.append(weights_BHLL)
        return Trace([*states, self.norm(states[-1])] if last > DEPTH else states, attentions)
