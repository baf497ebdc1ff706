"""The public names of ssast, each loaded when it is first used, so that `import ssast` costs next to nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssast import processors

if TYPE_CHECKING:
    from ssast.adapters.scikit_learn import SpeechEmbedder
    from ssast.audio.frontend import Frontend
    from ssast.data.dataset import AudioDataset
    from ssast.model.classification import ClassificationHead, SSASTForAudioClassification
    from ssast.model.classification import SSASTForAudioClassification as ASTModel_finetune
    from ssast.model.encoder import SSASTEncoder
    from ssast.model.pretraining import SSASTForPreTraining
    from ssast.model.pretraining import SSASTForPreTraining as ASTModel_pretrain
    from ssast.modes.arrange import arrange
    from ssast.modes.attention import attention
    from ssast.modes.audit import audit
    from ssast.modes.convert import convert
    from ssast.modes.evaluate import evaluate
    from ssast.modes.export import export
    from ssast.modes.extract import extract
    from ssast.modes.finetune import finetune
    from ssast.modes.inspect import inspect
    from ssast.modes.predict import predict
    from ssast.modes.pretrain import pretrain
    from ssast.modes.stats import stats
    from ssast.modes.sweep import sweep
    from ssast.runs.paths import weights

__version__ = "0.1.0"

# Before anything below loads torch.
processors.settle()

# Public name -> "module:attribute". A new mode is added here, in __all__ and under TYPE_CHECKING.
_HOMES = {
    "SSASTEncoder": "ssast.model.encoder:SSASTEncoder",
    "SSASTForPreTraining": "ssast.model.pretraining:SSASTForPreTraining",
    # From where it can hear: model.predict needs what reads recordings.
    "SSASTForAudioClassification": "ssast.engine.predictor:SSASTForAudioClassification",
    "ClassificationHead": "ssast.model.classification:ClassificationHead",
    "AudioDataset": "ssast.data.dataset:AudioDataset",
    "Frontend": "ssast.audio.frontend:Frontend",
    "SpeechEmbedder": "ssast.adapters.scikit_learn:SpeechEmbedder",
    "arrange": "ssast.modes.arrange:arrange",
    "pretrain": "ssast.modes.pretrain:pretrain",
    "finetune": "ssast.modes.finetune:finetune",
    "evaluate": "ssast.modes.evaluate:evaluate",
    "extract": "ssast.modes.extract:extract",
    "attention": "ssast.modes.attention:attention",
    "audit": "ssast.modes.audit:audit",
    "predict": "ssast.modes.predict:predict",
    "stats": "ssast.modes.stats:stats",
    "sweep": "ssast.modes.sweep:sweep",
    "inspect": "ssast.modes.inspect:inspect",
    "convert": "ssast.modes.convert:convert",
    "export": "ssast.modes.export:export",
    "weights": "ssast.runs.paths:weights",
    # The seed's names of the two models.
    "ASTModel_pretrain": "ssast.model.pretraining:SSASTForPreTraining",
    "ASTModel_finetune": "ssast.engine.predictor:SSASTForAudioClassification",
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
    if name in import_module("ssast.options.records").MODES:
        value = import_module("ssast.modes.private").guarded(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
