"""Read what runs left in their folders: records, scores, audits. The folders may be a stranger's."""

import contextlib
import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssast import redaction
from ssast.data.storage.atomic_writes import is_below
from ssast.errors import UserError
from ssast.options.options import SPECS
from ssast.options.record import RECORD, read_mapping
from ssast.pages.checklist_sheet import Statement
from ssast.runs.context import run_names
from ssast.runs.reviewing.groups import is_harmless
from ssast.safe_reading import MOST_BYTES, brief, json_file, json_lines, some, text_of

_RECORDS = ("run.yaml", "run-evaluate.yaml", "run-audit.yaml", "run-check.yaml")
_JSON = ("metrics.json", "audit.json", "retest.json", "config.json", "thresholds.json", "development.json")
_READ = (*_RECORDS, *_JSON, "log.jsonl", "check.csv", "bad_audio.csv", "report.html", "model.safetensors", "README.md")
_TRAINED = ("finetune", "pretrain")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder: its records by mode, its _JSON files by name, and which of our files it has."""

    name: str
    records: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, Mapping[str, Any]]
    log: Sequence[Mapping[str, object]]
    findings: Mapping[str, int] | None
    present: frozenset[str]

    def file(self, name: str) -> Mapping[str, Any]:
        """The content of one of the _JSON files; empty where there is none."""
        return self.files.get(name, {})

    def at(self, place: str) -> str:
        """A place in the folder, as a reader finds it."""
        return f"{self.name}/{place}"

    def state(self, text: str, place: str) -> Statement:
        """A sentence that the folder bears out at a place in it."""
        return Statement(text, self.at(place))

    def options(self, mode: str) -> Mapping[str, Any]:
        """The options of a mode as its record has them; one that is younger than the record had its default."""
        return {name: spec.default for name, spec in SPECS.items()} | dict(self.records[mode])

    def kept(self, mode: str, name: str) -> Mapping[str, Any]:
        """What the record of a mode holds under a name besides its options."""
        found = (self.records[mode].get(RECORD) or {}).get(name)
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Records:
    """The folders of all runs that a checklist is filled from, in the order in which they were given."""

    runs: Sequence[RunFolder]

    def of(self, mode: str) -> list[RunFolder]:
        """The runs of a mode."""
        return [run for run in self.runs if mode in run.records]

    def having(self, name: str) -> list[RunFolder]:
        """The runs that left a _JSON file of this name."""
        return [run for run in self.runs if run.file(name)]

    @property
    def trained(self) -> list[RunFolder]:
        """The runs that fine-tuned a model."""
        return self.of("finetune")

    @property
    def scored(self) -> list[RunFolder]:
        """The runs that scored recordings with labels."""
        return self.having("metrics.json")

    def warning(self) -> str:
        """A sentence where the folders are of several models; empty where they can be of one."""
        models = {
            os.path.normpath(str(run.options("evaluate")["finetuned_mdl_path"])): run for run in self.of("evaluate")
        }
        several = max(self.trained, list(models.values()), key=len)
        if len(several) < 2:
            return ""
        names = some([run.name for run in several])
        return f"Careful: {names} are of different models, and a sheet describes one; give the folders of one."


def read_records(words: Sequence[str]) -> Records:
    """The records in these folders; UserError where a folder holds none, or one that cannot be read."""
    folders = [Path(word) for word in words]
    names = run_names([folder.resolve().name for folder in folders], folders)
    found = Records([_read(folder, name) for folder, name in zip(folders, names, strict=True)])
    with understood(found):
        for run in found.scored:
            _learn_groups(run.file("metrics.json"))
    return found


@contextlib.contextmanager
def understood(records: Records) -> Iterator[None]:
    """Say in one sentence that a folder holds something that ssast never writes."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        if isinstance(error, UserError):
            raise
        names = [run.name for run in records.runs]
        raise UserError(
            f"a record in {some(names)} is not as ssast writes it ({brief(f'{type(error).__name__}: {error}', 80)}); "
            "run that mode again.",
            run=names,
        ) from error


def _read(folder: Path, name: str) -> RunFolder:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give folders that finetune, evaluate or audit wrote.", path=folder)
    present = {name for name in _READ if _is_own(folder, name)}
    found = [read_mapping(folder / name) for name in _RECORDS if name in present]
    records = {str(one["mode"]): one for one in found if isinstance(one.get("mode"), str)}
    files = {name: _json(folder / name) for name in _JSON if name in present}
    if not records and not files:
        raise UserError(
            f"{folder} holds no run.yaml and no results; give folders that finetune, evaluate or audit wrote.",
            path=folder,
        )
    is_training = any(mode in records for mode in _TRAINED) and "log.jsonl" in present
    return RunFolder(
        name=name,
        records=records,
        files=files,
        log=_log(folder / "log.jsonl") if is_training else [],
        findings=_findings(folder / "check.csv") if "check.csv" in present else None,
        present=frozenset(present),
    )


def _learn_groups(metrics: Mapping[str, Any]) -> None:
    """Hide in a private run the groups that a run without --private named, such as hospitals."""
    columns = (metrics.get("groups") or {}).get("columns", {})
    names = {str(name) for column in columns.values() for own in column["labels"].values() for name in own["groups"]}
    redaction.learn("group", [name for name in names if not is_harmless(name)])


def _is_own(folder: Path, name: str) -> bool:
    """Whether a file is there, and no link leads out of the folder to it."""
    return (folder / name).is_file() and is_below(os.path.realpath(folder / name), os.path.realpath(folder))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json_file(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(content, dict):
        raise _unreadable(path, "it holds no object")
    return content


def _log(path: Path) -> Sequence[Mapping[str, object]]:
    try:
        return json_lines(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _findings(path: Path) -> Mapping[str, int]:
    """How often each kind of fault and note stands in check.csv."""
    try:
        rows = list(csv.DictReader(io.StringIO(text_of(path, MOST_BYTES), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error
    return Counter(brief(row.get("finding")) for row in rows)


def _unreadable(path: Path, reason: object) -> UserError:
    return UserError(f"{path} cannot be read ({brief(str(reason), 200)}); run that mode again.", path=path)
