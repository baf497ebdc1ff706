"""Pretrain the encoder: hide patches, and measure how well it finds them and rebuilds them.

Shapes: B batch, T frames, F mel bins, P patches, K values a patch (fshape * tshape), M masked patches, D width.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.checkpoints import config_entries
from ssast.model.checkpoints.model_folder import FolderMixin
from ssast.model.checkpoints.published import check_sizes, read_checkpoint
from ssast.model.encoder import DEPTH, SSASTEncoder, check_choice, seeded
from ssast.model.masking import draw_masks
from ssast.model.model_input import ModelInput

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


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean where `valid`; 0, not NaN, where nothing is."""
    return values.masked_fill(~valid, 0).sum() / valid.sum().clamp(min=1)


def discriminative_loss(pred_BMK: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> tuple[Tensor, Tensor]:
    """InfoNCE among the masked patches of one clip, and its accuracy (0..1): Gong et al. 2022, equation (1).

    Published: negatives come from the same clip; each target's row is normalised over the predictions, and the loss is
    read along that row, but the accuracy asks which target's row is highest in a prediction's column. Patches that are
    not valid are neither targets nor negatives.
    """
    total_BMM = target_BMK @ pred_BMK.transpose(1, 2)
    own_M = torch.arange(total_BMM.shape[1], device=total_BMM.device)
    if valid_BM is None:
        nce = F.cross_entropy(total_BMM.flatten(0, 1), own_M.repeat(len(total_BMM)))
        right_BM = total_BMM.detach().softmax(dim=2).argmax(dim=1) == own_M
        return nce, right_BM.float().mean()
    pair_BMM = valid_BM.unsqueeze(1) & valid_BM.unsqueeze(2)
    # A finite floor: a row without a valid entry then has a finite loss, which is left out, and no NaN gradient.
    total_BMM = total_BMM.masked_fill(~pair_BMM, torch.finfo(total_BMM.dtype).min)
    likelihood_BM = total_BMM.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    share_BMM = total_BMM.detach().softmax(dim=2).masked_fill(~pair_BMM, -1)
    right_BM = share_BMM.argmax(dim=1) == own_M
    return -_mean(likelihood_BM, valid_BM), _mean(right_BM.float(), valid_BM)


def guessing(target_BMK: Tensor, valid_BM: Tensor | None) -> Tensor:
    """The accuracy of guessing among a clip's own masked patches: one patch a clip is right."""
    if valid_BM is None:
        return torch.full((), 1 / target_BMK.shape[1], device=target_BMK.device)
    return valid_BM.any(dim=1).sum() / valid_BM.sum().clamp(min=1)


def generative_loss(pred_BMK: Tensor, target_BMK: Tensor, valid_BM: Tensor | None) -> Tensor:
    """Mean squared error over the masked patches: Gong et al. 2022, equation (2)."""
    if valid_BM is None:
        return F.mse_loss(pred_BMK, target_BMK)
    return _mean((pred_BMK - target_BMK).square().mean(dim=-1), valid_BM)


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
    `cluster_factor` to `cluster_factor + 2` patches a side where the grid has several rows. With `mask_padding`,
    padding stays out of attention, targets and negatives. `frontend` (how fbanks are made) is kept with the model.
    `seed` makes the initial weights; None takes torch's ambient state. UserError: an unknown size or objective, no
    room for one patch.
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
        mask_padding: bool = False,
        frontend: dict[str, object] | None = None,
        seed: int | None = None,
    ):
        super().__init__()
        check_choice("objective", objective, OBJECTIVES)
        self.config = {
            "model_size": model_size,
            "fshape": fshape,
            "tshape": tshape,
            "num_mel_bins": num_mel_bins,
            "target_length": target_length,
            "objective": objective,
            "mask_patch": mask_patch,
            "cluster_factor": cluster_factor,
            "mask_padding": mask_padding,
            "frontend": frontend,
        }
        self.objective, self.mask_padding, self.frontend = objective, mask_padding, frontend
        self.mask_patch, self.cluster_factor = mask_patch, cluster_factor
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
            "mask_padding": mask_padding,
            "frontend": frontend,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        return cls.from_checkpoint(checkpoint, objective=objective, **given)

    def draw_masks(self, batch: int, mask_patch: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Fresh masks (B, M) int64 on the model's device, `mask_patch` patches a clip (None: the model's own count)."""
        count = self.mask_patch if mask_patch is None else mask_patch
        device = self.mask_embed.device
        return draw_masks(batch, self.v.grid, count, self.cluster_factor, device=device, generator=generator)

    def _check_masks(self, mask_index_BM: Tensor, batch: int) -> Tensor:
        """The given masks on the model's device; UserError unless (B, M) of patch numbers."""
        if mask_index_BM.dim() != 2 or len(mask_index_BM) != batch or mask_index_BM.shape[1] == 0:
            raise UserError(
                f"mask_index has shape {tuple(mask_index_BM.shape)}, but {batch} clips need ({batch}, masked patches)."
            )
        if mask_index_BM.min() < 0 or mask_index_BM.max() >= self.v.num_patches:
            raise UserError(f"mask_index names a patch outside 0 to {self.v.num_patches - 1}; give only patches there.")
        return mask_index_BM.to(self.mask_embed.device, torch.int64)

    def _encode_hidden(self, patches_BPK: Tensor, mask_index_BM: Tensor, valid_BP: Tensor | None) -> Tensor:
        """The encoder's output (B, M, D) at the masked patches, which it sees only as `mask_embed`."""
        embedded_BPD = self.v.embed(patches_BPK)
        hide_BP = torch.zeros(embedded_BPD.shape[:2], dtype=torch.bool, device=embedded_BPD.device)
        hide_BP = hide_BP.scatter(1, mask_index_BM, True)
        embedded_BPD = torch.where(hide_BP.unsqueeze(2), self.mask_embed.to(embedded_BPD.dtype), embedded_BPD)
        *_, tokens_BLD = self.v.stream(self.v.tokens(embedded_BPD), DEPTH, self.v.key_mask(valid_BP))
        return self.v.norm(take(tokens_BLD, mask_index_BM + self.v.num_prefix))

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
        own frames and matters only to a model with `mask_padding`. Losses are float32 under autocast too; targets carry
        no gradient. UserError: an fbank of another shape, as many masks as patches or more, masks outside the grid.
        """
        fbank_BTF, valid_BP = self.v.hide_padding(fbank_BTF, frames if self.mask_padding else None)
        patches_BPK = self.v.patches(fbank_BTF)
        if mask_index is None:
            mask_index_BM = self.draw_masks(len(fbank_BTF), mask_patch, generator)
        else:
            mask_index_BM = self._check_masks(mask_index, len(fbank_BTF))
        hidden_BMD = self._encode_hidden(patches_BPK, mask_index_BM, valid_BP)
        target_BMK = take(patches_BPK.detach(), mask_index_BM).float()
        valid_BM = None if valid_BP is None else valid_BP.gather(1, mask_index_BM)
        losses = self._losses(self, hidden_BMD, target_BMK, valid_BM)
        measured = (losses.loss, losses.nce, losses.accuracy, losses.chance, losses.mse)
        return PreTrainingOutput(*measured, mask_index_BM, (mask_index_BM >= 0 if valid_BM is None else valid_BM).sum())

    def loss(self, batch: ModelInput, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The "loss" and what there is of nce, accuracy, chance, mse, and the "count" of patches they are means over.

        `batch` has "fbank" and maybe "frames".
        """
        output = self(batch["fbank"], frames=batch.get("frames"), generator=generator)
        parts = {name: getattr(output, name) for name in ("loss", "nce", "accuracy", "chance", "mse", "count")}
        return {name: value for name, value in parts.items() if value is not None}
