"""Read JSON and YAML of unknown origin within limits of size, depth and number.

A few bytes can nest without end, name one value a thousand times or spell a number that takes minutes. Every function
here answers within a second and a few times the memory of the text, or raises a ValueError that says why not.
"""

import contextlib
import copy
import functools
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

MOST_BYTES, MOST_OF_LINES = 8 << 20, 64 << 20
MOST_VALUES, MOST_LISTS, MOST_YAML_EVENTS = 1_000_000, 200_000, 20_000
DEEPEST = 20
MOST_LINES = 50_000
"""Of a training's log, which has a few an epoch."""
MOST_DIGITS = 40
MOST_KEY = 200
_PIECE, _MOST_REMEMBERED = 1 << 20, 1 << 16
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Line ends, and what steers a terminal or the direction of text."""
MOST_LETTERS = 120
"""So much of a name stands in a sentence at most."""


def text_of(path: str | os.PathLike[str], most: int = MOST_BYTES) -> str:
    """The text of a plain file in UTF-8; ValueError or OSError where it is none, or larger than `most` bytes."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is not a regular file")
    content = bytearray()
    with open(path, "rb") as file:  # in pieces: asked for all at once it takes the memory of what there might be
        while len(content) <= most and (piece := file.read(min(_PIECE, most + 1 - len(content)))):
            content += piece
    if len(content) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return content.decode("utf-8")


def json_of(text: str, *, strict: bool = True) -> Any:
    """The value of a JSON text; `strict` refuses NaN, infinity and a key given twice, which Python itself takes."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} characters")
    if text.count(",") > MOST_VALUES or text.count("[") + text.count("{") > MOST_LISTS:
        raise ValueError(f"it holds more than {MOST_LISTS:,} lists, or {MOST_VALUES:,} values")
    try:
        value = (_STRICT if strict else _LENIENT).decode(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    _check(value)
    return value


def json_file(path: str | os.PathLike[str], most: int = MOST_BYTES) -> Any:
    """The value of a JSON file; ValueError or OSError where it cannot be had."""
    return json_of(text_of(path, most))


def json_lines(path: Path) -> list[dict[str, object]]:
    """The objects among the lines of a file, without those that a kill left unfinished; none where there is no file."""
    if not path.is_file():
        return []
    found = []
    lines = text_of(path, MOST_OF_LINES).splitlines()
    if len(lines) > MOST_LINES:
        raise ValueError(f"it holds more than {MOST_LINES:,} lines")
    for line in lines:
        if line.startswith("{") and line.endswith("}"):
            found.append(json_of(line))
    return found


def noted_lines(path: Path) -> Iterator[list[Any]]:
    """The lists among the lines of a file that a run notes things in; what a kill or a stranger left is passed over.

    One after the other: there may be one a recording.
    """
    try:
        text = text_of(path, MOST_OF_LINES)
    except (OSError, ValueError):
        return
    for line in re.finditer(r"[^\r\n]+", text):
        with contextlib.suppress(ValueError):
            if isinstance(value := json_of(line.group()), list):
                yield value


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"it holds {word}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text[:20]}, which is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds a whole number of {len(text)} digits")
    return int(text)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it gives a name twice")
    return found


# Made once: a decoder is a circle of objects, and one for each line of a long file would wait for the collector.
_LENIENT = json.JSONDecoder(parse_int=_whole)
_STRICT = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=_refuse, object_pairs_hook=_once)


def _check(value: Any) -> None:
    """ValueError where a value is nested too deep."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def yaml_of(text: str) -> Any:
    """The value of a YAML text: text, numbers, yes and no, nothing, and lists and mappings of them by short names.

    Dates are dates. ValueError for aliases, merged mappings, tags of other kinds, and a name given twice.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} characters")
    return copy.deepcopy(_remembered(text)) if len(text) <= _MOST_REMEMBERED else _yaml_value(text)


@functools.lru_cache(maxsize=8)
def _remembered(text: str) -> Any:
    """The value of a short text: a run reads its own record, and its model's, several times."""
    return _yaml_value(text)


def _yaml_value(text: str) -> Any:
    import yaml

    loader = _loader(yaml)
    try:
        _look_over(yaml.parse(text, Loader=loader), yaml)
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(brief(f"{where}{getattr(error, 'problem', None) or error}", 200)) from None
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise ValueError("it gives a value a type that it does not have") from None


def _look_over(events: Any, yaml: Any) -> None:
    """ValueError at the first event that has no place in a file of settings: before anything is built of it."""
    depth = 0
    for count, event in enumerate(events):
        where = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"{where}it uses the alias *{brief(event.anchor, 40)}, expected the value itself")
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in (*PLAIN_TAGS, "!"):
            raise ValueError(f"{where}it uses the tag {brief(tag, 60)}, expected none")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"{where}it is nested more than {DEEPEST} deep")
        if count > MOST_YAML_EVENTS:
            raise ValueError(f"{where}it holds more than {MOST_YAML_EVENTS:,} values")


@functools.cache
def _loader(yaml: Any) -> Any:
    """PyYAML's safe loader, in C where it is built so, with bounded numbers and names."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, object]:
            found: dict[str, object] = {}
            for key_node, value_node in node.value:
                key = _key(self, key_node, yaml)
                if key in found:
                    raise ValueError(f"line {key_node.start_mark.line + 1}: it gives {brief(key)} twice")
                found[key] = self.construct_object(value_node, deep=True)
            return found

    def whole(loader: Any, node: Any) -> Any:
        return _number(node, lambda: yaml.constructor.SafeConstructor.construct_yaml_int(loader, node))

    def real(loader: Any, node: Any) -> Any:
        return _number(node, lambda: yaml.constructor.SafeConstructor.construct_yaml_float(loader, node))

    def mapping(loader: Any, node: Any) -> Any:
        return loader.construct_mapping(node)

    def date(loader: Any, node: Any) -> Any:
        return _number(node, lambda: yaml.constructor.SafeConstructor.construct_yaml_timestamp(loader, node))

    def text(loader: Any, node: Any) -> str:
        return str(node.value)

    for name, construct in (("int", whole), ("float", real), ("map", mapping), ("timestamp", date), ("value", text)):
        Loader.add_constructor(f"tag:yaml.org,2002:{name}", construct)
    return Loader


def _key(loader: Any, node: Any, yaml: Any) -> str:
    where = f"line {node.start_mark.line + 1}: "
    if not isinstance(node, yaml.ScalarNode) or node.tag.endswith(":merge"):
        raise ValueError(f"{where}a name is expected, in lines of `option: value`")
    key = str(loader.construct_object(node))
    if len(key) > MOST_KEY:
        raise ValueError(f"{where}it holds a name of {len(key)} characters")
    return key


def _number(node: Any, read: Any) -> Any:
    """A number or a date as YAML writes it, sixties and underscores included."""
    where = f"line {node.start_mark.line + 1}: "
    if not isinstance(node.value, str):
        raise ValueError(f"{where}it calls a list a number or date")
    if len(node.value) > MOST_DIGITS:
        raise ValueError(f"{where}it holds a number of more than {MOST_DIGITS} digits")
    try:
        return read()
    except (ValueError, IndexError, OverflowError):
        raise ValueError(f"{where}{brief(node.value)!r} is no number or date") from None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of a file is a number; `true` and `false` are none, though Python counts them among them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: on a disk it is bytes, which another system may have given."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def brief(value: object, most: int = 80) -> str:
    """How a value of any file is shown in a sentence: one short line, nothing in it that steers a terminal."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * MOST_DIGITS:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        shown = UNSEEN.sub("?", value[: most + 1])
        return shown if len(value) <= most else f"{shown[: most - 3]}..."
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, dict | list | tuple | bytes) else "")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, each in one line and cut where it is long, and how many more there are."""
    plain = (" ".join(str(name).splitlines()) for name in names[:most])
    shown = ", ".join(name if len(name) <= MOST_LETTERS else f"{name[:MOST_LETTERS]}..." for name in plain)
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
