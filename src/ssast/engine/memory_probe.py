"""Find how many clips at once the memory of a device allows to train on."""

from typing import Any

import torch

from ssast.engine import distributed
from ssast.engine.hardware import Engine, chance_generator, own_chance
from ssast.errors import UserError


def clips_that_fit(model: Any, clips: int, engine: Engine) -> int:
    """`clips`, halved until a forward and a backward pass fit into the memory of every process's device.

    The memory of a training step depends on the number of clips alone, since every fbank has the model's length, so one
    trial before the run tells. UserError where not even one clip fits.
    """
    while not _fits(model, clips, engine):
        if clips == 1:
            raise UserError(
                "the memory of this GPU does not hold a training step of one clip; "
                "give a smaller --model_size or --target_length, or --device cpu."
            )
        clips = -(-clips // 2)
    return clips


def _fits(model: Any, clips: int, engine: Engine) -> bool:
    device = engine.device
    model.to(device).train()
    fbank_BTF = torch.zeros(clips, model.v.target_length, model.v.num_mel_bins, device=device)
    targets_BN = torch.zeros(clips, getattr(model, "num_labels", 0), device=device)
    with own_chance(device):
        try:
            with engine.autocast():
                losses = model.loss({"fbank": fbank_BTF, "targets": targets_BN}, chance_generator(device, 0))
            losses["loss"].backward()
            failed = 0.0
        except torch.OutOfMemoryError:
            failed = 1.0
    model.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return distributed.total(torch.tensor([failed])).item() == 0
