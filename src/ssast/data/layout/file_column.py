"""Find the column of a table that names the audio files, and refuse to guess where two could."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssast.data.layout.filenames import Claim, File, FileNames, filled, is_answered, plain, quoted
from ssast.data.layout.person_files import Gathered, files_of_persons
from ssast.errors import UserError
from ssast.safe_reading import some

TableOfFiles = Mapping[str, Mapping[int, str]]
"""The cells of each column by the lines they stand in."""
COLUMNS = 20
"""So many columns of a table are named at most where one is missing."""


@dataclass(frozen=True)
class FileColumn:
    """The column that names the files, the files of each line (several for a row a person), and why others have none.

    `unnamed` are the files that no row names; `begun` are those of them that begin as the names in the column do.
    """

    column: str
    cells: Mapping[int, str]
    files_of: dict[int, list[File]]
    lacking: dict[int, str]
    unclear: dict[int, list[File]]
    unnamed: list[File]
    begun: list[File]
    is_of_people: bool


def name_files(
    table: TableOfFiles, names: FileNames, folder: object, column: str | None, person: str | None
) -> FileColumn:
    """The files of each row, by the column asked for or by the only one that can name them; `person` says who speaks.

    Each cell is the name of a file, or, where none is, the code of a person with several files. UserError where no
    column names any, where more than one could, or where rows share a file.
    """
    check_column(table, column, "--file_column")
    claims = [Claim.of(name, table[name], names) for name in ([column] if column else table)]
    chosen = claims[0] if column else _chosen(claims, person, folder)
    gathered: tuple[str, Gathered] | None
    if chosen is not None:
        gathered = (chosen.column, files_of_persons(table[chosen.column], names))
    else:
        gathered = _only_gatherer(table, names, claims, folder, person)
        own = [claim for claim in claims if gathered and claim.column == gathered[0]]
        chosen = max(own or claims, key=lambda claim: len(claim.unclear))
    if gathered and _is_of_people(chosen, gathered[1], person):
        return _named_by_people(table, names, *gathered)
    if not (chosen.of_line or chosen.unclear):
        raise _names_nothing(table, names, claims, folder)
    return _named_one_by_one(table, names, chosen, gathered[1] if gathered else Gathered())


def check_column(table: TableOfFiles, name: str | None, option: str) -> None:
    """UserError where the column that an option names is not there."""
    if name is not None and name not in table:
        raise UserError(f"the table has no column {name!r}, only {some(list(table), COLUMNS)}; correct {option}.")


def _is_of_people(chosen: Claim, gathered: Gathered, person: str | None) -> bool:
    """Whether a row is a person with all their files, not one file of which there may be two copies."""
    if not (gathered.of_line or gathered.unclear):
        return False
    one_by_one = len(chosen.of_line) + len(chosen.unclear)
    return chosen.column == person or len(gathered.of_line) > 2 * one_by_one or not one_by_one


def _chosen(claims: Sequence[Claim], person: str | None, folder: object) -> Claim | None:
    """The one column whose cells name files one by one; None where none does; UserError where more than one could."""
    found = [claim for claim in claims if claim.of_line and not is_answered(claim.cells.values())]
    explicit = [claim for claim in claims if claim.is_explicit]
    found = [claim for claim in found if claim.is_explicit] or found
    most = max((claim.size for claim in found), default=0)
    rivals = [claim for claim in found if claim.is_varied or claim.is_called_so or 2 * claim.size >= most]
    if any(claim.size == most for claim in rivals if claim.column != person):
        rivals = [claim for claim in rivals if claim.column != person or claim.size == most]
    if not rivals:
        return None
    best = max(rivals, key=lambda claim: (claim.size, len(claim.of_line)))
    for other in rivals:
        if other is not best and _disagree(best, other):
            raise _two_could(best, other)
    _refuse_chance(best, [claim for claim in claims if claim in explicit or claim.is_called_so], folder)
    return best


def _disagree(best: Claim, other: Claim) -> bool:
    """Whether two columns name different files, or one of those that the other does not have."""
    if any(best.of_line.get(line) != file and line not in best.unclear for line, file in other.of_line.items()):
        return True
    lost = [line for line in best.of_line if line in other.cells and line not in {*other.of_line, *other.unclear}]
    return bool(lost) and (other.is_called_so or 2 * other.size >= best.size)


def _two_could(best: Claim, other: Claim) -> UserError:
    """The sentence for two columns that could name the files, with the first line where it matters."""
    lines = sorted(line for line in {**best.cells, **other.cells} if best.of_line.get(line) != other.of_line.get(line))
    told = [f"{claim.column!r} says {_said(claim, lines[0])}" for claim in (best, other)]
    return UserError(
        f"the columns {best.column!r} and {other.column!r} could both name the audio files and do not agree: in line "
        f"{lines[0]} {' and '.join(told)}; say which one names them: {_options(best.column, other.column)}.",
        cell=[claim.cells.get(lines[0], "") for claim in (best, other)],
        file=[claim.of_line[lines[0]].shown for claim in (best, other) if lines[0] in claim.of_line],
    )


def _options(*columns: str) -> str:
    """What to pass for each column, as on the command line."""
    return " or ".join(f"--file_column {shlex.quote(column)}" for column in columns)


def _said(claim: Claim, line: int) -> str:
    file = claim.of_line.get(line)
    return f"{quoted(claim.cells.get(line, ''))} ({file.shown if file else 'no file'})"


def _refuse_chance(best: Claim, others: Sequence[Claim], folder: object) -> None:
    """UserError where numbers fit the files, though another column is meant to name them, or most rows have none."""
    if not (best.of_line and best.is_by_numbers):
        return
    meant = [claim for claim in others if claim.is_explicit or not best.is_called_so]
    empty = [claim for claim in meant if claim is not best and claim.cells and not claim.of_line and not claim.unclear]
    if empty:
        raise UserError(
            f"the column {empty[0].column!r} seems to name audio files, but none of them is in {folder} "
            f"({quoted(next(iter(empty[0].cells.values())))} for one), and the column {best.column!r} fits some by its "
            f"numbers alone; give the right folder, or pass --file_column {shlex.quote(best.column)} if it names them.",
            path=folder,
            cell=next(iter(empty[0].cells.values())),
        )
    if not best.is_called_so and 2 * len({*best.of_line, *best.unclear}) < len(best.cells):
        raise UserError(
            f"only the column {best.column!r} names audio files, by its numbers, and only in {len(best.of_line)} of "
            f"{len(best.cells)} rows, which may be chance; pass --file_column {shlex.quote(best.column)} if it names "
            "them."
        )


def _only_gatherer(
    table: TableOfFiles, names: FileNames, claims: Sequence[Claim], folder: object, person: str | None
) -> tuple[str, Gathered] | None:
    """The one column of codes whose files lie in folders, or begin, so; UserError where two could be that."""
    could = [
        claim for claim in claims if claim.cells and not claim.is_explicit and not is_answered(claim.cells.values())
    ]
    found = {claim.column: files_of_persons(claim.cells, names) for claim in could}
    found = {name: one for name, one in found.items() if one.of_line or (name == person and one.unclear)}
    varied = [claim.column for claim in could if claim.column in found and claim.is_varied]
    rivals = varied or [name for name in found if name == person]
    if not rivals:
        return None
    best = max(rivals, key=lambda name: (len(found[name].of_line), name == person))
    rivals = [name for name in rivals if 2 * len(found[name].of_line) >= len(found[best].of_line)]
    for name in rivals:
        if name != best and any(found[best].of_line.get(line) != files for line, files in found[name].of_line.items()):
            raise UserError(
                f"the columns {best!r} and {name!r} could both say whose the audio files are, and do not agree; say "
                f"which one holds the codes in the names of folders or files: {_options(best, name)}."
            )
    first = {line: files[0] for line, files in found[best].of_line.items()}
    unclear = {line: [file] for file, lines in found[best].unclear.items() for line in lines}
    by_numbers = Claim(best, filled(table[best]), first, unclear)
    _refuse_chance(by_numbers, [claim for claim in claims if claim.is_explicit or claim.is_called_so], folder)
    return best, found[best]


def _named_by_people(table: TableOfFiles, names: FileNames, column: str, gathered: Gathered) -> FileColumn:
    if gathered.unclear:
        raise _shared_by_people(gathered, table[column], column)
    taken = {file for files in gathered.of_line.values() for file in files}
    unnamed = [file for file in names.files if file not in taken]
    lacking = _lacking(table[column], gathered.of_line, names)
    return FileColumn(column, table[column], gathered.of_line, lacking, {}, unnamed, [], True)


def _shared_by_people(gathered: Gathered, cells: Mapping[int, str], column: str) -> UserError:
    """The sentence for codes that stand in several rows, or of which one file fits several."""
    rows: dict[str, list[int]] = {}
    for line in sorted({line for lines in gathered.unclear.values() for line in lines}):
        rows.setdefault(plain(cells[line]), []).append(line)
    file, lines = next(iter(gathered.unclear.items()))
    doubled = [f"{cells[own[0]]} in lines {_listed(own)}" for own in rows.values() if len(own) > 1]
    if doubled:
        return UserError(
            f"the column {column!r} says whose the files are, but some codes stand in more than one row: "
            f"{some(doubled)}, so that {file.shown} fits each; keep one row a person, write the folder before the "
            "code where two people have the same one (as in A/01), or name each recording in a column.",
            subject=[cells[line] for own in rows.values() for line in own],
            file=file.shown,
        )
    codes = [f"{cells[line]} (line {line})" for line in lines]
    return UserError(
        f"the file {file.shown} fits more than one code in the column {column!r}: {some(codes)}; put the files of each "
        "person into a folder of their own, or name each recording in a column.",
        subject=[cells[line] for line in lines],
        file=file.shown,
    )


def _named_one_by_one(table: TableOfFiles, names: FileNames, chosen: Claim, gathered: Gathered) -> FileColumn:
    rows: dict[File, list[int]] = {}
    for line, file in chosen.of_line.items():
        rows.setdefault(file, []).append(line)
    _refuse_doubled({file: lines for file, lines in rows.items() if len(lines) > 1})
    unnamed = [file for file in names.files if file not in rows]
    begun = {file for files in gathered.of_line.values() for file in files} | gathered.unclear.keys()
    lacking = _lacking(table[chosen.column], {**chosen.of_line, **chosen.unclear}, names)
    files_of = {line: [file] for line, file in chosen.of_line.items()}
    stems = {plain(file.stem) for file in rows}
    ours = [file for file in unnamed if file in begun and plain(file.stem) not in stems]
    return FileColumn(chosen.column, table[chosen.column], files_of, lacking, chosen.unclear, unnamed, ours, False)


def _refuse_doubled(doubled: Mapping[File, Sequence[int]]) -> None:
    """UserError that names every file with more than one row, as far as a sentence holds them."""
    if not doubled:
        return
    if len(doubled) == 1:
        ((file, lines),) = doubled.items()
        raise UserError(
            f"the lines {_listed(lines)} of the table all name {file.shown}; keep one row a recording.", file=file.shown
        )
    told = [f"{file.shown} in lines {_listed(lines)}" for file, lines in doubled.items()]
    raise UserError(
        f"{len(doubled)} files are named in more than one row of the table: {some(told)}; keep one row a recording.",
        file=[file.shown for file in doubled],
    )


def _listed(lines: Sequence[int]) -> str:
    return f"{', '.join(map(str, lines[:-1]))} and {lines[-1]}"


def _lacking(cells: Mapping[int, str], having: Mapping[int, object], names: FileNames) -> dict[int, str]:
    """What each line without a file says, with what is near it."""
    lacking = {}
    for line, cell in cells.items():
        if line not in having:
            near = names.nearly(cell)
            lacking[line] = f"{near[0].shown} lies {near[1]}" if near else ""
    return lacking


def _names_nothing(table: TableOfFiles, names: FileNames, claims: Sequence[Claim], folder: object) -> UserError:
    shown = some([file.shown for file in names.files], 3)
    nearly = Counter(
        {claim.column: sum(names.nearly(cell) is not None for cell in claim.cells.values()) for claim in claims}
    )
    column, count = nearly.most_common(1)[0] if nearly else ("", 0)
    if count:
        cell = next(cell for cell in filled(table[column]).values() if names.nearly(cell))
        file, how = names.nearly(cell) or (names.files[0], "")
        return UserError(
            f"no row of the table names a file in {folder}: {quoted(cell)} in the column {column!r} has the name "
            f"of {file.shown}, which lies {how}; write names alone, or folders and endings as they are.",
            path=folder,
            cell=cell,
            file=file.shown,
        )
    if len(claims) < len(table):
        return UserError(
            f"the column {claims[0].column!r} names no file in {folder} ({shown}); correct --file_column.",
            path=folder,
            file=[file.shown for file in names.files[:3]],
        )
    columns = some(list(table), COLUMNS)
    return UserError(
        f"no column of the table ({columns}) names files in {folder} ({shown}); write their names in one of them.",
        path=folder,
        file=[file.shown for file in names.files[:3]],
    )
