"""Measure all that a GPU decides, in one command of at most eight minutes: JSON and a Markdown table come out.

    python benchmarks/gpu.py [--out gpu-results] [--minutes 8] [--device auto] [--small]

Correct numbers against references that the same script makes on the processor; host synchronisations of the real
training step; step rates and their share of the measured matrix rate (eager, compiled, as one CUDA graph, with tokens
in bf16 from block to block, with patches that enter late, the published way); memory; what kinds of operations take the
time; `ssast pretrain` end to end with 0, 4 and 16 workers; what equal time learns. A part that fails is named in the
table, and one for which no time is left; what was measured is written after each part. `--small` does the same in a
minute on a processor, to try the script. It needs what `pip install ssast` brings; recordings are synthetic.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import limits
import torch
from gpu_steps import LATE, Bench, profile, rates
from published import our_step
from torch import Tensor

import ssast
from ssast import Frontend, SSASTForAudioClassification, SSASTForPreTraining
from ssast.audio.synthetic_corpus import write_corpus
from ssast.data.prepare import Prepare
from ssast.engine.hardware import attention_is_right, engine
from ssast.engine.optimiser import TrainingSettings, optimiser
from ssast.engine.trainable import TrainingBatches
from ssast.engine.training_run import Run

RATE = 16000
SYNCHRONISES = "synchronizing CUDA operation"
"""What torch says of an operation for which the processor waits."""


def machine(bench: Bench) -> dict[str, Any]:
    """What is measured on, and what it can do at most."""
    sizes = (8192, 8192, 8192) if bench.is_gpu else (512, 512, 512) if bench.small else limits.LIKE_OURS
    kinds = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bench.engine.bf16 else {})
    rates = {f"{name} [FLOP/s]": limits.matrix_rate(kind, 5, bench.device, sizes) for name, kind in kinds.items()}
    name = torch.cuda.get_device_name() if bench.is_gpu else platform.processor() or platform.machine()
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    copies = {} if bench.small else {"copies [GB/s]": limits.copy_rate(3, bench.device) / 1e9}
    return {"name": name, **versions, "processors": os.cpu_count(), **rates, **copies}


def distance(ours: Tensor, reference: Tensor) -> float:
    """How far from the reference, as a share of its largest number."""
    reference = reference.detach().float()
    return float((ours.detach().float().cpu() - reference).abs().max() / reference.abs().max().clamp(min=1e-12))


def gradients(model: SSASTForPreTraining, fbank_BTF: Tensor, frames: Tensor, masks: Tensor | None, half: bool) -> dict:
    """The loss and all gradients in one row; masks are given, so that both devices hide the same."""
    model.zero_grad(set_to_none=True)
    with torch.autocast(fbank_BTF.device.type, torch.bfloat16, enabled=half):
        loss = model(fbank_BTF, mask_index=masks, frames=frames).loss
    loss.backward()
    trained = [one.grad.flatten().float().cpu() for one in model.parameters() if one.grad is not None]
    return {"loss": loss.detach().float().cpu(), "gradients": torch.cat(trained)}


def correctness(bench: Bench) -> dict[str, Any]:
    """Distances from references made on the processor, in fp32; of bf16 the cosine of the gradients."""
    wave = 0.1 * torch.randn(2, RATE, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([RATE, RATE // 2])
    found: dict[str, Any] = {"attention is right": attention_is_right(bench.device)}
    host, there = Frontend(target_length=bench.length), Frontend(target_length=bench.length).to(bench.device)
    found["fbank"] = distance(there(wave, lengths), host(wave, lengths))
    frames = torch.tensor([bench.length, bench.length // 2 + 3])
    kinds = {"N = 0": {}, "N = 10": {"late": 10}, "N = 10, padding": {"late": 10, "mask_padding": True}}
    for name, how in kinds.items():
        model, fbank = bench.model(**how), bench.fbank(2)
        own = (torch.arange(model.v.num_patches) * 2 < frames[:, None]) if "mask_padding" in how else None
        masks = model.cpu().draw_masks(2, generator=torch.Generator().manual_seed(2), own_BP=own)
        wanted = gradients(model, fbank.cpu(), frames, masks, half=False)
        model.to(bench.device)
        full = gradients(model, fbank, frames.to(bench.device), masks, half=False)
        rounded = gradients(model, fbank, frames.to(bench.device), masks, half=True)
        found |= {f"{part}, {name}": distance(full[part], wanted[part]) for part in wanted}
        cosine = torch.cosine_similarity(rounded["gradients"], wanted["gradients"], dim=0)
        found[f"cosine of bf16 gradients, {name}"] = float(cosine)
    classifier = SSASTForAudioClassification(3, "tiny", target_length=bench.length, seed=0).eval()
    fbank = bench.fbank(2)
    wanted_scores, wanted_states = classifier.predict_scores(fbank.cpu()), classifier.hidden_states(fbank.cpu())[-1]
    classifier.to(bench.device)
    found["scores"] = float((classifier.predict_scores(fbank).cpu() - wanted_scores).abs().max())
    return found | {"last hidden state": distance(classifier.hidden_states(fbank)[-1], wanted_states)}


def synchronisations(bench: Bench) -> dict[str, Any]:
    """For how many operations of `Run.step`, of a few steps of `ssast pretrain`, the processor waits, and where."""
    model, steps = bench.model(late=10, mask_padding=True), 5
    frontend = Frontend(target_length=bench.length)
    prepare = Prepare(frontend, rounding=model.rounding, freqm=8, timem=8).to(bench.device)
    waves = 0.1 * torch.randn(4, RATE)
    batch: dict[str, Any] = {"uid": list("abcd"), "waveform": waves, "targets": torch.empty(4, 0)}
    batch["lengths"] = torch.tensor([RATE, RATE - 500, RATE // 2, RATE // 3])
    if bench.is_gpu:  # as the loader gives them
        batch |= {key: value.pin_memory() for key, value in batch.items() if torch.is_tensor(value)}
    given = TrainingBatches(lambda epoch, start: [], list, 2 * steps, prepare, pieces=2)
    settings = TrainingSettings(clip_grad=1.0, scheduler="onecycle", max_lr=1e-4)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as said:
        run = Run(model, given, settings, Path(folder), bench.engine, "")
        for _ in range(steps):
            run.step([batch, batch])
        limits.wait_for(bench.device)
        warnings.simplefilter("always")
        said.clear()
        with _telling_of_waits(bench):
            for _ in range(steps):
                run.step([batch, batch])
        run.settle()
        run.checkpoints.close()
    places = Counter(f"{Path(one.filename).name}:{one.lineno}" for one in said if SYNCHRONISES in str(one.message))
    counted = sum(places.values()) / steps if bench.is_gpu else None
    return {"a step": counted, "places": dict(places), "steps taken": run.progress.step}


@contextlib.contextmanager
def _telling_of_waits(bench: Bench) -> Iterator[None]:
    """Inside, torch warns of each operation for which the processor waits."""
    if bench.is_gpu:
        torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        if bench.is_gpu:
            torch.cuda.set_sync_debug_mode("default")


def recordings(folder: Path, small: bool) -> Path:
    """Synthetic voices, each recording under several uids, as hard links."""
    corpus = write_corpus(folder / "corpus", speakers=4 if small else 16, clips_per_speaker=3 if small else 12)
    uids = sorted(path.name for path in (corpus / "audio").iterdir())
    copies = 1 if small else 12
    for number, uid in ((number, uid) for number in range(1, copies) for uid in uids):
        home = corpus / "audio" / f"{number}-{uid}"
        home.mkdir()
        for file in (corpus / "audio" / uid).iterdir():
            os.link(file, home / file.name)
    rows = [uid if not number else f"{number}-{uid}" for number in range(copies) for uid in uids]
    shutil.rmtree(corpus / "splits")
    (corpus / "splits").mkdir()
    (corpus / "splits" / "train.csv").write_text("\n".join(["uid", *rows]) + "\n", encoding="utf-8")
    return corpus


def end_to_end(bench: Bench) -> dict[str, Any]:
    """Clips a second of the last epoch of `ssast pretrain`, from files to weights, by the number of workers."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        corpus = recordings(Path(name), bench.small)
        for workers in (0,) if bench.small else (0, 4, 16):
            if bench.left < 15 and not bench.small:
                found[str(workers)] = None
                continue
            out = Path(name) / f"run{workers}"
            how = {"model_size": "tiny" if bench.small else "base", "batch_size": 4 if bench.small else 64, "epochs": 2}
            how |= {"target_length": 64 if bench.small else 256, "mask_patch": 24 if bench.small else 100}
            with contextlib.redirect_stdout(io.StringIO()):
                ssast.pretrain(
                    prefix=str(corpus / "audio"),
                    data_split_root=str(corpus / "splits"),
                    mask_layer=10,
                    num_workers=workers,
                    device=bench.device.type,
                    exp_dir=str(out),
                    **how,
                )
            found[str(workers)] = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["clips_per_second"]
    return found


def learning(bench: Bench) -> list[dict[str, Any]]:
    """What equal time learns of synthetic voices, N = 0 and N = 10: loss and accuracy on clips that were held out."""
    seconds = 1.0 if bench.small else max(5.0, min(40.0, bench.left / 2 - 5))
    with tempfile.TemporaryDirectory() as name:
        corpus = write_corpus(Path(name) / "corpus", speakers=4 if bench.small else 16, clips_per_speaker=4)
        files = sorted((corpus / "audio").glob("*/waveform.wav"))
        data = ssast.Frontend(target_length=bench.length)
        fbanks = torch.stack([data(_wave(file))[0] for file in files]).to(bench.device)
    held_out, trained = fbanks[: len(fbanks) // 4], fbanks[len(fbanks) // 4 :]
    rows = []
    for late in (0, 10):
        model = bench.model(late=late)
        optimizer = optimiser(model, TrainingSettings(optim="adamw", learning_rate=5e-4))
        dice, steps, marks, used = torch.Generator().manual_seed(0), 0, [0.25, 0.5, 1.0], 0.0
        while marks:
            limits.wait_for(bench.device)
            began = time.perf_counter()
            for _ in range(1 if bench.small else 10):
                chosen = torch.randint(len(trained), (4 if bench.small else 64,), generator=dice).to(bench.device)
                our_step(model, optimizer, trained[chosen], model.mask_patch, bench.engine.bf16)
                steps += 1
            limits.wait_for(bench.device)
            used += time.perf_counter() - began
            if used >= marks[0] * seconds:
                rows.append({"N": late, "seconds": marks.pop(0) * seconds, "steps": steps, **_judged(model, held_out)})
    return rows


def _wave(file: Path) -> Tensor:
    import soundfile

    return torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None]


@torch.no_grad()
def _judged(model: SSASTForPreTraining, fbank: Tensor) -> dict[str, float]:
    model.eval()
    found = model.loss({"fbank": fbank}, torch.Generator(device=fbank.device).manual_seed(0))
    model.train()
    return {name: float(found[name]) for name in ("loss", "nce", "mse", "accuracy", "chance")}


PARTS: dict[str, Callable[[Bench], Any]] = {
    "machine": machine,
    "correctness": correctness,
    "synchronisations": synchronisations,
    "rates": rates,
    "profile": profile,
    "end to end": end_to_end,
    "learning": learning,
}


def cell(value: Any) -> str:
    """A value as the table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of one kind as lines of Markdown, with all columns that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([cell(row.get(name, "")) for name in names] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def markdown(found: dict[str, Any]) -> str:
    """All that was found."""
    lines = []
    for part, value in found.items():
        lines += [f"## {part.capitalize()}", ""]
        rows = value if isinstance(value, list) else [{"what": name, "value": own} for name, own in value.items()]
        lines += [*table(rows), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--small", action="store_true", help="a minute on a processor, to try the script")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(engine(asked.device), asked.small, time.monotonic() + 60 * asked.minutes)
    for part, measure in PARTS.items():
        began = time.monotonic()
        try:
            bench.found[part] = measure(bench) if bench.left > 0 else LATE
        except Exception as error:
            traceback.print_exc()
            bench.found[part] = {"failed": f"{type(error).__name__}: {error}"[:300]}
        (asked.out / "gpu.json").write_text(json.dumps(bench.found, indent=1), encoding="utf-8")
        (asked.out / "gpu.md").write_text(markdown(bench.found), encoding="utf-8")
        print(f"{part}: {time.monotonic() - began:.1f} s", flush=True)
    print(f"\n{markdown(bench.found)}")


if __name__ == "__main__":
    main()
