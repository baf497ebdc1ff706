"""Tell which share of the recordings a run takes that does its part alone, without meeting the others."""

import os
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssast.errors import UserError
from ssast.safe_reading import brief

_MOST_PARTS = 100_000
_TEXT = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_AUTO = re.compile(r"auto(?:/([0-9]{1,6}))?")
_NAMED = re.compile(r"_part-[0-9]{3,6}-of-[0-9]{3,6}(?![0-9])")
"""What the names of a part's files and folders hold."""


@dataclass(frozen=True)
class Part:
    """Part `number` (from 1) of `count`; without numbers the whole, whose files bear no part in their names."""

    number: int = 0
    count: int = 0

    @classmethod
    def of(cls, text: str | None) -> "Part":
        """The part of an option that is settled, `3/64`; the whole for None."""
        return WHOLE if text is None else cls(*map(int, text.split("/")))

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to others."""
        return self.count == 0

    @property
    def suffix(self) -> str:
        """How its files and folders end: `_part-003-of-064`, and empty for the whole."""
        return "" if self.is_whole else f"_part-{self.number:03d}-of-{self.count:03d}"

    def named(self, name: str) -> str:
        """The name of a file as this part writes it."""
        stem, dot, ending = name.rpartition(".")
        return f"{stem}{self.suffix}{dot}{ending}"

    def owns(self, name: str) -> bool:
        """Whether a file or folder of an output folder is this part's own; the whole owns what is no part's."""
        return _NAMED.search(name) is None if self.is_whole else self.suffix in name

    def bounds(self, rows: int, edges: Sequence[int] = ()) -> tuple[int, int]:
        """The first of its rows and the one after its last, of `rows` in all.

        Where there are `edges`, in rising order, parts begin and end at the nearest of them alone: a share then fetches
        no row group that another one fetches too, or makes the batches that one run makes.
        """
        return (
            (0, rows)
            if self.is_whole
            else (self._cut(self.number - 1, rows, edges), self._cut(self.number, rows, edges))
        )

    def _cut(self, number: int, rows: int, edges: Sequence[int]) -> int:
        """Where the part of this number ends."""
        wanted = number * rows // self.count
        if number in (0, self.count) or not edges:
            return wanted
        at = bisect_left(edges, wanted)
        return min(edges[max(0, at - 1) : at + 1], key=lambda edge: abs(edge - wanted))


WHOLE = Part()


def settled_part(text: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The part that an option asks for as `3/64`, that of `auto` read from what Slurm or Kubernetes says of the task.

    UserError where the text names no part, or `auto` finds none.
    """
    if text is None:
        return None
    auto = _AUTO.fullmatch(text.strip())
    number, count = _of_task(text, auto[1], environment) if auto else _of_text(text)
    if not 1 <= number <= count <= _MOST_PARTS:
        raise UserError(
            f"--part is {brief(text)}, which is part {number} of {count}; parts count from 1, and there are at most "
            f"{_MOST_PARTS}"
        )
    return f"{number}/{count}"


def _of_text(text: str) -> tuple[int, int]:
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise UserError(f"--part is {brief(repr(text))}, expected a number and a count such as 3/64, auto, or auto/64")
    return int(found[1]), int(found[2])


def _of_task(text: str, asked: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """The number and the count of this task of a Slurm array, or of a Kubernetes job with an index."""
    if "SLURM_ARRAY_TASK_ID" in environment:
        number, count = _of_array(environment)
        if asked is not None and int(asked) != count:
            raise UserError(
                f"--part is {text}, but the array of this Slurm task has {count}; to do single parts again give their "
                f"own numbers, as in --part 3/{int(asked)}"
            )
        return number, count
    index = _whole_number(environment, "JOB_COMPLETION_INDEX")
    if index is None:
        raise UserError(
            f"--part is {text}, but neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; "
            "give the part as a number, such as 3/64"
        )
    if asked is None:
        raise UserError(
            "--part is auto, but JOB_COMPLETION_INDEX does not say how many parts there are; give auto/64 for 64"
        )
    return index + 1, int(asked)


def _of_array(environment: Mapping[str, str]) -> tuple[int, int]:
    """Which task of a Slurm array this is, counted from 1, and of how many."""
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
    own, first, count = (_whole_number(environment, name) for name in names)
    if own is None or first is None or count is None:
        raise UserError(
            f"--part auto needs {', '.join(names)}, which Slurm sets from 17.11 on; give a number, as in 3/64"
        )
    step = _whole_number(environment, "SLURM_ARRAY_TASK_STEP") or 1
    last = _whole_number(environment, "SLURM_ARRAY_TASK_MAX")
    if (own - first) % step or (last is not None and (last - first) // step + 1 != count):
        raise UserError(
            f"--part auto needs a Slurm array without gaps, but this one has {count} tasks from {first} to "
            f"{'?' if last is None else last}; give the part as a number, as in 3/64"
        )
    return (own - first) // step + 1, count


def _whole_number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"{name} is {brief(repr(text))}, expected a whole number; give --part as a number, as in 3/64")
    return int(text)
