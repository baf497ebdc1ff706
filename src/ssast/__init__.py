"""Offer the public names of ssast; each is loaded when it is first used, so `import ssast` costs next to nothing."""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
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
    from ssast.modes.check import check
    from ssast.modes.compare import compare
    from ssast.modes.convert import convert
    from ssast.modes.demo import demo
    from ssast.modes.evaluate import evaluate
    from ssast.modes.export import export
    from ssast.modes.extract import extract
    from ssast.modes.finetune import finetune
    from ssast.modes.inspect import inspect
    from ssast.modes.merge import merge
    from ssast.modes.pack import pack
    from ssast.modes.predict import predict
    from ssast.modes.pretrain import pretrain
    from ssast.modes.report import report
    from ssast.modes.retest import retest
    from ssast.modes.stats import stats
    from ssast.modes.sweep import sweep
    from ssast.modes.unpack import unpack
    from ssast.modes.upload import upload
    from ssast.runs.context import weights

__version__ = "0.1.0"

# Before anything below loads torch.
processors.settle()

# Public name -> "module:attribute"; every mode is public by its own name.
_HOMES = {
    "SSASTEncoder": "ssast.model.encoder:SSASTEncoder",
    "SSASTForPreTraining": "ssast.model.pretraining:SSASTForPreTraining",
    # From where it can hear: model.predict needs what reads recordings.
    "SSASTForAudioClassification": "ssast.engine.predictor:SSASTForAudioClassification",
    "ClassificationHead": "ssast.model.classification:ClassificationHead",
    "AudioDataset": "ssast.data.dataset:AudioDataset",
    "Frontend": "ssast.audio.frontend:Frontend",
    "SpeechEmbedder": "ssast.adapters.scikit_learn:SpeechEmbedder",
    "weights": "ssast.runs.context:weights",
    # The seed's names of the two models.
    "ASTModel_pretrain": "ssast.model.pretraining:SSASTForPreTraining",
    "ASTModel_finetune": "ssast.engine.predictor:SSASTForAudioClassification",
}

# Modules of other toolkits' adapters, under the names that they had before.
_MOVED = {"ssast.engine.s3prl": "ssast.adapters.s3prl", "ssast.engine.hear_api": "ssast.adapters.hear"}

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
    "check",
    "compare",
    "convert",
    "demo",
    "evaluate",
    "export",
    "extract",
    "finetune",
    "inspect",
    "merge",
    "pack",
    "predict",
    "pretrain",
    "report",
    "retest",
    "stats",
    "sweep",
    "unpack",
    "upload",
    "weights",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or (f"ssast.modes.{name}:{name}" if name in __all__ else None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = home.split(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Moved(MetaPathFinder, Loader):
    """Finds a module under the name that it had before."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        home = import_module(_MOVED[module.__name__])
        vars(module).update({name: value for name, value in vars(home).items() if not name.startswith("__")})


sys.meta_path.append(_Moved())
