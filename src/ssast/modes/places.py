"""Options in; the places they name out, local or in a bucket: tables, recordings, and models as local files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssast.data.storage import Location, locate
from ssast.errors import UserError
from ssast.modes.options import Options

MODEL_FOLDER = ("config.json", "model.safetensors", "thresholds.json")
"""What is fetched of a model folder in a bucket; its checkpoints stay there."""
BESIDE_A_MODEL_FILE = ("config.json", "thresholds.json", "args.pkl")


def at(options: Options, address: str) -> Location:
    """A file or folder that an option names."""
    return Location(address, options.project_name, options.cache_gb)


def recordings(options: Options) -> Location:
    """The folder that holds <uid>/waveform.EXT."""
    if not options.prefix:
        raise UserError("--prefix is missing; give the folder that holds <uid>/waveform.EXT.")
    return locate(options.prefix, options.study, options.bucket_name, options.project_name, options.cache_gb)


def model_path(options: Options, address: str) -> str:
    """A local path of a model; the address itself unless that is remote. UserError where nothing is there."""
    there = at(options, address)
    if there.is_local:
        return address
    return str(there.on_disk(*(MODEL_FOLDER if there.is_dir() else BESIDE_A_MODEL_FILE)))


@contextmanager
def local_model(options: Options, address: str) -> Iterator[str]:
    """`model_path`; what goes wrong inside is said of the address, not of the file that was fetched."""
    path = model_path(options, address)
    try:
        yield path
    except UserError as error:
        said = str(error).replace(path, address).replace(str(Path(path).parent), address.rsplit("/", 1)[0])
        raise type(error)(said if path != address else str(error)) from error
