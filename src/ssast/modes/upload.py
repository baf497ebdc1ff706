"""Send the results of a run that did not reach the bucket: `ssast upload`."""

from pathlib import Path
from typing import Any

from ssast.errors import UserError
from ssast.options.options import Options
from ssast.options.privacy import revealed
from ssast.options.resolve import resolve
from ssast.options.yaml_file import read_mapping
from ssast.runs.output.lock import THERE, alone
from ssast.runs.output.uploads import LEDGER, Uploads, _check_recorded, target
from ssast.runs.paths import at
from ssast.safe_reading import json_file


@alone("upload", lock=THERE)
def upload(options: Options | None = None, /, **overrides: Any) -> Path:
    """Send the files of an output folder to the bucket that its run named, or that is given; the folder."""
    options = resolve(options, mode="upload", **overrides)
    folder = Path(options.exp_dir)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the output folder of a run, as in `ssast upload FOLDER`.")
    known = resolve(options, **_recorded(folder, options.given))
    noted = "" if known.bucket_name else _noted(folder)
    to = at(known, noted) if noted else target(known)
    if "bucket_name" not in options.given:
        _check_recorded(folder, to)
    uploads = Uploads(folder, to)
    sent, reason = uploads.send()
    if reason:
        raise UserError(uploads.sentence(reason))
    print(f"{sent} files sent to {uploads.target}; {len(uploads.done) - sent} were there already", flush=True)
    return folder


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
