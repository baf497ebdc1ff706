"""A table of what it saves to let short clips go through a model at their own length (`--mask_padding True`).

    python benchmarks/padding.py [--rounds 5] [--seconds 3] [--threads 2]

Batches of 8 clips, their fbank ready, in a model of 10.24 s (1024 frames): times of training steps and of extraction at
the clips' own length and with all their padding, which is masked both ways, in turn in one process. Medians over the
rounds, with the smallest and the largest ratio beside them. In bf16 too where the processor multiplies it natively.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from run import CPU, LENGTH, MASK, line, ratios
from torch import Tensor, nn

from ssast import SSASTForAudioClassification, SSASTForPreTraining
from ssast.audio.frontend import Frontend
from ssast.engine.hardware import native_bf16
from ssast.engine.optimiser import TrainingSettings, optimiser
from ssast.model.finite import farthest

CLIPS, WANTED = 8, "3"


def clips_of(seconds: float) -> tuple[Tensor, Tensor]:
    """Normalised fbanks (B, T, F) of noise that lasts so long, then padding, and their own frames."""
    frontend = Frontend(target_length=LENGTH)
    waveform_BS = 0.1 * torch.randn(CLIPS, round(seconds * frontend.sample_rate))
    lengths_B = torch.full((CLIPS,), waveform_BS.shape[1])
    return frontend(waveform_BS, lengths_B), frontend.frames(lengths_B).clamp(max=LENGTH)


def training_step(model: nn.Module, fbank_BTF: Tensor, frames_B: Tensor, bf16: bool) -> Callable[[], None]:
    """One step of a model that has a loss."""
    model.train()
    optimizer, trained = optimiser(model, TrainingSettings()), model
    batch = {"fbank": fbank_BTF, "frames": frames_B, "targets": torch.ones(CLIPS, 1)}

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = trained.loss(batch, torch.Generator().manual_seed(0))["loss"]  # type: ignore[operator]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def pretraining(size: str, depth: int) -> Callable[[], nn.Module]:
    """A model to pretrain whose hidden patches enter after so many blocks."""
    how = {"target_length": LENGTH, "mask_patch": MASK, "mask_padding": True, "mask_layer": depth, "seed": 0}
    return lambda: SSASTForPreTraining(size, **how)


def classifier(size: str, *, freeze: bool = False) -> SSASTForAudioClassification:
    """A model to fine-tune, or to extract from."""
    how = {"target_length": LENGTH, "mask_padding": True, "task": "ft_avgtok", "freeze": freeze, "seed": 0}
    return SSASTForAudioClassification(1, size, **how)


def training(make: Callable[[], nn.Module], seconds: float, bf16: bool, rounds: int) -> list[float]:
    """How many times faster a step is at the clips' own length."""
    fbank_BTF, frames_B = clips_of(seconds)
    models = make(), make()
    length = models[0].v.rounded(int(frames_B[0]))  # type: ignore[operator, union-attr]
    both = (fbank_BTF[:, :length], fbank_BTF)
    return ratios(
        *(training_step(model, given, frames_B, bf16) for model, given in zip(models, both, strict=True)), rounds
    )


@torch.inference_mode()
def extraction(size: str, seconds: float, bf16: bool, rounds: int) -> tuple[list[float], float]:
    """The same of an embedding, and how far the two embeddings are apart."""
    fbank_BTF, frames_B = clips_of(seconds)
    model = classifier(size, freeze=True).eval()
    if bf16:
        model.v.bfloat16()
    both = (fbank_BTF[:, : model.v.rounded(int(frames_B[0]))], fbank_BTF)
    calls = [lambda given=given: model.extract_embedding(given, "pt", frames=frames_B) for given in both]
    apart, _ = farthest([(calls[0](), calls[1]())])
    return ratios(*calls, rounds), apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--sizes", nargs="*", default=["tiny", "base"])
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    print(
        f"{CLIPS} clips of {asked.seconds:g} s in a model of {LENGTH} frames, {torch.get_num_threads()} threads, ",
        end="",
    )
    print(
        f"bf16 native: {native_bf16(CPU)}\n\n| times as fast as padded | median | range | wanted |\n|---|---|---|---|"
    )
    for size, bf16 in itertools.product(asked.sizes, (False, True) if native_bf16(CPU) else (False,)):
        how, rounds = "bf16" if bf16 else "fp32", asked.rounds
        for depth in (0, 10):
            found = training(pretraining(size, depth), asked.seconds, bf16, rounds)
            print(line(f"joint step, {size}, {how}, masks enter after block {depth}", found, WANTED), flush=True)
        found = training(lambda size=size: classifier(size), asked.seconds, bf16, rounds)
        print(line(f"fine-tuning step, {size}, {how}", found, WANTED), flush=True)
        found, apart = extraction(size, asked.seconds, bf16, rounds)
        print(line(f"extraction, {size}, {how}", found, WANTED), flush=True)
        if not bf16:
            print(f"| embeddings apart by, {size}, fp32 | {apart:.1e} | | under 1e-5 |", flush=True)


if __name__ == "__main__":
    main()
