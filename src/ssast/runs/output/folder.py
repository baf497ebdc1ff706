"""Options and the files behind them in; an output folder with its record out, or the reason why it cannot be used."""

import contextlib
import dataclasses
import functools
import hashlib
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size

from ssast import __version__
from ssast.data.storage.atomic_writes import at_home, writable_folder
from ssast.data.storage.location import Location, as_location
from ssast.data.tables.splits import some
from ssast.engine import distributed
from ssast.errors import UserError
from ssast.model.checkpoints.model_card import PUBLIC
from ssast.options.options import SPECS, Options
from ssast.options.privacy import shown_facts, shown_record
from ssast.options.resolve import RECORD, public_options, record, resolve, write_record
from ssast.options.yaml_file import read_mapping
from ssast.runs.output.changed_recordings import HEARD_CONTENTS, RememberedRecordings
from ssast.runs.output.earlier_results import left_as_it_was
from ssast.runs.paths import at, model_source
from ssast.safe_reading import brief

LAST = "last.pt"
Mode = TypeVar("Mode", bound=Callable[..., Any])


def nothing_half_written(mode: Mode) -> Mode:
    """The mode, which without a result leaves its folder as it was, unless the same command could go on from there."""

    @functools.wraps(mode)
    def run(options: Options | None = None, /, **overrides: Any) -> Any:
        settled = resolve(options, mode=mode.__name__, **overrides)
        with left_as_it_was(at_home(settled.exp_dir)), _enough_memory(settled):
            return mode(settled)

    return run  # type: ignore[return-value]


@contextlib.contextmanager
def _enough_memory(options: Options) -> Iterator[None]:
    """Say in one sentence that the memory does not hold what a mode asked for."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
            raise
        asks = {name: getattr(options, name) for name in ("batch_size", "target_length", "num_workers")}
        told = ", ".join(f"--{name} {value}" for name, value in asks.items() if value)
        raise UserError(
            f"this machine has not enough memory for {options.mode} with {told}; give smaller numbers, in training a "
            "--micro_batch too, or a smaller model."
        ) from error


def fingerprint(*sources: Location | Path | str | None) -> dict[str, str]:
    """SHA-256 of each file that is there, by its path; of a model folder, that of its weights."""
    found = {}
    for place in (as_location(source) for source in sources if source is not None):
        file = place / "model.safetensors" if place.is_dir() else place
        if file.exists():
            with file.open("rb") as content:
                found[str(file)] = _sha256(content)
    return found


def used_files(options: Options, *tables: Location) -> dict[str, str]:
    """The `fingerprint` of every file that a run's result depends on, the recordings left out."""
    model = options.finetuned_mdl_path or options.pretrained_mdl_path
    labels = [at(options, options.label_txt)] if options.label_txt else []
    return fingerprint(*labels, *([model_source(options, model)] if model else []), *tables)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def open_folder(
    options: Options,
    *,
    clips: dict[str, int],
    files: dict[str, str],
    trains: bool,
    table: str = "",
    heard: Callable[[], RememberedRecordings] | None = None,
) -> Path:
    """Make the output folder and leave the record in it; UserError where it holds another training run's state.

    `table` names the one file that a mode makes, where its name goes with the options.
    """
    folder = writable_folder(options.exp_dir)
    if distributed.is_main():
        options = dataclasses.replace(options, threads=torch.get_num_threads())  # the record repeats them
        path = record_path(folder, options.mode, trains)
        if trains:
            _agree(options, path, folder / "checkpoints", files)
            if heard is not None:
                _heard_the_same(heard(), folder / "checkpoints")
        else:
            _say_replaced(options, path, files, table)
        extra = {"clips": clips, "files": files, "versions": versions(), PUBLIC: public_options()}
        write_record(path, options, extra)
    distributed.wait()
    return folder


def add_to_record(options: Options, folder: Path, facts: dict[str, Any]) -> None:
    """Keep what turned out during a run in the record that it left in its folder; what is empty is left out."""
    path = record_path(folder, options.mode, options.mode in ("pretrain", "finetune"))
    found = {name: value for name, value in facts.items() if value}
    before = read_mapping(path).get(RECORD) or {}
    if found:
        write_record(path, options, before | found)


def _say_replaced(options: Options, path: Path, files: dict[str, str], table: str) -> None:
    """Name what is about to be replaced, where the same mode left other results in the folder; or that they stay."""
    before = read_mapping(path) if path.exists() else {}
    if before.get("mode") == options.mode:
        shown = _differences(before, shown_record(record(options)), shown_facts(files))
        if shown and table and not (path.parent / table).exists():
            print(
                f"the tables that {options.mode} left in {path.parent} stay, and {table} comes beside them; "
                f"{path.name} will tell of this run alone ({shown})",
                flush=True,
            )
        elif shown:
            what = table or f"the results that {options.mode} left"
            print(f"replacing {what} in {path.parent} ({shown})", flush=True)


def record_path(folder: Path, mode: str, trains: bool) -> Path:
    """run.yaml belongs to what made the folder; a later mode that writes into it leaves its own record beside."""
    made_by = read_mapping(folder / "run.yaml").get("mode") if (folder / "run.yaml").exists() else None
    return folder / (f"run-{mode}.yaml" if not trains and made_by in ("pretrain", "finetune") else "run.yaml")


def _agree(options: Options, path: Path, checkpoints: Path, files: dict[str, str]) -> None:
    """Make way for the run: go on with the same one, clear with --resume never, refuse another's state or model."""
    if options.resume == "never":
        shutil.rmtree(checkpoints, ignore_errors=True)
        return
    made = (checkpoints / LAST, checkpoints.parent / "model.safetensors")
    if not path.exists() or not any(place.exists() for place in made):
        return
    before = read_mapping(path)
    shown = _differences(before, shown_record(record(options)), shown_facts(files))
    if shown:
        raise UserError(
            f"{checkpoints.parent} holds another run ({shown}); "
            "give another --exp_dir, or --resume never to replace it.",
            path=checkpoints.parent,
        )
    began_with = before.get("threads")
    if began_with not in (None, options.threads):
        print(
            f"this run began with --threads {brief(began_with)} and goes on with {options.threads}: "
            "the last bits of its result will differ from those of a run with one number of threads",
            flush=True,
        )
    version = _noted(before, "versions").get("ssast")
    if version not in (None, __version__):
        print(
            f"this run began with ssast {brief(version)} and goes on with {__version__}: "
            "its result may differ from that of a run with one version; --resume never begins anew",
            flush=True,
        )


def _heard_the_same(now: RememberedRecordings, checkpoints: Path) -> None:
    """UserError that names what changed where training would go on with other recordings than it began with."""
    changed = now.changed_since(checkpoints / HEARD_CONTENTS) if (checkpoints / LAST).exists() else []
    if changed is None:
        print(
            f"note: {checkpoints / HEARD_CONTENTS} is missing or damaged, so whether recordings changed since this run began is "
            "not known; --resume never begins anew",
            flush=True,
        )
    elif changed:
        raise UserError(
            f"{now.sentence(changed)}; restore them, give another --exp_dir, "
            f"or pass --resume never to train on them as they are now.",
            uid=[now.uids[row] for row in changed],
        )
    now.write(checkpoints / HEARD_CONTENTS)


def kept_pieces(options: Options) -> int | None:
    """The clips of a batch's pieces in the unfinished run that these options go on with; None where there is none.

    They are part of how chance is drawn, so a run keeps them, whatever machine it goes on with.
    """
    folder = Path(options.exp_dir).expanduser()
    path = folder / "run.yaml"
    if options.resume == "never" or not path.exists() or not (folder / "checkpoints" / LAST).exists():
        return None
    kept = read_mapping(path).get("micro_batch")
    return kept if isinstance(kept, int) and 1 <= kept <= options.batch_size else None


def _noted(before: dict[str, Any], name: str) -> dict[str, Any]:
    """What a record holds under a name beside its options; nothing where that is no mapping."""
    found = before.get("record")
    found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _differences(before: dict[str, Any], now: dict[str, Any], files: dict[str, str]) -> str:
    """What sets the run of a record apart from that of these options and files; empty where the result is the same."""
    # An option that is younger than the record had its default.
    before = {name: spec.default for name, spec in SPECS.items()} | before
    names = [name for name in now if SPECS[name].changes_result and before[name] != now[name]]
    if names:
        return ", ".join(f"{name} {brief(before[name])} there, {brief(now[name])} now" for name in names[:5])
    there = _noted(before, "files")
    changed = sorted(name for name in {*there, *files} if there.get(name) != files.get(name))
    return f"made with other contents of {some([brief(name, 200) for name in changed])}" if changed else ""


def run_key(options: Options, files: dict[str, str]) -> str:
    """What a run's result depends on, in one word; options at their default are left out, so that new ones fit in."""
    chosen = {name: value for name, value in record(options).items() if value != SPECS[name].default}
    kept = sorted((name, value) for name, value in chosen.items() if SPECS[name].changes_result)
    return hashlib.sha256(repr((kept, sorted(files.values()))).encode()).hexdigest()


def versions() -> dict[str, str]:
    """What this ran on."""
    return {"ssast": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
