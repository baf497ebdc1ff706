"""Find the audio files at addresses and in folders, and read them one by one for a loader."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import Dataset

from ssast import redaction
from ssast.audio.decode import EXTENSIONS
from ssast.data.audio_conf import Judged
from ssast.data.batch import ClipItem
from ssast.data.dataset import AudioConf, check_hold
from ssast.data.metadata import PARQUET
from ssast.data.recordings import FRAMES_AT_ONCE, file_blocks, naming
from ssast.data.shards.collection import opened_anew
from ssast.data.shards.packed_file import PackedFile
from ssast.data.shards.shards import PackedSound, Shards
from ssast.data.storage.location import Location, Missing
from ssast.data.workers import in_threads
from ssast.errors import UserError
from ssast.safe_reading import brief, is_text

_SHOWN = 10


@dataclass(frozen=True)
class FoundAudio:
    """Audio files, each once; how many of each other ending were passed over in folders; how often one came again."""

    files: list[Location]
    passed_over: Mapping[str, int]
    again: int

    def remarks(self) -> list[str]:
        """What a user should know of files that have no row of their own."""
        said = []
        if self.passed_over:
            kinds = sorted(self.passed_over.items(), key=lambda one: (-one[1], one[0]))
            more = f" and {len(kinds) - _SHOWN} other endings" if len(kinds) > _SHOWN else ""
            listed = ", ".join(f"{count} {ending}" for ending, count in kinds[:_SHOWN])
            count = sum(self.passed_over.values())
            kept_back = "" if redaction.redaction_in_use() else f": {listed}{more}"  # an ending may be part of a name
            said.append(f"passed over {count} {'file' if count == 1 else 'files'} with no ending of audio{kept_back}")
        if self.again:
            said.append(f"{self.again} {'file' if self.again == 1 else 'files'} came more than once; each has one row")
        return said


def find_audio(addresses: Sequence[Location], *, any_name: bool = False) -> list[Location]:
    """The files of `look_for_audio`."""
    return look_for_audio(addresses, any_name=any_name).files


def look_for_audio(addresses: Sequence[Location], *, any_name: bool = False) -> FoundAudio:
    """The files that are named, and those of a known extension in the folders that are named and below them, each once.

    Hidden files and folders are passed over. UserError where nothing lies at an address or no audio file in a folder,
    and, unless `any_name`, for a named file of another extension.
    """
    found: dict[str, Location] = {}
    again: set[str] = set()
    others: dict[str, str] = {}
    for address in addresses:
        if packed := _packed(address):
            found |= {_identity(file): file for file in packed}
            continue
        if not address.exists():
            raise Missing(f"{address} does not exist; give audio files, or folders that hold some.")
        is_folder = address.is_dir()
        there = _below(address) if is_folder else [address]
        files = [file for file in there if _is_audio(file.name)] if is_folder else there
        if not files:
            raise UserError(f"{address} holds no audio file, in no folder below it either; {_endings()}.", path=address)
        if not is_folder and not any_name and not _is_audio(address.name):
            raise UserError(
                f"{address} is no audio file by its name; {_endings()}, or pass --on_bad_audio skip.", path=address
            )
        for file in files:
            again |= {_identity(file)} & found.keys()
            found.setdefault(_identity(file), file)
        others |= {_identity(file): _ending(file.name) for file in there if not _is_audio(file.name)}
    passed_over = Counter(ending for other, ending in others.items() if other not in found)
    return FoundAudio(list(found.values()), passed_over, len(again))


def _packed(address: Location) -> list[Location]:
    """The recordings in the shards at an address; none where there are no shards."""
    if not address.name.endswith(PARQUET) and not address.is_dir():
        return []
    collection = opened_anew(address)
    return collection.sounds() if isinstance(collection, Shards) else []


def _identity(file: Location) -> str:
    return os.path.abspath(file.address) if file.is_local else file.address


def _ending(name: str) -> str:
    return f".{name.rsplit('.', 1)[1].lower()[:12]}" if "." in name else "without an ending"


def _endings() -> str:
    return f"names end in .{', .'.join(EXTENSIONS[:_SHOWN])} or one of {len(EXTENSIONS) - _SHOWN} others"


def _is_audio(name: str) -> bool:
    return "." in name and not name.startswith(".") and name.rsplit(".", 1)[1].lower() in EXTENSIONS


def _below(folder: Location) -> list[Location]:
    """Every visible file in a folder and below it."""
    places = _on_disk(folder) if folder.is_local else _in_bucket(folder)
    return [place for place in places if not place.name.startswith(".")]


def _on_disk(folder: Location) -> Iterator[Location]:
    """Every visible file below a folder, links followed, a folder met twice entered once."""

    def refuse(error: OSError) -> None:
        raise UserError(
            f"cannot list {error.filename}: {error.strerror}; change the rights, or name other folders.",
            path=error.filename,
        )

    entered: set[str] = set()
    for root, folders, files in os.walk(folder.path, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = folder / os.path.relpath(root, folder.path) if root != str(folder.path) else folder
        yield from (here / name for name in sorted(files))


def _in_bucket(folder: Location) -> Iterator[Location]:
    """List every visible file below an address, one level after the other, several folders at once."""
    level = [folder]
    with ThreadPoolExecutor(FRAMES_AT_ONCE) as threads:
        while level:
            following = []
            for files, folders in threads.map(_listed, level):
                yield from files
                following += folders
            level = following


def _listed(folder: Location) -> tuple[list[Location], list[Location]]:
    folder.keep()
    files: list[Location] = []
    folders: list[Location] = []
    for place in folder.list():
        if not place.name.startswith("."):
            (folders if place.is_dir() else files).append(place)
    return files, folders


def _check_text(addresses: Sequence[str]) -> None:
    """UserError for the first file whose name could not stand in a table."""
    for address in addresses:
        if not is_text(address):
            shown = brief(address, 200)
            raise UserError(
                f"the name of the file {shown} is no text in UTF-8, so no table could hold it; rename it (convmv does "
                "that for whole folders), or set LC_ALL=C.UTF-8 if it has that name already.",
                path=shown,
            )


class FileDataset(Judged, Dataset[ClipItem]):
    """Audio files as dictionaries like those of `AudioDataset`, without targets; a file's address is its uid.

    `audio_conf` and `hold` as there, augmentation left aside. AudioError, the address in front, for a file that
    cannot be used; UserError at once for one whose address is no text.
    """

    def __init__(
        self,
        files: Sequence[Location],
        audio_conf: Mapping[str, object] | None,
        *,
        librosa: bool = False,
        hold: str = "heard",
    ):
        self.files, self.hold = list(files), check_hold(hold)
        self.uids = [str(file) for file in self.files]
        _check_text(self.uids)
        redaction.learn("file", (file.name for file in self.files))
        redaction.learn("folder", {file.parent.name for file in self.files})  # a space ends what looks like a path
        self.conf, self.librosa = AudioConf.of(audio_conf), librosa

    def __len__(self) -> int:
        return len(self.files)

    def prefetch(self, indices: Sequence[int], epoch: int = 0) -> None:
        """Bring these files, and those up to the next multiple of AT_ONCE, into the cache where they lie in a bucket.

        A loader that asks for one file at a time so still has several on their way at once.
        """
        wanted = [
            index for first in indices if first % FRAMES_AT_ONCE == 0 for index in range(first, first + FRAMES_AT_ONCE)
        ]
        _prefetch_packed([self.files[index] for index in indices])
        remote = [file for file in (self.files[at] for at in wanted if at < len(self)) if not file.is_local]
        remote = [file for file in remote if not isinstance(file, PackedFile)]
        if len(remote) > 1:
            list(in_threads(_fetch, remote, len(remote)))

    def __getitem__(self, key: int | tuple[int, int]) -> ClipItem:
        index = range(len(self))[key[0] if isinstance(key, tuple) else key]
        file = self.files[index]
        extension = file.name.rsplit(".", 1)[1] if "." in file.name else ""
        opens = partial(file_blocks, file, extension, use_librosa=self.librosa)
        with naming(self.uids[index]):
            heard = self.conf.item(opens, self.hold, judges=self.is_new(index))
        return {
            **heard,
            "uid": self.uids[index],
            "sample_rate": self.conf.resample_rate,
            "targets": torch.empty(0),
        }


def blocks_of_files(files: Sequence[Location]) -> list[int] | None:
    """The row group of each file that lies in shards; None where one does not."""
    sounds = [file.content if isinstance(file, PackedFile) else None for file in files]
    found = [sound.group if isinstance(sound, PackedSound) else None for sound in sounds]
    known = [group for group in found if group is not None]
    return known if len(known) == len(files) else None


def _prefetch_packed(files: Sequence[Location]) -> None:
    sounds = [file.content for file in files if isinstance(file, PackedFile) and isinstance(file.content, PackedSound)]
    for shards in dict.fromkeys(sound.shards for sound in sounds):
        shards.prefetch_rows([sound.row for sound in sounds if sound.shards is shards])


def _fetch(file: Location) -> None:
    with suppress(UserError):  # said when its own turn comes
        file.read_bytes()
