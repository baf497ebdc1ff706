"""Make one checked `Options` of text, a YAML file or Python values."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ssast.errors import UserError
from ssast.options.checks import PRETEXT_TASKS
from ssast.options.declaration import suggestion
from ssast.options.options import SPECS, Options
from ssast.options.parts import settled_part
from ssast.options.privacy import revealed, settled
from ssast.options.record import GIVEN, RECORD
from ssast.options.records import ALIASES, MODES, check_together
from ssast.options.yaml_file import read_mapping


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
    merged = dataclasses.replace(base, **values, given=given)
    chosen = dataclasses.replace(merged, **_by_mode(_canonical(merged.mode, merged.task), given))
    if problem := check_together(chosen):
        raise UserError(problem)
    return settled(dataclasses.replace(chosen, part=_part(chosen)))


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
