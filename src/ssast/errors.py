"""Define the errors that a user can correct: each says in one sentence what came, what was expected and what to do."""

import errno
from collections.abc import Iterable
from typing import Self

OUT_OF_HANDLES = {errno.EMFILE, errno.ENFILE}
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
    """Whether an error comes from too many open files; other processes, and torch, keep the system's words alone."""
    for _ in range(_CAUSES):
        if error is None:
            return False
        words = str(error) if isinstance(error, OSError | RuntimeError) else ""
        if getattr(error, "errno", None) in OUT_OF_HANDLES or "Too many open files" in words or "ancdata" in words:
            return True
        error = error.__cause__ or error.__context__
    return False
