"""Give packed recordings and their tables back as they were: `ssast unpack`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ssast import redaction
from ssast.data.shards.shard_writer import PackedClip
from ssast.data.shards.unpacking import PackedShard, is_plain_name, opened_shard, shard_sets, write_csv
from ssast.data.storage.atomic_writes import atomic_folder
from ssast.data.storage.location import Location, forget
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.pages.tables import counted
from ssast.processors import worker_count
from ssast.runs.context import Paths, say
from ssast.runs.wrapping.wrapper import Mode

_RECORDINGS, _TABLES = "recordings", "splits"


@Mode
def unpack(options: Options) -> Path:
    """Write the recordings of shards to `recordings/` and their tables to `splits/` in a new folder; the folder.

    Every file has the bytes that were packed. Takes the command line's options by name.
    """
    forget()
    folder = Path(options.exp_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"the folder {folder} holds files already; give the name of a new one.", path=folder)
    root = Paths.of(options).recordings
    if not root.is_dir():
        raise UserError(f"the folder of shards {root} does not exist; check --prefix and --bucket_name.", path=root)
    sets, known, left_out = shard_sets(root), set[str](), 0
    with atomic_folder(folder) as unfinished, ThreadPoolExecutor(max(1, worker_count(options.num_workers))) as threads:
        (unfinished / _RECORDINGS).mkdir()
        (unfinished / _TABLES).mkdir()
        for table, places in sets.items():
            if not is_plain_name(f"{table}.csv"):
                raise UserError(f"the shards {table!r} in {root} cannot be a csv; rename them.", path=root)
            write_csv(unfinished / _TABLES / f"{table}.csv", _each(places))
            for place in tqdm(places, desc=f"unpack {table}", unit="shard", dynamic_ncols=True):
                with opened_shard(place) as shard:
                    left_out += shard.left_out
                    for clips in shard.clips():
                        _write(unfinished / _RECORDINGS, clips, known, threads)
    what = f"{counted(len(known), 'recording')} and {counted(len(sets), 'table')}"
    say(f"{what} in {folder}; the other modes take them with -i {folder / _RECORDINGS} -d {folder / _TABLES}")
    if left_out:
        say(f"the tables name {counted(left_out, 'recording')} more, which could not be used when they were packed")
    return folder


def _each(places: Sequence[Location]) -> Iterator[PackedShard]:
    for place in places:
        with opened_shard(place) as shard:
            yield shard


def _write(home: Path, clips: Sequence[PackedClip], known: set[str], threads: ThreadPoolExecutor) -> None:
    """The files of some recordings; one that stands in two tables was packed for each, and has to be the same."""
    redaction.learn("uid", (clip.uid for clip in clips))
    list(threads.map(partial(_write_one, home, known=frozenset(known)), clips))
    known.update(clip.uid for clip in clips)


def _write_one(home: Path, clip: PackedClip, known: frozenset[str]) -> None:
    folder = home / clip.uid
    files = {clip.name: clip.content} | ({} if clip.metadata is None else {"metadata.json": clip.metadata})
    if clip.uid in known:
        there = {path.name: path.read_bytes() for path in folder.iterdir()}
        if there != files:
            raise UserError(f"the uid {clip.uid} has two different recordings; give each its own uid.", uid=clip.uid)
        return
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise UserError(
            f"the uid {clip.uid} differs from another in capital letters alone, which this disk takes for one; "
            "unpack on another disk.",
            uid=clip.uid,
        ) from error
    for name, content in files.items():
        (folder / name).write_bytes(content)
