"""Choose the clips to explain: rows of a csv or audio files, with the names of their outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ssast.data.audio_files import FileDataset
from ssast.data.storage.disk_names import apart
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.model.label_kinds import LabelKinds
from ssast.runs.batches import ClipReader
from ssast.runs.context import Paths, say, words_in
from ssast.runs.rows import Rows, named_recordings, rows


@dataclass(frozen=True)
class Chosen:
    """Clips to look at: `frame` by uid, with the labels of the csv where there is one; how they are read (`data`).

    `names` are what outputs are called, by uid; `told` says where the clips are from, `used` which tables said so.
    """

    frame: pd.DataFrame
    data: Any
    names: Mapping[str, str]
    told: Mapping[str, Any]
    used: list[Location]


def chosen(reader: ClipReader, paths: Paths, *, files: str | None, uids: str | None, max_clips: int) -> Chosen:
    """The clips of `files`, one a line, or of the csv those that `uids` names, else its first `max_clips`."""
    if files is None:
        return _of_csv(reader, paths, uids, max_clips)
    places = named_recordings(paths, files, reader.on_bad_audio)
    if len(places) > max_clips:
        say(f"the first {max_clips} of {len(places)} recordings; --max_clips allows more")
        places = places[:max_clips]
    data = FileDataset(places, reader.audio.conf(), librosa=reader.librosa)
    data.judges = True
    return Chosen(pd.DataFrame(index=data.uids), data, short_names(places), {"files": f"{len(places)}, named"}, [])


def _of_csv(reader: ClipReader, paths: Paths, uids: str | None, max_clips: int) -> Chosen:
    source = rows(paths, LabelKinds(()), on_bad_audio=reader.on_bad_audio)
    frame = _by_uid(source, uids, max_clips)
    data = reader.dataset(Rows(frame, [], source.source))
    told = {"clips of": paths.data_split_root, "recordings": paths.prefix}
    return Chosen(frame, data, {uid: uid for uid in frame.index}, told, [source.source])


def _by_uid(source: Rows, asked: str | None, max_clips: int) -> pd.DataFrame:
    frame = source.frame
    if asked is None:
        return frame.head(max_clips)
    uids = list(dict.fromkeys(words_in(asked)))
    missing = [uid for uid in uids if uid not in frame.index]
    if missing or not uids:
        raise UserError(
            f"--uids is {asked!r}, but {source.source} has no {missing or 'such uid'}; give its uids.",
            uid=missing,
            path=source.source,
        )
    return frame.loc[uids]


def short_names(files: list[Location]) -> dict[str, str]:
    """What each file's outputs are called: its name without the ending, numbered where others have it too.

    A `waveform.wav` is called as its folder, which is the uid where recordings lie as in a data set.
    """
    return dict(zip(map(str, files), apart([_short_name(file) for file in files]), strict=True))


def _short_name(file: Location) -> str:
    stem = file.name.rsplit(".", 1)[0] or file.name
    return file.parent.name or stem if stem.casefold() == "waveform" else stem
