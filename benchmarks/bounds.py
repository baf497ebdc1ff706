"""What bounds each mode: the share of processor time of each kind of operation, one table a mode.

    python benchmarks/bounds.py [--clips 8]

Base model, clips of 10 s; decoding, filterbanks and the model itself are timed beside it, in ms a clip.
"""

import argparse
import io
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import soundfile
import torch
from torch.profiler import ProfilerActivity, profile

from ssast import Frontend, SSASTForAudioClassification, SSASTForPreTraining
from ssast.audio.decode import decode
from ssast.engine.hardware import native_bf16
from ssast.engine.optimiser import TrainingSettings, optimiser

LENGTH, RATE = 1024, 16000
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "linear", "mkldnn", "matmul", "baddbmm"),
    "softmax and attention": ("softmax", "scaled_dot", "attention"),
    "GELU": ("gelu",),
    "LayerNorm": ("layer_norm",),
    "optimiser": ("adam",),
    "casts and copies": ("copy", "_to_copy", "contiguous", "clone", "cat", "stack"),
}


def kind_of(name: str) -> str:
    """The kind of an operation by its name."""
    return next((kind for kind, parts in KINDS.items() if any(part in name.lower() for part in parts)), "the rest")


def shares(call: Callable[[], object]) -> dict[str, float]:
    """The share of each kind of operation in the processor time of a call, after one that does not count."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        call()
    spent: Counter[str] = Counter()
    for event in found.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total
    return {kind: spent[kind] / sum(spent.values()) for kind in (*KINDS, "the rest")}


def training(clips: int) -> Callable[[], None]:
    """A joint pretraining step."""
    model = SSASTForPreTraining("base", target_length=LENGTH, seed=0).train()
    optimizer, fbank_BTF = optimiser(model, TrainingSettings()), torch.randn(clips, LENGTH, 128)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bf16(torch.device("cpu"))):
            loss = model.loss({"fbank": fbank_BTF})["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def extraction(clips: int) -> Callable[[], None]:
    """Embeddings of waveforms: filterbanks and encoder."""
    model, frontend = SSASTForAudioClassification(1, "base", seed=0).eval(), Frontend()
    if native_bf16(torch.device("cpu")):
        model.v.bfloat16()
    waveform_BS = torch.from_numpy(np.random.default_rng(0).standard_normal((clips, 10 * RATE)).astype(np.float32))

    @torch.inference_mode()
    def embed() -> None:
        model.extract_embedding(frontend(waveform_BS), "pt")

    return embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    clips = parser.parse_args().clips
    found = {"pretraining step": shares(training(clips)), "embedding": shares(extraction(clips))}
    print(f"| operation | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
    for kind in (*KINDS, "the rest"):
        print(f"| {kind} | {' | '.join(f'{100 * own[kind]:.0f} %' for own in found.values())} |")
    waveform_BS, frontend = 0.1 * torch.randn(clips, 10 * RATE), Frontend()
    calls = {"filterbanks": lambda: frontend(waveform_BS), "filterbanks and model": extraction(clips)}
    for kind in ("wav", "flac"):
        content = io.BytesIO()
        soundfile.write(content, waveform_BS[0].numpy(), RATE, format=kind)
        calls[f"decoding {kind}"] = partial(decode_all, content.getvalue(), kind, clips)
    print()
    for name, call in calls.items():
        print(f"{name}: {milliseconds(call) / clips:.1f} ms a clip of 10 s")


def decode_all(content: bytes, kind: str, clips: int) -> None:
    """One recording decoded so many times."""
    for _ in range(clips):
        decode(io.BytesIO(content), extension=kind)


def milliseconds(call: Callable[[], object]) -> float:
    """How long a call takes, after one that does not count."""
    call()
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
