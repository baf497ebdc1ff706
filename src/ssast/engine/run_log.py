"""Write losses and rates to `log.jsonl` and, where asked, to TensorBoard's event files."""

import json
from pathlib import Path
from typing import Any

from ssast import redaction
from ssast.data.storage.atomic_writes import check_inside
from ssast.errors import UserError
from ssast.safe_reading import json_of, text_of

MOST_LOG_BYTES = 1 << 27
"""Of a log to go on with: a line takes some 200."""


class RunLog:
    """Appends one JSON line a report to `folder/log.jsonl`; its numbers go to `folder/tensorboard` too where asked."""

    def __init__(self, folder: Path, *, epochs: int = 0, tensorboard: bool = False):
        """Go on with the log of a run that has so many whole epochs behind it; 0 begins anew."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        last = self._keep(epochs)
        self.writer = _tensorboard_writer(folder / "tensorboard", last) if tensorboard else None

    def _keep(self, epochs: int) -> int:
        """Drop the lines of later epochs, which run again; the last step that is still reported."""
        check_inside(self.path)
        try:
            lines = text_of(self.path, MOST_LOG_BYTES).splitlines() if epochs and self.path.exists() else []
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); remove it, and the run goes on.", path=self.path
            ) from error
        kept = [line for line in lines if _number(line, "epoch") <= epochs]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        return int(max((_number(line, "step") for line in kept), default=0))

    def report(self, **values: Any) -> None:
        """Write one line; `step` must be among the values."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({key: _plain(value) for key, value in values.items()}) + "\n")
        if self.writer is not None:
            for key, value in values.items():
                if isinstance(value, int | float) and key != "step":
                    self.writer.add_scalar(key, value, values["step"])

    def close(self) -> None:
        """Write what TensorBoard has not yet written."""
        if self.writer is not None:
            self.writer.close()


def _number(line: str, name: str) -> float:
    """The epoch or step of a line; later than any for a line that was not written whole."""
    try:
        values = json_of(line)
        found = values[name] if isinstance(values["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return float("inf")
    return found if isinstance(found, int) else float("inf")


def _plain(value: Any) -> Any:
    """Values for JSON: short numbers, null for those that JSON lacks, and text as it may be shown."""
    if isinstance(value, str):
        return redaction.shown(value)
    if isinstance(value, float):
        return float(f"{value:.6g}") if value == value and abs(value) != float("inf") else None
    return value


def _tensorboard_writer(folder: Path, last: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        message = "--tensorboard True needs the package tensorboard; install it with: pip install 'ssast[tensorboard]'."
        raise UserError(message) from error
    # TensorBoard takes away what was reported at this step and later.
    return SummaryWriter(str(folder), purge_step=last + 1 if last else None)
