"""Make the optimiser and the schedule of its learning rate, as the training settings say."""

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from ssast.engine.muon import Muon
from ssast.errors import UserError

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)
ENCODER = "v."
"""What the names of the encoder's parameters begin with; the rest is head."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Rates hold for one optimiser step; `head_lr` is the head's where it differs, `clip_grad` the largest norm of all
    gradients together (0: any). Training ends after `patience` epochs without a better validation loss (0: never).
    A checkpoint is written every `save_every_seconds` at least, and `keep_checkpoints` are kept.
    """

    epochs: int = 1
    learning_rate: float = 3e-4
    head_lr: float | None = None
    optim: str = "adam"
    weight_decay: float = 1e-4
    scheduler: str | None = None
    max_lr: float = 0.01
    clip_grad: float = 0.0
    patience: int = 0
    seed: int = 0
    save_every_seconds: float = 60.0
    keep_checkpoints: int = 1
    tensorboard: bool = False


def optimiser(model: nn.Module, settings: TrainingSettings, dtype: torch.dtype | None = None) -> torch.optim.Optimizer:
    """Adam, AdamW, or Muon with AdamW beside it, over what is trainable; Adam has no weight decay, as in the seed.

    Muon is for the matrices of the encoder's blocks, and finds their steps in `dtype`, or in theirs; low-rank matrices
    are AdamW's.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    how: dict[str, Any] = {"lr": settings.learning_rate, "fused": named[0][1].device.type in ("cpu", "cuda")}
    if settings.optim == "adam":
        return _light(torch.optim.Adam)(_groups(named, settings), **how)
    adamw = partial(_light(torch.optim.AdamW), weight_decay=settings.weight_decay, **how)
    if settings.optim == "adamw":
        return adamw(params=_groups(named, settings))
    if settings.optim == "muon":
        matrices, rest = ([pair for pair in named if _is_matrix(*pair) is wanted] for wanted in (True, False))
        return _light(Muon)(_groups(matrices, settings), adamw(params=_groups(rest, settings)), dtype=dtype)
    raise UserError(f"optim {settings.optim!r} is unknown; give --optim adam, adamw or muon.")


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return name.startswith(f"{ENCODER}blocks.") and parameter.ndim == 2 and "lora_" not in name


def _light(kind: type[_Optimizer]) -> type[_Optimizer]:
    """Make a class of optimisers without what torch wraps around its methods.

    Each wrapper loads torch's compiler, a second at every start, only to tell it that the method is not compiled; here
    no optimiser ever is.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    return type(kind.__name__, (kind,), {**plain, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def _groups(named: list[tuple[str, nn.Parameter]], settings: TrainingSettings) -> list[dict]:
    """These parameters: all together, or encoder and head where the head has a rate of its own."""
    if settings.head_lr is None:
        return [{"params": [parameter for _, parameter in named]}]
    head = [parameter for name, parameter in named if not name.startswith(ENCODER)]
    encoder = [parameter for name, parameter in named if name.startswith(ENCODER)]
    groups = [{"params": encoder, "lr": settings.learning_rate}, {"params": head, "lr": settings.head_lr}]
    return [group for group in groups if group["params"]]


def schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler | None:
    """The learning-rate schedule over all `steps`, stepped once an optimiser step.

    The head's highest rate stands to `max_lr` as `head_lr` to `learning_rate`.
    """
    if settings.scheduler is None:
        return None
    if settings.scheduler == "onecycle":
        highest = [settings.max_lr * group["lr"] / settings.learning_rate for group in optimizer.param_groups]
        return OneCycleLR(optimizer, max_lr=highest, total_steps=steps)
    raise UserError(f"scheduler {settings.scheduler!r} is unknown; give --scheduler onecycle or None.")
