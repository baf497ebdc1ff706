"""Define the errors that a user can correct: each says in one sentence what came, what was expected and what to do."""

import errno
from collections.abc import Iterable, Iterator
from typing import Self

OUT_OF_HANDLES = {errno.EMFILE, errno.ENFILE}
_NO_MEMORY = (
    " out of memory",
    "allocate memory",
    "std::bad_alloc",
    "failed to map segment",
    "CUDNN_STATUS_NOT_SUPPORTED",
)
"""How torch and the loader of libraries say it."""
_TELLING = (OSError, RuntimeError, ImportError)
_CAUSES = 5
"""So far back the reasons of an error are looked at."""


class UserError(ValueError):
    """Something the user can put right; the command line prints its sentence and leaves with exit code 2.

    `names` are those that the sentence holds, by what they name (uid, subject, cell): what `--private True` hides of it
    without having to read English.
    """

    def __init__(self, text: str = "", **names: object):
        super().__init__(text)
        self.names: dict[str, tuple[str, ...]] = {kind: _texts(found) for kind, found in names.items()}

    def said(self, text: str, **names: object) -> Self:
        """Return the error in other words, which hold the same names and these."""
        other = type(self)(text)
        added = {kind: _texts(found) for kind, found in names.items()}
        other.names = {kind: (*self.names.get(kind, ()), *added.get(kind, ())) for kind in {**self.names, **added}}
        return other


def _texts(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, Iterable) and not isinstance(found, str) else (str(found),)


class AudioError(UserError):
    """One recording cannot be used as it is; the sentence gives the reason, the data set adds the uid."""


class Interrupted(KeyboardInterrupt):
    """A signal ended what ran, as Ctrl-C does; the text says how to go on, `number` which signal came."""

    def __init__(self, text: str, number: int = 2):
        super().__init__(text)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code that a shell would show for a program that this signal ended."""
        return 128 + self.number


def lacks_handles(error: BaseException | None) -> bool:
    """Whether an error comes from too many open files."""
    return any(_says(one, OUT_OF_HANDLES, ("Too many open files", "ancdata")) for one in _reasons(error))


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error comes from memory, of whatever device, that could not be had."""
    return any(isinstance(one, MemoryError) or _says(one, {errno.ENOMEM}, _NO_MEMORY) for one in _reasons(error))


def lacks_processes(error: BaseException | None) -> bool:
    """Whether an error comes from a process or a thread that could not be started."""
    return any(_says(one, {errno.EAGAIN}, ("can't start new thread",)) for one in _reasons(error))


def lacks_means(error: BaseException | None) -> bool:
    """Whether the machine lacks what the work takes, so that an error tells nothing about the file that was read."""
    return lacks_handles(error) or lacks_memory(error) or lacks_processes(error)


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _says(error: BaseException, numbers: set[int], words: tuple[str, ...]) -> bool:
    """Whether the system's number tells it, or its words: torch, and errors of other processes, keep these alone."""
    if isinstance(error, UserError):
        return False
    is_told = isinstance(error, _TELLING) or type(error).__module__.startswith("safetensors")
    return getattr(error, "errno", None) in numbers or (is_told and any(text in str(error) for text in words))
