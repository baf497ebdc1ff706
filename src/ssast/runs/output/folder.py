"""Open the output folder of a run and write its record, or say why the folder cannot be used."""

import hashlib
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from ssast import __version__
from ssast.data.metadata import MARKER
from ssast.data.storage.atomic_writes import writable_folder
from ssast.data.storage.location import Location, as_location
from ssast.data.tables.label_file import kinds_place
from ssast.engine import distributed
from ssast.errors import UserError
from ssast.model.checkpoints.model_card import POWER_SPECTROGRAMS, PUBLIC, RECORDINGS
from ssast.options.parts import WHOLE, Part
from ssast.options.record import RECORD, RunRecord, noted, public_options, read_mapping
from ssast.runs.context import Paths
from ssast.runs.resuming import HEARD_CONTENTS, RememberedRecordings
from ssast.safe_reading import brief

LAST = "last.pt"


def fingerprint(*sources: Location | Path | str | None) -> dict[str, str]:
    """SHA-256 of each file that is there, by its path; of a model folder, that of its weights."""
    found = {}
    for place in (as_location(source) for source in sources if source is not None):
        file = place / "model.safetensors" if place.is_dir() else place
        if file.exists():
            with file.open("rb") as content:
                found[str(file)] = _sha256(content)
    return found


def used_files(paths: Paths, *tables: Location) -> dict[str, str]:
    """The `fingerprint` of every file that a run's result depends on, the recordings left out."""
    model = paths.finetuned_mdl_path or paths.pretrained_mdl_path
    labels = [paths.at(paths.label_txt)] if paths.label_txt else []
    labels += [kinds for label_txt in labels if (kinds := kinds_place(label_txt)).exists()]
    kind = [paths.recordings / MARKER] if paths.prefix else []
    return fingerprint(*labels, *([paths.model_source(model)] if model else []), *tables, *kind)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def open_folder(
    record: RunRecord,
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
    folder = writable_folder(record.values["exp_dir"])
    if distributed.is_main():
        record = record.with_values(threads=torch.get_num_threads())  # the record repeats them
        path = record_path(folder, record.mode, trains, record.part)
        if trains:
            _agree(record, path, folder / "checkpoints", files)
            if heard is not None:
                _heard_the_same(heard(), folder / "checkpoints")
        else:
            _say_replaced(record, path, files, table)
        extra: dict[str, object] = {"clips": clips, "files": files, "versions": versions(), PUBLIC: public_options()}
        if any(Path(name).name == MARKER for name in files):
            extra[RECORDINGS] = POWER_SPECTROGRAMS
        record.write(path, extra)
    distributed.wait()
    return folder


def add_to_record(record: RunRecord, folder: Path, facts: Mapping[str, Any]) -> None:
    """Add facts that are known only during a run to the record in its folder; empty ones are left out."""
    path = record_path(folder, record.mode, record.mode in ("pretrain", "finetune"), record.part)
    found = {name: value for name, value in facts.items() if value}
    before = read_mapping(path).get(RECORD) or {}
    if found:
        record.write(path, before | found)


def _say_replaced(record: RunRecord, path: Path, files: dict[str, str], table: str) -> None:
    """Say which earlier results of the same mode in the folder will be replaced, or that they stay."""
    before = read_mapping(path) if path.exists() else {}
    if before.get("mode") == record.mode:
        shown = record.differences(before, files)
        if shown and table and not (path.parent / table).exists():
            print(
                f"the tables that {record.mode} left in {path.parent} stay, and {table} comes beside them; "
                f"{path.name} will tell of this run alone ({shown})",
                flush=True,
            )
        elif shown:
            what = table or f"the results that {record.mode} left"
            print(f"replacing {what} in {path.parent} ({shown})", flush=True)


def record_path(folder: Path, mode: str, trains: bool, part: Part = WHOLE) -> Path:
    """The file of a run's record: run.yaml, or run-<mode>.yaml in a folder that a training made, or of a part."""
    if not part.is_whole:
        return folder / part.named(f"run-{mode}.yaml")
    made_by = read_mapping(folder / "run.yaml").get("mode") if (folder / "run.yaml").exists() else None
    return folder / (f"run-{mode}.yaml" if not trains and made_by in ("pretrain", "finetune") else "run.yaml")


def _agree(record: RunRecord, path: Path, checkpoints: Path, files: dict[str, str]) -> None:
    """Make way for the run: go on with the same one, clear with --resume never, refuse another's state or model."""
    if record.values["resume"] == "never":
        shutil.rmtree(checkpoints, ignore_errors=True)
        return
    made = (checkpoints / LAST, checkpoints.parent / "model.safetensors")
    if not path.exists() or not any(place.exists() for place in made):
        return
    before = read_mapping(path)
    shown = record.differences(before, files)
    if shown:
        raise UserError(
            f"{checkpoints.parent} holds another run ({shown}); "
            "give another --exp_dir, or --resume never to replace it.",
            path=checkpoints.parent,
        )
    began_with, threads = before.get("threads"), record.values["threads"]
    if began_with not in (None, threads):
        print(
            f"this run began with --threads {brief(began_with)} and goes on with {threads}: "
            "the last bits of its result will differ from those of a run with one number of threads",
            flush=True,
        )
    version = noted(before, "versions").get("ssast")
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
            f"note: {checkpoints / HEARD_CONTENTS} is missing or damaged, so whether recordings changed since this "
            "run began is not known; --resume never begins anew",
            flush=True,
        )
    elif changed:
        raise UserError(
            f"{now.sentence(changed)}; restore them, give another --exp_dir, "
            f"or pass --resume never to train on them as they are now.",
            uid=[now.uids[row] for row in changed],
        )
    now.write(checkpoints / HEARD_CONTENTS)


def kept_pieces(record: RunRecord) -> int | None:
    """The clips of a batch's pieces in the unfinished run that this one goes on with; None where there is none.

    They are part of how chance is drawn, so a run keeps them, whatever machine it goes on with.
    """
    folder = Path(record.values["exp_dir"]).expanduser()
    path = folder / "run.yaml"
    if record.values["resume"] == "never" or not path.exists() or not (folder / "checkpoints" / LAST).exists():
        return None
    kept = read_mapping(path).get("micro_batch")
    return kept if isinstance(kept, int) and 1 <= kept <= record.values["batch_size"] else None


def versions() -> dict[str, str]:
    """What this ran on."""
    return {"ssast": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
