"""Make the optimiser and the schedule of its learning rate, as the training settings say."""

import inspect
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from ssast.errors import UserError

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


def optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over what is trainable; weight decay belongs to AdamW, as in the seed."""
    groups = _groups(model, settings)
    fused = groups[0]["params"][0].device.type in ("cpu", "cuda")
    if settings.optim == "adamw":
        decay = settings.weight_decay
        return _light(torch.optim.AdamW)(groups, lr=settings.learning_rate, weight_decay=decay, fused=fused)
    if settings.optim == "adam":
        return _light(torch.optim.Adam)(groups, lr=settings.learning_rate, fused=fused)
    raise UserError(f"optim {settings.optim!r} is unknown; give --optim adam or adamw.")


def _light(kind: type[torch.optim.Adam]) -> type[torch.optim.Adam]:
    """Make a class of optimisers without what torch wraps around its methods.

    Each wrapper loads torch's compiler, a second at every start, only to tell it that the method is not compiled; here
    no optimiser ever is.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    return type(kind.__name__, (kind,), {**plain, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def _groups(model: nn.Module, settings: TrainingSettings) -> list[dict]:
    """The trainable parameters: all together, or encoder and head where the head has a rate of its own."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
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
