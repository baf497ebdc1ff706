"""Choose the clips to look at: rows of a csv or audio files, with the names of their outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ssast.data.audio_files import FileDataset, look_for_audio
from ssast.data.storage.disk_names import apart
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.runs.audio_settings import Settings
from ssast.runs.batches import dataset
from ssast.runs.context import say
from ssast.runs.paths import at
from ssast.runs.rows import Rows, rows


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


def chosen(options: Options, settings: Settings) -> Chosen:
    """The clips of --files, or of the csv those that --uids names, else its first --max_clips."""
    if options.files is None:
        return _of_csv(options, settings)
    lines = [line for line in options.files.splitlines() if line.strip()]
    if not lines:
        raise UserError("--files names nothing; give audio files or folders, one a line.")
    found = look_for_audio([at(options, line) for line in lines], any_name=options.on_bad_audio == "skip")
    files = found.files
    for remark in found.remarks():
        say(remark)
    if len(files) > options.max_clips:
        say(f"the first {options.max_clips} of {len(files)} recordings; --max_clips allows more")
        files = files[: options.max_clips]
    data = FileDataset(files, _conf(settings), librosa=options.lib)
    data.judges = True
    return Chosen(pd.DataFrame(index=data.uids), data, short_names(files), {"files": f"{len(files)}, named"}, [])


def _of_csv(options: Options, settings: Settings) -> Chosen:
    source = rows(options, [], "MSE")
    frame = _by_uid(options, source)
    data = dataset(options, Rows(frame, [], source.source), settings, augment=False)
    told = {"clips of": options.data_split_root, "recordings": options.prefix}
    return Chosen(frame, data, {uid: uid for uid in frame.index}, told, [source.source])


def _conf(settings: Settings) -> Settings:
    """The settings under the names that a data set knows."""
    return {"resample_rate" if name == "sample_rate" else name: value for name, value in settings.items()}


def _by_uid(options: Options, source: Rows) -> pd.DataFrame:
    frame = source.frame
    if options.uids is None:
        return frame.head(options.max_clips)
    uids = list(dict.fromkeys(uid.strip() for uid in options.uids.split(",") if uid.strip()))
    missing = [uid for uid in uids if uid not in frame.index]
    if missing or not uids:
        raise UserError(
            f"--uids is {options.uids!r}, but {source.source} has no {missing or 'such uid'}; give its uids.",
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
