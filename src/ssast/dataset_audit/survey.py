"""Find what is wrong with the recordings and tables of a data set, by comparing each with the other.

Shapes: R rows of a table, N labels.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ssast import redaction
from ssast.audio.sound_findings import FINDING_FACTS, ODDITIES, WRONGS
from ssast.data.tables.targets import check_targets, label_values, targets
from ssast.dataset_audit.listening import ListenedRecording
from ssast.dataset_audit.people_check import people_remarks
from ssast.errors import UserError

NARROW_SHARE = 0.6
FEW_BANDS = 5
"""Below so many recordings none is called narrower than most."""

# What can be found; under the first a run would stop, or learn or report something false.
FAULTS = {
    "csv not usable": "the csv of a split cannot be read",
    "not found": "its folder, its waveform or a usable metadata.json is missing",
    "not usable": "it is cut off, damaged, empty, misnamed, too short, or of another rate than metadata.json says",
    "refused": "its uid or a link leads out of the data folder, or the storage failed",
    **WRONGS,
    "uid in both splits": "it is trained on and tested with",
    "sound in both splits": "the same samples under two uids, one trained on and one tested with",
    "subject in both splits": "scores would not be those of unseen subjects",
    "same sound, other labels": "the same samples under two uids that contradict each other",
    "label not usable": "its column is missing or holds what the loss cannot take",
    "label of one class": "every row has the same value: nothing to learn, no AUC",
}
NOTES = {
    "same sound": "the same samples under two uids of one split",
    **ODDITIES,
    **FINDING_FACTS,
    "other rate": "its rate is not that of most; every recording is brought to --resample_rate",
    "narrow band": f"it ends below {NARROW_SHARE:g} of the frequency that half of the recordings reach",
    "label missing": "the cell is left out of loss and scores",
    "perhaps a code": "a number or level such as 999 or -9, apart from the others: perhaps it stands for a missing one",
    "not in the csv": "in the folder of recordings, but in no split",
    "nobody named": "no column says who speaks (speaker, subject, patient, ...), so people in both splits go unseen",
    "different person columns": "two splits name people in columns of different names",
    "two spellings": "names that differ only as 01 and 1, P1 and p01 do; they count as different people",
    "person not known": "the cell holds a word such as NA or unknown, which may mean that nobody is known, or a number "
    "that a spreadsheet shortened (1.23E+16), which may stand for several people",
    "different facts": "one person's age, sex or site differs between rows: perhaps two people share a code",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found; `uid` is empty where it is about a whole split, `finding` a key of FAULTS or NOTES."""

    uid: str
    split: str
    finding: str
    detail: str

    @property
    def is_fault(self) -> bool:
        """Whether a run would stop, or learn or report something false."""
        return self.finding in FAULTS


def findings(
    heard: Mapping[str, ListenedRecording],
    splits: Mapping[str, pd.DataFrame],
    labels: Sequence[str] = (),
    *,
    loss: str = "BCE",
    unlisted: Iterable[str] = (),
) -> list[Finding]:
    """Everything that is wrong or worth knowing, faults first; `unlisted` are uids of the folder in no split."""
    found = [
        *_of_recordings(heard, splits),
        *_of_rates(heard, splits),
        *_of_bands(heard, splits),
        *_shared_uids(splits),
        *(Finding(*one) for one in people_remarks(splits)),
        *_shared_sounds(heard, splits, labels),
        *_of_labels(splits, labels, loss),
        *(Finding(uid, "", "not in the csv", NOTES["not in the csv"]) for uid in unlisted),
    ]
    order = [*FAULTS, *NOTES]
    return sorted(found, key=lambda one: order.index(one.finding))


def _of_recordings(heard: Mapping[str, ListenedRecording], splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    for split, uid, one in _rows(heard, splits):
        if one.finding and all(sound.kind != one.finding for sound in one.sound_findings):
            yield Finding(uid, split, one.finding, one.reason)
        for sound in one.sound_findings:
            yield Finding(uid, split, sound.kind, sound.detail)


def _rows(
    heard: Mapping[str, ListenedRecording], splits: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, str, ListenedRecording]]:
    for split, frame in splits.items():
        for uid in frame.index:
            if uid in heard:
                yield split, uid, heard[uid]


def _of_rates(heard: Mapping[str, ListenedRecording], splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    rates = Counter(one.sample_rate for one in heard.values() if one.sample_rate)
    if len(rates) < 2:
        return
    usual = rates.most_common(1)[0][0]
    for split, uid, one in _rows(heard, splits):
        if one.sample_rate not in (0, usual):
            yield Finding(uid, split, "other rate", f"{one.sample_rate} Hz, most have {usual} Hz")


def _of_bands(heard: Mapping[str, ListenedRecording], splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Recordings that end far below the others, as telephones and resampled copies do."""
    bands = array("d", (one.bandwidth_hz for one in heard.values() if one.bandwidth_hz))
    if len(bands) < FEW_BANDS:
        return
    middle = float(np.median(bands))
    for split, uid, one in _rows(heard, splits):
        if 0 < one.bandwidth_hz < NARROW_SHARE * middle:
            detail = f"nothing above {one.bandwidth_hz:.0f} Hz is less than 60 dB below its strongest"
            yield Finding(uid, split, "narrow band", f"{detail}; half of the recordings reach {middle:.0f} Hz")


def _shared_uids(splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    for first, second in combinations(splits, 2):
        both = f"{first} and {second}"
        for uid in splits[first].index.intersection(splits[second].index):
            yield Finding(uid, both, "uid in both splits", f"it is in {both}; take it out of one")


def _shared_sounds(
    heard: Mapping[str, ListenedRecording], splits: Mapping[str, pd.DataFrame], labels: Sequence[str]
) -> Iterator[Finding]:
    several = _more_than_once(one.digest for _, _, one in _rows(heard, splits))
    first_of: dict[str, tuple[str, str]] = {}
    for split, uid, one in _rows(heard, splits) if several else ():
        if hash(one.digest) not in several or not one.digest:
            continue
        if any(heard.kind == "silent" for heard in one.sound_findings):
            continue
        other_split, other = first_of.setdefault(one.digest, (split, uid))
        if other == uid:
            continue
        if other_split != split:
            detail = f"the same samples as {other} of {other_split}; keep one of them"
            yield Finding(uid, f"{other_split} and {split}", "sound in both splits", detail)
        else:
            yield Finding(uid, split, "same sound", f"the same samples as {other}")
        against = _contradicted(splits[other_split].loc[other], splits[split].loc[uid], labels)
        if against:
            yield Finding(uid, split, "same sound, other labels", f"{', '.join(against)} differ from {other}'s")


def _more_than_once(digests: Iterable[str]) -> set[int]:
    """The hashes of digests that are there twice or more; of millions most are there once, and are not held."""
    hashes, counts = np.unique(np.fromiter(map(hash, digests), np.int64), return_counts=True)
    return set(hashes[counts > 1].tolist())


def _contradicted(one: Any, other: Any, labels: Sequence[str]) -> list[str]:
    """The labels that both rows of a table have and that are not the same."""
    both = [label for label in labels if label in one.index and label in other.index]
    return [label for label in both if pd.notna(one[label]) and pd.notna(other[label]) and one[label] != other[label]]


def _of_labels(splits: Mapping[str, pd.DataFrame], labels: Sequence[str], loss: str) -> Iterator[Finding]:
    for split, frame in splits.items():
        usable = []
        for label in labels:
            try:
                check_targets(frame, [label], loss)
                usable.append(label)
            except UserError as error:
                yield Finding("", split, "label not usable", redaction.redacted_error(error))
        values_RN = targets(frame, usable).numpy()
        for at, label in enumerate(usable):
            values = np.unique(values_RN[~np.isnan(values_RN[:, at]), at])
            if len(values) < 2:
                shown = f"{values[0]:g} in every row" if len(values) else "empty in every row"
                yield Finding("", split, "label of one class", f"{label} is {shown}")
        for uid, values_N in zip(frame.index, values_RN, strict=True):
            empty = [label for label, value in zip(usable, values_N, strict=True) if np.isnan(value)]
            if empty:
                yield Finding(str(uid), split, "label missing", f"{', '.join(empty)} left empty")


def label_counts(splits: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> pd.DataFrame:
    """One row a split and label: how many rows are at least one half (yes), below that (no), and empty."""
    rows = []
    for split, frame in splits.items():
        for label in (label for label in labels if label in frame.columns):
            values = label_values(frame, [label])[:, 0]
            counts = {"yes": values >= 0.5, "no": values < 0.5, "empty": np.isnan(values)}
            rows.append({"label": label, "split": split} | {name: int(here.sum()) for name, here in counts.items()})
    return pd.DataFrame(rows, columns=["label", "split", "yes", "no", "empty"])
