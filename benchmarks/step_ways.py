"""A table of what other ways of a pretraining step gain on a processor: times as fast as the one that ssast takes.

    python benchmarks/step_ways.py [--rounds 7] [--sizes tiny base] [--ways muon]

In turn in one process, joint, 1024 frames, bf16 where the processor multiplies it natively. `bf16 weights` keeps the
weights of all linear layers in bf16 beside fp32 masters for the optimiser, which spares autocast its casts in each
step; `one copy` copies queries, keys and values into place at once; `compiled` gives the blocks to torch's compiler.
`muon` takes longer, the more the fewer clips a batch has: it is what `--optim muon` costs.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from published import our_step
from run import CPU, LENGTH, MASK, line, ratios
from torch import Tensor, nn

from ssast import SSASTForPreTraining
from ssast.engine.hardware import native_bf16
from ssast.engine.optimiser import TrainingSettings, optimiser
from ssast.model.blocks import Attention

CLIPS = {"tiny": 8, "base": 2}
WAYS = ("bf16 weights", "one copy", "compiled", "muon")
DEPTHS = (0, 10)


class Masters:
    """An optimiser that holds the weights of linear layers in fp32 and gives the model bf16 copies."""

    def __init__(self, model: SSASTForPreTraining):
        self.halves = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
        self.wholes = [nn.Parameter(half.detach().clone()) for half in self.halves]
        half_ids = {id(half) for half in self.halves}
        rest = [value for value in model.parameters() if id(value) not in half_ids]
        self.optimizer = torch.optim.Adam([*self.wholes, *rest], lr=3e-4, fused=True)
        for half in self.halves:
            half.data = half.data.bfloat16()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad(set_to_none=set_to_none)
        for half in self.halves:
            half.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step of the masters and round them."""
        for whole, half in zip(self.wholes, self.halves, strict=True):
            whole.grad = None if half.grad is None else half.grad.float()
        self.optimizer.step()
        for whole, half in zip(self.wholes, self.halves, strict=True):
            half.copy_(whole)


def split_at_once(attention: Attention, tokens_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B, H, L, d), copied together."""
    batch, length, width = tokens_BLD.shape
    qkv = attention.qkv(tokens_BLD).view(batch, length, 3, attention.heads, width // attention.heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
    return query, key, value


def step_of(size: str, depth: int, way: str) -> Callable[[], None]:
    """One training step that way."""
    model = SSASTForPreTraining(size, target_length=LENGTH, mask_patch=MASK, mask_layer=depth, seed=0).train()
    bf16 = native_bf16(CPU)
    settings = TrainingSettings(optim="muon" if way == "muon" else "adam")
    optimizer = (
        Masters(model) if way == "bf16 weights" else optimiser(model, settings, torch.bfloat16 if bf16 else None)
    )
    for block in model.v.blocks:
        if way == "one copy":
            block.attn._split = split_at_once.__get__(block.attn)
        elif way == "compiled":
            block.compile(dynamic=False)
    fbank_BTF = torch.randn(CLIPS[size], LENGTH, 128)
    return lambda: our_step(model, optimizer, fbank_BTF, MASK, bf16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="*", default=list(CLIPS), choices=CLIPS)
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, bf16 native: {native_bf16(CPU)}\n")
    print("| way | median | range | clips |\n|---|---|---|---|")
    for size, depth, way in itertools.product(given.sizes, DEPTHS, given.ways):
        found = ratios(step_of(size, depth, way), step_of(size, depth, "ours"), given.rounds)
        print(line(f"{size}, N = {depth}, {way}", found, str(CLIPS[size])), flush=True)


if __name__ == "__main__":
    main()
