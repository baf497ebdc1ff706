"""Read the named tensors of a file that torch.save wrote, checked before any memory is taken for them.

Nothing in the file is executed, and no size that it declares is believed before its bytes are seen to be there.
"""

import math
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ssast.errors import UserError
from ssast.model.checkpoints.pickles import Made, NamedObject, Outside, Pickle, Refused, read_pickle
from ssast.safe_reading import brief

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
MOST_AXES, MOST_OVERLAP = 64, 4
ZIP = b"PK\x03\x04"
TORCHS_PROTOCOL = 2
"""The pickle protocol that torch.save writes unless told otherwise, and the only one that torch.load reads safely."""
MOST_UNFOLDED = 16
"""How many times its bytes a file's values may take as float32: twice for half precision, the rest for shared ones."""
_DEEPEST, MOST_LISTED = 6, 20_000


class _DoubtfulError(ValueError):
    """The file declares what is not in it, or asks for what torch.save never writes."""


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Named tensors of a torch file, `module.` taken off their names; UserError where it holds anything else."""
    try:
        found = check_torch_file(file)
        if found.protocol > TORCHS_PROTOCOL:
            content: object = _built(file, found)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Refused as error:
        raise UserError(
            f"{file} holds more than tensors ({error}) and could run code when opened, so it was not; "
            "give a file of tensors only, saved with torch.save(model.state_dict(), ...).",
            path=file,
        ) from error
    except Exception as error:  # torch, pickle and zip each have their own
        raise _unreadable(file, error) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"{file} holds {_describe(content)}, not a state dict of named tensors; "
            "give a file saved with torch.save(model.state_dict(), ...).",
            path=file,
        )
    _check_repeats(file, content)
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _check_repeats(file: Path, content: Mapping[Any, Tensor]) -> None:
    """UserError where one tensor has so many names that copies of them would fill the memory."""
    values, bytes_there = sum(value.numel() for value in content.values()), file.stat().st_size
    if 4 * values > MOST_UNFOLDED * bytes_there:
        raise UserError(
            f"{file} names {values} values in {bytes_there} bytes, the same ones many times; "
            "give a file saved with torch.save(model.state_dict(), ...).",
            path=file,
        )


def _unreadable(file: Path, error: Exception) -> UserError:
    """The sentence for a file that is not what torch writes."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, _DoubtfulError):
        return UserError(f"{file} {error}, so it was not opened; download it again, or ask who made it.", path=file)
    return UserError(
        f"{file} is not a checkpoint that torch can read ({_looks(file) or type(error).__name__}); "
        "download it again, or check that the path names the checkpoint itself.",
        path=file,
    )


def _looks(file: Path) -> str:
    """What a file is by its first bytes, as far as that helps; empty otherwise."""
    try:
        with _opened(file) as opened:
            start = opened.read(512)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    except ValueError as error:
        return str(error)
    if not start:
        return "it is empty"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "it is a web page, as comes where a login was wanted"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs; fetch the file itself with git lfs pull"
    if start.startswith(ZIP):
        return "it is a zip archive that is cut off, or none of torch's"
    return ""


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with {', '.join(brief(key) for key in list(content)[:3]) or 'nothing'}"
    return f"a {type(content).__name__}"


def outline(file: Path) -> dict[str, tuple[int, ...] | str]:
    """What a torch file of any kind lists: the shape of every tensor and the rest in words, by names joined with dots.

    Nothing of it is imported, called or built, whatever it asks for. UserError where it is no whole file of torch's.
    """
    try:
        with _opened(file) as opened:
            content = _listed(opened, file.stat().st_size, _Anything(), is_loaded=False).value
    except Exception as error:  # as in load_tensors
        raise _unreadable(file, error) from error
    return dict(_named(content))


class _Anything:
    """Every name is in it: for readers that only look."""

    def __contains__(self, name: object) -> bool:
        return True


def _named(content: object) -> Iterator[tuple[str, tuple[int, ...] | str]]:
    """What is listed, with its name; after so many values, however often the same ones are named, it ends."""
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    for _ in range(MOST_LISTED):
        if not waiting:
            return
        name, one, depth = waiting.pop()
        items = one.items if isinstance(one, Made) and one.items else one
        if isinstance(items, dict) and items and depth < _DEEPEST:
            inside = [(f"{name}.{key}" if name else str(key), value, depth + 1) for key, value in items.items()]
            waiting += inside[: MOST_LISTED - len(waiting)][::-1]
        else:
            yield name, _told(one)


def _told(one: object) -> tuple[int, ...] | str:
    """The shape of a tensor; of anything else a few words."""
    if isinstance(one, Made):
        inner = one.arguments[0] if one.name == PARAMETER and one.arguments else one
        is_tensor = isinstance(inner, Made) and inner.name == TENSOR and len(inner.arguments) > 2
        return inner.arguments[2] if is_tensor else one.name
    return (
        "a part of the file" if isinstance(one, Outside) else one.name if isinstance(one, NamedObject) else brief(one)
    )


def check_torch_file(file: Path) -> Pickle:
    """The notes of a file; ValueError, an error of zip's or `Refused` unless all it names is harmless and is there."""
    with _opened(file) as opened:
        return _listed(opened, file.stat().st_size, _NAMES, is_loaded=True)


def _opened(file: Path) -> IO[bytes]:
    """The file, open to be read; ValueError for a pipe or a device, which may never answer or never end."""
    if os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file):
        raise ValueError("it is not a regular file")
    return open(file, "rb")


def _listed(file: IO[bytes], size: int, names: Container[str], *, is_loaded: bool) -> Pickle:
    """The notes of what the file holds, the bytes of its tensors seen to be there."""
    is_zip = file.read(4) == ZIP
    file.seek(0)
    return (_inspect_zip if is_zip else _inspect_legacy)(file, size, names, is_loaded)


def _inspect_zip(file: IO[bytes], size: int, names: Container[str], is_loaded: bool) -> Pickle:
    if _directory_bytes(file, size) > MOST_DIRECTORY_BYTES:
        raise _DoubtfulError("lists more parts than torch.save writes")
    with zipfile.ZipFile(file) as archive:
        parts = {part.filename: part for part in archive.infolist()}
        if len(parts) != len(archive.infolist()):
            raise _DoubtfulError("holds two parts of one name")
        # torch stores its parts as they are; a packed one can grow a thousandfold when it is opened.
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.values()):
            raise _DoubtfulError("holds packed parts, which torch.save never writes")
        if sum(part.file_size for part in parts.values()) > size:
            raise _DoubtfulError("declares more bytes than it has")
        folder = _folder(parts)
        with archive.open(f"{folder}data.pkl") as pickle:
            found = read_pickle(BytesIO(pickle.read()), names)
    for key, declared in _storages(found, is_loaded).items():
        part = parts.get(f"{folder}data/{key}")
        if part is None or part.file_size != declared:
            there = 0 if part is None else part.file_size
            raise _DoubtfulError(f"declares {declared} bytes for a tensor and has {there}")
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
    """What stands in front of every part's name."""
    pickles = [name for name in parts if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or parts[pickles[0]].file_size > MOST_PICKLE_BYTES:
        raise _DoubtfulError(f"holds {len(pickles)} lists of tensors, and torch.save writes one of moderate size")
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
        raise _DoubtfulError(f"declares {declared} bytes for its tensors and has {rest}")
    if is_loaded:
        for one in found:
            _check_made(one)
        if found[3].protocol > TORCHS_PROTOCOL:
            raise _DoubtfulError(
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
            raise _DoubtfulError("declares a tensor of no possible shape")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if math.prod(size) > count or (math.prod(size) and last >= count):
            raise _DoubtfulError(f"declares a tensor of shape {tuple(size)} over {count} values")
        asked += math.prod(size)
    if asked > MOST_OVERLAP * sum(declared.values()) + 1_000_000:
        raise _DoubtfulError(f"declares tensors of {asked} values over {sum(declared.values())} bytes")
    return declared


def _check_made(found: Pickle) -> None:
    """`_DoubtfulError` where torch would be asked to make or to fill anything but tensors and dictionaries of them."""
    for made in found.made:
        is_filled = made.state is not None or made.items
        if made.name not in (TENSOR, PARAMETER, ORDERED) or (made.name != ORDERED and is_filled):
            raise _DoubtfulError("asks for what torch.save never writes")
        if made.name == ORDERED and (made.arguments or not isinstance(made.state, dict | None)):
            raise _DoubtfulError("asks for what torch.save never writes")


def _is_shape(numbers: object) -> bool:
    """Whether these are a few whole numbers, none below 0."""
    return (
        isinstance(numbers, tuple)
        and len(numbers) <= MOST_AXES
        and all(isinstance(one, int) and 0 <= one < 1 << 63 for one in numbers)
    )


def _declare(declared: dict[str, int], storage: object) -> int:
    """Note the bytes of what a tensor says it lies in; the number of its values."""
    kind, key, count = _storage(storage)
    if declared.setdefault(key, count * ITEMS[kind].itemsize) != count * ITEMS[kind].itemsize:
        raise _DoubtfulError("declares one part with two sizes")
    return count


def _storage(storage: Any) -> tuple[str, str, int]:
    """(kind, key, number of values) of what a tensor says it lies in."""
    if isinstance(storage, Outside) and isinstance(storage.address, tuple) and len(storage.address) >= 5:
        word, kind, key, _, count = storage.address[:5]
        is_named = isinstance(kind, NamedObject) and kind.name in ITEMS and isinstance(key, str) and len(key) < 100
        if word == "storage" and is_named and _is_shape((count,)):
            return kind.name, key, count
    raise _DoubtfulError("declares a tensor without a part to lie in")


def _built(file: Path, found: Pickle) -> object:
    """The tensors of an archive whose pickle torch itself does not read safely, made of the notes alone."""
    content = found.value.items if isinstance(found.value, Made) else found.value
    if not isinstance(content, dict):
        return content
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        folder = next(name for name in names if name.rpartition("/")[2] == "data.pkl").removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder").decode() != sys.byteorder:
            raise _DoubtfulError("was saved on a machine with another byte order")
        read: dict[str, Tensor] = {}

        def values(kind: str, key: str, count: int) -> Tensor:
            if key not in read:
                part = bytearray(archive.read(f"{folder}data/{key}"))
                read[key] = torch.frombuffer(part, dtype=ITEMS[kind]) if count else torch.empty(0, dtype=ITEMS[kind])
            return read[key]

        return {key: _tensor(one, values) for key, one in content.items()}


def _tensor(one: object, values: Callable[[str, str, int], Tensor]) -> object:
    """What one note stands for, over the values of its part."""
    made = one.arguments[0] if isinstance(one, Made) and one.name == PARAMETER and one.arguments else one
    if not isinstance(made, Made) or made.name != TENSOR:
        return one
    storage, offset, size, stride = made.arguments[:4]
    return values(*_storage(storage)).as_strided(size, stride, offset)
