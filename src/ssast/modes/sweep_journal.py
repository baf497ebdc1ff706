"""Keep the scores of the heads that a sweep has trained, so that a killed sweep goes on."""

import contextlib
import json
import shutil
from pathlib import Path

from ssast.options.options import Options
from ssast.runs.context import say
from ssast.runs.output.changed_recordings import HEARD_CONTENTS, RememberedRecordings
from ssast.safe_reading import noted_lines

Scores = dict[str, dict[str, float | None]]
"""By label, and under "mean": each measure."""


class Journal:
    """The scores of the heads that are done, so that a killed sweep goes on."""

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key
        self.done: dict[str, Scores] = {}
        for line in noted_lines(path):
            if len(line) == 3 and line[0] == key and isinstance(line[1], str) and _are_scores(line[2]):
                self.done[line[1]] = line[2]

    def add(self, name: str, scores: Scores) -> None:
        """Note a head's scores at once."""
        self.done[name] = scores
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("\n" + json.dumps([self.key, name, scores]))

    def remove(self) -> None:
        """Delete it once the table is in place."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        with contextlib.suppress(OSError):  # another mode's parts may lie beside it
            self.path.parent.parent.rmdir()


def _are_scores(found: object) -> bool:
    return isinstance(found, dict) and all(
        isinstance(own, dict) and all(value is None or isinstance(value, int | float) for value in own.values())
        for own in found.values()
    )


def opened(parts: Path, key: str, heard: RememberedRecordings, options: Options) -> Journal:
    """The journal of an unfinished sweep, or a new one where it is not of this sweep; that is said."""
    if options.resume == "never":
        shutil.rmtree(parts, ignore_errors=True)
    changed = heard.changed_since(parts / HEARD_CONTENTS)
    if changed:
        say(f"{heard.sentence(changed)}; the sweep begins anew")
        shutil.rmtree(parts, ignore_errors=True)
    journal = Journal(parts / "heads.jsonl", key)
    if changed is None and journal.done:
        say(f"{parts / HEARD_CONTENTS} is missing or damaged, so recordings may have changed: the sweep begins anew")
        shutil.rmtree(parts, ignore_errors=True)
        journal = Journal(parts / "heads.jsonl", key)
    if journal.path.exists() and not journal.done:
        say(f"what lies in {parts} was computed with other options, files or versions: the sweep begins anew")
    heard.write(parts / HEARD_CONTENTS)
    return journal
