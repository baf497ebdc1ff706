"""Add low-rank matrices to the attention of an encoder (LoRA: Hu et al. 2022, arXiv 2106.09685), and merge them."""

import re
from typing import Any

from ssast.errors import UserError
from ssast.model.encoder import SSASTEncoder, seeded

TARGETS = r"blocks\.\d+\.attn\.(qkv|proj)"


def add_lora(encoder: SSASTEncoder, *, rank: int, alpha: int, seed: int | None = None) -> None:
    """Add trainable products of two thin matrices, `alpha / rank` times, to the attention of every block, in place.

    They start at 0, so that no output changes; `seed` makes their first factor. UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("--lora_rank needs the package peft; install it with: pip install 'ssast[lora]'.") from error
    with seeded(seed):
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS), encoder)


def merge_lora(encoder: SSASTEncoder) -> None:
    """Add the products of the thin matrices to the weights and remove the matrices; does nothing without any."""
    adapted: list[tuple[str, Any]] = list(encoder.named_modules())
    for name, module in adapted:
        if re.fullmatch(TARGETS, name) and hasattr(module, "merge"):
            module.merge()
            above, _, own = name.rpartition(".")
            setattr(encoder.get_submodule(above), own, module.get_base_layer())
