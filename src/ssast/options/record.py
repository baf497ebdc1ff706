"""Write down every option of a run, and tell one run from another by them."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ssast.options.options import SPECS, Options
from ssast.options.parts import Part
from ssast.options.privacy import shown_facts, shown_record
from ssast.options.yaml_file import write_mapping
from ssast.safe_reading import brief, some

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
