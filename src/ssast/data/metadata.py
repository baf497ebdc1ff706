"""Say what lies at an address: which files of it are shards, and what a recording is by its metadata.json.

A recording's files lie in place: no link leads out of the data folder.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ssast.data.storage import location
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError
from ssast.safe_reading import is_number, json_of, some

POWER_SPECTROGRAM = "power_spectrogram"
"""The encoding of what is no sound: `spectrogram.npy` lies there in the place of a waveform."""
SPECTROGRAM_FILE = "spectrogram"
MARKER = "spectrograms.json"
"""Beside the folders of recordings: it says that all of them hold spectrograms, and of which kind."""
# Names of encodings whose files end otherwise: those of Google's speech services, and common ones.
AUDIO_ENDINGS = {
    "linear16": ("wav",),
    "pcm": ("wav",),
    "wave": ("wav",),
    "mulaw": ("wav", "au"),
    "alaw": ("wav", "au"),
    "ogg_opus": ("opus", "ogg", "oga"),
    "opus": ("opus", "ogg", "oga", "webm", "weba", "mka", "mkv"),
    "ogg": ("ogg", "oga", "opus"),
    "vorbis": ("ogg", "oga"),
    "webm_opus": ("webm", "weba", "mka", "mkv"),
    "webm": ("webm", "weba"),
    "matroska": ("mka", "mkv"),
    "mka": ("mka", "mkv"),
    "mkv": ("mkv", "mka"),
    "amr_wb": ("amr", "awb"),
    "awb": ("awb", "amr"),
    "speex_with_header_byte": ("spx",),
    "mpeg": ("mp3",),
    "mp3": ("mp3",),
    "aac": ("aac", "m4a"),
    "alac": ("m4a", "caf"),
    "mp4": ("mp4", "m4a"),
    "m4a": ("m4a", "mp4"),
    "aiff": ("aiff", "aif"),
    "aif": ("aif", "aiff"),
    POWER_SPECTROGRAM: ("npy",),
}
METADATA_BYTES = 1 << 20
NOT_TOLD = 0
"""The rate of a recording that comes without metadata.json, so that its file alone says it."""


@dataclass(frozen=True)
class FoundRecording:
    """Where a recording lies, its file's extension, and the rate [Hz] that metadata.json gives, or NOT_TOLD."""

    location: Location
    extension: str
    sample_rate: int


def encoding_and_rate(content: bytes, place: Location) -> tuple[str, int]:
    """(encoding in small letters, rate in Hz) by the content of a metadata.json; AudioError for whatever is wrong."""
    try:
        metadata = json_of(content.decode("utf-8-sig"), strict=False)
    except ValueError as error:
        raise AudioError(
            f"{place} is not valid JSON; write one with encoding and sample_rate_hz", path=place
        ) from error
    if not isinstance(metadata, dict) or not {"encoding", "sample_rate_hz"} <= metadata.keys():
        raise AudioError(f"{place} lacks encoding or sample_rate_hz; write both", path=place)
    encoding, rate = str(metadata["encoding"]).strip().lower().removeprefix("."), _rate(metadata["sample_rate_hz"])
    if not re.fullmatch(r"[a-z0-9_]{1,24}", encoding):
        given = str(metadata["encoding"])[:40]
        raise AudioError(f"{place} has the encoding {given!r}; write the extension, like WAV", path=place, cell=given)
    if rate is None:
        shown = str(metadata["sample_rate_hz"])[:40]
        raise AudioError(
            f"{place} has the sample_rate_hz {shown!r}; write a whole number of Hz, like 16000", path=place, cell=shown
        )
    return encoding, rate


def _rate(value: object) -> int | None:
    """A rate in Hz as a whole number above 0; None where it is not one."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", value):
        value = float(value)
    if not is_number(value) or not 0 < value < 1e9 or value != int(value):
        return None
    return int(value)


def stay_inside(root: Location, place: Location) -> None:
    """UserError where a link leads out of the data folder; remote addresses know no links."""
    if not place.is_local:
        return
    inside, real = os.path.realpath(root.path), os.path.realpath(place.path)
    if os.path.commonpath([inside, real]) != inside:
        raise UserError(
            f"{place} is a link that leaves the data folder {root}; put the recording itself there.", path=[place, root]
        )


PARQUET = ".parquet"
METADATA_CSV = "metadata.csv"
_TABLES = (PARQUET, ".csv", ".tsv", ".json", ".md", ".txt", ".yaml")
SPLIT_FOLDERS = ("train", "test", "validation")
_NUMBERED = re.compile(r"(.+?)-(\d{5,})-of-(\d{5,})")


def names_in(folder: Location) -> list[str]:
    """The visible names in a folder, in order; of one in a bucket with one request until it is asked again."""
    if folder.is_local:
        try:
            found: Iterable[str] = os.listdir(folder.path)
        except OSError:
            return []
    else:
        folder.keep()
        found = location._kept.get(folder._id) or {}
    return sorted(name for name in found if not name.startswith((".", "_")))


def parquet_files(root: Location) -> list[tuple[str, Location]]:
    """(table, file) of each shard below an address, in order; none where it holds no shards.

    They lie in the folder itself, or in a folder `data` in it, or in folders train and test: as Hugging Face has them.
    UserError where one of a numbered set is missing.
    """
    if root.name.endswith(PARQUET):
        return [(root.name.removesuffix(PARQUET), root)] if root.exists() and not root.is_dir() else []
    names = names_in(root)
    for folder in (root, root / "data"):
        if folder == root or "data" in names:
            found = [name for name in names_in(folder) if name.endswith(PARQUET)]
            if found:
                _check_complete(folder, found)
                return sorted(((_table(name), folder / name) for name in found), key=lambda one: (one[0], one[1].name))
    folders = [root / name for name in SPLIT_FOLDERS if name in names]
    return [(folder.name, folder / name) for folder in folders for name in names_in(folder) if name.endswith(PARQUET)]


def metadata_tables(root: Location) -> list[tuple[str, Location]]:
    """(table, metadata.csv) of a folder of the kind `audiofolder`: in itself, or in its folders train and test."""
    if root.name.endswith(PARQUET):
        return []
    names = {METADATA_CSV, "data", *SPLIT_FOLDERS} if root.is_local else set(names_in(root))
    for folder in [root, root / "data"][: 1 + ("data" in names)]:
        if (folder != root or METADATA_CSV in names) and (folder / METADATA_CSV).exists():
            return [("metadata", folder / METADATA_CSV)]
        found = [(name, folder / name / METADATA_CSV) for name in SPLIT_FOLDERS if folder != root or name in names]
        if there := [one for one in found if one[1].exists()]:
            return there
    return []


def may_be_collection(root: Location) -> bool:
    """Whether shards or an `audiofolder` can be at an address, as names in its folders tell; of a bucket yes."""
    return not root.is_local or bool(parquet_files(root) or metadata_tables(root))


def stamp(root: Location) -> list[tuple[str, object]]:
    """What changes when a shard or a table is replaced, as the disk or a listing of the bucket tells."""
    found: list[tuple[str, object]] = []
    for _, place in parquet_files(root) or metadata_tables(root):
        if place.is_local:
            stat = os.stat(place.path)
            found.append((str(place), (stat.st_size, stat.st_mtime_ns, stat.st_ino)))
        else:
            found.append((str(place), place._look()))
    return found


def _table(name: str) -> str:
    stem = name.removesuffix(PARQUET)
    numbered = _NUMBERED.fullmatch(stem)
    return numbered[1] if numbered else stem


def holds_more(root: Location) -> bool:
    """Whether anything lies beside Parquet files and tables, such as recordings in folders."""
    return any(not name.endswith(_TABLES) for name in names_in(root))


def _check_complete(folder: Location, names: list[str]) -> None:
    sets = {match.group(1, 3) for name in names if (match := _NUMBERED.fullmatch(name.removesuffix(PARQUET)))}
    there = set(names)
    missing = [
        name
        for table, of in sorted(sets)
        for at in range(min(int(of[:9]), len(there) + 1))  # a name may promise without end
        if (name := f"{table}-{at:0{len(of)}}-of-{of}{PARQUET}") not in there
    ]
    if missing:
        raise UserError(
            f"{folder} lacks {some(missing)}; copy all shards of the set there, or pack them again.", path=folder
        )


def marker_of(recordings: Location) -> Location | None:
    """The file that says that a folder of recordings holds spectrograms; None where they are sound."""
    place = recordings / MARKER
    return place if place.exists() else None
