"""A model of any kind in; the same model for other tools (ONNX, Hugging Face's AST) in a folder out, proved equal."""

from pathlib import Path
from typing import Any

from ssast.data.storage import whole_folder
from ssast.model.ast_format import to_ast
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.exporting import Model, to_onnx
from ssast.model.pretraining import SSASTForPreTraining
from ssast.model.recognise import OWN_FINETUNED, OWN_PRETRAINED, Recognised, recognise
from ssast.modes.assemble import say
from ssast.modes.converting import check_model, free_folder, model_of
from ssast.modes.holding import BESIDE, alone
from ssast.modes.options import Options
from ssast.modes.places import local_model
from ssast.modes.settle import resolve

WAYS = {"onnx": to_onnx, "ast": to_ast}


@alone("export", lock=BESIDE)
def export(options: Options | None = None, /, **overrides: Any) -> Path:
    """Write a model as other tools read it; it is kept only where it answers as the model does. The new folder."""
    options = resolve(options, mode="export", **overrides)
    folder, address = free_folder(options.exp_dir), options.checkpoint or ""
    with local_model(options, address) as path:
        found = recognise(path)
        check_model(found, address)
        model = _model(options, found).eval()
        with whole_folder(folder) as beside:
            made = WAYS[options.format](model, beside)
    for remark in made.remarks:
        say(remark)
    say(str(made))
    say(f"{options.format} model in {folder}")
    return folder


def _model(options: Options, found: Recognised) -> Model:
    if found.kind == OWN_FINETUNED:
        return SSASTForAudioClassification.from_pretrained(found.path)
    if found.kind == OWN_PRETRAINED:
        return SSASTForPreTraining.from_pretrained(found.path)
    return model_of(options, found)
