"""Say which files a column names when each of its cells is the name of one, and how likely it is meant to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ssast.data.layout.filenames import _NUMBER, File, FileNames, filled, is_audio
from ssast.data.storage.disk_names import plain

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
