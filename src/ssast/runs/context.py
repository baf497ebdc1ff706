"""Hold what a running mode needs everywhere: options, places on the disk or in a bucket, device, skipped recordings."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ssast import redaction
from ssast.data.shards.collection import Collection, opened_anew, table_named
from ssast.data.storage.download import weights_file
from ssast.data.storage.location import Location, bucket_address, forget, locate
from ssast.data.tables.splits import find_split
from ssast.engine import distributed
from ssast.engine.hardware import Engine, engine, mend_attention
from ssast.errors import UserError
from ssast.model.checkpoints.legacy import ARGUMENTS
from ssast.model.checkpoints.model_folder import CONFIG, PLAIN_BASELINE, THRESHOLDS, WEIGHTS
from ssast.model.checkpoints.published import PUBLISHED, PUBLISHED_ENDING, published_name
from ssast.options.declaration import suggestion
from ssast.options.options import Options
from ssast.options.parts import Part
from ssast.options.record import RunRecord
from ssast.runs.output.skipped_recordings import SkippedRecordings

MODEL_FOLDER = (CONFIG, WEIGHTS, THRESHOLDS, PLAIN_BASELINE)
"""What is fetched of a model folder in a bucket; its checkpoints stay there."""
BESIDE_A_MODEL_FILE = (CONFIG, THRESHOLDS, ARGUMENTS)


def weights(name: str) -> Path:
    """The file of published weights by name, such as SSAST-Base-Frame-400; fetched once, then kept on this machine.

    UserError where there is no such name, or it cannot be fetched: the sentence says how to get it by hand.
    """
    known = published_name(name)
    if known is None:
        hint = suggestion(name, PUBLISHED) or f"; the names are {', '.join(PUBLISHED)}."
        raise UserError(f"there are no published weights {name}{hint}")
    with tqdm(desc=known, unit="B", unit_scale=True, dynamic_ncols=True, delay=0.1) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return weights_file(known, say=lambda text: print(text, flush=True), progress=progress)


@dataclass(frozen=True)
class Paths:
    """The places that a run's options name: its recordings, its tables (`data_split_root`), its bucket, its cache."""

    prefix: str | None
    study: str | None
    bucket_name: str | None
    project_name: str | None
    cache_gb: float
    data_split_root: str | None
    label_txt: str | None
    pretrained_mdl_path: str | None
    finetuned_mdl_path: str | None
    exp_dir: str
    cloud_dir: str

    @classmethod
    def of(cls, options: Options) -> "Paths":
        """Take the places from checked options."""
        return cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})

    def at(self, address: str) -> Location:
        """A file or folder that an option names."""
        return Location(address, self.project_name, self.cache_gb)

    @property
    def recordings(self) -> Location:
        """The folder that holds <uid>/waveform.EXT. UserError where none is named."""
        if not self.prefix:
            raise UserError("--prefix is missing; give the folder that holds <uid>/waveform.EXT.")
        return locate(self.prefix, self.study, self.bucket_name, self.project_name, self.cache_gb)

    @property
    def results(self) -> Location:
        """The folder in the bucket that results go to. UserError where no bucket is named."""
        if not self.bucket_name:
            raise UserError("no bucket is named; give -b/--bucket_name.")
        folder = self.cloud_dir.strip("/")
        bucket = self.at(bucket_address(self.bucket_name))
        return bucket / folder if folder else bucket

    def model_source(self, address: str) -> Location:
        """Where the model of an option lies, its file in the cache where it is a published name."""
        there = self.at(address)
        return self.at(self.model_path(address)) if there.is_local else there

    def model_path(self, address: str) -> str:
        """A local path of a model; the address itself unless that is remote or the name of published weights.

        A file of that name in the current folder wins. UserError where a remote address or a name leads nowhere.
        """
        there = self.at(address)
        if there.is_local:
            if os.path.exists(there.address):
                return address
            if published_name(address):
                beside = f"{published_name(address)}{PUBLISHED_ENDING}"
                return beside if os.path.exists(beside) else str(weights(address))
            if os.path.basename(address) == address and suggestion(address, PUBLISHED):
                raise UserError(f"{address} does not exist{suggestion(address, PUBLISHED)}", path=address)
            return address
        return str(there.on_disk(*(MODEL_FOLDER if there.is_dir() else BESIDE_A_MODEL_FILE)))

    @contextmanager
    def local_model(self, address: str) -> Iterator[str]:
        """`model_path`; errors inside the block name the address, not the file that was fetched."""
        path = self.model_path(address)
        try:
            yield path
        except UserError as error:
            sentence = str(error).replace(path, address).replace(str(Path(path).parent), address.rsplit("/", 1)[0])
            raise error.said(sentence if path != address else str(error)) from error

    def model_home(self, folder: Path) -> Path:
        """The folder of the fine-tuned model: the one that is named, else the run's own."""
        path = Path(self.model_path(self.finetuned_mdl_path)) if self.finetuned_mdl_path else folder
        return path if path.is_dir() else path.parent


def split_place(paths: Paths, name: str) -> Location:
    """The csv of a split: that of --data_split_root, or the table that lies with the recordings in their shards.

    UserError where neither has it.
    """
    if paths.data_split_root:
        return find_split(paths.at(paths.data_split_root), name)
    collection = collection_of(paths)
    if collection is None:
        raise UserError(f"--data_split_root is missing; give a folder with {name}.csv, or one csv.")
    return table_named(collection, name)


def collection_of(paths: Paths) -> Collection | None:
    """The shards that hold the recordings, as their files are now; None where these lie in folders."""
    return opened_anew(paths.recordings) if paths.prefix else None


def collection_in(paths: Paths) -> Collection | None:
    """Return what `collection_of` gives; UserError where the folder of the recordings is missing."""
    root, collection = paths.recordings, collection_of(paths)
    if collection is None and not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"the data folder {root} {what}; check --prefix, --study and --bucket_name.", path=root)
    return collection


@dataclass(frozen=True)
class RunContext:
    """What a running mode needs everywhere; functions below the modes take only the parts that they use."""

    options: Options
    paths: Paths
    engine: Engine
    skipped: SkippedRecordings
    part: Part

    @classmethod
    def of(cls, options: Options) -> "RunContext":
        """The context of checked options; UserError where the device is not there."""
        forget()
        where = engine(options.device, options.precision, options.threads)
        if where.device.type == "cuda" and (mended := mend_attention(where.device)):
            say(mended)
        part = Part.of(options.part)
        return cls(options, Paths.of(options), where, SkippedRecordings(part), part)

    @property
    def record(self) -> RunRecord:
        """Every option as it is written down."""
        return RunRecord.of(self.options)


def say(text: str) -> None:
    """One line to the user, from the one process that speaks."""
    if distributed.is_main():
        print(text, flush=True)


def words_in(text: str | None) -> list[str]:
    """The words of an option that holds several, with commas between."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def run_names(short: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """What runs are called, by their short names or, where two share one, all by their paths; as it may be shown."""
    names = short if len(set(short)) == len(short) else map(str, paths)
    return [redaction.shown_name("run", name) for name in names]


def needed(value: str | None, name: str, what: str) -> str:
    """The value of an option that the mode cannot do without; UserError where it is missing."""
    if not value:
        raise UserError(f"--{name} is missing; give {what}.")
    return value
