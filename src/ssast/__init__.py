"""The public names of ssast, each loaded when it is first used, so that `import ssast` costs next to nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssast import processors

if TYPE_CHECKING:
    from ssast.audio.frontend import Frontend
    from ssast.data.dataset import AudioDataset
    from ssast.engine.embedder import SpeechEmbedder
    from ssast.model.classification import ClassificationHead, SSASTForAudioClassification
    from ssast.model.classification import SSASTForAudioClassification as ASTModel_finetune
    from ssast.model.encoder import SSASTEncoder
    from ssast.model.pretraining import SSASTForPreTraining
    from ssast.model.pretraining import SSASTForPreTraining as ASTModel_pretrain
    from ssast.modes.arranging import arrange
    from ssast.modes.attend import attention
    from ssast.modes.auditing import audit
    from ssast.modes.converting import convert
    from ssast.modes.exporting import export
    from ssast.modes.inspecting import inspect
    from ssast.modes.places import weights
    from ssast.modes.predicting import predict
    from ssast.modes.run import evaluate, extract, finetune, pretrain
    from ssast.modes.statistics import stats
    from ssast.modes.sweeping import sweep

__version__ = "0.1.0"

# Before anything below loads torch.
processors.settle()

# Public name -> "module:attribute". A new mode is added here, in __all__ and under TYPE_CHECKING.
_HOMES = {
    "SSASTEncoder": "ssast.model.encoder:SSASTEncoder",
    "SSASTForPreTraining": "ssast.model.pretraining:SSASTForPreTraining",
    # From where it can hear: model.predict needs what reads recordings.
    "SSASTForAudioClassification": "ssast.engine.hearing:SSASTForAudioClassification",
    "ClassificationHead": "ssast.model.classification:ClassificationHead",
    "AudioDataset": "ssast.data.dataset:AudioDataset",
    "Frontend": "ssast.audio.frontend:Frontend",
    "SpeechEmbedder": "ssast.engine.embedder:SpeechEmbedder",
    "arrange": "ssast.modes.arranging:arrange",
    "pretrain": "ssast.modes.run:pretrain",
    "finetune": "ssast.modes.run:finetune",
    "evaluate": "ssast.modes.run:evaluate",
    "extract": "ssast.modes.run:extract",
    "attention": "ssast.modes.attend:attention",
    "audit": "ssast.modes.auditing:audit",
    "predict": "ssast.modes.predicting:predict",
    "stats": "ssast.modes.statistics:stats",
    "sweep": "ssast.modes.sweeping:sweep",
    "inspect": "ssast.modes.inspecting:inspect",
    "convert": "ssast.modes.converting:convert",
    "export": "ssast.modes.exporting:export",
    "weights": "ssast.modes.places:weights",
    # The seed's names of the two models.
    "ASTModel_pretrain": "ssast.model.pretraining:SSASTForPreTraining",
    "ASTModel_finetune": "ssast.engine.hearing:SSASTForAudioClassification",
}

__all__ = [
    "ASTModel_finetune",
    "ASTModel_pretrain",
    "AudioDataset",
    "ClassificationHead",
    "Frontend",
    "SSASTEncoder",
    "SSASTForAudioClassification",
    "SSASTForPreTraining",
    "SpeechEmbedder",
    "arrange",
    "attention",
    "audit",
    "convert",
    "evaluate",
    "export",
    "extract",
    "finetune",
    "inspect",
    "predict",
    "pretrain",
    "stats",
    "sweep",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name].split(":")
    value = getattr(import_module(module), attribute)
    if name in import_module("ssast.modes.catalogue").MODES:
        value = import_module("ssast.modes.private").guarded(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
