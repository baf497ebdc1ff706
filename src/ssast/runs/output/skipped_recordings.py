"""Collect the recordings that a run cannot use or that a model does not hear rightly, and report them."""

import contextlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from ssast import redaction
from ssast.audio.sound_findings import LENGTH, SoundFinding
from ssast.data.storage.atomic_writes import atomic_file
from ssast.engine import distributed
from ssast.options.parts import WHOLE, Part
from ssast.pages.sound_finding_sentences import KINDS, finding_sentences
from ssast.pages.tables import counted
from ssast.safe_reading import noted_lines

BAD_AUDIO, HEARD_TABLE = "bad_audio.csv", "heard.csv"
JOURNAL = "bad_audio.jsonl"
"""What is noted while a run goes on: one line a recording."""


class SkippedRecordings:
    """The recordings that were left out, each with its reason, and sound findings about others; the loader adds them.

    `findings` holds for each kind the details by uid. Uids are as they may be shown. The tables bear the name of the
    `part` of the run that they are of.
    """

    keeps_lengths = True
    """Whether the seconds of each recording are noted too, for runs that tell how much they do not hear."""

    def __init__(self, part: Part = WHOLE) -> None:
        self.bad_table, self.heard_table = part.named(BAD_AUDIO), part.named(HEARD_TABLE)
        self.reasons: dict[str, str] = {}
        self.findings: dict[str, dict[str, str]] = {}
        self.journals: list[Path] = []

    def __call__(self, uid: str, reason: str) -> None:
        """Note one that is left out; training meets the same ones in every epoch."""
        uid, reason = redaction.shown_name("uid", uid), redaction.shown(reason, is_sentence=True)
        if uid not in self.reasons:
            self.reasons[uid] = reason
            self._append(uid, reason)

    def has(self, uid: str) -> bool:
        """Whether a recording was left out, by its uid as the table has it."""
        return redaction.shown_name("uid", uid) in self.reasons

    def add_findings(self, uid: str, findings: Sequence[SoundFinding]) -> None:
        """Note the sound findings of a recording that is used."""
        uid = redaction.shown_name("uid", uid)
        for finding in findings:
            if finding.kind == LENGTH and not self.keeps_lengths:
                continue
            if uid not in self.findings.get(finding.kind, ()):
                self.findings.setdefault(finding.kind, {})[uid] = finding.detail
                self._append(uid, finding.kind, finding.detail)

    def _append(self, *words: str) -> None:
        if self.journals:
            self.journals[-1].parent.mkdir(parents=True, exist_ok=True)
            with open(self.journals[-1], "a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(words))

    def remember(self, journal: Path, *, goes_on: bool = True) -> None:
        """Note further ones in `journal` at once; take up those of a killed run there, or drop them with the run.

        What other processes noted in the journals so far, such as that of the training, is taken up before.
        """
        self.gather()
        self.journals = [*(known for known in self.journals if known != journal), journal]
        if not goes_on and distributed.is_main():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # the folder is opened, or refused, later
                journal.unlink()
        else:
            self._read(journal)

    def leave(self) -> None:
        """Delete the journals of a run that is done and will not go on, with folders that held nothing else."""
        for journal in self.journals:
            journal.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                journal.parent.rmdir()

    @staticmethod
    def forget(journal: Path, uids: Collection[str]) -> None:
        """Drop from `journal` what was noted of these recordings, since their files changed."""
        shown = {redaction.shown_name("uid", uid) for uid in uids}
        noted = SkippedRecordings()
        noted.remember(journal)
        journal.unlink(missing_ok=True)
        findings = [(uid, kind, detail) for kind, own in noted.findings.items() for uid, detail in own.items()]
        for line in (*noted.reasons.items(), *findings):
            if line[0] not in shown:
                noted._append(*line)

    def _read(self, journal: Path) -> None:
        """Read what this or another process wrote there."""
        for line in noted_lines(journal):
            uid, *words = map(str, line) if line else ("",)
            if len(words) == 1:
                self.reasons.setdefault(uid, words[0])
            elif len(words) == 2 and words[0] in (*KINDS, LENGTH):
                self.findings.setdefault(words[0], {}).setdefault(uid, words[1])

    def close(self, journal: Path) -> None:
        """Note nothing further in a journal that is about to be removed; what it holds stays known."""
        self.gather()
        self.journals = [known for known in self.journals if known != journal]

    def gather(self) -> None:
        """Read what other processes noted."""
        for journal in self.journals:
            self._read(journal)

    def of(self, uids: Collection[str]) -> dict[str, dict[str, str]]:
        """The sound findings about these recordings alone, in their order."""
        found = {
            kind: {shown: own[shown] for uid in uids if (shown := redaction.shown_name("uid", uid)) in own}
            for kind, own in self.findings.items()
        }
        return {kind: own for kind, own in found.items() if own}

    def lengths(self, uids: Collection[str]) -> list[float]:
        """The seconds of those of these recordings that were judged, however much of them is heard."""
        own = self.findings.get(LENGTH, {})
        return [float(own[shown]) for uid in uids if (shown := redaction.shown_name("uid", uid)) in own]

    def about(self, uid: str) -> dict[str, str]:
        """The sound findings of one recording, by kind."""
        return {kind: next(iter(own.values())) for kind, own in self.of([uid]).items()}

    def write(self, folder: Path, uids: Collection[str] = ()) -> None:
        """bad_audio.csv (uid, reason) and heard.csv (uid, finding, detail) in `folder`, and sentences on the screen.

        There is no such file where there is nothing to tell. `uids` are all recordings of the run, in their order: the
        tables have it too, whichever process or worker met a recording first; what is not among them comes last.
        """
        if not distributed.is_main():
            return
        self.gather()
        if self.reasons:
            shown = (redaction.shown_name("uid", uid) for uid in uids)
            ordered = {uid: self.reasons[uid] for uid in shown if uid in self.reasons}
            self.reasons = ordered | self.reasons
        _write(folder / self.bad_table, self.reasons.items(), ["uid", "reason"])
        if self.reasons:
            print(f"{counted(len(self.reasons), 'recording')} left out: {folder / self.bad_table} says why", flush=True)
        own = self.of(uids)
        rows = [(uid, kind, detail) for kind in KINDS for uid, detail in own.get(kind, {}).items()]
        _write(folder / self.heard_table, rows, ["uid", "finding", "detail"])
        sentences = finding_sentences(own, len(uids) - len(self.reasons))
        for sentence in sentences:
            print(f"Careful: {sentence}", flush=True)
        if sentences:
            print(f"every such recording is in {folder / self.heard_table}", flush=True)


def read_reasons(folder: Path) -> dict[str, str]:
    """Why recordings were left out of the run in a folder of ours, by uid as it is shown; none where none was."""
    place = folder / BAD_AUDIO
    if not place.is_file():
        return {}
    table = pd.read_csv(place, dtype=str, keep_default_na=False)
    return dict(zip(table["uid"], table["reason"], strict=True))


def _write(path: Path, rows: Collection[tuple[str, ...]], columns: list[str]) -> None:
    path.unlink(missing_ok=True)
    if rows:
        with atomic_file(path) as unfinished:
            pd.DataFrame(list(rows), columns=columns).to_csv(unfinished, index=False)
