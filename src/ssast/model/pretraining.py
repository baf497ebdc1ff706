"""Pretrain the encoder: hide patches, and measure how well it finds them and rebuilds them.

Shapes: B batch, T frames, F mel bins, P patches, K values a patch (fshape * tshape), M masked patches, D width.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from ssast.errors import UserError
from ssast.model.checkpoints import config_entries
from ssast.model.checkpoints.model_folder import FolderMixin
from ssast.model.checkpoints.published import check_sizes, read_checkpoint
from ssast.model.encoder import DEPTH, SSASTEncoder, check_choice, seeded
from ssast.model.head import ModelInput
from ssast.model.masking import discriminative_loss, draw_masks, generative_loss, guessing, visible_patches

GENERATIVE_WEIGHT = 10.0


@dataclass(frozen=True)
class PreTrainingOutput:
    """Losses, accuracy and that of guessing (0-dim, float32; None where the objective has none); their masks (B, M).

    `count` is the number of hidden patches that they are means over, padding left out by a model with `mask_padding`.
    """

    loss: Tensor
    nce: Tensor | None
    accuracy: Tensor | None
    chance: Tensor | None
    mse: Tensor | None
    mask_index: Tensor
    count: Tensor


@dataclass(frozen=True)
class _Losses:
    loss: Tensor
    nce: Tensor | None = None
    accuracy: Tensor | None = None
    chance: Tensor | None = None
    mse: Tensor | None = None


def _mpc(model: "SSASTForPreTraining", hidden_BMD: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> _Losses:
    pred_BMK = model.cpredlayer(hidden_BMD)
    with torch.autocast(pred_BMK.device.type, enabled=False):
        nce, accuracy = discriminative_loss(pred_BMK.float(), target_BMK, valid_BM)
    return _Losses(nce, nce=nce, accuracy=accuracy, chance=guessing(target_BMK, valid_BM))


def _mpg(model: "SSASTForPreTraining", hidden_BMD: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> _Losses:
    mse = generative_loss(model.gpredlayer(hidden_BMD).float(), target_BMK, valid_BM)
    return _Losses(mse, mse=mse)


def _joint(model: "SSASTForPreTraining", hidden_BMD: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> _Losses:
    mpc, mpg = _mpc(model, hidden_BMD, target_BMK, valid_BM), _mpg(model, hidden_BMD, target_BMK, valid_BM)
    return replace(mpc, loss=mpc.loss + GENERATIVE_WEIGHT * mpg.loss, mse=mpg.mse)


_LOSSES: tuple[Callable[..., _Losses], ...] = (_mpc, _mpg, _joint)
OBJECTIVES = dict(zip(config_entries._OBJECTIVES, _LOSSES, strict=True))
UNUSED_HEAD = {"pretrain_mpc": "gpredlayer", "pretrain_mpg": "cpredlayer"}


def take(values_BPX: Tensor, index_BM: Tensor) -> Tensor:
    """The entries of each clip that its row of `index_BM` names: (B, P, X) -> (B, M, X)."""
    batch, count = values_BPX.shape[:2]
    start_B1 = torch.arange(batch, device=index_BM.device).unsqueeze(1) * count
    rows = values_BPX.flatten(0, 1).index_select(0, (index_BM + start_B1).flatten())
    return rows.unflatten(0, index_BM.shape)


class SSASTForPreTraining(nn.Module, FolderMixin):
    """The encoder with its discriminative (mpc) and generative (mpg) heads, for masked spectrogram patch modelling.

    Source: Gong et al. 2022, AAAI, arXiv 2110.09784. The stride is the patch shape; both heads have fshape * tshape
    outputs. `objective` is pretrain_mpc, pretrain_mpg or pretrain_joint (one encoder pass, nce + 10 * mse), chosen
    once; the head that an objective leaves out does not train. `mask_patch` patches a clip are hidden, in clusters of
    `cluster_factor` to `cluster_factor + 2` patches a side where the grid has several rows. The first `mask_layer`
    blocks (0 to 11) see the visible patches only, and the tokens of the hidden ones enter before the next (Liao et al.
    2022, arXiv 2211.04898, for text); with 0, as published, they enter before the first. With `mask_padding`, padding
    stays out of attention, targets and negatives. `frontend` (how fbanks are made) is kept with the model. `seed` makes
    the initial weights; None takes torch's ambient state. UserError: an unknown size or objective, no room for one
    patch, a block that does not exist.
    """

    def __init__(
        self,
        model_size: str = "base",
        fshape: int = 128,
        tshape: int = 2,
        num_mel_bins: int = 128,
        target_length: int = 1024,
        objective: str = "pretrain_joint",
        *,
        mask_patch: int = 400,
        cluster_factor: int = 3,
        mask_layer: int = 0,
        mask_padding: bool = False,
        frontend: dict[str, object] | None = None,
        seed: int | None = None,
    ):
        super().__init__()
        check_choice("objective", objective, OBJECTIVES)
        check_choice("mask_layer", mask_layer, range(DEPTH))
        self.config = {
            "model_size": model_size,
            "fshape": fshape,
            "tshape": tshape,
            "num_mel_bins": num_mel_bins,
            "target_length": target_length,
            "objective": objective,
            "mask_patch": mask_patch,
            "cluster_factor": cluster_factor,
            "mask_layer": mask_layer,
            "mask_padding": mask_padding,
            "frontend": frontend,
        }
        self.objective, self.mask_padding, self.frontend = objective, mask_padding, frontend
        self.mask_patch, self.cluster_factor, self.mask_layer = mask_patch, cluster_factor, mask_layer
        self._losses = OBJECTIVES[objective]
        with seeded(seed):
            self.v = SSASTEncoder(model_size, fshape, tshape, num_mel_bins=num_mel_bins, target_length=target_length)
            self.mask_embed = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, 1, self.v.width)))
            self.cpredlayer = self._head(fshape * tshape)
            self.gpredlayer = self._head(fshape * tshape)
        if objective in UNUSED_HEAD:
            getattr(self, UNUSED_HEAD[objective]).requires_grad_(False)

    def _head(self, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(self.v.width, self.v.width), nn.ReLU(), nn.Linear(self.v.width, outputs))

    @classmethod
    def from_published(
        cls,
        path: str | os.PathLike,
        objective: str = "pretrain_joint",
        *,
        model_size: str | None = None,
        fshape: int | None = None,
        tshape: int | None = None,
        num_mel_bins: int | None = None,
        target_length: int | None = None,
        mask_patch: int | None = None,
        cluster_factor: int | None = None,
        mask_layer: int | None = None,
        mask_padding: bool | None = None,
        frontend: dict[str, object] | None = None,
    ) -> Self:
        """The model of a published `.pth` file or an own pretraining folder, ready to continue, in evaluation mode.

        `model_size`, `fshape` and `tshape` are checked against the file where they are given; another `num_mel_bins` or
        `target_length` than the file's refits the positions; None keeps what the file says, or else the default.
        UserError: a path that `read_checkpoint` refuses, sizes that differ from the file's, a fine-tuned folder.
        """
        checkpoint = read_checkpoint(path)
        if checkpoint.config["class"] != cls.__name__:
            raise UserError(
                f"{checkpoint.source} holds a fine-tuned model, which has no pretraining heads to continue with; "
                "give a published .pth file or a folder that pretraining wrote.",
                path=checkpoint.source,
            )
        check_sizes(checkpoint, model_size=model_size, fshape=fshape, tshape=tshape)
        changes = {
            "num_mel_bins": num_mel_bins,
            "target_length": target_length,
            "mask_patch": mask_patch,
            "cluster_factor": cluster_factor,
            "mask_layer": mask_layer,
            "mask_padding": mask_padding,
            "frontend": frontend,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        return cls.from_checkpoint(checkpoint, objective=objective, **given)

    @property
    def rounding(self) -> Callable[[int], int] | None:
        """The length [frames] at which a clip of so many own frames goes through; None where all have the input's."""
        return self.v.rounded if self.mask_padding else None

    def draw_masks(
        self,
        batch: int,
        mask_patch: int | None = None,
        generator: torch.Generator | None = None,
        own_BP: Tensor | None = None,
    ) -> Tensor:
        """Fresh masks (B, M) int64 on the model's device, `mask_patch` patches a clip (None: the model's own count).

        Where `own_BP` says which patches are a clip's own, the same share of these is hidden, at least one stays
        visible, and the rest of a row is padding. UserError unless 1 to all patches but one are hidden.
        """
        count = self.mask_patch if mask_patch is None else mask_patch
        grid, device = self.v.grid, self.mask_embed.device
        return draw_masks(batch, grid, count, self.cluster_factor, own_BP, device=device, generator=generator)

    def _check_masks(self, mask_index_BM: Tensor, batch: int, columns: int) -> Tensor:
        """The given masks on the model's device; UserError unless (B, M) of patch numbers, in so many columns."""
        if mask_index_BM.dim() != 2 or len(mask_index_BM) != batch or mask_index_BM.shape[1] == 0:
            raise UserError(
                f"mask_index has shape {tuple(mask_index_BM.shape)}, but {batch} clips need ({batch}, masked patches)."
            )
        if mask_index_BM.min() < 0 or mask_index_BM.max() >= self.v.num_patches:
            raise UserError(f"mask_index names a patch outside 0 to {self.v.num_patches - 1}; give only patches there.")
        if (mask_index_BM % self.v.grid[1]).max() >= columns:
            raise UserError(f"mask_index names a patch past the {columns} columns of this fbank; give none there.")
        sorted_BM = mask_index_BM.sort(dim=1).values
        if (sorted_BM[:, 1:] == sorted_BM[:, :-1]).any():
            raise UserError("mask_index names a patch of a clip twice; give each patch that is to be hidden once.")
        return mask_index_BM.to(self.mask_embed.device, torch.int64)

    def hidden_states(self, patches_BPK: Tensor, mask_index_BM: Tensor, valid_BP: Tensor | None) -> Tensor:
        """The encoder's output (B, M, D) at the masked patches, which it sees only as `mask_embed`.

        The order of tokens means nothing to a block, so visible patches come first and masked ones last: these can then
        enter late, and the last block, of which nothing else is read, computes them alone.
        """
        patches = patches_BPK.shape[1]
        visible_BV = visible_patches(mask_index_BM, patches)
        visible_BVD = self.v.placed(self.v.embed(take(patches_BPK, visible_BV)), visible_BV, patches)
        masked_BMD = self.v.placed(self.mask_embed, mask_index_BM, patches)
        tokens_BLD = torch.cat([self.v.prefix_tokens(len(patches_BPK)), visible_BVD], dim=1)
        masks = [self._key_mask(valid_BP, index) for index in (visible_BV, torch.cat([visible_BV, mask_index_BM], 1))]
        for number, block in enumerate(self.v.blocks):
            if number == self.mask_layer:
                tokens_BLD = torch.cat([tokens_BLD, masked_BMD], dim=1)
            is_last = number == DEPTH - 1
            tokens_BLD = block(tokens_BLD, masks[number >= self.mask_layer], masked_BMD.shape[1] if is_last else None)
        return self.v.norm(tokens_BLD)

    def _key_mask(self, valid_BP: Tensor | None, index_BX: Tensor) -> Tensor | None:
        """Which tokens may be attended to where the patches come in the order of `index_BX`."""
        return None if valid_BP is None else self.v.key_mask(valid_BP.gather(1, index_BX))

    def forward(
        self,
        fbank_BTF: Tensor,
        mask_patch: int | None = None,
        mask_index: Tensor | None = None,
        frames: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> PreTrainingOutput:
        """Hide patches of a normalised fbank (B, target_length, num_mel_bins) and measure how well they are found.

        `mask_patch` patches a clip are drawn from `generator` (None: the model's own count, torch's ambient state);
        `mask_index` (B, M) int64 overrides it, which is then neither used nor checked. `frames` (B,) counts each clip's
        own frames and matters only to a model with `mask_padding`, which hides the same share of a clip's own patches
        and takes the fbank of clips of one `rounding` as short as that too; patches keep their numbers.
        Losses are float32 under autocast too; targets carry no gradient. UserError: an fbank of another shape, as many
        masks as patches or more, masks outside the grid, a patch that is masked twice.
        """
        fbank_BTF, valid_BP = self.v.hide_padding(fbank_BTF, frames if self.mask_padding else None)
        patches_BPK = self.v.patches(fbank_BTF)
        columns, all_columns = patches_BPK.shape[1] // self.v.grid[0], self.v.grid[1]
        if mask_index is None:
            mask_index_BM = self.draw_masks(len(fbank_BTF), mask_patch, generator, valid_BP)
        else:
            mask_index_BM = self._check_masks(mask_index, len(fbank_BTF), columns)
            mask_index_BM = self.v.renumbered(mask_index_BM, all_columns, columns)
        hidden_BMD = self.hidden_states(patches_BPK, mask_index_BM, valid_BP)
        target_BMK = take(patches_BPK.detach(), mask_index_BM).float()
        valid_BM = None if valid_BP is None else valid_BP.gather(1, mask_index_BM)
        losses = self._losses(self, hidden_BMD, target_BMK, valid_BM)
        measured = (losses.loss, losses.nce, losses.accuracy, losses.chance, losses.mse)
        count = (mask_index_BM >= 0 if valid_BM is None else valid_BM).sum()
        return PreTrainingOutput(*measured, self.v.renumbered(mask_index_BM, columns, all_columns), count)

    def loss(self, batch: ModelInput, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The "loss" and what there is of nce, accuracy, chance, mse, and the "count" of patches they are means over.

        `batch` has "fbank" and maybe "frames".
        """
        output = self(batch["fbank"], frames=batch.get("frames"), generator=generator)
        parts = {name: getattr(output, name) for name in ("loss", "nce", "accuracy", "chance", "mse", "count")}
        return {name: value for name, value in parts.items() if value is not None}
