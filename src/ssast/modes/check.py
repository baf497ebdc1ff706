"""Examine a data set before a long run: `ssast check`."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ssast import redaction
from ssast.data.dataset import AudioConf
from ssast.data.prepare import AudioSettings
from ssast.data.shards.collection import opened
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location, forget
from ssast.data.tables.label_file import answered, asked_kinds, code_doubts, needs_answers
from ssast.data.tables.splits import read_split
from ssast.data.tables.targets import label_values
from ssast.dataset_audit.listening import HeardRecordings, ListenedRecording, listen_to_all
from ssast.dataset_audit.survey import FAULTS, Finding, findings, label_counts
from ssast.errors import UserError
from ssast.metrics.level_measures import truth
from ssast.model.label_kinds import NUMBER, YES_NO, LabelKind, LabelKinds
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.pages.sound_finding_sentences import UnheardSound
from ssast.processors import worker_count
from ssast.runs.context import Paths, collection_in, collection_of, say
from ssast.runs.models import audio_settings
from ssast.runs.output.folder import fingerprint, open_folder
from ssast.runs.wrapping.wrapper import Mode

FAULTY = 1
"""The exit code of a check that found what a run would suffer from."""
SPLITS = ("train", "test")
_MEASURES: dict[str, Callable[[ListenedRecording], object]] = {
    "usable": lambda one: bool(one.digest),
    "sample_rate_hz": lambda one: one.sample_rate,
    "channels": lambda one: one.channels,
    "seconds": lambda one: round(one.seconds, 4),
    "peak_db": lambda one: round(one.peak_db, 2),
    "offset": lambda one: round(one.offset, 5),
    "clipped": lambda one: round(one.clipped, 5),
    "heard_seconds": lambda one: round(one.still.whole, 4),
    "digital_silence": lambda one: round(one.still.seconds, 4),
    "sha256": lambda one: one.digest,
}
"""What recordings.csv tells of each recording."""
_ROWS_AT_ONCE = 1000
"""So many rows of a table are made at a time."""


@Mode
def check(options: Options) -> int:
    """Look at a data set before a long run; 1 where a run would stop or report something false, else 0.

    Leaves check.csv (uid, split, weight, finding, detail) and recordings.csv (what each recording is) in exp_dir.
    """
    forget()
    paths, audio = Paths.of(options), audio_settings(options)
    root = paths.recordings
    collection_in(paths)
    places = split_places(paths)
    splits, broken = _read(places)
    named = "label_txt" in options.given and options.label_txt
    kinds = asked_kinds(paths.at(named), options.loss) if named else LabelKinds(())
    codes = [Finding("", split, "perhaps a code", told) for split, told in code_doubts(splits, kinds)]
    splits, kinds, unusable = _answered(splits, kinds)
    labels, loss = kinds.names, YES_NO if kinds.is_plain and kinds.loss == YES_NO else NUMBER
    files = fingerprint(*places.values(), *([paths.label_txt] if labels else []))
    clips = {split: len(frame) for split, frame in splits.items()}
    folder = open_folder(RunRecord.of(options), clips=clips, files=files, trains=False)
    reading, librosa = worker_count(options.num_workers), options.lib
    heard = listen_as_heard(root, splits, audio, title="check", num_workers=reading, librosa=librosa)
    found = findings(heard, splits, labels, loss=loss, unlisted=_unlisted(root, heard))
    found = broken + unusable + found + codes
    _write(folder / "check.csv", _findings_tables(found))
    _write(folder / "recordings.csv", _recordings_tables(heard, splits))
    _show(heard, splits, kinds, found, audio)
    faults = sum(one.is_fault for one in found)
    say(f"{faults} faults and {len(found) - faults} notes in {folder / 'check.csv'}")
    return FAULTY if faults else 0


def _answered(
    splits: dict[str, pd.DataFrame], kinds: LabelKinds
) -> tuple[dict[str, pd.DataFrame], LabelKinds, list[Finding]]:
    """The tables with a number for each scale, choice and rated label, all usable labels, and what the others lack."""
    usable, faults = list[LabelKind](), list[Finding]()
    for label in kinds.labels:
        if not needs_answers(splits, label):
            usable.append(label)
            continue
        try:
            splits, known = answered(splits, LabelKinds((label,)))
            usable += known.labels
        except UserError as error:
            faults.append(Finding("", next(iter(splits)), "label not usable", redaction.redacted_error(error)))
    return splits, LabelKinds(tuple(usable)), faults


def split_places(paths: Paths) -> dict[str, Location]:
    """The csv files of the splits by name: the single one that was given, or those that the folder has.

    Without a folder they are the tables of the shards, in the same order: what is found can go with that.
    """
    collection = None if paths.data_split_root else collection_of(paths)
    if collection is not None:
        named = sorted(collection.tables(), key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))
        return {name: collection.table(name) for name in named}
    root = paths.at(paths.data_split_root or "")
    if not root.is_dir():
        return {root.name.rsplit(".", 1)[0]: root}
    places = {name: root / f"{name}.csv" for name in SPLITS}
    there = {name: place for name, place in places.items() if place.exists()}
    if not there:
        raise UserError(
            f"{root} holds no train.csv and no test.csv; give --data_split_root their folder, or one csv.", path=root
        )
    return there


def _read(places: dict[str, Location]) -> tuple[dict[str, pd.DataFrame], list[Finding]]:
    """The tables that can be read, and a finding for each that cannot; UserError where none can."""
    splits, broken = {}, []
    for split, place in places.items():
        try:
            splits[split] = read_split(place)
        except UserError as error:
            if len(places) == 1:
                raise
            broken.append(Finding("", split, "csv not usable", redaction.redacted_error(error)))
    if not splits:
        raise UserError(f"no csv can be read; the first: {broken[0].detail}")
    return splits, broken


def listen_as_heard(
    root: Location,
    splits: Mapping[str, pd.DataFrame],
    audio: AudioSettings,
    *,
    title: str,
    num_workers: int,
    librosa: bool,
    closely: bool = False,
) -> HeardRecordings:
    """Every recording of the splits, judged as a model with these settings hears it."""
    uids = list(dict.fromkeys(uid for frame in splits.values() for uid in frame.index))
    conf = AudioConf.of(audio.conf())
    passing = listen_to_all(root, uids, num_workers=num_workers, conf=conf, use_librosa=librosa, closely=closely)
    with tqdm(passing, total=len(uids), desc=title, unit="clip", dynamic_ncols=True) as bar:
        return HeardRecordings(uids, bar)


def _unlisted(root: Location, heard: HeardRecordings) -> list[str]:
    """Folders of recordings that no csv names; in a bucket, files are known by their ending, which saves requests."""
    collection = opened(root)
    if collection is not None:
        return [uid for uid in collection.uids if uid not in heard]
    others = [place for place in root.list() if place.name not in heard and not place.name.startswith(".")]
    return [place.name for place in others if (place.is_dir() if root.is_local else "." not in place.name)]


def _findings_tables(found: Sequence[Finding]) -> Iterator[pd.DataFrame]:
    for first in range(0, max(1, len(found)), _ROWS_AT_ONCE):
        rows = [
            (_shown(one.uid), one.split, "fault" if one.is_fault else "note", one.finding, _told(one.detail))
            for one in found[first : first + _ROWS_AT_ONCE]
        ]
        yield pd.DataFrame(rows, columns=["uid", "split", "weight", "finding", "detail"])


def _recordings_tables(heard: HeardRecordings, splits: dict[str, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for split, frame in splits.items():
        for first in range(0, len(frame), _ROWS_AT_ONCE):
            uids = frame.index[first : first + _ROWS_AT_ONCE]
            own = [heard[uid] for uid in uids]
            measures = {name: pd.array([value(one) for one in own]) for name, value in _MEASURES.items()}
            yield pd.DataFrame({"uid": [_shown(uid) for uid in uids], "split": split, **measures})


def _shown(uid: str) -> str:
    return uid and redaction.shown_name("uid", uid)


def _told(detail: str) -> str:
    return redaction.shown(detail, is_sentence=True)


def _write(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    """One csv of tables that follow one another, of which one at a time is held."""
    with atomic_file(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
        for number, table in enumerate(tables):
            table.to_csv(file, index=False, header=number == 0)


def _show(
    heard: HeardRecordings,
    splits: dict[str, pd.DataFrame],
    kinds: LabelKinds,
    found: Sequence[Finding],
    audio: AudioSettings,
) -> None:
    """The data set on the screen: each split, the labels, then each kind of finding with its first one."""
    for split, frame in splits.items():
        say(_line(split, len(frame), (heard[uid] for uid in frame.index)))
    say(_as_heard(audio))
    if unheard := UnheardSound.of((one.seconds for one in heard.values() if one.digest), audio).sentence:
        say(unheard)
    if labels := kinds.alike().get(YES_NO, []):
        say("\n" + label_counts(splits, labels).to_string(index=False))
    for label in kinds.labels:
        if label.kind != YES_NO:
            for split in (name for name, frame in splits.items() if label.name in frame.columns):
                say(f"{label.name} in {split}: {_counted(label, splits[split])}")
    if not kinds.labels:
        say("labels were not looked at; give --label_txt to count them")
    if not found:
        return
    names = dict.fromkeys(one.finding for one in found)
    say(f"\n{'finding':<26}{'weight':<8}{'count':>6}  first")
    for name in names:
        of_kind = [one for one in found if one.finding == name]
        first = ": ".join(filter(None, [_shown(of_kind[0].uid) or of_kind[0].split, _told(of_kind[0].detail)]))
        say(f"{name:<26}{'fault' if name in FAULTS else 'note':<8}{len(of_kind):>6}  {first}")
    say("")


def _counted(label: LabelKind, frame: pd.DataFrame) -> str:
    """How many rows have each level, the nearest one of a mean rating, or how far numbers reach, and how many none."""
    if label.kind == NUMBER:
        values_R = label_values(frame, [label.name])[:, 0]
        known_r = values_R[~np.isnan(values_R)]
        reach = f", {known_r.min():g} to {known_r.max():g} (median {np.median(known_r):g})" if len(known_r) else ""
        return f"{len(known_r)} numbers{reach}, empty {len(values_R) - len(known_r)}"
    values_R = truth(label, frame[label.name].to_numpy(dtype=np.float64))
    counts = [f"{name} {int((values_R == at).sum())}" for at, name in enumerate(label.shown_levels)]
    return ", ".join([*counts, f"empty {int(np.isnan(values_R).sum())}"])


def _as_heard(audio: AudioSettings) -> str:
    """How recordings are judged, which the options of a run decide."""
    seconds = audio.target_length / 100
    first = min(seconds, audio.clip_length) if audio.clip_length else seconds
    channels = "the mean of its channels" if audio.reduce else "its first channel"
    return (
        f"a model is taken to hear the first {first:g} s of each recording (--target_length, --clip_length), "
        f"{channels}, at {audio.sample_rate} Hz"
    )


def _line(split: str, rows: int, heard: Iterable[ListenedRecording]) -> str:
    """How much of a split can be used, and a description of it."""
    seconds, rates, channels = array("d"), set[int](), set[int]()
    for one in (one for one in heard if one.digest):
        seconds.append(one.seconds)
        rates.add(one.sample_rate)
        channels.add(one.channels)
    parts = [f"{split}: {rows} rows, {len(seconds)} recordings read"]
    if seconds:
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} s (median {np.median(seconds):.2f})"
        parts += [spread, f"{sum(seconds) / 60:.1f} min in all", _few(rates, "Hz"), _few(channels, "channel(s)")]
    return ", ".join(parts)


def _few(values: set[int], unit: str) -> str:
    shown = [str(value) for value in sorted(values)]
    return f"{', '.join(shown[:3])}{' and others' if len(shown) > 3 else ''} {unit}"
