"""Hide what a private run must not show, and keep the key file that brings it back on this machine."""

import csv
import dataclasses
import hashlib
import hmac
import io
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from ssast import redaction
from ssast.data.metadata import may_be_collection
from ssast.data.storage.atomic_writes import at_home, writable_folder
from ssast.data.storage.cache import own_folder
from ssast.data.storage.location import Location, locate
from ssast.errors import UserError
from ssast.options.options import SPECS, Options
from ssast.redaction import HIDDEN, OWN, Redaction

_KEYS = "keys.csv"
LISTED = ("uid", "run")
_Facts = TypeVar("_Facts", bound=Mapping[str, object])
"""The kinds of names of which an option may hold several, with commas between."""


def secret_options() -> list[str]:
    """The options whose values a private run does not show."""
    return [name for name, spec in SPECS.items() if spec.is_path or spec.secret]


class Keys:
    """The key file: a salt, and what each hash that was shown stands for; for this user's eyes only."""

    def __init__(self, folder: Path):
        self.path = folder / _KEYS
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
                f"the key file {self.path} cannot be read ({error}); change its rights, or move it.", path=self.path
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
        """Make the file complete and once: of two processes that begin together, both use that of the first."""
        folder = writable_folder(self.path.parent)
        folder.chmod(0o700)
        unfinished = folder / f".{secrets.token_hex(8)}"
        try:
            with os.fdopen(
                os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(f"hash,kind,name\n{secrets.token_hex(32)},salt,\n")
            try:
                os.link(unfinished, self.path)
            except FileExistsError:
                pass
            except OSError:  # a disk without hard links
                if not self.path.exists():
                    os.replace(unfinished, self.path)
        finally:
            unfinished.unlink(missing_ok=True)

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


def learn_given(redactor: Redaction, given: Mapping[str, Any]) -> None:
    """Learn what is secret among the values that a user gave, whether they are options or not."""
    known = set(SPECS) - set(secret_options())
    for name, value in given.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            if name not in known and isinstance(part, str | os.PathLike) and str(part).casefold() != "none":
                _learn_value(redactor, name if name in SPECS else "path", os.fspath(part))


def _learn_value(redactor: Redaction, name: str, value: str) -> None:
    """One option's value in all its spellings."""
    parts = _parts(name, value)
    if (kind := _secret(name)) in LISTED:
        for part in parts:
            if kind == "run":
                _learn_value(redactor, kind, part)
            redactor.learn(kind, [Path(part).resolve().name if kind == "run" else part])
    elif len(parts) > 1:
        for part in parts:
            _learn_value(redactor, name, part)
    elif kind:
        redactor.learn(kind, [value])
    elif "://" in value or not value:
        redactor.learn_place(name, value)
    else:
        path = at_home(value)
        redactor.learn_place(name, str(path.absolute()), str(path.resolve()), value, str(path))


def _parts(name: str, value: str) -> list[str]:
    """The single values of an option that may hold several."""
    if not (is_listed := _secret(name) in LISTED) and not (name in SPECS and SPECS[name].is_many):
        return [value]
    return [part.strip() for part in value.split("," if is_listed else "\n") if part.strip()]


def _secret(name: str) -> str:
    """The kind of name that an option holds; empty for a path and for what is no option."""
    return SPECS[name].secret if name in SPECS else ""


def settled(options: Options) -> Options:
    """Options of a private run with absolute paths, so that none can pass for a word; the redaction learns them."""
    redactor = redaction.redaction_in_use()
    if redactor is None and not options.private:
        return options
    if redactor is None:
        raise UserError("private=True is not heeded here; call the mode by its public name, as in ssast.finetune(...).")
    options = dataclasses.replace(options, private=True, **_absolute(options))  # also of a mode that another one calls
    for name in reversed(secret_options()):  # of two options with one place, the first names it
        value = getattr(options, name)
        if value and name in options.given:
            _learn_value(redactor, name, value)
    _learn_recordings(redactor, options)
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


def _learn_recordings(redactor: Redaction, options: Options) -> None:
    """Every name in the local folder of the recordings, whether a csv has it or not; of a bucket the addresses."""
    if options.bucket_name:
        redactor.learn_place("bucket", str(locate("x", None, options.bucket_name)).removesuffix("/x"))
    if not options.prefix:
        return
    root = locate(options.prefix, options.study, options.bucket_name)
    redactor.learn_place("prefix", *([str(root)] if not root.is_local else _spellings(root)))
    if root.is_local and root.is_dir():
        redactor.learn("uid", (name for name in os.listdir(root.path) if not OWN.fullmatch(name)))
    with suppress(UserError):  # said when it is read
        if not may_be_collection(root):
            return
        from ssast.data.shards.collection import opened  # late: it brings torch

        collection = opened(root)
        redactor.learn("uid", () if collection is None else collection.uids)


def _spellings(root: Location) -> list[str]:
    return [str(root.path), str(root.path.absolute()), str(root.path.resolve())]


def shown_record(values: Mapping[str, Any]) -> dict[str, object]:
    """Options as they may be written down; `revealed` brings them back on this machine."""
    redactor = redaction.redaction_in_use()
    if redactor is None:
        return dict(values)
    secret = set(secret_options())
    return {
        name: _hidden(redactor, name, value) if name in secret and value else _deep(redactor, value)
        for name, value in values.items()
    }


def shown_facts(facts: _Facts) -> _Facts:
    """What a record holds besides the options, as it may be written down."""
    redactor = redaction.redaction_in_use()
    return facts if redactor is None else cast(_Facts, _deep(redactor, facts))


def _hidden(redactor: Redaction, name: str, value: str) -> str:
    kind = _secret(name)
    hidden = [redactor.hidden(kind if kind in LISTED else name, part) for part in _parts(name, value)]
    return ("," if kind in LISTED else "\n").join(hidden)


def _deep(redactor: Redaction, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_deep(redactor, str(name)): _deep(redactor, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_deep(redactor, inner) for inner in value]
    if not isinstance(value, str):
        return value
    return (
        redactor.hidden(redactor.kinds[value], value)
        if value in redactor.kinds
        else redactor.text(value, is_sentence=True)
    )


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
