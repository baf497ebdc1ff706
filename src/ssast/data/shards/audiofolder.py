"""Hold the recordings of a folder of Hugging Face's kind `audiofolder`: sound files that a metadata.csv names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from ssast.audio.decode import EXTENSIONS
from ssast.data.metadata import NOT_TOLD, FoundRecording, metadata_tables, stamp, stay_inside
from ssast.data.shards.packed_file import PackedFile
from ssast.data.shards.row_index import csv_of
from ssast.data.storage.location import Location
from ssast.data.tables.splits import read_table
from ssast.errors import AudioError, UserError
from ssast.safe_reading import some

FILE_NAME = "file_name"
_Cells = dict[str, list[str]]


class AudioFolder:
    """The recordings that tables name, by uid: their column uid, else the name of the file, else table and number."""

    def __init__(self, root: Location):
        self.root, self.stamped = root, stamp(root)
        self.cells: dict[str, _Cells] = {}
        files: list[Location] = []
        for name, place in metadata_tables(root):
            self.cells[name] = _cells(place)
            files += [place.parent / file for file in self.cells[name][FILE_NAME]]
        self.uids = self._named(files)
        self._files = dict(zip(self.uids, files, strict=True))

    def _named(self, files: Sequence[Location]) -> list[str]:
        if all("uid" in cells for cells in self.cells.values()):
            uids = [uid for cells in self.cells.values() for uid in cells["uid"]]
            twice = [uid for uid, count in Counter(uids).items() if count > 1]
            if twice:
                raise UserError(
                    f"{self.root} has {len(twice)} uid(s) in more than one row: {some(twice)}; keep one of each.",
                    uid=twice,
                    path=self.root,
                )
            return uids
        stems = [PurePosixPath(file.name).stem for file in files]
        if len(set(stems)) == len(stems):
            return stems
        return [f"{name}-{at}" for name, cells in self.cells.items() for at in range(len(cells[FILE_NAME]))]

    def __contains__(self, uid: object) -> bool:
        return uid in self._files

    def find(self, uid: str) -> FoundRecording:
        """The recording; AudioError where no table has it, or its file is missing."""
        file = self._files.get(uid)
        if file is None:
            raise AudioError(
                f"no {FILE_NAME} in {self.root} gives this uid; add the row or remove the uid", path=self.root
            )
        stay_inside(self.root, file)
        if not file.exists():
            raise AudioError(f"{file} does not exist; put the recording there or remove the row", path=file)
        ending = file.name.rsplit(".", 1)[-1].lower()
        if ending not in EXTENSIONS:
            raise AudioError(f"{file} has no ending of audio; give it the ending of what it is", path=file)
        return FoundRecording(file, ending, NOT_TOLD)

    def is_here(self, uid: str) -> bool:
        """Whether it lies on a disk."""
        return self.root.is_local

    def try_again(self) -> None:
        """Do nothing: what could not be read is not remembered."""

    def content(self, uid: str) -> str | None:
        """Return None: the file has to tell."""
        return None

    def metadata(self, uid: str) -> bytes:
        """Return nothing: there is no metadata.json."""
        return b"{}"

    def blocks_of(self, uids: Sequence[str]) -> list[int] | None:
        """Return None: each recording comes by itself."""
        return None

    def prefetch(self, uids: Sequence[str], order: Sequence[int]) -> None:
        """Do nothing: nothing is fetched before it is read."""

    def sounds(self) -> list[Location]:
        """The file of each recording."""
        return list(self._files.values())

    def tables(self) -> list[str]:
        """The names of the folders, such as train and test."""
        return list(self.cells)

    def table(self, name: str) -> Location:
        """The csv of a table, with a column uid in place of the files."""
        cells = self.cells[name]
        before = 0
        for other, others in self.cells.items():
            if other == name:
                break
            before += len(others[FILE_NAME])
        uids = self.uids[before : before + len(cells[FILE_NAME])]
        columns = {column: values for column, values in cells.items() if column not in (FILE_NAME, "uid")}
        text = csv_of({"uid": uids, **columns})
        return PackedFile(f"{self.root}/{name}.csv", self.root.project, self.root.cache_gb, lambda: text)


def _cells(place: Location) -> _Cells:
    """The columns of a metadata.csv. UserError where it names no files, or one that lies outside."""
    read = read_table(place)
    cells = {column: list(values.values()) for column, values in read.items()}
    files = cells.get(FILE_NAME)
    if not files:
        raise UserError(
            f"{place} has no column {FILE_NAME}, only {some(list(cells))}; give that column the names of the files.",
            path=place,
        )
    for file in files:
        if not file or file.startswith("/") or "\\" in file or ".." in file.split("/") or ":" in file:
            raise UserError(
                f"{place} names the file {file!r}; give the path of a file in the folder of {place.name}.",
                path=place,
                file=file,
            )
    return cells
