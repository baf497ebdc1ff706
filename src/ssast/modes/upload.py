"""Send the results of a run that did not reach the bucket: `ssast upload`."""

from pathlib import Path
from typing import Any

from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.privacy import revealed
from ssast.options.resolve import resolve
from ssast.options.yaml_file import read_mapping
from ssast.runs.output.uploads import LEDGER, Uploads
from ssast.runs.paths import Paths
from ssast.runs.wrapper import Mode
from ssast.safe_reading import brief, json_file


@Mode
def upload(options: Options) -> Path:
    """Send the files of an output folder to the bucket that its run named, or that is given; the folder."""
    folder = Path(options.exp_dir)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the output folder of a run, as in `ssast upload FOLDER`.")
    known = Paths.of(resolve(options, **_recorded(folder, options.given)))
    noted = "" if known.bucket_name else _noted(folder)
    to = known.at(noted) if noted else known.results
    if "bucket_name" not in options.given:
        _check_recorded(folder, to)
    uploads = Uploads(folder, to)
    sent, reason = uploads.send()
    if reason:
        raise UserError(uploads.sentence(reason))
    print(f"{sent} files sent to {uploads.target}; {len(uploads.done) - sent} were there already", flush=True)
    return folder


def _check_recorded(folder: Path, to: Location) -> None:
    """Say where a folder's own files send it; UserError where that is no bucket, which only the command may name."""
    if not to.address.startswith(BUCKETS):
        raise UserError(
            f"the record in {folder} names {brief(to.address)}, which is no gs:// or s3:// bucket; "
            "give -b/--bucket_name."
        )
    print(f"sending to {to}, as the record in {folder} says; -b/--bucket_name names another", flush=True)


def _noted(folder: Path) -> str:
    """Where a mode that leaves no record was sending its results; empty where nothing says so."""
    try:
        return str(json_file(folder / LEDGER)["to"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _recorded(folder: Path, given: frozenset[str]) -> dict[str, Any]:
    """Bucket, folder and project from the record of a run, those left out that were given anew."""
    records = [folder / "run.yaml", *sorted(folder.glob("run-*.yaml"))]
    for record in records:
        found = revealed(read_mapping(record), record) if record.exists() else {}
        if found.get("bucket_name"):
            names = {"bucket_name", "cloud_dir", "project_name"} - given
            return {name: found[name] for name in names if found.get(name) is not None}
    return {}


BUCKETS = ("gs://", "gcs://", "s3://", "s3a://")
"""Where the record of a folder, which may be a stranger's, can send it without the command's naming the place."""
