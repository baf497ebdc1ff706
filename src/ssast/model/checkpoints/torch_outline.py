"""Check that a file of torch holds everything that it lists, before any memory is taken for it."""

import math
import os
import struct
import zipfile
from collections.abc import Container, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch

from ssast.model.checkpoints.pickles import NamedObject, Outside, Pickle, read_pickle

ITEMS = {
    "torch.DoubleStorage": torch.float64, "torch.FloatStorage": torch.float32, "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}  # fmt: skip
TENSOR, PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
ORDERED = "collections.OrderedDict"
_NAMES = {TENSOR, PARAMETER, ORDERED, *ITEMS}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PICKLES = 5
MOST_PICKLE_BYTES = 1 << 24
MOST_DIRECTORY_BYTES = 1 << 22
"""Of the list of a zip archive's parts: torch takes some 70 a tensor."""
ZIP = b"PK\x03\x04"
TORCHS_PROTOCOL = 2
"""The pickle protocol that torch.save writes unless told otherwise, and the only one that torch.load reads safely."""
MOST_UNFOLDED = 16
"""How many times its bytes a file's values may take as float32: twice for half precision, the rest for shared ones."""


MOST_AXES, MOST_OVERLAP = 64, 4
_DEEPEST, MOST_LISTED = 6, 20_000


class DoubtfulError(ValueError):
    """The file declares what is not in it, or asks for what torch.save never writes."""


def check_torch_file(file: Path) -> Pickle:
    """The notes of a file; ValueError, an error of zip's or `Refused` unless all it names is harmless and is there."""
    with open_regular(file) as opened:
        return list_pickle(opened, file.stat().st_size, _NAMES, is_loaded=True)


def open_regular(file: Path) -> IO[bytes]:
    """The file, open to be read; ValueError for a pipe or a device, which may never answer or never end."""
    if os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file):
        raise ValueError("it is not a regular file")
    return open(file, "rb")


def list_pickle(file: IO[bytes], size: int, names: Container[str], *, is_loaded: bool) -> Pickle:
    """The notes of what the file holds, the bytes of its tensors seen to be there."""
    is_zip = file.read(4) == ZIP
    file.seek(0)
    return (_inspect_zip if is_zip else _inspect_legacy)(file, size, names, is_loaded)


def _inspect_zip(file: IO[bytes], size: int, names: Container[str], is_loaded: bool) -> Pickle:
    if _directory_bytes(file, size) > MOST_DIRECTORY_BYTES:
        raise DoubtfulError("lists more parts than torch.save writes")
    with zipfile.ZipFile(file) as archive:
        parts = {part.filename: part for part in archive.infolist()}
        if len(parts) != len(archive.infolist()):
            raise DoubtfulError("holds two parts of one name")
        # torch stores its parts as they are; a packed one can grow a thousandfold when it is opened.
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.values()):
            raise DoubtfulError("holds packed parts, which torch.save never writes")
        if sum(part.file_size for part in parts.values()) > size:
            raise DoubtfulError("declares more bytes than it has")
        folder = _folder(parts)
        with archive.open(f"{folder}data.pkl") as pickle:
            found = read_pickle(BytesIO(pickle.read()), names)
    for key, declared in _storages(found, is_loaded).items():
        part = parts.get(f"{folder}data/{key}")
        if part is None or part.file_size != declared:
            there = 0 if part is None else part.file_size
            raise DoubtfulError(f"declares {declared} bytes for a tensor and has {there}")
    return found


def _directory_bytes(file: IO[bytes], size: int) -> int:
    """How long a zip archive says that its list of parts is: Python's reader takes all of it into memory at once."""
    file.seek(max(0, size - (1 << 16) - 22))
    end = file.read()
    file.seek(0)
    at, wide = end.rfind(b"PK\x05\x06"), end.rfind(b"PK\x06\x06")
    short = int(struct.unpack_from("<I", end, at + 12)[0]) if 0 <= at <= len(end) - 22 else 0
    long = int(struct.unpack_from("<Q", end, wide + 40)[0]) if 0 <= wide <= len(end) - 56 else 0
    return long if short == 0xFFFFFFFF else short


def _folder(parts: Mapping[str, zipfile.ZipInfo]) -> str:
    """The prefix of every part's name."""
    pickles = [name for name in parts if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or parts[pickles[0]].file_size > MOST_PICKLE_BYTES:
        raise DoubtfulError(f"holds {len(pickles)} lists of tensors, and torch.save writes one of moderate size")
    return pickles[0].removesuffix("data.pkl")


def _inspect_legacy(file: IO[bytes], size: int, names: Container[str], is_loaded: bool) -> Pickle:
    """As torch wrote before 1.6: five pickles, the fourth with the tensors, then their bytes."""
    start, found = BytesIO(file.read(MOST_PICKLE_BYTES)), []
    for _ in range(LEGACY_PICKLES):
        found.append(read_pickle(start, names))
        if found[0].value != LEGACY_MAGIC:
            raise ValueError("no torch file")
    declared, rest = sum(_storages(found[3], is_loaded).values()), size - start.tell()
    if declared > rest:
        raise DoubtfulError(f"declares {declared} bytes for its tensors and has {rest}")
    if is_loaded:
        for one in found:
            _check_made(one)
        if found[3].protocol > TORCHS_PROTOCOL:
            raise DoubtfulError(
                f"was saved with pickle protocol {found[3].protocol} in torch's format of before 1.6, which cannot be "
                "read safely (torch.save(torch.load(old), new) saves it in today's)"
            )
    return found[3]


def _storages(found: Pickle, is_loaded: bool) -> dict[str, int]:
    """The declared bytes of every storage by its key; each tensor is seen to lie inside its own."""
    declared: dict[str, int] = {}
    if is_loaded:
        _check_made(found)
        for outside in found.outside:
            _declare(declared, outside)
    asked = 0
    for tensor in (made for made in found.made if made.name == TENSOR):
        storage, offset, size, stride = tensor.arguments[:4]
        count = _declare(declared, storage)
        if not _is_shape(size) or not _is_shape(stride) or len(size) != len(stride) or not _is_shape((offset,)):
            raise DoubtfulError("declares a tensor of no possible shape")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if math.prod(size) > count or (math.prod(size) and last >= count):
            raise DoubtfulError(f"declares a tensor of shape {tuple(size)} over {count} values")
        asked += math.prod(size)
    if asked > MOST_OVERLAP * sum(declared.values()) + 1_000_000:
        raise DoubtfulError(f"declares tensors of {asked} values over {sum(declared.values())} bytes")
    return declared


def _check_made(found: Pickle) -> None:
    """`DoubtfulError` where torch would be asked to make or to fill anything but tensors and dictionaries of them."""
    for made in found.made:
        is_filled = made.state is not None or made.items
        if made.name not in (TENSOR, PARAMETER, ORDERED) or (made.name != ORDERED and is_filled):
            raise DoubtfulError("asks for what torch.save never writes")
        if made.name == ORDERED and (made.arguments or not isinstance(made.state, dict | None)):
            raise DoubtfulError("asks for what torch.save never writes")


def _is_shape(numbers: object) -> bool:
    """Whether these are a few whole numbers, none below 0."""
    return (
        isinstance(numbers, tuple)
        and len(numbers) <= MOST_AXES
        and all(isinstance(one, int) and 0 <= one < 1 << 63 for one in numbers)
    )


def _declare(declared: dict[str, int], storage: object) -> int:
    """Note the bytes of the storage that a tensor names; returns the number of its values."""
    kind, key, count = storage_of(storage)
    if declared.setdefault(key, count * ITEMS[kind].itemsize) != count * ITEMS[kind].itemsize:
        raise DoubtfulError("declares one part with two sizes")
    return count


def storage_of(storage: Any) -> tuple[str, str, int]:
    """(kind, key, number of values) of the storage that a tensor names."""
    if isinstance(storage, Outside) and isinstance(storage.address, tuple) and len(storage.address) >= 5:
        word, kind, key, _, count = storage.address[:5]
        is_named = isinstance(kind, NamedObject) and kind.name in ITEMS and isinstance(key, str) and len(key) < 100
        if word == "storage" and is_named and _is_shape((count,)):
            return kind.name, key, count
    raise DoubtfulError("declares a tensor without a part to lie in")
