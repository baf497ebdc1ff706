"""A model of any kind in; the same model for other tools (ONNX, Hugging Face's AST) in a folder out, proved equal."""

from pathlib import Path
from typing import Any

from ssast.adapters.hugging_face_ast import to_ast
from ssast.adapters.onnx import _Model, to_onnx
from ssast.data.storage.atomic_writes import atomic_folder
from ssast.model.checkpoints.detect import OWN_FINETUNED, OWN_PRETRAINED, Detected, detect
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining
from ssast.modes.convert import check_model, free_folder, model_of
from ssast.options.options import Options
from ssast.options.resolve import resolve
from ssast.runs.context import say
from ssast.runs.output.lock import BESIDE, alone
from ssast.runs.paths import local_model

WAYS = {"onnx": to_onnx, "ast": to_ast}


@alone("export", lock=BESIDE)
def export(options: Options | None = None, /, **overrides: Any) -> Path:
    """Write a model as other tools read it; it is kept only where it answers as the model does. The new folder."""
    options = resolve(options, mode="export", **overrides)
    folder, address = free_folder(options.exp_dir), options.checkpoint or ""
    with local_model(options, address) as path:
        found = detect(path)
        check_model(found, address)
        model = _model(options, found).eval()
        with atomic_folder(folder) as beside:
            made = WAYS[options.format](model, beside)
    for remark in made.remarks:
        say(remark)
    say(str(made))
    say(f"{options.format} model in {folder}")
    return folder


def _model(options: Options, found: Detected) -> _Model:
    if found.kind == OWN_FINETUNED:
        return SSASTForAudioClassification.from_pretrained(found.path)
    if found.kind == OWN_PRETRAINED:
        return SSASTForPreTraining.from_pretrained(found.path)
    return model_of(options, found)
