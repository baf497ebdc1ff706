"""Read hostile files one after the other and print what became of each: the child process of test_hostile.py.

Arguments: a JSON file with a list of [reader, path]. Per line: the outcome, the seconds of processor time, and the KiB
of memory that it took at most over what was there before. VmHWM, the most ever held, is set back before each.
"""

import json
import sys
import time
from pathlib import Path

from safetensors.torch import load_file  # noqa: F401 - what importing takes is not counted

import ssast.modes.compare
import ssast.modes.inspect
import ssast.runs.results
import ssast.runs.thresholds
from ssast import cli
from ssast.engine.checkpoint import read_state
from ssast.errors import UserError
from ssast.model.checkpoints.detect import detect
from ssast.model.checkpoints.legacy import read_arguments, read_legacy
from ssast.model.checkpoints.model_card import model_card
from ssast.model.checkpoints.published import read_checkpoint
from ssast.options.record import load_config, read_mapping

CONFIG = {"fshape": 128, "tshape": 2, "target_length": 32, "num_mel_bins": 128, "model_size": "tiny"}
READERS = {
    "arguments": read_arguments,
    "checkpoint": read_checkpoint,
    "older": lambda path: read_legacy(path, {}),
    "state": read_state,
    "recognise": detect,
    "mapping": read_mapping,
    "config": load_config,
    "card": lambda path: model_card(CONFIG, path),
    "thresholds": ssast.runs.thresholds.read_thresholds,
    "log": ssast.runs.results._log_lines,
    "run": lambda path: ssast.modes.compare._read_run(path, "a"),
    "inspect": lambda path: cli.main(["inspect", str(path)]),
}


def held(name: str) -> int:
    """A line of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def outcome(reader: str, path: Path) -> str:
    """`refused: ` and the sentence, `read`, or what a bug raised."""
    try:
        code = READERS[reader](path)
    except UserError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"bug: {type(error).__name__}: {str(error)[:200]}"
    return "refused: by exit code" if reader == "inspect" and code == 2 else "read"


def main() -> None:
    """Read all that is asked for."""
    for reader, path in json.loads(Path(sys.argv[1]).read_text()):
        Path("/proc/self/clear_refs").write_text("5")
        before, start = held("VmRSS"), time.process_time()
        found = outcome(reader, Path(path))
        told = [reader, path, found, time.process_time() - start, held("VmHWM") - before]
        print(f"#{json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()
