"""Replace names that identify somebody by salted hashes, in any text that a private run shows or writes.

Outside a private run, everything here returns its input unchanged. `options/privacy.py` makes a run private.
"""

import html
import json
import os
import re
from bisect import bisect, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

_WORD = re.compile(r"[^\W_]+")
# Whole numbers and scraps of letters that are also counts and ordinary words.
_PLAIN = re.compile(r"0|[1-9]\d{0,3}|\w{1,2}|[^\W\d_]{1,3}")
NAMED_BEFORE = re.compile(
    r"""(?:['"]|\b(?:clips?|uids?|subjects?|speakers?|patients?|participants?)(?:\(s\))?[ :=]+)$"""
)
COUNTED_BEFORE = re.compile(r"(?:\b(?:line|epoch|seed|fold|folds|byte|at least|at most|of the|lacks|has)|--\w+) $")
COUNTED_AFTER = re.compile(
    r"%|[ -](?:of (?:the|its|all|\d+)|more|rows?|clips?|recordings?|uids?|uid\(s\)|files?|targets?|values?|cells?|"
    r"columns?|k?Hz|m?s|GB|bytes?|labels?|folds?|seeds?|epochs?|subjects?|speakers?|samples?|patches|frames?|mel|others?|channels?|bits?)\b"
)
ANY_PATH = re.compile(
    r"""(?<![\w/<~.])(?:[a-z][a-z0-9+.-]*://(?=[^\s])|\.\./|~[\w.-]*/|[A-Za-z]:[\\/]|/(?=[^\s/]))[^\s'"<>|;,()]*"""
)
_PATH_PART = re.compile(r"""[^\s/\\'"<>|;:,()]*""")
# What ssast itself reads and writes keeps its name behind a hidden folder.
OUR_FILES = (
    "aucs|args|attention|audit|bad_audio|best|check|checklist|compare|config|development|embeddings?|faithfulness|folds|heard|labels|last|log|metadata|metrics|"
    "model|plain_baseline|predicted|preprocessor_config|README|predicted_windows|predictions|recordings|report|run|seeds|stats|study|sweep|test|thresholds|train|traits|"
    "validation|waveform"
)
OUR_FOLDERS = r"attention|checkpoints|splits|tensorboard|(?:fold|seed|epoch)-\d+|\.ssast"
OWN = re.compile(
    rf"(?:{OUR_FILES})(?:-[a-z]+)?(?:_part-\d+-of-\d+)?\.\w{{1,11}}|{OUR_FOLDERS}|[\w-]+_embeddings(?:_over_time)?(?:\.pqt|_part-\d+-of-\d+\.parquet)|[a-z_]+-[0-9a-f]{{12}}(?:\.\w{{1,8}})?|"
)
EMBEDDED = re.compile(r"(data:[\w/+.-]+;base64,[A-Za-z0-9+/=]*)")
HIDDEN = re.compile(r"(?<![^\W_])[a-z_]+-[0-9a-f]{12}(?![^\W_])")
"""What stands in the place of a name: what kind of name it is, and its hash."""
PLACES = ("path", "bucket")
"""The kinds of names that errors give of places; all others are of people and cells."""
CUT, LONGEST = 20, 300
"""Sentences cut long names; so many of their letters stand before the cut, at least and at most."""


class Redaction:
    """Knows which names are secret; `digest` gives twelve hexadecimal digits for a name, and remembers the name."""

    def __init__(self, digest: Callable[[str, str], str]):
        self.digest = digest
        self.kinds: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.shapes: dict[str, list[tuple[int, int]]] = {}
        self.meant: dict[str, str] = {}
        self.heads: dict[str, list[tuple[str, str]]] = {}

    def know(self, names: Mapping[str, Iterable[str]]) -> None:
        """Hide from now on the names that an error says its sentence holds, by kind."""
        for kind, found in names.items():
            if kind in PLACES:
                for place in found:
                    self._know_place(kind, place.rstrip("/\\"))
            else:
                self.learn(kind, found)

    def _know_place(self, kind: str, place: str) -> None:
        """A place behind a known one keeps that one's name; a word without folders may be no path at all."""
        if "/" in place or "\\" in place:
            if not any(place == known or place.startswith((f"{known}/", f"{known}\\")) for known in self.places):
                self.learn_place(kind, place)
        elif kind != "path" or ("." in place.strip(".") and not OWN.fullmatch(place)):
            self.learn(kind, [place])

    def learn(self, kind: str, names: Iterable[object]) -> None:
        """Hide these names from now on, however a sentence, a page or an address may spell them."""
        for name in map(str, names):
            if name not in self.kinds and _WORD.search(name):
                for spelling in {
                    name,
                    " ".join(name.splitlines()),
                    html.escape(name),
                    json.dumps(name)[1:-1],
                    repr(name)[1:-1],
                    quote(name, safe=""),
                }:
                    self._learn(kind, name, spelling)

    def _learn(self, kind: str, name: str, spelling: str) -> None:
        first = _WORD.search(spelling)
        if first is None:
            return
        self.kinds.setdefault(spelling, kind)
        self.meant.setdefault(spelling, name)
        if len(spelling) - first.start() > CUT:
            rest = spelling[first.start() :]
            insort(self.heads.setdefault(rest[:CUT], []), (rest, spelling))
        shapes = self.shapes.setdefault(first.group(), [])
        if (shape := (first.start(), len(spelling))) not in shapes:
            shapes.append(shape)
            shapes.sort(key=lambda one: -one[1])

    def learn_place(self, kind: str, *paths: str) -> None:
        """Hide these paths or addresses, which all mean one place, and whatever stands behind them."""
        for path in paths:
            if "/" in path.rstrip("/") or "\\" in path:
                self.places[path.rstrip("/")] = kind
            else:
                self.learn(kind, [path])

    def hidden(self, kind: str, name: str) -> str:
        """The hash that is shown instead of a name, whether it was learned or not."""
        return f"{kind}-{self.digest(kind, self.meant.get(name, name))}"

    def text(self, text: str, *, is_sentence: bool = False, names: Mapping[str, Iterable[str]] | None = None) -> str:
        """A line of text without secret names; in an error's sentence even a plain number is a name, unless it counts.

        `names` (by kind) are known to stand in it: they are always hidden, even short words and numbers.
        """
        given = {name for found in (names or {}).values() for name in found}
        self.know(names or {})
        text = self._without_places(text)
        if given:  # before paths: a uid may hold what looks like a part of one
            text = self._without_names(text, lambda start, end: self.meant.get(text[start:end], "") in given)
        text = ANY_PATH.sub(lambda found: self._path(found.group()), text)
        text = self._without_cut(text)
        return self._without_names(text, lambda start, end: self._is_named(text, start, end, is_sentence))

    def page(self, text: str) -> str:
        """A page of html without secret names; pictures, markup and words of plain letters stay as they are."""
        parts = EMBEDDED.split(text)
        return "".join(part if at % 2 else self._page_part(part) for at, part in enumerate(parts))

    def _page_part(self, text: str) -> str:
        text = self._without_places(text)
        return self._without_names(
            text, lambda start, end: not (text[start:end].isalpha() or _PLAIN.fullmatch(text[start:end]))
        )

    def _path(self, path: str) -> str:
        bare = path.rstrip(".:")
        return self.hidden("path", bare) + path[len(bare) :] if _WORD.search(bare) else path

    def _without_places(self, text: str) -> str:
        for place in sorted(self.places, key=len, reverse=True):
            at = text.find(place)
            while at >= 0:
                end = at + len(place)
                before, after = text[at - 1 : at] if at else "", text[end : end + 1]
                if not (before.isalnum() or before in ("/", "_")) and not (after.isalnum() or after in ("_", "-")):
                    shown = self.hidden(self.places[place], place)
                    tail, end = self._tail(text, end)
                    text = f"{text[:at]}{shown}{tail}{text[end:]}"
                    end = at + len(shown) + len(tail)
                at = text.find(place, end)
        return text

    def _tail(self, text: str, at: int) -> tuple[str, int]:
        """What stands behind a hidden place, and where it ends."""
        shown = ""
        while text[at : at + 1] in ("/", "\\") and at < len(text):
            at += 1
            end = self._known(text, at)
            if end is None:
                part = _PATH_PART.match(text, at).group().rstrip(".")  # type: ignore[union-attr]
                end = at + len(part)
                shown += f"/{part if OWN.fullmatch(part) else self.hidden('path', part)}"
            else:
                shown += f"/{self.hidden(self.kinds[text[at:end]], text[at:end])}"
            at = end
        return shown, at

    def _known(self, text: str, at: int) -> int | None:
        """Where the longest known name that stands at this place ends."""
        first = _WORD.search(text, at)
        for offset, length in self.shapes.get(first.group(), ()) if first else ():
            if first.start() - offset == at and text[at : at + length] in self.kinds:  # type: ignore[union-attr]
                after = text[at + length : at + length + 1]
                if not (after.isalnum() or after in ("_", "-")):
                    return at + length
        return None

    def _without_cut(self, text: str) -> str:
        """Names too long for a sentence, of which it has the beginning."""
        parts, last = [], 0
        for word in _WORD.finditer(text) if self.heads else ():
            at = word.start()
            rests = self.heads.get(text[at : at + CUT], []) if at >= last else []
            # What shares most with the text stands beside its place.
            near = bisect(rests, (text[at : at + LONGEST], ""))
            for rest, name in rests[max(0, near - 1) : near + 1]:
                end = at + len(os.path.commonprefix((text[at : at + len(rest)], rest)))  # noqa: RUF071 - no paths
                is_cut = text.startswith("...", end) or not self._is_whole(text, word)
                if is_cut and end - at < len(rest) and _stands_alone(text, at, end):
                    parts += [text[last:at], self.hidden(self.kinds[name], name)]
                    last = end + 3 if text.startswith("...", end) else end
                    break
        return "".join([*parts, text[last:]])

    def _is_whole(self, text: str, word: re.Match[str]) -> bool:
        """Whether a known name begins with this word and stands here as it is."""
        spans = ((word.start() - offset, length) for offset, length in self.shapes.get(word.group(), ()))
        spans = ((max(start, 0), start + length) for start, length in spans)
        return any(text[start:end] in self.kinds and _stands_alone(text, start, end) for start, end in spans)

    def _without_names(self, text: str, is_meant: Callable[[int, int], bool]) -> str:
        parts, last = [], 0
        for word in _WORD.finditer(text):
            for offset, length in self.shapes.get(word.group(), ()):
                start = word.start() - offset
                end = start + length
                name = text[max(start, 0) : end]
                if (
                    start >= last
                    and len(name) == length
                    and name in self.kinds
                    and _stands_alone(text, start, end)
                    and is_meant(start, end)
                ):
                    parts += [text[last:start], self.hidden(self.kinds[name], name)]
                    last = end
                    break
        return "".join([*parts, text[last:]])

    def _is_named(self, text: str, start: int, end: int, is_sentence: bool) -> bool:
        if not _PLAIN.fullmatch(text[start:end]) or NAMED_BEFORE.search(text, 0, start):
            return True
        return is_sentence and not COUNTED_AFTER.match(text, end) and not COUNTED_BEFORE.search(text, 0, start)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] is no part of a longer word, number or hash."""
    if text[end : end + 1].isalnum():
        return False
    if any(found.start() <= start < found.end() for found in HIDDEN.finditer(text, _word_start(text, start), end + 64)):
        return False  # a folder may be called uid, or data
    if text[start].isdigit() and start > 1 and text[start - 1] in ".," and text[start - 2].isdigit():
        return False
    return not (text[end - 1].isdigit() and text[end : end + 1] == "." and text[end + 1 : end + 2].isdigit())


def _word_start(text: str, at: int) -> int:
    while at and (text[at - 1].isalnum() or text[at - 1] in "_-"):
        at -= 1
    return at


_in_use: Redaction | None = None


@contextmanager
def redacting(redactor: Redaction) -> Iterator[Redaction]:
    """Let `redactor` hide what is secret for as long as the block runs."""
    global _in_use
    before, _in_use = _in_use, redactor
    try:
        yield redactor
    finally:
        _in_use = before


def redaction_in_use() -> Redaction | None:
    """The redaction of the private run; None outside one."""
    return _in_use


def learn(kind: str, names: Iterable[object]) -> None:
    """Hide these names of one kind from now on, in a private run."""
    if _in_use is not None:
        _in_use.learn(kind, names)


def know(names: Mapping[str, Iterable[str]]) -> None:
    """Hide from now on, in a private run, the names that the sentence of an error holds, by kind."""
    if _in_use is not None:
        _in_use.know(names)


def shown(text: str, *, is_sentence: bool = False) -> str:
    """A text as it may be shown: in a private run without secret names."""
    return text if _in_use is None else _in_use.text(text, is_sentence=is_sentence)


def redacted_error(error: Exception) -> str:
    """The sentence of an error as it may be shown, for a caller that reports it and goes on."""
    return (
        str(error) if _in_use is None else _in_use.text(str(error), is_sentence=True, names=getattr(error, "names", {}))
    )


def shown_name(kind: str, name: str) -> str:
    """A name as it may be shown: in a private run its hash."""
    return name if _in_use is None else _in_use.hidden(kind, name)


def shown_page(text: str) -> str:
    """A page of html as it may be shown: in a private run without secret names."""
    return text if _in_use is None else _in_use.page(text)
