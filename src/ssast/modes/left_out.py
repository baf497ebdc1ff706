"""Recordings that a run cannot use in; bad_audio.csv beside its results out."""

import contextlib
import json
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from ssast import veil
from ssast.bounded import json_of
from ssast.data.storage import whole_file
from ssast.engine import crew
from ssast.report.tables import counted


class BadAudio:
    """The recordings that were left out, each with its reason; called by the loader."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.journal: Path | None = None

    def __call__(self, uid: str, reason: str) -> None:
        """Note one, as it may be shown; training meets the same ones in every epoch."""
        uid, reason = veil.shown_name("uid", uid), veil.shown(reason, is_sentence=True)
        if uid in self.reasons:
            return
        self.reasons[uid] = reason
        self._note(uid, reason)

    def _note(self, uid: str, reason: str) -> None:
        if self.journal is not None:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            with open(self.journal, "a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([uid, reason]))

    def remember(self, journal: Path, *, goes_on: bool = True) -> None:
        """Note further ones in `journal` at once; take up those of a killed run there, or drop them with the run.

        What other processes noted in the journal so far, such as that of the training, is taken up before it is left.
        """
        if self.journal not in (None, journal):
            self._take_up(self.journal)
        self.journal = journal
        if goes_on:
            self._take_up(journal)
        elif crew.is_main():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # the folder is opened, or refused, later
                journal.unlink()

    def _take_up(self, journal: Path | None) -> None:
        try:
            lines = journal.read_text(encoding="utf-8").splitlines() if journal else []
        except (FileNotFoundError, NotADirectoryError):  # none yet, or the main process has done with it
            return
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # the kill may have cut a line, and the first is empty
                uid, reason = json_of(line)
                self.reasons.setdefault(str(uid), str(reason))

    @staticmethod
    def forget(journal: Path, uids: Collection[str]) -> None:
        """Drop from `journal` what was noted of these recordings: they are others now."""
        shown = {veil.shown_name("uid", uid) for uid in uids}
        noted = BadAudio()
        noted.remember(journal)
        journal.unlink(missing_ok=True)
        for uid, reason in noted.reasons.items():
            if uid not in shown:
                noted._note(uid, reason)

    def write(self, folder: Path) -> None:
        """bad_audio.csv (uid, reason) in `folder`, and how many on the screen; nothing where all could be used."""
        if not crew.is_main():
            return
        if self.journal is not None:
            self.remember(self.journal)  # other processes note there what they met
        (folder / "bad_audio.csv").unlink(missing_ok=True)
        if not self.reasons:
            return
        with whole_file(folder / "bad_audio.csv") as beside:
            pd.DataFrame(self.reasons.items(), columns=["uid", "reason"]).to_csv(beside, index=False)
        print(f"{counted(len(self.reasons), 'recording')} left out: {folder / 'bad_audio.csv'} says why", flush=True)
