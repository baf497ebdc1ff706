"""Options in; the places they name out, local or in a bucket: tables, recordings, and models as local files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ssast.data.storage.download import weights_file
from ssast.data.storage.location import Location, locate
from ssast.errors import UserError
from ssast.model.checkpoints.legacy import ARGUMENTS
from ssast.model.checkpoints.model_folder import CONFIG, THRESHOLDS, WEIGHTS
from ssast.model.checkpoints.published import PUBLISHED, PUBLISHED_ENDING, published_name
from ssast.options.declaration import suggestion
from ssast.options.options import Options

MODEL_FOLDER = (CONFIG, WEIGHTS, THRESHOLDS)
"""What is fetched of a model folder in a bucket; its checkpoints stay there."""
BESIDE_A_MODEL_FILE = (CONFIG, THRESHOLDS, ARGUMENTS)


def at(options: Options, address: str) -> Location:
    """A file or folder that an option names."""
    return Location(address, options.project_name, options.cache_gb)


def recordings(options: Options) -> Location:
    """The folder that holds <uid>/waveform.EXT."""
    if not options.prefix:
        raise UserError("--prefix is missing; give the folder that holds <uid>/waveform.EXT.")
    return locate(options.prefix, options.study, options.bucket_name, options.project_name, options.cache_gb)


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


def model_source(options: Options, address: str) -> Location:
    """Where the model of an option lies, its file in the cache where it is a published name."""
    there = at(options, address)
    return at(options, model_path(options, address)) if there.is_local else there


def model_path(options: Options, address: str) -> str:
    """A local path of a model; the address itself unless that is remote or the name of published weights.

    A file of that name in the current folder wins. UserError where a remote address or a name leads nowhere.
    """
    there = at(options, address)
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
def local_model(options: Options, address: str) -> Iterator[str]:
    """`model_path`; what goes wrong inside is said of the address, not of the file that was fetched."""
    path = model_path(options, address)
    try:
        yield path
    except UserError as error:
        said = str(error).replace(path, address).replace(str(Path(path).parent), address.rsplit("/", 1)[0])
        raise error.said(said if path != address else str(error)) from error
