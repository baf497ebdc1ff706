"""A folder of audio files and a table in; the same recordings as the other modes read them out."""

import io
import json
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ssast import veil
from ssast.audio.decode import decode
from ssast.data.arrange import Named, Table, answers, choose_test, find_subject, name_files, name_rows, uid_column
from ssast.data.files import find_audio
from ssast.data.people import ENOUGH_SUBJECTS, SUBJECTS
from ssast.data.recordings import naming
from ssast.data.splits import read_labels, read_table, some
from ssast.data.storage import Location, whole_folder
from ssast.errors import AudioError, UserError
from ssast.modes.assemble import say
from ssast.modes.holding import BESIDE, alone
from ssast.modes.left_out import BadAudio
from ssast.modes.options import Options
from ssast.modes.places import at, recordings
from ssast.modes.runfolder import fingerprint, versions
from ssast.modes.settle import resolve, write_record
from ssast.report.measures import SOFT_POSITIVE
from ssast.report.tables import counted

RECIPE = "--epochs 20 --learning_rate 0.001"
"""What to begin with, as the README does."""
FEW_SUBJECTS = 3 * ENOUGH_SUBJECTS
"""With fewer people a test of a quarter of them says little; each is better tested once, in folds."""


@alone("arrange", lock=BESIDE)
def arrange(options: Options | None = None, /, **overrides: Any) -> Path:
    """Lay audio files and a table out as `recordings/`, `splits/`, all.csv and labels.txt in the new folder exp_dir.

    `prefix` is the folder of the files, `data_split_root` the table; files are copied as they are. Takes the command
    line's options by name, and gives the folder.
    """
    options = resolve(options, mode="arrange", **overrides)
    folder = Path(options.exp_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"the folder {folder} holds files already; give the name of a new one.")
    source, place = recordings(options), at(options, options.data_split_root or "")
    table, subject = _with_subject(read_table(place), options.subject_column)
    files = find_audio([source])
    veil.learn("file", (file.name for file in files))
    named = name_files(table, files, source, options.file_column)
    uids, bad = name_rows(table, named, source), BadAudio()
    veil.learn("uid", uids.values())
    veil.learn("subject", table[subject].values() if subject else ())
    _say_missing(named, place, options, bad)
    given = read_labels(at(options, options.label_txt or "")) if "label_txt" in options.given else None
    left = {named.column, uid_column(table)}
    others = {name: {line: cells[line] for line in uids} for name, cells in table.items() if name not in left}
    labels = answers(others, given, [subject] if subject else [])
    with whole_folder(folder) as beside:
        kept = _copy(named, uids, beside / "recordings", options, bad)
        frame = _frame(others, {line: uids[line] for line in kept}, labels, subject)
        made = Arranged.of(frame, list(labels), subject, options)
        made.write(beside)
        record = {"clips": {"all": len(frame)}, "files": fingerprint(place), "versions": versions()}
        write_record(beside / "run.yaml", options, record)
    say(f"the column {named.column!r} names the files; {len(frame)} of {len(files)} are in {folder / 'recordings'}")
    bad.write(folder)
    made.show(folder)
    return folder


@dataclass(frozen=True)
class Arranged:
    """A table under uids, its labels and the column that says who speaks, and which rows (R,) are the test."""

    frame: pd.DataFrame
    labels: list[str]
    subject: str | None
    is_test: NDArray[np.bool_] | None

    @classmethod
    def of(cls, frame: pd.DataFrame, labels: list[str], subject: str | None, options: Options) -> "Arranged":
        """The table with its test chosen; UserError where all recordings are of one person."""
        if options.test_share == 0:
            return cls(frame, labels, subject, None)
        people = dict(frame[subject]) if subject else {}
        groups = [f"subject {people[uid]}" if people.get(uid) else f"uid {uid}" for uid in frame.index]
        if len(set(groups)) < 2:
            raise UserError(
                f"all {len(frame)} recordings are of one {subject or 'file'}, which leaves nobody else to test on; "
                "pass --test_share 0 to do without splits."
            )
        targets_RN = frame[labels].to_numpy(dtype=float)
        return cls(frame, labels, subject, choose_test(groups, targets_RN, options.test_share, options.seed))

    @property
    def halves(self) -> dict[str, pd.DataFrame]:
        """The rows of each csv to come, by its name."""
        if self.is_test is None:
            return {"all": self.frame}
        return {"train": self.frame[~self.is_test], "test": self.frame[self.is_test]}

    def write(self, folder: Path) -> None:
        """all.csv, splits/ and labels.txt, as far as there is something to say in them."""
        self.frame.to_csv(folder / "all.csv")
        for name, rows in self.halves.items() if self.is_test is not None else ():
            (folder / "splits").mkdir(exist_ok=True)
            rows.to_csv(folder / "splits" / f"{name}.csv")
        if self.labels:
            (folder / "labels.txt").write_text("\n".join(self.labels) + "\n", encoding="utf-8")

    def show(self, folder: Path) -> None:
        """On the screen: people, labels, what was left alone, and the commands that come next."""
        for name, rows in self.halves.items():
            whose = f" of {rows[self.subject].nunique()} people ({self.subject})" if self.subject else ""
            say(f"{name}: {counted(len(rows), 'recording')}{whose}")
        if not self.subject:
            say("no column says who speaks, so that a person may be in both splits; name one with --subject_column")
        for label in self.labels:
            say(f"label {label}: {self._counts(label)}")
        others = [name for name in self.frame.columns if name not in (self.subject, *self.labels)]
        if others:
            say(f"left as they are: {some(others)}")
        if not self.labels:
            say("no column holds yes/no answers, so there is no labels.txt; --label_txt names columns of other numbers")
        self._show_next(folder)

    def _counts(self, label: str) -> str:
        """What a label holds, csv by csv."""
        known = {name: rows[label].dropna() for name, rows in self.halves.items()}
        if not self._is_answer(label):
            spans = (f"{own.min():g} to {own.max():g} in {name}" for name, own in known.items() if len(own))
            return f"numbers, {', '.join(spans)}"
        return ", ".join(
            f"{int((own >= SOFT_POSITIVE).sum())} of {len(own)} yes in {name}" for name, own in known.items()
        )

    def _is_answer(self, label: str) -> bool:
        return bool(self.frame[label].dropna().between(0, 1).all())

    def _show_next(self, folder: Path) -> None:
        """With few people each is to be tested once, in folds."""
        lacking = [label for label in self.labels if any(rows[label].nunique() < 2 for rows in self.halves.values())]
        if lacking and self.is_test is not None:
            say(f"warning: with these splits one of them has only one answer to {some(lacking)}")
        is_few = self.subject is not None and self.frame[self.subject].nunique() < FEW_SUBJECTS
        in_folds = self.is_test is None or bool(lacking) or is_few
        named = shlex.quote(str(folder))
        where = f"-i {named}/recordings -d {named}/{'all.csv' if in_folds else 'splits'}"
        where += f" -l {named}/labels.txt" if self.labels else ""
        say(f"next: ssast check {where} -o checked")
        if self.labels:
            loss = "" if all(map(self._is_answer, self.labels)) else " --loss MSE"
            say(f"then: ssast finetune {where}{' --folds 3' if in_folds else ''}{loss} {RECIPE} -o runs/first")
        if self.labels and in_folds and self.is_test is not None:
            say("in folds everybody is tested once, by models that have not heard them: the test split has too few")


def _with_subject(table: Table, column: str | None) -> tuple[Table, str | None]:
    """The table and the column that says who speaks, under a name by which every other mode finds it too."""
    subject = find_subject(table, column)
    if subject is None or subject == find_subject(table, None):
        return table, subject
    if SUBJECTS[0] in table:
        raise UserError(
            f"the table has a column {SUBJECTS[0]!r} beside {subject!r}, and every mode would take it for who speaks; "
            "rename or remove it."
        )
    return {SUBJECTS[0] if name == subject else name: cells for name, cells in table.items()}, SUBJECTS[0]


def _say_missing(named: Named, place: Location, options: Options, bad: BadAudio) -> None:
    """Note the rows without a file; UserError unless bad recordings are to be skipped."""
    if named.lacking and options.on_bad_audio == "error":
        line, cell = next(iter(named.lacking.items()))
        raise UserError(
            f"{place} names no audio file in {counted(len(named.lacking), 'row')}, the first in line {line}: "
            f"{cell!r} as {named.column}; bring the files, remove the rows, or pass --on_bad_audio skip."
        )
    for line, cell in named.lacking.items():
        bad(cell or f"line {line}", f"line {line} names no audio file")


def _copy(named: Named, uids: Mapping[int, str], root: Path, options: Options, bad: BadAudio) -> list[int]:
    """Every recording in a folder of its own, decoded once for its rate; the lines of those that can be used."""
    kept, keep = [], partial(_keep, root)
    with ThreadPoolExecutor(max(1, options.num_workers)) as threads:
        reasons = threads.map(keep, uids.values(), (named.file_of[line] for line in uids))
        try:
            for line, reason in tqdm(zip(uids, reasons, strict=True), desc="arrange", unit="clip", total=len(uids)):
                if reason is None:
                    kept.append(line)
                elif options.on_bad_audio == "error":
                    raise reason
                else:
                    bad(uids[line], str(reason))
        finally:
            threads.shutdown(cancel_futures=True)
    if not kept:
        first = next(iter(bad.reasons.values()))
        raise UserError(f"none of the {len(uids)} recordings can be used; the first: {first}")
    return kept


def _keep(root: Path, uid: str, file: Location) -> AudioError | None:
    """Copy one recording under its uid, with its metadata.json; what is wrong where it cannot be read."""
    ending = file.name.rsplit(".", 1)[1].lower()
    try:
        with naming(uid):
            content = file.read_bytes()
            rate = decode(io.BytesIO(content), extension=ending).sample_rate
    except AudioError as error:
        return error
    folder = root / uid
    folder.mkdir(parents=True)
    (folder / f"waveform.{ending}").write_bytes(content)
    metadata = {"encoding": ending.upper(), "sample_rate_hz": rate}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return None


def _frame(table: Table, uids: Mapping[int, str], labels: Mapping[str, Any], subject: str | None) -> pd.DataFrame:
    """The table under uids: who speaks, the labels as numbers, the other columns as they came."""
    first = [subject] if subject else []
    order = [*first, *labels, *(name for name in table if name not in (subject, *labels))]
    frame, cells = pd.DataFrame(index=pd.Index(uids.values(), name="uid")), {**table, **labels}
    for name in order:
        own = pd.Series([cells[name][line] for line in uids], index=frame.index)
        is_whole = name in labels and (own.dropna() % 1 == 0).all()
        frame[name] = own.astype("Int64") if is_whole else own
    return frame
