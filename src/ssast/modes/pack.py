"""Pack recordings and their tables into a few large Parquet files: `ssast pack`."""

import contextlib
import hashlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from tqdm import tqdm

from ssast import redaction
from ssast.data.batch import Bad
from ssast.data.shards.intake import Intake, JudgedClip, SeenFiles, seen_files, taken_in
from ssast.data.shards.shard_delivery import WAITING, ShardDelivery
from ssast.data.shards.shard_schema import MB, SHARD_FORMAT, PlannedShard, column_types, planned_shards
from ssast.data.shards.shard_writer import PackedClip, PackedTable, write_shard
from ssast.data.storage.atomic_writes import writable_folder
from ssast.data.storage.cache import cache
from ssast.data.storage.folder_lock import LOCK, in_use
from ssast.data.storage.location import Location, forget
from ssast.data.tables.splits import read_split
from ssast.errors import AudioError, UserError
from ssast.modes.check import split_places
from ssast.options.options import Options
from ssast.options.record import RunRecord
from ssast.pages.tables import counted
from ssast.processors import worker_count
from ssast.runs.context import Paths, collection_in, say
from ssast.runs.output.folder import fingerprint, versions
from ssast.runs.output.skipped_recordings import JOURNAL, SkippedRecordings
from ssast.runs.wrapping.wrapper import Mode

_FOUND_SECONDS = 3.0


@dataclass(frozen=True)
class _Job:
    """All that is to be packed: the tables, their rows one after the other, and the shards that these go into."""

    tables: dict[str, PackedTable]
    uids: list[str]
    seen: SeenFiles
    firsts: dict[str, int]
    shards: list[PlannedShard]
    how: tuple[object, ...]

    def rows(self, shard: PlannedShard) -> range:
        """The numbers of a shard's rows among those of all tables."""
        first = self.firsts[shard.table]
        return range(first + shard.rows.start, first + shard.rows.stop)

    def made_from(self, shard: PlannedShard) -> str:
        """A name for all that the bytes of a shard depend on."""
        table = self.tables[shard.table]
        parts = (SHARD_FORMAT, shard, table.digest, [(name, str(kind)) for name, kind in table.types.items()], self.how)
        return hashlib.sha256(repr(parts).encode() + self.seen.states(self.rows(shard))).hexdigest()


@Mode
def pack(options: Options) -> str:
    """Pack the recordings of train.csv and test.csv, or of one csv, with all that these say; where the shards are.

    `exp_dir` is a folder, or an address in a bucket. Takes the command line's options by name.
    """
    forget()
    paths, bad = Paths.of(options), SkippedRecordings()
    root, target = paths.recordings, paths.at(options.exp_dir)
    collection_in(paths)
    places = split_places(paths)
    how = (options.on_bad_audio, options.lib)
    job = _planned(root, places, how, group_mb=options.row_group_mb, shard_mb=options.shard_mb)
    with _delivery(target, paths.cache_gb) as delivery:
        if options.resume == "never":
            delivery.start_anew()
        delivery.check_free({shard.name for shard in job.shards})
        missing = [shard for shard in job.shards if not delivery.has(shard.name, job.made_from(shard))]
        if kept := len(job.shards) - len(missing):
            say(f"going on: {kept} of {counted(len(job.shards), 'shard')} were finished before")
        rows = [row for shard in missing for row in job.rows(shard)]
        bad.forget(delivery.work / JOURNAL, [job.uids[row] for row in rows])
        bad.remember(delivery.work / JOURNAL)
        intake = Intake(root, job.uids, job.seen.sizes, use_librosa=options.lib)
        heard = taken_in(intake, rows, num_workers=worker_count(options.num_workers))
        # Closed, so that its bar has ended before it is said what went wrong.
        with contextlib.closing(_used(heard, len(rows), bad, skips=options.on_bad_audio == "skip")) as clips:
            for shard in missing:
                _make(shard, job, delivery, clips)
        if len(bad.reasons) >= len(set(job.uids)):
            first = next(iter(bad.reasons.values()))
            raise UserError(f"none of the {len(bad.reasons)} recordings can be used; the first: {first}")
        _note(options, job, bad, places, delivery)
        delivery.finish([shard.name for shard in job.shards])
    size = sum(job.seen.sizes) / MB
    packed = f"{counted(len(job.uids) - len(bad.reasons), 'recording')} ({size:.1f} MB)"
    say(f"{packed} in {counted(len(job.shards), 'shard')} in {target}; the other modes take them with -i")
    return str(target)


def _planned(
    root: Location, places: dict[str, Location], how: tuple[object, ...], *, group_mb: float, shard_mb: float
) -> _Job:
    """What the tables name, and how it is shared out."""
    frames = {name: read_split(place) for name, place in places.items()}
    types = column_types(frames)
    tables = {name: PackedTable(name, places[name].read_bytes(), frames[name], types[name]) for name in frames}
    uids = [str(uid) for frame in frames.values() for uid in frame.index]
    looking = tqdm(
        seen_files(root, uids),
        desc="look at recordings",
        total=len(uids),
        unit="clip",
        dynamic_ncols=True,
        delay=_FOUND_SECONDS,
    )
    seen, firsts, shards, first = SeenFiles(looking), {}, list[PlannedShard](), 0
    for name, frame in frames.items():
        sizes = seen.sizes[first : first + len(frame)]
        shards += planned_shards(name, sizes, group_bytes=int(group_mb * MB), shard_bytes=int(shard_mb * MB))
        firsts[name] = first
        first += len(frame)
    return _Job(tables, uids, seen, firsts, shards, how)


@contextlib.contextmanager
def _delivery(target: Location, cache_gb: float) -> Iterator[ShardDelivery]:
    """The way to the target; what goes to a bucket waits in the cache, where one run at a time has it."""
    with contextlib.ExitStack() as stack:
        if target.is_local:
            work = writable_folder(target.path) / WAITING
        else:
            name = hashlib.sha256(str(target).encode()).hexdigest()[:16]
            work = cache(cache_gb).folder / "packing" / name
            work.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(in_use(work, work.with_name(f"{name}{LOCK}"), "pack"))
        delivery = ShardDelivery(target, work)
        stack.callback(delivery.close)
        yield delivery


def _used(
    heard: Iterable[JudgedClip | Bad], total: int, bad: SkippedRecordings, *, skips: bool
) -> Generator[PackedClip | None, None, None]:
    """The recordings that can be used, None for those that are left out; UserError for the first unless it `skips`."""
    for one in tqdm(heard, desc="pack", total=total, unit="clip", dynamic_ncols=True):
        if isinstance(one, JudgedClip):
            bad.add_findings(one.clip.uid, one.findings)
            yield one.clip
            continue
        redaction.know(one.names)
        if not one.skippable:
            raise UserError(one.reason, **one.names)
        if not skips:
            raise AudioError(f"{one.reason}, or pass --on_bad_audio skip.", **one.names)
        bad(one.uid, one.reason)
        yield None


def _make(shard: PlannedShard, job: _Job, delivery: ShardDelivery, clips: Iterator[PackedClip | None]) -> None:
    own = islice(clips, len(shard.rows))
    delivery.take(shard.name, job.made_from(shard), lambda path: write_shard(path, shard, job.tables[shard.table], own))


def _note(
    options: Options, job: _Job, bad: SkippedRecordings, places: dict[str, Location], delivery: ShardDelivery
) -> None:
    """The record of the run beside the shards, and what was noted of recordings."""
    local = delivery.target.is_local
    home = delivery.target.path if local else writable_folder(delivery.work / "notes")
    bad.write(home, list(dict.fromkeys(job.uids)))
    clips = {name: len(table.frame) for name, table in job.tables.items()}
    facts = {"clips": clips, "files": fingerprint(*places.values()), "versions": versions()}
    RunRecord.of(options).write(home / "run.yaml", facts)
    for file in () if local else sorted(home.iterdir()):
        (delivery.target / file.name).send(file)
