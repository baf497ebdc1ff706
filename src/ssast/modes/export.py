"""Export a model for other tools (ONNX, Hugging Face's AST), and keep it only where both agree: `ssast export`."""

from pathlib import Path

from ssast.adapters.hugging_face_ast import to_ast
from ssast.adapters.onnx import to_onnx
from ssast.data.prepare import AudioSettings
from ssast.data.storage.atomic_writes import atomic_folder
from ssast.model.checkpoints.detect import OWN_FINETUNED, OWN_PRETRAINED, Detected, detect
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining
from ssast.modes.convert import check_model, free_folder, model_of
from ssast.options.options import Options
from ssast.runs.context import Paths, say
from ssast.runs.models import Model, ModelSettings, audio_settings
from ssast.runs.wrapping.wrapper import Mode

WAYS = {"onnx": to_onnx, "ast": to_ast}


@Mode
def export(options: Options) -> Path:
    """Write a model as other tools read it; it is kept only where it answers as the model does. The new folder."""
    folder, address = free_folder(options.exp_dir), options.checkpoint or ""
    settings, audio = ModelSettings.of(options), audio_settings(options)
    with Paths.of(options).local_model(address) as path:
        found = detect(path)
        check_model(found, address)
        model = _model(found, settings, audio).eval()
        with atomic_folder(folder) as unfinished:
            made = WAYS[options.format](model, unfinished)
    for remark in made.remarks:
        say(remark)
    say(str(made))
    say(f"{options.format} model in {folder}")
    return folder


def _model(found: Detected, settings: ModelSettings, audio: AudioSettings) -> Model:
    if found.kind == OWN_FINETUNED:
        return SSASTForAudioClassification.from_pretrained(found.path)
    if found.kind == OWN_PRETRAINED:
        return SSASTForPreTraining.from_pretrained(found.path)
    return model_of(found, settings, audio)
