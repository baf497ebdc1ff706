"""Know the other names of modes: those of the seed, and `train`."""

from ssast.options.records import MODES
from ssast.options.tasks import PRETEXT_TASKS

# The seed's other names. `train` is pretrain or finetune, as the task says.
ALIASES = {"eval": "evaluate", "eval-only": "evaluate", "extraction": "extract", "embed": "extract"}
SPELLINGS = ("train", *MODES, *ALIASES)


def canonical(mode: str, task: str) -> str:
    """The mode that a spelling stands for."""
    if mode == "train":
        return "pretrain" if task in PRETEXT_TASKS else "finetune"
    return ALIASES.get(mode, mode)
