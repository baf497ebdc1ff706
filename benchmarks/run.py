"""A table of the numbers that the project holds comes out: ratios of two ways, timed in turn in one process.

    python benchmarks/run.py [--rounds 5]

Medians over the rounds, with the smallest and the largest ratio of a round beside it.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import limits
import numpy as np
import torch
from published import our_step, published_step
from torch import Tensor
from torch.nn import functional as F
from transformers import ASTConfig, ASTForAudioClassification

from ssast import SSASTForAudioClassification, SSASTForPreTraining
from ssast.engine.checkpoint import CheckpointWriter, trainable_state
from ssast.engine.hardware import native_bf16
from ssast.engine.optimiser import TrainingSettings, optimiser
from ssast.metrics.scores import score

CPU = torch.device("cpu")
LENGTH, MASK = 1024, 400
BINS, SIDE, LABELS = 128, 16, 5


def ratios(one: Callable[[], object], other: Callable[[], object], rounds: int) -> list[float]:
    """Time of `other` over time of `one`, round by round, after one round that does not count."""
    found = []
    for _ in range(rounds + 1):
        times = []
        for call in (one, other):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        found.append(times[1] / times[0])
    return found[1:]


def pretraining_step(size: str, clips: int, rounds: int, mask_layer: int = 0) -> list[float]:
    """How many times faster our joint step is than the published way's; hidden patches enter after `mask_layer`."""
    fbank = torch.randn(clips, LENGTH, 128)
    sizes = {"target_length": LENGTH, "mask_patch": MASK, "seed": 0}
    models = [SSASTForPreTraining(size, mask_layer=depth, **sizes).train() for depth in (mask_layer, 0)]
    optimizers = [optimiser(models[0], TrainingSettings()), torch.optim.Adam(models[1].parameters(), lr=3e-4)]
    bf16 = native_bf16(CPU)
    return ratios(
        lambda: our_step(models[0], optimizers[0], fbank, MASK, bf16),
        lambda: published_step(models[1], optimizers[1], fbank, MASK),
        rounds,
    )


@torch.inference_mode()
def early_stop(rounds: int) -> list[float]:
    """The time of an embedding from layer 6 against one from the last layer, base model, 10 s clips."""
    model = SSASTForAudioClassification(1, "base", seed=0).eval()
    fbank = torch.randn(4, LENGTH, 128)
    return ratios(
        lambda: model.extract_embedding(fbank, "pt", layer=-1),
        lambda: model.extract_embedding(fbank, "pt", layer=6),
        rounds,
    )


@torch.inference_mode()
def bf16_inference(rounds: int) -> tuple[list[float], float]:
    """How many times faster bf16 weights embed than fp32, and the lowest cosine between the two embeddings."""
    models = [SSASTForAudioClassification(1, "base", seed=0).eval() for _ in range(2)]
    models[0].v.bfloat16()
    fbank = torch.randn(4, LENGTH, 128)
    half, full = (model.extract_embedding(fbank, "pt") for model in models)
    cosine = torch.cosine_similarity(half, full).min().item()
    return ratios(*(lambda model=model: model.extract_embedding(fbank, "pt") for model in models), rounds), cosine


def help_seconds(rounds: int) -> list[float]:
    """Seconds until `ssast finetune --help` is on the screen."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ssast", "finetune", "--help"], check=True, capture_output=True)
        found.append(time.perf_counter() - began)
    return found


def scoring_seconds() -> list[float]:
    """Seconds of processor time for 1000 resamples and shuffles of 20 labels over 10,000 clips."""
    rng = np.random.default_rng(0)
    targets = (rng.random((10_000, 20)) < 0.3).astype(float)
    began = time.process_time()
    score(targets, rng.random((10_000, 20)), [f"label {n}" for n in range(20)], resamples=1000)
    return [time.process_time() - began]


def peer_model() -> ASTForAudioClassification:
    """Hugging Face's Audio Spectrogram Transformer, base size, square patches side by side, random weights."""
    sides = {"patch_size": SIDE, "frequency_stride": SIDE, "time_stride": SIDE}
    config = ASTConfig(**sides, max_length=LENGTH, num_mel_bins=BINS, num_labels=LABELS)
    config.problem_type = "multi_label_classification"
    return ASTForAudioClassification(config)


def square_model() -> SSASTForAudioClassification:
    """Our classifier of the same size, all of it trained."""
    return SSASTForAudioClassification(LABELS, "base", SIDE, SIDE, target_length=LENGTH, freeze=False, seed=0)


def peer_steps(fbank_BTF: Tensor, *, bf16: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """One fine-tuning step of ours, as `ssast finetune` takes it, and of the peer, in fp32 as it comes."""
    targets_BN = torch.ones(len(fbank_BTF), LABELS)
    own, peer = square_model().train(), peer_model().train()
    optimizers = optimiser(own, TrainingSettings()), torch.optim.Adam(peer.parameters(), lr=3e-4)

    def own_step() -> None:
        optimizers[0].zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = own.loss({"fbank": fbank_BTF, "targets": targets_BN})["loss"]
        loss.backward()
        optimizers[0].step()

    def their_step() -> None:
        optimizers[1].zero_grad()
        logits_BN = peer(fbank_BTF).logits
        F.binary_cross_entropy_with_logits(logits_BN, targets_BN).backward()
        optimizers[1].step()

    return own_step, their_step


def peer_embeddings(fbank_BTF: Tensor, *, bf16: bool) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """One embedding a clip of ours, as `ssast extract` makes it, and of the peer, in fp32 as it comes."""
    own, peer = square_model().eval(), peer_model().eval()
    if bf16:
        own.v.bfloat16()
    return (
        lambda: own.extract_embedding(fbank_BTF, "pt"),
        lambda: peer.audio_spectrogram_transformer(fbank_BTF).pooler_output,
    )


def against_the_peer(rounds: int) -> tuple[list[float], list[float]]:
    """How many times faster ours fine-tunes and embeds than Hugging Face's AST of the same size."""
    fbank, bf16 = torch.randn(4, LENGTH, 128), native_bf16(CPU)
    training = ratios(*peer_steps(fbank, bf16=bf16), rounds)
    with torch.inference_mode():
        return training, ratios(*peer_embeddings(fbank, bf16=bf16), rounds)


def share_of_the_limit(size: str, clips: int, rounds: int) -> float:
    """The share of this machine's matrix rate that our joint step reaches, of 1."""
    bf16 = native_bf16(CPU)
    model = SSASTForPreTraining(size, target_length=LENGTH, mask_patch=MASK, seed=0).train()
    optimizer, fbank = optimiser(model, TrainingSettings()), torch.randn(clips, LENGTH, 128)
    seconds = limits.best_seconds(lambda: our_step(model, optimizer, fbank, MASK, bf16), rounds)
    rate = limits.matrix_rate(torch.bfloat16 if bf16 else torch.float32, rounds)
    return limits.pretraining_operations(model, clips) / seconds / rate


def checkpoint_seconds(rounds: int) -> list[float]:
    """Seconds that training stands still for a checkpoint of the base model, while the file is written beside it."""
    model = SSASTForPreTraining("base", target_length=LENGTH, seed=0)
    optimizer = optimiser(model, TrainingSettings())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        keeper = CheckpointWriter(Path(folder))
        for step in range(rounds):
            began = time.perf_counter()
            keeper.write_last({"model": trainable_state(model), "optimizer": optimizer.state_dict()}, step)
            found.append(time.perf_counter() - began)
            keeper.flush()
        keeper.close()
    return found


def line(name: str, values: list[float], wanted: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {wanted} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
    )
    whole, half = (limits.matrix_rate(dtype, rounds) / 1e9 for dtype in (torch.float32, torch.bfloat16))
    print(f"matrix products: {whole:.0f} GFLOP/s in fp32, {half:.0f} in bf16", end="; ")
    print(f"copies: {limits.copy_rate(rounds) / 1e9:.1f} GB/s; bf16 native: {native_bf16(CPU)}\n")
    print("| what | median | range | wanted |\n|---|---|---|---|")
    # One pass in place of two, in bf16 in place of fp32, is the most that a step with N = 0 could be faster.
    most = 2 * (half / whole if native_bf16(CPU) else 1)
    for size, clips, late in (("tiny", 8, "9.5"), ("base", 4, "10")):
        for depth, wanted in ((0, f"{0.85 * most:.1f}, 85 % of {most:.1f}"), (10, f"{late} with native bf16")):
            name = f"joint step, {size}, masks enter after block {depth}: times the published way"
            print(line(name, pretraining_step(size, clips, rounds, depth), wanted), flush=True)
    print(line("embedding from layer 6 over the last", early_stop(rounds), "at most 0.55"), flush=True)
    speed, cosine = bf16_inference(rounds)
    print(line("bf16 embedding: times fp32", speed, "-"), flush=True)
    print(f"| cosine of bf16 and fp32 embeddings | {cosine:.5f} | | over 0.999 |")
    training, embedding = against_the_peer(rounds)
    print(line("fine-tuning step, base, 16x16: times Hugging Face's AST", training, "-"), flush=True)
    print(line("embedding, base, 16x16: times Hugging Face's AST", embedding, "-"), flush=True)
    share = share_of_the_limit("base", 4, rounds)
    print(f"| joint step, base: share of the machine's matrix rate | {share:.2f} | | - |", flush=True)
    print(line("standstill for a checkpoint of the base model, seconds", checkpoint_seconds(rounds), "1.8 (3 % of 60)"))
    print(line("1000 resamples, 20 labels, 10,000 clips, CPU seconds", scoring_seconds(), "under 10"), flush=True)
    print(line("`ssast finetune --help`, seconds", help_seconds(rounds), "under 0.5"))


if __name__ == "__main__":
    main()
