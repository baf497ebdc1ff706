"""Print the files that `ssast finetune` walks through, from the command line to the loss, in the order of first call.

    python docs/walk.py

It fine-tunes a tiny model with random weights on a small synthetic corpus and notes which functions of ssast run
between `ssast.cli.main()` and the first call of a model's `loss`. What runs while a module is loaded is not walked
through: a reader of the run need not open it. CONTRIBUTING.md shows the list.
"""

import contextlib
import functools
import inspect
import io
import sys
import tempfile
from pathlib import Path
from types import CodeType, FrameType

import ssast
from ssast import cli
from ssast.audio.synthetic_corpus import write_corpus

PACKAGE = Path(ssast.__file__).resolve().parent
KINDS = "model/label_kinds.py"
"""Where `loss` is the name of one, not its value."""
IMPORTS = "__init__.py"
"""Whom Python's own import asks for modules that moved."""


class Walk:
    """The files whose functions were called, in order of first call, each with the first of them."""

    def __init__(self) -> None:
        self.first_calls: dict[str, str] = {}
        self.is_over = False
        self._loading = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call; `sys.setprofile` tells of each."""
        code = frame.f_code
        if self.is_over or event not in ("call", "return") or not is_ours(code):
            return
        if is_of_module(code):
            self._loading += 1 if event == "call" else -1
        elif event == "call" and not self._loading:
            place = Path(code.co_filename).relative_to(PACKAGE).as_posix()
            if place != IMPORTS:
                self.first_calls.setdefault(place, code.co_qualname)
            self.is_over = code.co_name == "loss" and place != KINDS


@functools.cache
def is_ours(code: CodeType) -> bool:
    """Whether this code stands in a file of the package."""
    return Path(code.co_filename).is_relative_to(PACKAGE)


def is_of_module(code: CodeType) -> bool:
    """Whether this code is that of a module or of a class, which runs when its file is loaded."""
    return not code.co_flags & inspect.CO_OPTIMIZED


def walk() -> dict[str, str]:
    """Fine-tune on a small corpus and give the file of each function that ran, with the first of them."""
    taken = Walk()
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder) / "corpus", speakers=6, clips_per_speaker=2)
        words = f"finetune -i {corpus}/audio -d {corpus}/splits -l {corpus}/labels.txt -o {folder}/run --epochs 1"
        words += " --pretrained_mdl_path none --model_size tiny --freeze False --target_length 200 --num_workers 0"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            sys.setprofile(taken)
            try:
                code = cli.main([*words.split(), "--resamples", "0", "--batch_size", "2"])
            finally:
                sys.setprofile(None)
    if code or not taken.is_over:
        sys.exit(f"finetune ended with {code} before its loss")
    return taken.first_calls


def main() -> None:
    """Print the walk and its length."""
    taken = walk()
    for number, (place, function) in enumerate(taken.items(), 1):
        print(f"{number:2}  {place}: {function}")
    print(f"{len(taken)} files from the command line to the loss")


if __name__ == "__main__":
    main()
