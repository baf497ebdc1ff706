"""Say which files of a folder are shards, and of which table each holds rows."""

import os
import re
from collections.abc import Iterable

from ssast.data.storage import location
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.safe_reading import some

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
