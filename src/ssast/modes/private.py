"""Options with --private True in; a run that shows salted hashes instead of uids and paths out, its key file kept here.

The two doors, `cli.py` and the public names of `__init__.py`, let every mode through `veiled`; so no mode, and nothing
that prints, has to think of it. What is secret is learned from the options, from every csv that is read, and from the
folder of the recordings.
"""

import csv
import dataclasses
import functools
import hashlib
import hmac
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from ssast import veil
from ssast.data.cache import own_folder
from ssast.data.storage import Location, locate, writable_folder
from ssast.data.whole import at_home
from ssast.errors import UserError
from ssast.modes.catalogue import SPELLINGS
from ssast.modes.declare import TRUTH
from ssast.modes.options import SPECS, Options
from ssast.modes.runfile import read_mapping
from ssast.modes.screen import Passing, steady
from ssast.modes.surroundings import look_around
from ssast.veil import HIDDEN, OWN, Veil

KEYS = "keys.csv"
NAMES = ("study", "bucket_name", "project_name", "cloud_dir")
"""Options beside paths whose values are not shown."""
LISTS = {"uids": "uid", "runs": "run"}
BESIDE_PATHS = (*NAMES, *LISTS)


def secret_options() -> list[str]:
    """The options whose values a private run does not show."""
    return [name for name, spec in SPECS.items() if spec.is_path or name in BESIDE_PATHS]


class Keys:
    """The key file: a salt, and what each hash that was shown stands for; for this user's eyes only."""

    def __init__(self, folder: Path):
        self.path = folder / KEYS
        self.salt = b""
        self.names: dict[str, str] = {}
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            self._make()
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(
                f"the key file {self.path} cannot be read ({error}); mend its rights, or move it.", path=self.path
            ) from error
        for row in csv.reader(io.StringIO(text, newline="")):
            if len(row) == 3 and row[1] == "salt":
                self.salt = bytes.fromhex(row[0])
            elif len(row) == 3:
                self.names[row[0]] = row[2]
        if not self.salt:
            raise UserError(
                f"the key file {self.path} holds no salt; restore it, or move it away for a new one.", path=self.path
            )

    def _make(self) -> None:
        """Appears whole, and once: of two processes that begin together the second takes the first one's."""
        folder = writable_folder(self.path.parent)
        folder.chmod(0o700)
        beside = folder / f".{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                file.write(f"hash,kind,name\n{secrets.token_hex(32)},salt,\n")
            try:
                os.link(beside, self.path)
            except FileExistsError:
                pass
            except OSError:  # a disk without hard links
                if not self.path.exists():
                    os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)

    def digest(self, kind: str, name: str) -> str:
        """Twelve hexadecimal digits for a name; the first time, what they stand for is written down."""
        found = hmac.new(self.salt, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]
        if found not in self.names:
            self.names[found] = name
            row = io.StringIO()
            csv.writer(row, lineterminator="\n").writerow([found, kind, name])
            with open(self.path, "ab", buffering=0) as file:  # in one piece: other processes write too
                file.write(row.getvalue().encode("utf-8", "surrogatepass"))
        return found


def keys() -> Keys:
    """The keys of this user, in $SSAST_KEYS, else ~/.config/ssast."""
    return Keys(own_folder("SSAST_KEYS", "~/.config/ssast"))


class _Veiled(Passing):
    """A text stream through which nothing passes unveiled."""

    def write(self, text: str) -> int:
        self.stream.write(veil.shown(text))
        return len(text)


@contextmanager
def veiled(given: Mapping[str, Any], options: Options | None = None) -> Iterator[None]:
    """Let a mode run behind the veil where `given` (over the options) asks for --private True; errors come out veiled.

    An error that is no UserError keeps its traceback, but neither its kind nor what caused it: both may hold names.
    """
    if veil.worn() or not _is_asked(given, options):
        yield
        return
    with ExitStack() as stack:
        worn = stack.enter_context(veil.wearing(Veil(keys().digest)))
        _learn_given(worn, given)
        stack.enter_context(redirect_stdout(_Veiled(sys.stdout)))
        stack.enter_context(redirect_stderr(_Veiled(sys.stderr)))
        try:
            yield
        except UserError as error:
            raise type(error)(worn.text(str(error), is_sentence=True, names=error.names)) from None
        except Exception as error:
            told = worn.text(f"{type(error).__name__}: {error}", is_sentence=True)
            raise RuntimeError(told).with_traceback(error.__traceback__) from None


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A mode as Python's users call it: on a screen that ends nothing, behind the veil where they ask for it."""

    @functools.wraps(function)
    def run(options: Options | None = None, /, **overrides: Any) -> Any:
        with steady(), veiled(overrides, options):
            look_around()
            return function(options, **overrides)

    return run


def typed(words: Sequence[str]) -> dict[str, Any]:
    """What a command line gives to each option, before it is checked; bare words under their number."""
    names = {flag: spec.name for spec in SPECS.values() for flag in spec.flags}
    found: dict[str, Any] = {}
    flag = ""
    for at, word in enumerate(words):
        if word.startswith("-"):
            flag, _, value = word.partition("=")
            if value and flag in names:
                found[names[flag]] = value
        elif flag in names and names[flag] not in found:
            found[names[flag]] = word
        elif word not in SPELLINGS:
            found[f"word {at}"] = word
    return found


def _is_asked(given: Mapping[str, Any], options: Options | None) -> bool:
    asked = given.get("private")
    if asked is None and options is not None:
        asked = options.private or None
    if asked is None and given.get("config"):
        try:
            asked = read_mapping(given["config"]).get("private")
        except UserError:
            return False  # it is said when the options are read
    return TRUTH.get(str(asked).strip().casefold(), False)


def _learn_given(worn: Veil, given: Mapping[str, Any]) -> None:
    known = set(SPECS) - set(secret_options())
    for name, value in given.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            if name not in known and isinstance(part, str | os.PathLike) and str(part).casefold() != "none":
                _learn_value(worn, name if name in SPECS else "path", os.fspath(part))


def _learn_value(worn: Veil, name: str, value: str) -> None:
    """One option's value in all its spellings."""
    parts = _parts(name, value)
    if name in LISTS:
        for part in parts:
            if name == "runs":
                _learn_value(worn, LISTS[name], part)
            worn.learn(LISTS[name], [part if name == "uids" else Path(part).resolve().name])
    elif len(parts) > 1:
        for part in parts:
            _learn_value(worn, name, part)
    elif name in NAMES:
        worn.learn(name.removesuffix("_name"), [value])
    elif "://" in value or not value:
        worn.learn_place(name, value)
    else:
        path = at_home(value)
        worn.learn_place(name, str(path.absolute()), str(path.resolve()), value, str(path))


def _parts(name: str, value: str) -> list[str]:
    """The single values of an option that may hold several."""
    if name not in LISTS and not (name in SPECS and SPECS[name].is_many):
        return [value]
    return [part.strip() for part in value.split("," if name in LISTS else "\n") if part.strip()]


def settled(options: Options) -> Options:
    """Options of a private run with their paths absolute, so that none can hide as a word; and the veil knows them."""
    worn = veil.worn()
    if worn is None and not options.private:
        return options
    if worn is None:
        raise UserError("private=True is not heeded here; call the mode by its public name, as in ssast.finetune(...).")
    options = dataclasses.replace(options, private=True, **_absolute(options))  # also of a mode that another one calls
    for name in reversed(secret_options()):  # of two options with one place, the first names it
        value = getattr(options, name)
        if value and name in options.given:
            _learn_value(worn, name, value)
    _learn_recordings(worn, options)
    return options


def _absolute(options: Options) -> dict[str, Any]:
    """Local paths that were given and that are there, or will be, in full."""
    found = {}
    for name in options.given & {name for name, spec in SPECS.items() if spec.is_path}:
        value = getattr(options, name)
        if value and not (name == "prefix" and options.bucket_name):
            found[name] = "\n".join(_in_full(name, part) for part in _parts(name, value))
    return found


def _in_full(name: str, value: str) -> str:
    path = at_home(value)
    return str(path.absolute()) if "://" not in value and (path.exists() or name == "exp_dir") else value


def _learn_recordings(worn: Veil, options: Options) -> None:
    """Every name in the local folder of the recordings, whether a csv has it or not; of a bucket the addresses."""
    if options.bucket_name:
        worn.learn_place("bucket", str(locate("x", None, options.bucket_name)).removesuffix("/x"))
    if not options.prefix:
        return
    root = locate(options.prefix, options.study, options.bucket_name)
    worn.learn_place("prefix", *([str(root)] if not root.is_local else _spellings(root)))
    if root.is_local and root.is_dir():
        worn.learn("uid", (name for name in os.listdir(root.path) if not OWN.fullmatch(name)))


def _spellings(root: Location) -> list[str]:
    return [str(root.path), str(root.path.absolute()), str(root.path.resolve())]


def shown_record(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they may be written down; `revealed` brings them back on this machine."""
    worn = veil.worn()
    if worn is None:
        return dict(values)
    secret = set(secret_options())
    return {
        name: _hidden(worn, name, value) if name in secret and value else _deep(worn, value)
        for name, value in values.items()
    }


def shown_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a record holds beside options, as it may be written down."""
    worn = veil.worn()
    return dict(facts) if worn is None else _deep(worn, facts)


def _hidden(worn: Veil, name: str, value: str) -> str:
    hidden = [worn.hidden(LISTS.get(name, name), part) for part in _parts(name, value)]
    return ("," if name in LISTS else "\n").join(hidden)


def _deep(worn: Veil, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_deep(worn, str(name)): _deep(worn, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_deep(worn, inner) for inner in value]
    if not isinstance(value, str):
        return value
    return worn.hidden(worn.kinds[value], value) if value in worn.kinds else worn.text(value, is_sentence=True)


def revealed(values: Mapping[str, Any], path: object) -> dict[str, Any]:
    """The options of a private record with what their hashes stand for; UserError where the key file lacks them."""
    if values.get("private") is not True:
        return dict(values)
    known, found = keys().names, dict(values)
    for name in secret_options():
        if isinstance(found.get(name), str):
            found[name] = HIDDEN.sub(lambda word: _meant(word.group(), known, path), found[name])
    return found


def _meant(word: str, known: Mapping[str, str], path: object) -> str:
    if (meant := known.get(word.rsplit("-", 1)[1])) is None:
        raise UserError(
            f"{path} was written with --private True, and the key file of this machine does not know {word}; "
            "use it where it was written, or set SSAST_KEYS to the folder of that key file.",
            path=path,
        )
    return meant
