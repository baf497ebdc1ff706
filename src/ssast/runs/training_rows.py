"""Read the rows that a model was trained on, where the command allows its folder to be read."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssast import redaction
from ssast.data.shards.collection import opened_anew, table_named
from ssast.data.storage.location import Location, bucket_address, locate
from ssast.data.tables.people import subject_names
from ssast.data.tables.splits import find_split, read_split
from ssast.errors import UserError
from ssast.options.privacy import revealed
from ssast.options.record import read_mapping
from ssast.runs.context import Paths
from ssast.safe_reading import MOST_BYTES, brief


@dataclass(frozen=True)
class Trained:
    """The rows that a model was trained on and chosen by, as far as they can be read; else the reason why not."""

    rows: list[pd.DataFrame]
    reason: str = ""

    @property
    def note(self) -> str:
        """What scores of the model do not know for this reason; empty where there is none."""
        about = "note: it is not known whether the model was trained on these clips or people, since"
        return f"{about} {self.reason}" if self.reason else ""


def trained_rows(paths: Paths, home: Path) -> Trained:
    """What the model in a folder says that it was trained on.

    The folder may be a stranger's: its run.yaml opens no path and no address but those that the command names itself,
    or that lie below a folder or bucket that it names.
    """
    found = []
    with suppress(UserError):
        if (home / "validation.csv").is_file() and _is_below(home / "validation.csv", home):
            held_out = home / "validation.csv"
            found.append(read_split(held_out, keep=lambda name: bool(subject_names([name])), most=MOST_BYTES))
    try:
        root, place = _recorded_root(paths, home / "run.yaml")
    except UserError as error:
        return Trained(found, redaction.redacted_error(error).rstrip("."))
    if place is None:
        return Trained(found)
    shown = "its table" if redaction.redaction_in_use() else brief(root)
    if not is_named(paths, place, home):
        return Trained(
            found,
            f"{shown}, named in its run.yaml, is not opened: this command names neither it nor a folder around it",
        )
    try:
        collection = opened_anew(place)
        table = find_split(place, "train") if collection is None else table_named(collection, "train")
        return Trained([*found, read_split(table)])
    except UserError:
        return Trained(found, f"train.csv of {shown}, which its run.yaml names, cannot be read")


def _recorded_root(paths: Paths, record: Path) -> tuple[str, Location | None]:
    """Where the tables of the training run were, as written and as a place; no place where no record says so.

    Shards have their own tables, so there it is where the recordings were.
    """
    if not record.is_file():
        return "", None
    read = read_mapping(record)
    found = revealed(read, record) if redaction.redaction_in_use() else read
    root, prefix = found.get("data_split_root"), found.get("prefix")
    if isinstance(root, str) and root:
        return root, paths.at(root)
    if isinstance(prefix, str) and prefix:
        return prefix, locate(prefix, None, paths.bucket_name, paths.project_name, paths.cache_gb)
    return "", None


def is_named(paths: Paths, place: Location, home: Path | None = None) -> bool:
    """Whether the command names this place, or a folder or bucket around it, or another file of the same folder."""
    beside = paths.at(paths.data_split_root or "").parent
    is_beside = bool(paths.data_split_root) and beside.address in (place.address, place.parent.address)
    return is_beside or any(_is_within(place, folder) for folder in _named(paths, home))


def _named(paths: Paths, home: Path | None) -> Iterator[Location]:
    """The folders and buckets that the command names."""
    for value in (paths.data_split_root, paths.prefix, paths.exp_dir, paths.finetuned_mdl_path):
        if value:
            yield paths.at(value)
    if paths.bucket_name:
        yield paths.at(bucket_address(paths.bucket_name))
    if home is not None:
        yield Location(os.fspath(home))


def _is_within(place: Location, folder: Location) -> bool:
    if place.is_local != folder.is_local:
        return False
    if place.is_local:
        return _is_below(place.path, folder.path)
    parts = place.address.split("/")
    return ".." not in parts and f"{place.address}/".startswith(f"{folder.address.rstrip('/')}/")


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a path is the folder or lies in it, links followed."""
    inside, real = os.path.realpath(folder), os.path.realpath(path)
    return real == inside or real.startswith(inside.rstrip(os.sep) + os.sep)
