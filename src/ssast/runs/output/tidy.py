"""Leave nothing half-written where a mode fails, and say what the disk or the memory lacked."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from accelerate.utils.memory import should_reduce_batch_size

from ssast.data.storage.atomic_writes import while_the_disk_has_room
from ssast.engine import distributed
from ssast.errors import UserError

# What a mode puts into its folder before there is any result.
FIRST_FILES = ("run.yaml", "run-*.yaml", "log.jsonl", "validation.csv", "tensorboard", "checkpoints", ".parts")
# What an unfinished run goes on from.
PROGRESS = ("checkpoints/*.pt", ".parts/*/part-*")


@contextlib.contextmanager
def enough_memory(mode: str, asked: Mapping[str, object]) -> Iterator[None]:
    """Say in one sentence that the memory does not hold what a mode asked for with these options."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
            raise
        told = ", ".join(f"--{name} {value}" for name, value in asked.items() if value)
        raise UserError(
            f"this machine has not enough memory for {mode} with {told}; give smaller numbers, in training a "
            "--micro_batch too, or a smaller model."
        ) from error


@contextlib.contextmanager
def nothing_half_written(folder: Path) -> Iterator[None]:
    """Take a mode's first files away on a UserError, unless the same command could go on from them."""
    check_open(folder)
    before = set(_matching(folder, FIRST_FILES))
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with while_the_disk_has_room(folder):
            yield
    except UserError:
        if distributed.is_main() and not _matching(folder, PROGRESS):
            for path in set(_matching(folder, FIRST_FILES)) - before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            with contextlib.suppress(OSError):  # something else lies in it
                for place in absent:
                    place.rmdir()
        raise


def check_open(folder: Path) -> None:
    """UserError where what may lie in the folder is hidden from this user; that it can be written to shows later."""
    try:
        if folder.is_dir():
            os.listdir(folder)
            (folder / "run.yaml").exists()
    except PermissionError as error:
        raise UserError(
            f"--exp_dir {folder} cannot be read ({error.strerror}); mend the rights or give another folder."
        ) from error


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern)]
