"""A folder of recordings and the tables of its splits in; what was heard and what is wrong with them out.

Shapes: C channels, S samples, R rows of a table, N labels.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssast.audio.decode import Recording
from ssast.audio.frontend import WINDOW_MS
from ssast.data.acoustics import Sound, device
from ssast.data.orphans import end_with_parent
from ssast.data.people_check import people_remarks
from ssast.data.recordings import find_recording, load_recording
from ssast.data.splits import check_targets, label_values, targets
from ssast.data.storage import Location
from ssast.errors import AudioError, UserError

SILENT_DB = -60.0
"""A recording whose highest sample is below this, against full scale, says nothing."""
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.001
"""Noted above this share of samples that stand at full scale beside another one there."""
DC_OFFSET = 0.01
"""Noted above this mean, full scale being 1."""
CLIPS_A_MESSAGE = 16

# What can be found; under the first a run would stop, or learn or report something false.
FAULTS = {
    "csv not usable": "the csv of a split cannot be read",
    "not found": "its folder, its waveform or a usable metadata.json is missing",
    "not usable": "it is cut off, damaged, empty, misnamed, too short, or of another rate than metadata.json says",
    "refused": "its uid or a link leads out of the data folder, or the storage failed",
    "silent": f"its highest sample is below {SILENT_DB:g} dB of full scale",
    "uid in both splits": "it is trained on and tested with",
    "sound in both splits": "the same samples under two uids, one trained on and one tested with",
    "subject in both splits": "scores would not be those of unseen subjects",
    "same sound, other labels": "the same samples under two uids that contradict each other",
    "label not usable": "its column is missing or holds what the loss cannot take",
    "label of one class": "every row has the same value: nothing to learn, no AUC",
}
NOTES = {
    "same sound": "the same samples under two uids of one split",
    "clipped": f"more than {CLIPPED_SHARE:.1%} of its samples are at full scale, side by side",
    "DC offset": f"its mean is more than {DC_OFFSET:g} away from zero; the spectrogram takes it out",
    "other rate": "its rate is not that of most; every recording is brought to --resample_rate",
    "label missing": "the cell is left out of loss and scores",
    "not in the csv": "in the folder of recordings, but in no split",
    "nobody named": "no column says who speaks (speaker, subject, patient, ...), so people in both splits go unseen",
    "people in other columns": "two splits name people in columns of different names",
    "two spellings": "names that differ only as 01 and 1, P1 and p01 do; they count as different people",
    "person not known": "the cell holds a word such as NA or unknown, which may mean that nobody is known",
    "other facts": "one person's age, sex or site differ between rows: perhaps two people share a code",
}


@dataclass(frozen=True)
class Heard:
    """One recording: its measures, or the `finding` (a key of FAULTS) and the sentence why there are none.

    `peak`, `offset` (the mean) against full scale 1, `clipped` as a share of the samples; `digest` is the same for the
    same samples at the same rate, in whatever lossless format. `sound`, the file's ending `container` and what else
    metadata.json says in plain values (`metadata`) are there where `listen` was asked to listen `closely`.
    """

    uid: str
    finding: str = ""
    reason: str = ""
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    offset: float = 0.0
    clipped: float = 0.0
    digest: str = ""
    container: str = ""
    sound: Sound | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def peak_db(self) -> float:
        """The highest sample in dB of full scale; -120 for nothing but zeros."""
        return 20 * float(np.log10(max(self.peak, 1e-6)))


@dataclass(frozen=True)
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


def listen(root: Location, uid: str, *, use_librosa: bool = False, closely: bool = False) -> Heard:
    """Read one recording whole and measure it; `closely`, for an audit, also loudness, noise, bandwidth and file."""
    try:
        recording = load_recording(root, uid, use_librosa=use_librosa)
        own: dict[str, Any] = device(root, uid, recording) if closely else {}
    except AudioError as error:
        return Heard(uid, _where(root, uid), str(error).removeprefix(f"clip {uid}: "))
    except UserError as error:
        return Heard(uid, "refused", str(error))
    return replace(_measured(uid, recording), **own)


def _where(root: Location, uid: str) -> str:
    """Whether it fails before there is a file to decode."""
    try:
        find_recording(root, uid)
    except UserError:
        return "not found"
    return "not usable"


def _measured(uid: str, recording: Recording) -> Heard:
    waveform_CS, rate = recording.waveform, recording.sample_rate
    seconds = recording.samples / rate
    measures: dict[str, Any] = {"sample_rate": rate, "channels": len(waveform_CS), "seconds": seconds}
    if seconds * 1000 < WINDOW_MS:
        reason = f"it lasts {seconds * 1000:.1f} ms, less than one window of {WINDOW_MS} ms; remove it"
        return Heard(uid, "not usable", reason, **measures)
    measures |= {"peak": float(waveform_CS.abs().max()), "offset": float(waveform_CS.mean(1).abs().max())}
    kind = "silent" if 20 * np.log10(max(measures["peak"], 1e-9)) < SILENT_DB else ""
    reason = f"its highest sample is {measures['peak']:.6f} of full scale; replace or remove it" if kind else ""
    digest = hashlib.sha256(
        f"{rate} {len(waveform_CS)} {recording.whole_samples or ''}".encode() + waveform_CS.numpy().tobytes()
    ).hexdigest()
    return Heard(uid, kind, reason, **measures, clipped=_clipped(waveform_CS), digest=digest)


def _clipped(waveform_CS: Tensor) -> float:
    """The share of samples at full scale whose next one is there too, with the same sign."""
    if waveform_CS.shape[1] < 2:
        return 0.0
    at_top_CS, at_bottom_CS = waveform_CS >= FULL_SCALE, waveform_CS <= -FULL_SCALE
    pairs = (at_top_CS[:, 1:] & at_top_CS[:, :-1]) | (at_bottom_CS[:, 1:] & at_bottom_CS[:, :-1])
    return float(pairs.float().mean())


class _Ears(Dataset[Heard]):
    """Recordings as what is heard in them."""

    def __init__(self, root: Location, uids: Sequence[str], **how: bool):
        self.root, self.uids, self.how = root, list(uids), how

    def __len__(self) -> int:
        return len(self.uids)

    def __getitem__(self, index: int) -> Heard:
        return listen(self.root, self.uids[index], **self.how)


class _Workers(DataLoader[Any]):
    def check_worker_number_rationality(self) -> None:
        """Stay silent: more workers than cores is what waiting for a disk or a bucket asks for."""


def listen_to_all(
    root: Location, uids: Sequence[str], *, num_workers: int = 0, use_librosa: bool = False, closely: bool = False
) -> Iterator[Heard]:
    """One `Heard` a uid, in their order, read by `num_workers` processes; `closely` as in `listen`."""
    ears = _Ears(root, uids, use_librosa=use_librosa, closely=closely)
    # A generator of its own: else torch draws the workers' seed from its global one.
    how: dict[str, Any] = {
        "num_workers": num_workers,
        "collate_fn": list,
        "worker_init_fn": end_with_parent,
        "generator": torch.Generator(),
    }
    for heard in _Workers(ears, batch_size=CLIPS_A_MESSAGE, **how):
        yield from heard


def findings(
    heard: Mapping[str, Heard],
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
        *_shared_uids(splits),
        *(Finding(*one) for one in people_remarks(splits)),
        *_shared_sounds(heard, splits, labels),
        *_of_labels(splits, labels, loss),
        *(Finding(uid, "", "not in the csv", NOTES["not in the csv"]) for uid in unlisted),
    ]
    order = [*FAULTS, *NOTES]
    return sorted(found, key=lambda one: order.index(one.finding))


def _of_recordings(heard: Mapping[str, Heard], splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    for split, uid, one in _rows(heard, splits):
        if one.finding:
            yield Finding(uid, split, one.finding, one.reason)
        if one.clipped > CLIPPED_SHARE:
            yield Finding(uid, split, "clipped", f"{one.clipped:.2%} of its samples are at full scale")
        if one.offset > DC_OFFSET:
            yield Finding(uid, split, "DC offset", f"its mean is {one.offset:.4f} away from zero")


def _rows(heard: Mapping[str, Heard], splits: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, Heard]]:
    for split, frame in splits.items():
        for uid in frame.index:
            if uid in heard:
                yield split, uid, heard[uid]


def _of_rates(heard: Mapping[str, Heard], splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    rates = Counter(one.sample_rate for one in heard.values() if one.sample_rate)
    if len(rates) < 2:
        return
    usual = rates.most_common(1)[0][0]
    for split, uid, one in _rows(heard, splits):
        if one.sample_rate not in (0, usual):
            yield Finding(uid, split, "other rate", f"{one.sample_rate} Hz, most have {usual} Hz")


def _pairs(splits: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str]]:
    names = list(splits)
    yield from ((first, second) for at, first in enumerate(names) for second in names[at + 1 :])


def _shared_uids(splits: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    for first, second in _pairs(splits):
        both = f"{first} and {second}"
        for uid in splits[first].index.intersection(splits[second].index):
            yield Finding(uid, both, "uid in both splits", f"it is in {both}; take it out of one")


def _shared_sounds(
    heard: Mapping[str, Heard], splits: Mapping[str, pd.DataFrame], labels: Sequence[str]
) -> Iterator[Finding]:
    first_of: dict[str, tuple[str, str]] = {}
    for split, uid, one in _rows(heard, splits):
        if not one.digest or one.finding:
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
                yield Finding("", split, "label not usable", str(error))
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
    """One row a split and label: how many rows are above one half (yes), at most that (no), and empty."""
    rows = []
    for split, frame in splits.items():
        for label in (label for label in labels if label in frame.columns):
            values = label_values(frame, [label])[:, 0]
            counts = {"yes": values > 0.5, "no": values <= 0.5, "empty": np.isnan(values)}
            rows.append({"label": label, "split": split} | {name: int(here.sum()) for name, here in counts.items()})
    return pd.DataFrame(rows, columns=["label", "split", "yes", "no", "empty"])
