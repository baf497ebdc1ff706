"""A YAML file of options in, a plain dictionary out, and back; what the keys mean is decided in `options.py`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssast.errors import UserError


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and values of a YAML file, local or at an address such as gs://bucket/run.yaml; an empty file has none.

    Raises UserError where the file is missing, is not YAML or holds something else than `key: value` lines.
    """
    import yaml

    text = _read_text(os.fspath(path))
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UserError(f"{path} is not YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected lines of `option: value`")
    return {str(key): value for key, value in content.items()}


def write_mapping(path: str | os.PathLike[str], comment: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the sections one after the other, each under its title as a comment, whole or not at all."""
    import yaml

    parts = [f"# {comment}\n"]
    for title, values in sections.items():
        body = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120)
        parts.append(f"\n# {title}\n{body}")
    place = Path(path)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.write_text("".join(parts), encoding="utf-8")
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _read_text(path: str) -> str:
    try:
        if "://" in path:
            from ssast.data.storage import Location

            with Location(path).open("rb") as file:
                return file.read().decode("utf-8")
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"--config {path} does not exist; expected a YAML file such as a run folder's run.yaml"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"--config {path} is not text, expected a YAML file") from None
    except OSError as error:
        raise UserError(f"--config {path} cannot be read ({error.strerror or error}), expected a YAML file") from None
