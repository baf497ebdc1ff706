"""A file that torch.save wrote goes in; its named tensors come out, checked before any memory is taken for them.

Nothing in the file is executed, and no size that it declares is believed before its bytes are seen to be there.
"""

import math
import zipfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ssast.errors import UserError
from ssast.model.pickles import Made, Named, Outside, Refused, read_pickle

ITEM_BYTES = {
    "torch.DoubleStorage": 8, "torch.FloatStorage": 4, "torch.HalfStorage": 2, "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8, "torch.IntStorage": 4, "torch.ShortStorage": 2, "torch.CharStorage": 1,
    "torch.ByteStorage": 1, "torch.BoolStorage": 1,
}  # fmt: skip
TENSOR, PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
NAMES = {TENSOR, PARAMETER, "collections.OrderedDict", *ITEM_BYTES}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PICKLES = 5
MOST_PICKLE_BYTES = 1 << 26
ZIP = b"PK\x03\x04"
DEEPEST, MOST_LISTED = 6, 20_000


class _DoubtfulError(ValueError):
    """The file declares what is not in it."""


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Named tensors of a torch file, `module.` taken off their names; UserError where it holds anything else."""
    try:
        inspect(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Refused as error:
        raise UserError(
            f"{file} holds more than tensors ({error}) and could run code when opened, so it was not; "
            "give a file of tensors only, saved with torch.save(model.state_dict(), ...)."
        ) from error
    except Exception as error:  # torch, pickle and zip each have their own
        raise _unreadable(file, error) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"{file} holds {_describe(content)}, not a state dict of named tensors; "
            "give a file saved with torch.save(model.state_dict(), ...)."
        )
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _unreadable(file: Path, error: Exception) -> UserError:
    """The sentence for a file that is not what torch writes."""
    if isinstance(error, _DoubtfulError):
        return UserError(f"{file} {error}, so it was not opened; download it again, or ask who made it.")
    return UserError(
        f"{file} is not a checkpoint that torch can read ({_looks(file) or type(error).__name__}); "
        "download it again, or check that the path names the checkpoint itself."
    )


def _looks(file: Path) -> str:
    """What a file is by its first bytes, as far as that helps; empty otherwise."""
    try:
        with open(file, "rb") as opened:
            start = opened.read(512)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
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
        return f"a dictionary with {', '.join(str(key) for key in list(content)[:3]) or 'nothing'}"
    return f"a {type(content).__name__}"


def outline(file: Path) -> dict[str, tuple[int, ...] | str]:
    """What a torch file of any kind lists: the shape of every tensor and the rest in words, by names joined with dots.

    Nothing of it is imported, called or built, whatever it asks for. UserError where it is no whole file of torch's.
    """
    try:
        with open(file, "rb") as opened:
            content = _listed(opened, file.stat().st_size, _Anything())
    except Exception as error:  # as in load_tensors
        raise _unreadable(file, error) from error
    found: dict[str, tuple[int, ...] | str] = {}
    _list(content, "", found, 0)
    return found


class _Anything:
    """Every name is in it: for readers that only look."""

    def __contains__(self, name: object) -> bool:
        return True


def _list(content: object, name: str, found: dict[str, tuple[int, ...] | str], depth: int) -> None:
    items = content.items if isinstance(content, Made) and content.items else content
    if isinstance(items, dict) and items and depth < DEEPEST and len(found) < MOST_LISTED:
        for key, value in items.items():
            _list(value, f"{name}.{key}" if name else str(key), found, depth + 1)
    elif isinstance(content, Made):
        inner = content.arguments[0] if content.name == PARAMETER and content.arguments else content
        shape = inner.arguments[2:3] if isinstance(inner, Made) and inner.name == TENSOR else ()
        sizes = shape[0] if shape and isinstance(shape[0], tuple) else None
        found[name] = sizes if sizes is not None else content.name
    elif isinstance(content, list | tuple | dict):
        found[name] = f"a {type(content).__name__} of {len(content)}"
    else:
        found[name] = str(content)[:80]


def inspect(file: Path) -> None:
    """Raise a ValueError, an error of zip's or `Refused` unless all it names is harmless and all it declares there."""
    with open(file, "rb") as opened:
        _listed(opened, file.stat().st_size, NAMES)


def _listed(file: IO[bytes], size: int, names: Container[str]) -> object:
    """The notes of what the file holds, the bytes of its tensors seen to be there."""
    is_zip = file.read(4) == ZIP
    file.seek(0)
    return _inspect_zip(file, size, names) if is_zip else _inspect_legacy(file, size, names)


def _inspect_zip(file: IO[bytes], size: int, names: Container[str]) -> object:
    with zipfile.ZipFile(file) as archive:
        parts = {part.filename: part for part in archive.infolist()}
        if len(parts) != len(archive.infolist()):
            raise _DoubtfulError("holds two parts of one name")
        # torch stores its parts as they are; a packed one can grow a thousandfold when it is opened.
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.values()):
            raise _DoubtfulError("holds packed parts, which torch.save never writes")
        if sum(part.file_size for part in parts.values()) > size:
            raise _DoubtfulError("declares more bytes than it has")
        pickles = [name for name in parts if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1 or parts[pickles[0]].file_size > MOST_PICKLE_BYTES:
            raise _DoubtfulError(f"holds {len(pickles)} lists of tensors, and torch.save writes one of moderate size")
        folder = pickles[0].removesuffix("data.pkl")
        with archive.open(pickles[0]) as pickle:
            found = read_pickle(pickle, names)
    for key, declared in _storages(found).items():
        part = parts.get(f"{folder}data/{key}")
        if part is None or part.file_size != declared:
            there = 0 if part is None else part.file_size
            raise _DoubtfulError(f"declares {declared} bytes for a tensor and has {there}")
    return found


def _inspect_legacy(file: IO[bytes], size: int, names: Container[str]) -> object:
    """As torch wrote before 1.6: five pickles, the fourth with the tensors, then their bytes."""
    values = []
    for _ in range(LEGACY_PICKLES):
        values.append(read_pickle(file, names))
        if values[0] != LEGACY_MAGIC:
            raise ValueError("no torch file")
    declared = sum(_storages(values[3]).values())
    if declared > size - file.tell():
        raise _DoubtfulError(f"declares {declared} bytes for its tensors and has {size - file.tell()}")
    return values[3]


def _storages(content: object) -> dict[str, int]:
    """The declared bytes of every storage by its key; each tensor is seen to lie inside its own."""
    found: dict[str, int] = {}
    for tensor in _tensors(content, set()):
        storage, offset, size, stride = tensor.arguments[:4]
        kind, key, count = _storage(storage)
        whole = [offset, count, *size, *stride]
        if not all(isinstance(number, int) and number >= 0 for number in whole) or len(size) != len(stride):
            raise _DoubtfulError("declares a tensor of no possible shape")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if math.prod(size) > count or (math.prod(size) and last >= count):
            raise _DoubtfulError(f"declares a tensor of shape {tuple(size)} over {count} values")
        if found.setdefault(key, count * ITEM_BYTES[kind]) != count * ITEM_BYTES[kind]:
            raise _DoubtfulError("declares one part with two sizes")
    return found


def _storage(storage: Any) -> tuple[str, str, int]:
    """(kind, key, number of values) of what a tensor says it lies in."""
    if isinstance(storage, Outside) and isinstance(storage.address, tuple) and len(storage.address) >= 5:
        word, kind, key, _, count = storage.address[:5]
        if word == "storage" and isinstance(kind, Named) and kind.name in ITEM_BYTES and isinstance(key, str):
            return kind.name, key, count
    raise _DoubtfulError("declares a tensor without a part to lie in")


def _tensors(content: object, seen: set[int]) -> Iterator[Made]:
    """Every tensor that the notes of a pickle ask for, wherever in them; shared ones and circles are walked once."""
    if isinstance(content, str | bytes | int | float | None | Named) or id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, Made):
        if content.name == TENSOR:
            yield content
        inside: list[Any] = [content.arguments, content.state, content.items]
    elif isinstance(content, dict):
        inside = list(content.values())
    else:
        inside = list(content) if isinstance(content, list | tuple) else []
    for one in inside:
        yield from _tensors(one, seen)
