"""Read the thresholds that were saved with a model, and why some could not be chosen."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import thresholds_of
from ssast.model.checkpoints.model_folder import THRESHOLDS
from ssast.options.record import read_mapping
from ssast.safe_reading import brief, json_of, text_of


def read_thresholds(model_folder: str | Path | None) -> dict[str, float]:
    """The thresholds that were saved with a model, by label; none where it has none (0.5 counts then)."""
    path = Path(model_folder or "") / THRESHOLDS
    if model_folder is None or not path.is_file():
        return {}
    return thresholds_of(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return text_of(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); remove it to use 0.5, or fine-tune again.", path=path
        ) from error


def thresholds_from(home: Path) -> str:
    """Where the thresholds of the model in a folder come from, in one sentence."""
    if not read_thresholds(home):
        return "The model has no thresholds of its own, so a score of 0.5 calls a label."
    rule = json_of(_text(home / THRESHOLDS)).get("rule")
    asked = re.search(r"reach a (?:sensitivity|specificity) of [\d.]+", rule) if isinstance(rule, str) else None
    to = f" to {asked[0]}" if asked else ""
    return (
        f"The thresholds were chosen on the validation clips of the training run{to} (0.5 where none could be chosen)."
    )


def read_unchosen(home: Path, labels: Sequence[str]) -> dict[str, str]:
    """Why the thresholds of some of these labels could not be chosen, as the model's folder tells."""
    path = home / THRESHOLDS
    kept = json_of(_text(path)).get("unchosen") if read_thresholds(home) else None
    reasons = kept if isinstance(kept, dict) else {}
    return {label: brief(str(reasons[label]), 100) for label in labels if label in reasons}


def weighed_sentence(values: Mapping[str, Any]) -> str:
    """What the options of a training that made rare answers count for more do to its scores; empty elsewhere."""
    used = [f"--{name}" for name in ("pos_weight", "balanced") if values.get(name) is True]
    how = f"The model was trained with {' and '.join(used)}, so its scores of rare labels are higher than their chances"
    return f"{how}: Brier, ECE, calibration and net benefit suffer from that, AUC does not." if used else ""


def weighed_training(home: Path) -> str:
    """`weighed_sentence` of the record in a model's folder; empty where it has none that can be read."""
    with suppress(UserError):
        return weighed_sentence(read_mapping(home / "run.yaml")) if (home / "run.yaml").is_file() else ""
    return ""
