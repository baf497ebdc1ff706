"""Export a model as a folder with an ONNX program, and measure how closely both agree.

Shapes: B batch, T frames, F mel bins, L tokens, D width, N labels.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import thresholds_of
from ssast.model.checkpoints.model_folder import THRESHOLDS
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.finite import farthest
from ssast.model.head import pool_patches
from ssast.model.pretraining import SSASTForPreTraining

_Model = SSASTForPreTraining | SSASTForAudioClassification
_CLIPS, _SEED = (1, 3), 0
_CLOSE = 1e-4
"""How far outputs may be apart, as a share of the largest: float32 added up in another order stays far below."""


@dataclass(frozen=True)
class Export:
    """What was written: its outputs' names, their largest distance from the model's own, and remarks on the rest."""

    outputs: tuple[str, ...]
    largest: float
    of_up_to: float
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        verb = "is" if len(self.outputs) == 1 else "are"
        return (
            f"{' and '.join(self.outputs)} {verb} within {self.largest:.1e} of the model's own, of values up to "
            f"{self.of_up_to:.3g}, on {' and on '.join(map(str, _CLIPS))} random spectrograms"
        )


def needed_module(name: str) -> Any:
    """A module of the extra `export`; UserError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"exporting needs {name}, which is not installed; run pip install 'ssast[export]'.") from error


def inputs_for(model: _Model, clips: int, *, with_frames: bool) -> tuple[Tensor, ...]:
    """Random spectrograms (B, T, F) and, where padding is masked, how many of their frames are their own."""
    dice = torch.Generator().manual_seed(_SEED + clips)
    fbank_BTF = torch.randn(clips, model.v.target_length, model.v.num_mel_bins, generator=dice)
    frames_B = torch.randint(model.v.target_length // 2, model.v.target_length + 1, (clips,), generator=dice)
    return (fbank_BTF, frames_B) if with_frames else (fbank_BTF,)


def compared(outputs: tuple[str, ...], pairs: list[tuple[Tensor, Tensor]], remarks: tuple[str, ...] = ()) -> Export:
    """The export whose outputs and the model's own are these pairs; UserError where they are not equal."""
    largest, of_up_to = farthest(pairs)
    if not largest <= _CLOSE * max(of_up_to, 1.0):
        raise UserError(f"the export answers {largest:.1e} off the model, so it was not made; report this model.")
    return Export(outputs, largest, of_up_to, remarks)


class _Answers(nn.Module):
    """What an ONNX file computes: logits and the pooled vector, or for a pretrained model its tokens and their mean."""

    def __init__(self, model: _Model):
        super().__init__()
        self.model = model
        self.is_classifier = isinstance(model, SSASTForAudioClassification)
        self.outputs: tuple[str, ...] = ("logits", "embedding") if self.is_classifier else ("tokens", "embedding")
        # Of labels of several outputs no one formula makes scores of the logits: the file gives them too.
        self.scores = self.is_classifier and model.config["loss"] not in ("BCE", "MSE")
        if self.scores:
            self.outputs += ("scores",)

    def forward(self, fbank_BTF: Tensor, frames_B: Tensor | None = None) -> tuple[Tensor, ...]:
        model: Any = self.model
        if self.is_classifier:
            pooled_BND = model.pooled_states(fbank_BTF, frames_B)
            logits_BW, embedding_BD = model.classify(pooled_BND), model._combine(pooled_BND, model.weightsum)
            more = (model._score(logits_BW),) if self.scores else ()
            return logits_BW, embedding_BD, *more
        _, valid_BP = model.v.hide_padding(fbank_BTF, frames_B)
        tokens_BLD = model.v(fbank_BTF, frames=frames_B)[-1]
        return tokens_BLD, pool_patches(tokens_BLD, model.v.num_prefix, valid_BP)


def to_onnx(model: _Model, folder: Path) -> Export:
    """Write model.onnx, with any number of clips in a batch, and model.json, what its inputs and outputs mean.

    Inputs are `fbank` (B, T, F), normalised, and for a model with `mask_padding` also `frames` (B,), int64. UserError:
    onnx, onnxscript or onnxruntime is missing, or the file does not answer as the model does.
    """
    for name in ("onnx", "onnxscript"):
        needed_module(name)
    runtime = needed_module("onnxruntime")
    answers, with_frames = _Answers(model).eval(), bool(model.mask_padding)
    names = ("fbank", "frames") if with_frames else ("fbank",)
    batch = torch.export.Dim("batch", min=1)
    given = [inputs_for(model, clips, with_frames=with_frames) for clips in _CLIPS]
    with torch.no_grad():
        own = [answer for inputs in given for answer in answers(*inputs)]
    farthest([(answer, answer) for answer in own])  # a model without answers is refused before the long work
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            answers,
            inputs_for(model, 2, with_frames=with_frames),
            dynamo=True,
            dynamic_shapes=tuple({0: batch} for _ in names),
            input_names=names,
            output_names=answers.outputs,
            verbose=False,
        )
    if program is None:
        raise UserError("torch made no ONNX program of this model; report this model.")
    _drop_traces(program)
    program.save(str(folder / "model.onnx"))
    write_json(folder / "model.json", _meaning(model, names, answers.outputs))
    session = runtime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found = [
        torch.from_numpy(answer)
        for inputs in given
        for answer in session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    ]
    return compared(answers.outputs, list(zip(found, own, strict=True)))


def _drop_traces(program: torch.onnx.ONNXProgram) -> None:
    """Take out where in our source each operation was written: paths of this machine, and other bytes on another."""
    nodes_of = needed_module("onnx_ir.traversal").RecursiveGraphIterator
    for function in (program.model.graph, *program.model.functions.values()):
        for node in nodes_of(function):
            node.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on what is not installed, and on its own future, off the screen."""
    speaker = logging.getLogger("torch.onnx")
    before = speaker.level
    speaker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        speaker.setLevel(before)


def _meaning(model: _Model, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> dict[str, object]:
    """What a program that reads an ONNX file has to know to make its inputs and to read its outputs."""
    kept: dict[str, object] = {"inputs": inputs, "outputs": outputs, "class": type(model).__name__}
    kept |= {"target_length": model.v.target_length, "num_mel_bins": model.v.num_mel_bins}
    kept["frontend"] = model.config.get("frontend")
    if isinstance(model, SSASTForAudioClassification):
        how = {"BCE": "the sigmoid of the logits", "MSE": "the logits"}.get(model.config["loss"], "the output scores")
        kept |= {"labels": model.labels, "scores": how}
        if "scores" in outputs:
            kept |= {"kinds": model.label_kinds.entries(), "score_names": model.label_kinds.outputs}
    if THRESHOLDS in model.beside:
        kept["thresholds"] = thresholds_of(model.beside[THRESHOLDS], "thresholds.json of this model")
    return kept


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write it as indented text."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
