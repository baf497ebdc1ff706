"""Find how many clips at once the memory of a device allows to train on."""

from typing import Any

import torch
from torch import Tensor

from ssast.engine import distributed
from ssast.engine.hardware import Engine, chance_generator, own_chance
from ssast.errors import UserError

FREE_SHARE = 0.1
"""The share of a GPU's memory that the trial leaves free: what the allocator cannot use, and what comes later."""


def clips_that_fit(model: Any, clips: int, engine: Engine) -> int:
    """`clips`, halved until a training step fits into the memory of every process's device, with some room.

    The memory of a training step depends on the number of clips alone, since no fbank is longer than the model's, so
    one trial before the run tells. UserError where not even one clip fits.
    """
    most = clips
    while not _fits(model, clips, engine, in_pieces=clips < most):
        if clips == 1:
            raise UserError(
                "the memory of this GPU does not hold a training step of one clip; "
                "give a smaller --model_size or --target_length, or --device cpu."
            )
        clips = -(-clips // 2)
    return clips


def _fits(model: Any, clips: int, engine: Engine, *, in_pieces: bool) -> bool:
    """Whether a step fits; of one in pieces the second, which finds the gradients of the first in memory."""
    model.to(engine.device).train()
    failed = 0.0
    with own_chance(engine.device):
        try:
            _try(model, clips, engine, 2 if in_pieces else 1)
        except torch.OutOfMemoryError:
            failed = 1.0
    model.zero_grad(set_to_none=True)
    if engine.device.type == "cuda":
        torch.cuda.empty_cache()
    return distributed.total(torch.tensor([failed])).item() == 0


def _try(model: Any, clips: int, engine: Engine, pieces: int) -> None:
    """The passes of a training step, beside what is in memory in one; torch.OutOfMemoryError where they do not fit."""
    device = engine.device
    held = held_beside(model, device)
    fbank_BTF = torch.zeros(clips, model.v.target_length, model.v.num_mel_bins, device=device)
    kinds = getattr(model, "label_kinds", None)
    targets_BN = torch.zeros(clips, 0 if kinds is None else kinds.width, device=device)
    for _ in range(pieces):
        with engine.autocast():
            losses = model.loss({"fbank": fbank_BTF, "targets": targets_BN}, chance_generator(device, 0))
        losses["loss"].backward()
    del held


def held_beside(model: Any, device: torch.device) -> list[Tensor]:
    """As much memory as Adam's two means of each trained parameter, and on a GPU what is to stay free.

    Several processes keep packs of gradients beside those that are added up.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    states = [torch.empty_like(one) for one in trained for _ in range(2 + (distributed.size() > 1))]
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        states.append(torch.empty(int(FREE_SHARE * free), dtype=torch.uint8, device=device))
    return states
