"""Leave an output folder as it was where a mode ends without a result."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssast.data.storage.atomic_writes import atomic_file, check_inside, first_line, is_below, while_the_disk_has_room
from ssast.engine import distributed
from ssast.errors import UserError
from ssast.options.parts import WHOLE, Part
from ssast.safe_reading import MOST_BYTES

# What a mode puts into its folder before there is any result.
FIRST_FILES = ("run.yaml", "run-*.yaml", "log.jsonl", "validation.csv", "tensorboard", "checkpoints", ".parts/*")
# What an unfinished run goes on from.
TRAINED = ("checkpoints/*.pt",)
PROGRESS = (*TRAINED, ".parts/*/part-*")
RECORDS = ("run.yaml", "run-*.yaml")
WRITTEN_FOLDERS = ("checkpoints", ".parts", "tensorboard")
# What a mode without a result may leave to say why.
NOTE_TABLES = ("bad_audio.csv", "heard.csv", "bad_audio_part-*.csv", "heard_part-*.csv")
State = tuple[int, int, int]
"""Size, time and number on the disk."""


@contextlib.contextmanager
def left_as_it_was(folder: Path, part: Part = WHOLE) -> Iterator[None]:
    """Let the block work in a folder; if it ends without a result, restore all but what a run continues from.

    What other parts of a run have there is left alone.
    """
    check_open(folder)
    before, earlier = set(_matching(folder, FIRST_FILES, part)), Earlier.of(folder, part)
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with while_the_disk_has_room(folder), _in_the_way(folder):
            for name in (*WRITTEN_FOLDERS, "log.jsonl"):
                check_inside(folder / name)
            yield
    except (Exception, KeyboardInterrupt) as error:
        if distributed.is_main():
            earlier.put_back()
            if isinstance(error, UserError):
                for path in set(_matching(folder, earlier.of_no_use(), part)) - before:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                earlier.remove_empty()
                with contextlib.suppress(OSError):  # something else lies in it
                    for place in absent:
                        place.rmdir()
        raise


@contextlib.contextmanager
def _in_the_way(folder: Path) -> Iterator[None]:
    """Raise a UserError where a file is in the place of a folder that a mode needs, or a folder in that of a file."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        place = os.path.abspath(os.fsdecode(error.filename or ""))
        if not error.filename or not is_below(place, os.path.abspath(folder)):
            raise
        raise UserError(
            f"cannot write {place}: {first_line(error).lower()}; move it away, or give another --exp_dir.", path=place
        ) from error


@dataclass(frozen=True)
class Earlier:
    """What lay in a folder before a mode began: the records of earlier runs, and how everything else was.

    `names` are those of all that lay there, `progress` is what a run could go on from, `others` what may be a result.
    """

    folder: Path
    names: frozenset[str]
    records: dict[Path, bytes]
    progress: set[State]
    others: dict[str, State]
    part: Part

    @classmethod
    def of(cls, folder: Path, part: Part) -> "Earlier":
        """What lies there now of this part."""
        records = {}
        for path in _matching(folder, RECORDS, part):
            with contextlib.suppress(OSError, ValueError):  # what cannot be read is refused where it is needed
                if path.is_file() and path.stat().st_size <= MOST_BYTES:
                    records[path] = path.read_bytes()
        names = frozenset(os.listdir(folder) if folder.is_dir() else ())
        return cls(folder, names, records, _states(folder, PROGRESS, part), _others(folder, part), part)

    def of_no_use(self) -> tuple[str, ...]:
        """Which of the first files a mode without a result need not leave: the next start makes them again."""
        if not _matching(self.folder, PROGRESS, self.part):
            return FIRST_FILES
        return () if _states(self.folder, PROGRESS, self.part) - self.progress else RECORDS

    def put_back(self) -> None:
        """The records as they were, unless there is a result or a state of training that the new ones belong to."""
        if _states(self.folder, TRAINED, self.part) - self.progress or _others(self.folder, self.part) != self.others:
            return
        for path, content in self.records.items():
            if not path.is_file() or path.read_bytes() != content:
                with contextlib.suppress(UserError), atomic_file(path) as unfinished:  # the disk is full: that is said
                    unfinished.write_bytes(content)

    def remove_empty(self) -> None:
        """Folders away that were made since and that nothing has been put into."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in self.names and path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()


def _states(folder: Path, patterns: tuple[str, ...], part: Part) -> set[State]:
    return {_state(path.lstat()) for path in _matching(folder, patterns, part)}


def _state(stat: os.stat_result) -> State:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _others(folder: Path, part: Part) -> dict[str, State]:
    """Size, time and number on the disk of what may be a result; a folder tells that something came into it."""
    if not folder.is_dir():
        return {}
    first = {path.name for path in _matching(folder, (*FIRST_FILES, *NOTE_TABLES), part)}
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            is_own = part.owns(entry.name) and entry.name not in first
            if is_own and not entry.name.startswith(".") and not _is_empty(entry):
                found[entry.name] = _state(entry.stat(follow_symlinks=False))
    return found


def _is_empty(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder in which nothing lies."""
    if not entry.is_dir(follow_symlinks=False):
        return False
    with contextlib.suppress(OSError), os.scandir(entry.path) as inside:
        return next(inside, None) is None
    return False


def check_open(folder: Path) -> None:
    """UserError where this user may not list the folder; whether it can be written to is found out later."""
    try:
        if folder.is_dir():
            os.listdir(folder)
            (folder / "run.yaml").exists()
    except PermissionError as error:
        raise UserError(
            f"--exp_dir {folder} cannot be read ({error.strerror}); change the rights or give another folder.",
            path=folder,
        ) from error


def _matching(folder: Path, patterns: tuple[str, ...], part: Part) -> list[Path]:
    """What of a part matches the patterns."""
    found = (path for pattern in patterns for path in folder.glob(pattern))
    return [path for path in found if part.owns(path.relative_to(folder).as_posix())]
