"""Find the audio files that a cell of a table may mean, however it spells their names, and those that a column names.

How likely a column is meant to name files is said too.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssast.audio.decode import EXTENSIONS
from ssast.data.storage.disk_names import plain
from ssast.data.storage.location import Location
from ssast.data.tables.people import NO_VALUE, answer_of

_NUMBER = re.compile(r"([0-9]+)(?:\.0)?")
"""A whole number, as a spreadsheet or pandas leaves it of a code with leading zeros."""
_LONGEST = 80
"""A sentence shows so many letters of a cell."""
Path = tuple[str, ...]
"""The folders of a file and its name, or what a cell says of them."""


@dataclass(frozen=True)
class File:
    """A file with the parts of its path below the folder of all files, as on disk and without regard to spelling."""

    location: Location
    path: Path

    @property
    def stem(self) -> str:
        """Return the file's name without the ending."""
        return bare(self.path[-1])

    @property
    def shown(self) -> str:
        """Return the path below the folder of all files, as it may be printed."""
        return printable("/".join(self.path))


class FileNames:
    """The audio files of a folder by every way to write them: whole paths, names alone, and both without the ending."""

    def __init__(self, files: Sequence[Location], folder: Location):
        self.folder = folder
        self.files = [File(file, name_parts(str(file).removeprefix(str(folder)))) for file in files]
        self.whole: list[dict[Path, list[File]]] = [defaultdict(list), defaultdict(list)]
        self.tails: list[dict[Path, list[File]]] = [defaultdict(list), defaultdict(list)]
        self.numbered: dict[str, list[File]] = defaultdict(list)
        for file in self.files:
            for by, last in enumerate((file.path[-1], file.stem)):
                path = plain_path((*file.path[:-1], last))
                self.whole[by][path].append(file)
                for start in range(len(path)):
                    self.tails[by][path[start:]].append(file)
            if (number := without_zeros(file.stem)) is not None:
                self.numbered[number].append(file)

    def meant(self, cell: str) -> list[File]:
        """The files that a cell fits best: none, the one it means, or several that it does not tell apart.

        A name with its ending goes before one without, and a whole path before a name alone. Large and small letters
        and the two ways to write an accent matter only between names that are alike otherwise. The folders of another
        computer, such as C:\\data, are passed over; folders that contradict the file's are not.
        """
        written = name_parts(cell)
        path = plain_path(written)
        if not path or is_nothing(cell):
            return []
        for by in (0, 1):
            tails = (self.whole[by].get(path[start:]) for start in range(1, len(path)))
            found = self.whole[by].get(path) or self.tails[by].get(path) or next(filter(None, tails), None)
            if found:
                return _as_written(found, written, by)
        number = without_zeros(cell)
        return list(self.numbered.get(number, ())) if number is not None else []

    def nearly(self, cell: str) -> tuple[File, str] | None:
        """A file of the same name with another ending or in another folder, and which of the two."""
        path = plain_path(name_parts(cell))
        if not path:
            return None
        if elsewhere := self.tails[0].get(path[-1:]) or self.tails[1].get(path[-1:]):
            return elsewhere[0], "in another folder"
        if is_audio(cell) and (others := self.tails[1].get((plain(bare(path[-1])),))):
            return others[0], "there with another ending"
        return None


def in_formats(files: Iterable[File]) -> list[list[File]]:
    """The files of one folder and one name with different endings: perhaps one recording in several formats."""
    alike: dict[Path, list[File]] = defaultdict(list)
    for file in files:
        alike[*plain_path(file.path[:-1]), plain(file.stem)].append(file)
    return [found for found in alike.values() if len(found) > 1]


def _as_written(found: Sequence[File], written: Path, by: int) -> list[File]:
    """Of files with similar names, those that are spelled exactly so, if there are any."""
    for form in (_composed, str):
        same = [file for file in found if form((file.path[-1], file.stem)[by]) == form(written[-1])]
        found = same or found
    return list(found)


def name_parts(path: str) -> Path:
    """The folders and the name in a path of any system."""
    return tuple(part for part in re.split(r"[/\\]", path.strip()) if part not in ("", "."))


def plain_path(path: Path) -> Path:
    """A path to compare by."""
    return tuple(map(plain, path))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def bare(name: str) -> str:
    """A file's name without its ending."""
    return name.rsplit(".", 1)[0] if "." in name else name


def without_zeros(text: str) -> str | None:
    """A whole number without leading zeros; None for other texts."""
    found = _NUMBER.fullmatch(text)
    return (found[1].lstrip("0") or "0") if found else None


def is_audio(cell: str) -> bool:
    """Whether a cell ends as the name of an audio file does."""
    return "." in cell and cell.rsplit(".", 1)[1].lower() in EXTENSIONS


def is_nothing(cell: str) -> bool:
    """Whether a cell says that there is nothing to say."""
    return cell.lower() in NO_VALUE


def filled(cells: Mapping[int, str]) -> dict[int, str]:
    """The cells that say something, by their lines."""
    return {line: cell for line, cell in cells.items() if not is_nothing(cell)}


def is_answered(cells: Iterable[str]) -> bool:
    """Whether cells hold nothing but yes and no, in the words that every mode knows."""
    return all(answer_of(cell) is not None for cell in cells)


def quoted(text: str) -> str:
    """A cell as a sentence names it."""
    shown = printable(text)
    return f"'{shown[:_LONGEST]}...'" if len(shown) > _LONGEST else f"'{shown}'"


def printable(text: str) -> str:
    """A name as it can be printed, whatever its bytes are."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


VARIED = 0.8
"""A column with at least this share of different cells could name files, however few it fits."""
FILE_HEADER = re.compile(
    r"(?:(?:audio|sound|wav|voice|speech)[ _-]*)?(?:file|datei|fichier|recording|aufnahme|clip|path|audio|sound|wav)"
    r"(?:[ _-]*(?:name|path|id|file))?s?",
    re.IGNORECASE,
)
"""What a column that names files is often called."""


@dataclass(frozen=True)
class Claim:
    """What a column names when each cell is a file: the file of each line, and the lines whose cell fits several."""

    column: str
    cells: dict[int, str]
    of_line: dict[int, File]
    unclear: dict[int, list[File]]

    @classmethod
    def of(cls, column: str, cells: Mapping[int, str], names: FileNames) -> "Claim":
        """What each cell of a column names."""
        found = {line: names.meant(cell) for line, cell in cells.items()}
        single = {line: files[0] for line, files in found.items() if len(files) == 1}
        return cls(column, filled(cells), single, {line: files for line, files in found.items() if len(files) > 1})

    @property
    def size(self) -> int:
        """How many files it names."""
        return len(set(self.of_line.values()))

    @property
    def is_varied(self) -> bool:
        """Whether its cells differ as names do."""
        return len(set(map(plain, self.cells.values()))) >= VARIED * len(self.cells)

    @property
    def is_explicit(self) -> bool:
        """Whether most of its cells end as audio files do."""
        return bool(self.cells) and 2 * sum(map(is_audio, self.cells.values())) > len(self.cells)

    @property
    def is_by_numbers(self) -> bool:
        """Whether it names files by nothing but numbers, which ages and row numbers are too."""
        return all(_NUMBER.fullmatch(self.cells[line]) for line in self.of_line)

    @property
    def is_called_so(self) -> bool:
        """Whether its header says that it names files."""
        return bool(FILE_HEADER.fullmatch(self.column.strip()))
