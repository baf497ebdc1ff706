"""Declare options, and check the values that come as text, YAML or Python; what is wrong is one sentence."""

import dataclasses
import functools
import math
import numbers
import os
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ssast.errors import UserError
from ssast.safe_reading import brief, is_text

LONGEST_SHOWN = 300
TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class OptionGroup:
    """A section of the help. Where it `alters`, each of its options makes a training clip sound or look other."""

    title: str
    alters: bool = False


@dataclass(frozen=True)
class Spec:
    """One option: everything that the command line, a YAML file, the help and the documentation need to know of it.

    `low` and `high` are allowed values, `above` and `below` are not. A `word` may stand in place of a number or a
    truth, and any text in place of a number where `other` says what that names. `shown` replaces the default in the
    help. Text with `is_many` stands for one value a line, and Python may give a list. What `is_rare` is left to
    --help-all, and so the help of a mode fits on two screens.

    What is true of it: `secret` is the kind of name that it holds, which a private run hides as it hides every path;
    what `is_public` may stand on the card of a model that is shared, all else stays with the run. A run
    whose options differ in one that `changes_result` is another run, unless both are the default or `once`, the default
    of older versions that means the same. `amount_of` names the augmentation that it is
    the amount of: on its own it alters nothing.
    """

    help: str
    group: OptionGroup
    short: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    word: str = ""
    other: str = ""
    shown: str = ""
    is_path: bool = False
    is_needed: bool = False
    is_many: bool = False
    is_rare: bool = False
    is_public: bool = False
    secret: str = ""
    changes_result: bool = True
    once: Any = None
    amount_of: str = ""
    # The rest is read from the annotated field.
    name: str = ""
    default: Any = None
    kind: type = str
    optional: bool = False

    @property
    def flags(self) -> list[str]:
        """The short form, if any, and the long one."""
        return [f"-{self.short}", f"--{self.name}"] if self.short else [f"--{self.name}"]

    @property
    def alters(self) -> bool:
        """Whether a training clip sounds or looks otherwise each time where this is switched on."""
        return self.group.alters and not self.amount_of

    @property
    def placeholder(self) -> str:
        """The placeholder of the value in the help."""
        if self.choices:
            return "NAME"
        kind = "PATH" if self.is_path else {bool: "True|False", int: "INT", float: "NUMBER", str: "TEXT"}[self.kind]
        return "|".join(filter(None, [self.word, kind, self.other.upper()]))

    @property
    def limits(self) -> str:
        """The allowed range in words; empty where there is none."""
        if self.low is not None and self.high is not None:
            return f"{_tidy(self.low)} to {_tidy(self.high)}"
        bounds = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        return " and ".join(f"{word} {_tidy(bound)}" for word, bound in bounds.items() if bound is not None)

    @property
    def default_text(self) -> str:
        """The default as a user would type it; `needed` where a run cannot do without the option."""
        if self.is_needed:
            return self.shown or "needed"
        if self.default is None or self.default == "":
            return self.shown or ("none" if self.default is None else "empty")
        return self.shown or str(self.default)

    def allowed(self) -> str:
        """What is expected, as the end of a sentence."""
        if self.choices:
            text = ("one of " if len(self.choices) > 1 else "") + ", ".join(self.choices)
        elif self.kind in (int, float):
            link = " from " if " to " in self.limits else " of " if self.limits.startswith("at") else " "
            text = ("a whole number" if self.kind is int else "a number") + (link + self.limits).rstrip()
        else:
            text = "True or False" if self.kind is bool else "a path" if self.is_path else "text"
        words = [f", or {self.word}"] if self.word else []
        words += [f", or the name of a {self.other}"] if self.other else []
        return text + "".join(words) + (" (or none)" if self.optional else "")

    def as_default(self, value: object) -> bool:
        """Whether a run with this value does what a run without the option does, now or with an older version."""
        return value == self.default or (self.once is not None and value == self.once)

    def check(self, value: object, called: str) -> Any:
        """The value in the option's own type; text is read as on the command line.

        Raises UserError, with `called` as the name of the option in the sentence.
        """
        if self.is_many and isinstance(value, list | tuple):
            value = "\n".join(os.fspath(one) for one in value)
        plain = os.fspath(value) if isinstance(value, os.PathLike) else value
        if isinstance(plain, str) and not is_text(plain):
            shown = brief(plain, LONGEST_SHOWN)
            raise UserError(
                f"{called} is {shown}, which is no text in UTF-8, so run.yaml could not hold it; rename what it "
                "names, or set LC_ALL=C.UTF-8 if it has that name already.",
                path=shown,
            )
        if self.optional and (plain is None or (isinstance(plain, str) and plain.casefold() == "none")):
            return None
        if self.word and isinstance(plain, str) and plain.strip().casefold() == self.word:
            return self.word
        if self.other and isinstance(plain, str) and plain.strip() and _read(plain.strip(), float) is None:
            return plain.strip()
        converted = self._convert(plain)
        if converted is None or not self._within(converted):
            hint = suggestion(str(plain), self.choices)
            if self.kind is float and "," in str(plain) and _read(str(plain).replace(",", ".", 1), float) is not None:
                hint = f"; write it with a point, {str(plain).replace(',', '.', 1)}"
            if self.kind is str and plain is not None and not isinstance(plain, str):
                hint = hint or "; quotes around it make it text"
            raise UserError(f"{called} is {_quote(plain)}, expected {self.allowed()}{hint}")
        return converted

    def _convert(self, value: object) -> Any:
        """The value in the option's type, None where it cannot be."""
        if self.kind is str:
            return self._text(value) if isinstance(value, str) else None
        if isinstance(value, str):
            return _read(value.strip(), self.kind)
        if self.kind is bool or isinstance(value, bool):
            return value if self.kind is bool and isinstance(value, bool) else None
        if self.kind is int:
            return int(value) if isinstance(value, numbers.Integral) else None
        try:
            return float(value) if isinstance(value, numbers.Real) else None
        except OverflowError:
            return None

    def _text(self, value: str) -> str | None:
        """Text as it is; one of the choices in their own spelling; empty only where the default is empty."""
        if self.choices:
            return next((choice for choice in self.choices if choice.casefold() == value.strip().casefold()), None)
        return value if value or self.default == "" else None

    def _within(self, value: Any) -> bool:
        if self.kind not in (int, float):
            return True
        if isinstance(value, int) and value.bit_length() > 63:
            return False
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def option(default: Any, help: str, group: OptionGroup, **rest: Any) -> Any:
    """A dataclass field that declares an option; `rest` are the further fields of `Spec`."""
    return field(default=default, metadata={"spec": Spec(help, group, default=default, **rest)})


@functools.cache
def specs(options: type) -> dict[str, Spec]:
    """The options declared in a dataclass, by name, in their order."""
    hints = typing.get_type_hints(options)
    return {
        item.name: _complete(item.metadata["spec"], item.name, hints[item.name])
        for item in dataclasses.fields(options)
        if "spec" in item.metadata
    }


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for a likely slip, else nothing."""
    from difflib import get_close_matches

    def bare(name: str) -> str:
        return name.strip("-").replace("-", "_").casefold()

    by_bare = {bare(name): name for name in known}
    close = get_close_matches(bare(word), by_bare, n=1, cutoff=0.6)
    return f"; did you mean {by_bare[close[0]]}?" if close else ""


def _complete(spec: Spec, name: str, hint: Any) -> Spec:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(member for member in members if member is not type(None))
    return dataclasses.replace(spec, name=name, kind=kind, optional=type(None) in members)


def _read(text: str, kind: type) -> Any:
    if kind is bool:
        return TRUTH.get(text.casefold())
    try:
        return kind(text)
    except ValueError:
        return None


def _quote(value: object) -> str:
    """A value as the user wrote it; text is quoted only where it would not be seen otherwise."""
    if not isinstance(value, str):
        return brief(value if isinstance(value, int) else repr(value), LONGEST_SHOWN)
    shown = value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}..."
    return shown if shown and shown == shown.strip() and " " not in shown else repr(shown)


def _tidy(number: float) -> str:
    return f"{number:g}" if abs(number) < 1e6 else str(int(number))
