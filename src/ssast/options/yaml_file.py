"""Read and write YAML files of options as plain dictionaries; what the keys mean is decided in `options.py`."""

import os
from collections.abc import Mapping
from typing import Any

from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.location import Location
from ssast.errors import UserError
from ssast.safe_reading import MOST_BYTES, yaml_of


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and values of a YAML file, local or at an address such as gs://bucket/run.yaml; an empty file has none.

    Raises UserError where the file is missing, is not YAML or holds something else than `key: value` lines.
    """
    text = Location(os.fspath(path)).read_text(most=MOST_BYTES)
    try:
        content = yaml_of(text)
    except ValueError as error:
        line, _, reason = str(error).partition(": ") if str(error).startswith("line ") else ("", "", str(error))
        raise UserError(
            f"{path} cannot be read as YAML{f' ({line})' if line else ''}: {reason}; correct it.", path=path
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected lines of `option: value`", path=path)
    return content


def write_mapping(path: str | os.PathLike[str], comment: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the sections one after the other, each under its title as a comment, complete or not at all."""
    import yaml

    parts = [f"# {comment}\n"]
    for title, values in sections.items():
        body = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120)
        parts.append(f"\n# {title}\n{body}")
    with atomic_file(path) as unfinished:
        unfinished.write_text("".join(parts), encoding="utf-8")
