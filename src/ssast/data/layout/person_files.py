"""Find the several files of each row of a table of one row a person, by folders or by how names begin."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ssast.data.layout.filenames import File, FileNames, Path, filled, name_parts, plain_path, without_zeros

BY_NAME = -1
"""The way of a file whose name begins with a code; ways from 0 on are the level of a folder that is called so."""


@dataclass
class Gathered:
    """The files of each line, and those that fit the codes of more than one line, with these lines."""

    of_line: dict[int, list[File]] = field(default_factory=dict)
    unclear: dict[File, list[int]] = field(default_factory=dict)


class _Codes:
    """The codes of a column, as written or with their leading zeros lost, and the lines where they stand."""

    def __init__(self, cells: Mapping[int, str]):
        self.written: dict[Path, list[int]] = defaultdict(list)
        self.numbers: dict[Path, list[int]] = defaultdict(list)
        for line, cell in filled(cells).items():
            path = plain_path(name_parts(cell))
            self.written[path].append(line)
            if len(path) == 1 and (number := without_zeros(path[0])) is not None:
                self.numbers[number,].append(line)

    def lines(self, path: Path) -> list[int]:
        """The lines of the table in which this code stands."""
        if path in self.written:
            return self.written[path]
        number = without_zeros(path[0]) if len(path) == 1 else None
        return [] if number is None else self.numbers.get((number,), [])


def files_of_persons(cells: Mapping[int, str], names: FileNames) -> Gathered:
    """The files that belong to the code in each cell: in a folder of that name, or beginning with it.

    What follows a code must be no letter and no digit, so P1 is not taken for P10. A file whose whole name is a code
    belongs to that one, though it may begin with a shorter one.
    """
    codes = _Codes(cells)
    ways = {file: dict(_ways(file, codes)) for file in names.files}
    reach: dict[int, set[int]] = defaultdict(set)
    for found in ways.values():
        for way, lines in found.items():
            reach[way] |= lines
    most = max(map(len, reach.values()), default=0)
    # Sessions may be called 1, 2 and 3 as the first patients are: what fits far fewer rows is chance.
    sound = {way for way, lines in reach.items() if 2 * len(lines) >= most}
    gathered = Gathered()
    for file, found in ways.items():
        lines = set().union(*(found[way] for way in found.keys() & sound)) or set().union(*found.values())
        if len(lines) > 1:
            gathered.unclear[file] = sorted(lines)
        for line in lines if len(lines) == 1 else ():
            gathered.of_line.setdefault(line, []).append(file)
    gathered.of_line = dict(sorted(gathered.of_line.items()))
    return gathered


def _ways(file: File, codes: _Codes) -> Iterator[tuple[int, set[int]]]:
    """The ways in which a file belongs to codes, each with their lines."""
    *folders, _ = plain_path(file.path)
    (stem,) = plain_path((file.stem,))
    for level in range(len(folders)):
        if lines := _ending_with(folders[: level + 1], codes):
            yield level, lines
    whole = _ending_with([*folders, stem], codes)
    starts = [stem[:at] for at in range(1, len(stem)) if not stem[at].isalnum()]
    begun = set().union(*(_ending_with([*folders, start], codes) for start in starts))
    if lines := whole or begun:
        yield BY_NAME, lines


def _ending_with(path: list[str], codes: _Codes) -> set[int]:
    """The lines of the codes that are the end of a path."""
    return {line for start in range(len(path)) for line in codes.lines(tuple(path[start:]))}
