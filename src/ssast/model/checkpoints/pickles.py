"""Read the plain values that a pickle describes, with nothing of it ever imported, called or built.

A pickle is a program for a small stack machine; two kinds of its steps fetch something by name and call it. Here such
steps only leave a note (`NamedObject`, `Made`) of what they ask for, and a name that was not foreseen ends the reading.
A few bytes can describe values without end, since what was made once can be named again: so the steps, the numbers and
the names are bounded here, and who walks over the values must not follow the same one twice, nor print it unseen.
"""

import pickletools
import re
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import IO, Any

MOST_STEPS = 300_000
"""A list of 5,000 tensors takes 200,000."""
MOST_BITS = 128
"""Of a whole number: torch marks its files by one of 77."""
_MOST_KEY, KEY_BITS = 512, 60
"""Characters of a name in a dictionary, and bits of a number there: hashes of larger ones can be made equal."""
SPOKEN = re.compile(r"[\w.]{1,200}")
"""What the name of a class or function looks like."""


class Refused(Exception):  # noqa: N818 - it is not always the file's fault
    """The pickle asks for something by name that was not foreseen: the name."""


@dataclass(frozen=True)
class NamedObject:
    """A class or function that the pickle names, such as torch.FloatStorage."""

    name: str


@dataclass
class Made:
    """A request to call `name` with arguments, with the state and items that would be put into the result."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outside:
    """Data outside the pickle, such as the bytes of a tensor."""

    address: Any


@dataclass(frozen=True)
class Pickle:
    """The value of a pickle, everything that it asks to build or to fetch (also if dropped later), and its protocol."""

    value: Any
    made: list[Made]
    outside: list[Outside]
    protocol: int


CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
SKIPPED = {"FRAME"}


def read_pickle(file: IO[bytes], names: Container[str]) -> Pickle:
    """One pickle, read up to its end: None, bool, int, float, str, bytes, list, tuple, dict and notes.

    Refused where it asks for a class or function whose name is not in `names`; ValueError where it is no pickle, is
    longer than any list of tensors, or holds what no older file of this kind does.
    """
    machine = _Machine(names)
    try:
        for number, (step, argument, _) in enumerate(pickletools.genops(file)):
            if step.name == "STOP":
                return Pickle(machine.stack.pop(), machine.made, machine.outside, machine.protocol)
            if number == MOST_STEPS:
                raise ValueError(f"it takes more than {MOST_STEPS} steps")
            machine.do(step.name, argument)
    except (IndexError, KeyError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError("it is not a whole pickle") from error
    raise ValueError("it is not a whole pickle")


class _Machine:
    """The stack of a pickle; what would import or call leaves a note."""

    def __init__(self, names: Container[str]):
        self.names = names
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.made: list[Made] = []
        self.outside: list[Outside] = []
        self.protocol = 0

    def do(self, step: str, argument: Any) -> None:
        """One step; ValueError for a kind that is not known here."""
        if step in VALUES:
            if isinstance(argument, int) and argument.bit_length() > MOST_BITS:
                raise ValueError(f"it holds a number of {argument.bit_length()} bits")
            self.stack.append(argument)
        elif step in CONSTANTS:
            self.stack.append(CONSTANTS[step])
        elif step in _EMPTY:
            self.stack.append(_EMPTY[step]())
        elif step in SHORT_TUPLES:
            self.stack.append(tuple(self._take(SHORT_TUPLES[step])))
        elif step in PUTS:
            if not 0 <= int(argument) < 1 << 32:
                raise ValueError("it numbers its parts far too high")
            self.memo[int(argument)] = self.stack[-1]
        elif step in GETS:
            self.stack.append(self.memo[int(argument)])
        elif step not in SKIPPED:
            handler = getattr(self, f"_{step.lower()}", None)
            if handler is None:
                raise ValueError(f"it has the step {step}, which files of this kind do without")
            handler(argument)

    def _take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("its stack runs dry")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _from_mark(self) -> list[Any]:
        return self._take(len(self.stack) - self.marks.pop())

    def _proto(self, argument: int) -> None:
        self.protocol = argument

    def _pop(self, _: Any) -> None:
        self._take(1)

    def _pop_mark(self, _: Any) -> None:
        self._from_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._from_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._from_mark())

    def _dict(self, _: Any) -> None:
        items: dict[Any, Any] = {}
        self._put_items(items, self._from_mark())
        self.stack.append(items)

    def _append(self, _: Any) -> None:
        self._extend(self._take(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._from_mark())

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("it appends to what is no list")
        self.stack[-1].extend(values)

    def _setitem(self, _: Any) -> None:
        pair = self._take(2)
        self._put_items(self.stack[-1], pair)

    def _setitems(self, _: Any) -> None:
        pairs = self._from_mark()
        self._put_items(self.stack[-1], pairs)

    def _put_items(self, target: Any, pairs: list[Any]) -> None:
        """Keys are short text or whole numbers: the hash of nested tuples can be made to take for ever."""
        items = target.items if isinstance(target, Made) else target
        if not isinstance(items, dict) or not all(map(_is_key, pairs[::2])):
            raise TypeError("it sets items of what is no plain dictionary")
        items.update(zip(pairs[::2], pairs[1::2], strict=True))

    def _global(self, argument: str) -> None:
        self.stack.append(self._named(*argument.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        self.stack.append(self._named(*self._take(2)))

    def _named(self, module: Any, name: Any) -> NamedObject:
        if not (isinstance(module, str) and isinstance(name, str) and SPOKEN.fullmatch(f"{module[:200]}.{name[:200]}")):
            raise ValueError("it asks for a class or function by an invalid name")
        full = f"{module}.{name}"
        if full not in self.names:
            raise Refused(full)
        return NamedObject(full)

    def _reduce(self, _: Any) -> None:
        self._make(*self._take(2))

    _newobj = _reduce

    def _inst(self, argument: str) -> None:
        self._make(self._named(*argument.split(" ", 1)), tuple(self._from_mark()))

    def _obj(self, _: Any) -> None:
        maker, *arguments = self._from_mark()
        self._make(maker, tuple(arguments))

    def _make(self, maker: Any, arguments: Any) -> None:
        if not isinstance(maker, NamedObject) or not isinstance(arguments, tuple):
            raise TypeError("it calls what is no name")
        self.made.append(Made(maker.name, arguments))
        self.stack.append(self.made[-1])

    def _build(self, _: Any) -> None:
        (state,) = self._take(1)
        if not isinstance(self.stack[-1], Made):
            raise TypeError("it gives a state to what has none")
        if self.stack[-1].state is not None:
            raise ValueError("it sets the state of one object twice")
        self.stack[-1].state = state

    def _binpersid(self, _: Any) -> None:
        self.outside.append(Outside(*self._take(1)))
        self.stack.append(self.outside[-1])


def _is_key(key: Any) -> bool:
    return (isinstance(key, str) and len(key) <= _MOST_KEY) or (isinstance(key, int) and key.bit_length() <= KEY_BITS)
