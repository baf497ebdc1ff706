"""Make one checked `Options` of text, YAML files and Python values, and write those of a run down again."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.options.checks import PRETEXT_TASKS
from ssast.options.declaration import suggestion
from ssast.options.options import SPECS, Options
from ssast.options.parts import Part, settled_part
from ssast.options.privacy import revealed, settled, shown_facts, shown_record
from ssast.options.records import ALIASES, MODES, check_together
from ssast.safe_reading import MOST_BYTES, brief, some, yaml_of


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and values of a YAML file, local or at an address such as gs://bucket/run.yaml; an empty file has none.

    Raises UserError where the file is missing, is not YAML or holds something else than `key: value` lines.
    """
    text = Location(os.fspath(path)).read_text(most=MOST_BYTES)
    try:
        content = yaml_of(text)
    except ValueError as error:
        line, _, reason = str(error).partition(": ") if str(error).startswith("line ") else ("", "", str(error))
        raise UserError(
            f"{path} cannot be read as YAML{f' ({line})' if line else ''}: {reason}; correct it.", path=path
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected lines of `option: value`", path=path)
    return content


def write_mapping(path: str | os.PathLike[str], comment: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the sections one after the other, each under its title as a comment, complete or not at all."""
    parts = [f"# {comment}\n"]
    for title, values in sections.items():
        parts.append(f"\n# {title}\n{yaml_text(dict(values))}")
    with atomic_file(path) as unfinished:
        unfinished.write_text("".join(parts), encoding="utf-8")


def yaml_text(values: Mapping[str, object]) -> str:
    """The values as `yaml.safe_dump` writes them, ten times as fast where libyaml is known to write the same bytes.

    The two differ in empty and long keys, and in where they fold or escape what is not ASCII.
    """
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper) if _is_written_alike(values) else yaml.SafeDumper
    return str(yaml.dump(values, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


def _is_written_alike(value: object) -> bool:
    if isinstance(value, dict):
        keys = (isinstance(key, str) and 0 < len(key) <= 100 and _is_written_alike(key) for key in value)
        return all(keys) and all(map(_is_written_alike, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_written_alike, value))
    if isinstance(value, str):
        return value.isascii() and value.isprintable()
    return value is None or isinstance(value, bool | int | float)


RECORD = "record"
"""The key in a run's own YAML file that holds what is not an option."""
GIVEN = "given"
"""Under `RECORD`: the options that were asked for at their default; of any other value one knows without it."""
MOST_DIFFERENCES = 5


@dataclass(frozen=True)
class RunRecord:
    """Every option of a run as plain values, fit for YAML and for --config; not `config`, whose content they are."""

    values: Mapping[str, Any]
    given: frozenset[str] = frozenset()

    @classmethod
    def of(cls, options: Options) -> "RunRecord":
        """Return the record of checked options."""
        return cls({name: getattr(options, name) for name in SPECS if name != "config"}, options.given)

    @property
    def mode(self) -> str:
        """The mode that the options are for."""
        return str(self.values["mode"])

    @property
    def part(self) -> Part:
        """The share of the recordings that the run takes."""
        return Part.of(self.values["part"])

    def with_values(self, **values: object) -> "RunRecord":
        """Return the record with other values of these options."""
        return replace(self, values={**self.values, **values})

    def key(self, files: Mapping[str, str]) -> str:
        """What a run's result depends on, in one word; options at their default are left out, so that new ones fit in.

        `files` are the SHA-256 of those that it reads.
        """
        kept = sorted(self.chosen.items())
        return hashlib.sha256(repr((kept, sorted(files.values()))).encode()).hexdigest()

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that the result depends on, those at their default left out."""
        chosen = {name: value for name, value in self.values.items() if not SPECS[name].as_default(value)}
        return {name: value for name, value in chosen.items() if SPECS[name].changes_result}

    def differences(self, before: Mapping[str, Any], files: Mapping[str, str]) -> str:
        """How the run of another record differs from this one; empty where the results are the same."""
        # An option that is younger than the record had its default.
        then = {name: spec.default for name, spec in SPECS.items()} | dict(before)
        now = shown_record(self.values)
        names = [name for name in now if SPECS[name].changes_result and _differ(name, then[name], now[name])]
        if names:
            return ", ".join(
                f"{name} {brief(then[name])} there, {brief(now[name])} now" for name in names[:MOST_DIFFERENCES]
            )
        there, here = noted(before, "files"), shown_facts(files)
        changed = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
        return f"made with other contents of {some([brief(name, 200) for name in changed])}" if changed else ""

    def write(self, path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
        """Write the options as used, by groups, and under `record:` whatever else the run keeps (plain values)."""
        values = shown_record(self.values)
        sections: dict[str, dict[str, object]] = {}
        for spec in SPECS.values():
            if spec.name in values:
                sections.setdefault(spec.group.title, {})[spec.name] = values[spec.name]
        usual = sorted(name for name in self.given & values.keys() if SPECS[name].as_default(values[name]))
        kept = {**shown_facts(facts), **({GIVEN: usual} if usual else {})}
        comment = f"Every option of this run; `ssast {self.mode} --config {os.path.basename(path)}` repeats it."
        write_mapping(path, comment, {**sections, "Not options": {RECORD: kept}})


def _differ(name: str, one: object, other: object) -> bool:
    return one != other and not (SPECS[name].as_default(one) and SPECS[name].as_default(other))


def noted(before: Mapping[str, Any], name: str) -> dict[str, object]:
    """The mapping that a record holds under a name besides its options; empty where there is none."""
    found = before.get(RECORD)
    found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def public_options() -> list[str]:
    """The options that a card may tell the public; a record keeps their names, since a card is made without options."""
    return [name for name, spec in SPECS.items() if spec.is_public]


def from_args(texts: Mapping[str, str]) -> Options:
    """The options of a command line, by name as they were typed; a --config among them is read first."""
    return resolve(**{name: SPECS[name].check(text, f"--{name}") for name, text in texts.items()})


def resolve(options: Options | None = None, /, **overrides: Any) -> Options:
    """The options (or the defaults), under them a `config` file if one is named, over them the overrides; then checked.

    The mode comes out under its own name, `given` has grown by the new names, and in pretraining `task` and
    `pretrained_mdl_path` are pretrain_joint and None (random weights) unless they were given.
    Raises UserError for an unknown name, a value that is not allowed, or options that do not go together.
    """
    for name in overrides:
        _known(name, "there is no option", SPECS)
    base = Options() if options is None else options
    file, asked_there = load_config(overrides["config"]) if overrides.get("config") else ({}, set())
    values = {**file, **overrides}
    asked = asked_there | overrides.keys()
    given = base.given | (asked - {"mode", "config"})
    merged = replace(base, **values, given=given)
    chosen = replace(merged, **_by_mode(_canonical(merged.mode, merged.task), given))
    if problem := check_together(chosen):
        raise UserError(problem)
    return settled(replace(chosen, part=_part(chosen)))


def load_config(path: str | os.PathLike[str]) -> tuple[dict[str, Any], set[str]]:
    """The options in a YAML file, checked one by one, and the names of those that were asked for.

    A run's record holds every option: asked for are those that differ from their default, or that it names under
    `record: given:`.
    """
    values = read_mapping(path)
    kept = values.pop(RECORD, None)
    values = revealed(values, path)
    for name in values:
        _known(name, f"{path}: there is no option", [name for name in SPECS if name != "config"])
    checked = {name: SPECS[name].check(value, f"{path}: {name}") for name, value in values.items()}
    noted = kept.get(GIVEN) if isinstance(kept, dict) else None
    usual = {name for name in noted if isinstance(name, str)} if isinstance(noted, list) else set()
    return checked, {name for name, value in checked.items() if value != SPECS[name].default or name in usual}


def _known(name: str, sentence: str, names: Iterable[str]) -> None:
    if name not in names:
        raise UserError(f"{sentence} {name}{suggestion(name, names) or '; docs/options.md lists them all'}")


def _canonical(mode: str, task: str) -> str:
    """The mode that a spelling stands for."""
    if mode == "train":
        return "pretrain" if task in PRETEXT_TASKS else "finetune"
    return ALIASES.get(mode, mode)


def _by_mode(mode: str, given: frozenset[str]) -> dict[str, Any]:
    """The mode, and the defaults that differ in it."""
    own = {"task": "pretrain_joint", "pretrained_mdl_path": None} if mode == "pretrain" else {}
    return {"mode": mode, **{name: value for name, value in own.items() if name not in given}}


def _part(options: Options) -> str | None:
    """The share that a run takes, where its mode has shares."""
    return settled_part(options.part) if "part" in MODES[options.mode].options else None
