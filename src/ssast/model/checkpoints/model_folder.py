"""Save a model as its own folder (config.json, model.safetensors), complete or not at all, and load it again."""

import contextlib
import inspect
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssast.errors import UserError, lacks_means
from ssast.model.checkpoints.checkpoint import Checkpoint, check_header, load_exactly, looks_like_hub_name
from ssast.model.checkpoints.config_entries import USUAL, check_entries
from ssast.model.checkpoints.model_card import _RECORD, ADDRESS, CARD, model_card
from ssast.model.finite import check_weights, in_float32
from ssast.safe_reading import brief, json_file, text_of

CONFIG, WEIGHTS = "config.json", "model.safetensors"
THRESHOLDS = "thresholds.json"
PLAIN_BASELINE, DEVELOPMENT = "plain_baseline.json", "development.json"
_BESIDE = (THRESHOLDS, CARD)
"""Text files that travel with a model."""
_FROM_ENCODER = {
    "SSASTForPreTraining": "SSASTForPreTraining.from_published",
    "SSASTForAudioClassification": "`ssast finetune --pretrained_mdl_path` "
    "(in Python SSASTForAudioClassification.from_published)",
}
_KINDS = {"SSASTForPreTraining": "pretrained", "SSASTForAudioClassification": "fine-tuned"}


def read_folder(folder: str | os.PathLike) -> Checkpoint:
    """Config and weights of a folder that `save_pretrained` wrote; UserError for any other folder."""
    path = Path(folder)
    # os.path answers False, where Path raises, for what this user may not look at.
    if not os.path.isdir(path):
        what = "is a file, not a folder" if os.path.exists(path) else "does not exist"
        raise UserError(
            f"{path} {what}; give a folder that holds {CONFIG} and {WEIGHTS}, as save_pretrained writes it.", path=path
        )
    lacking = [name for name in (CONFIG, WEIGHTS) if not os.path.isfile(path / name)]
    if lacking:
        raise UserError(f"{path} has no {' and no '.join(lacking)}; give {_instead_of(path)}.", path=path)
    there = [name for name in _BESIDE if os.path.lexists(path / name)]
    for name in there:
        _stay_inside(path, path / name)
    beside = {name: _read_text(path / name) for name in there}
    return _read_files(path / CONFIG, path / WEIGHTS, str(path), beside=beside, home=path)


def _instead_of(path: Path) -> str:
    """A suggestion for a folder that is no model: a model inside it, as runs with folds or seeds leave them."""
    below = sorted(place.parent for place in path.glob(f"*/{CONFIG}"))
    return f"one of the models in it, such as {below[0]}" if below else "a folder that save_pretrained wrote whole"


def _stay_inside(folder: Path, file: Path) -> None:
    """UserError for a link out of the folder: what travels with a model goes wherever that is sent.

    The hub's client keeps what it fetched in `blobs`, beside its `snapshots`.
    """
    inside = os.path.realpath(folder)
    kept = os.path.join(os.path.dirname(os.path.dirname(inside)), "blobs")
    allowed = (inside, kept) if os.path.basename(os.path.dirname(inside)) == "snapshots" else (inside,)
    if os.path.dirname(os.path.realpath(file)) not in allowed:
        raise UserError(
            f"{file} is a link out of the model folder; put the file itself there, or remove it.", path=file
        )


def _read_text(path: Path) -> str:
    try:
        return text_of(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); correct it, or take it out of the folder.", path=path
        ) from error


def _read_files(config_file: Path, weights_file: Path, source: str, **beside: Any) -> Checkpoint:
    try:
        config = json_file(config_file)
    except (OSError, ValueError) as error:
        raise UserError(f"{CONFIG} of {source} cannot be read ({error}); save the model again.", path=source) from error
    if not isinstance(config, dict) or "class" not in config or "model_size" not in config:
        raise UserError(
            f"{CONFIG} of {source} is not one that ssast wrote; give a folder made by save_pretrained.", path=source
        )
    check_entries(config, source)
    config = USUAL | config
    try:
        check_header(weights_file)
        tensors = load_file(weights_file)
    except Exception as error:  # safetensors has its own exceptions besides OSError
        if lacks_means(error):
            raise
        said = f"{WEIGHTS} of {source} cannot be read ({error}); save or copy the model again."
        raise UserError(said, path=source) from error
    return Checkpoint(source, config, in_float32(tensors, source), **beside)


def read_hub(name: str, **hub: Any) -> Checkpoint:
    """Config and weights of a model on the Hugging Face hub; UserError where they cannot be had."""
    from huggingface_hub import hf_hub_download  # late, as below: most runs never ask the hub

    try:
        files = [Path(hf_hub_download(name, filename, **hub)) for filename in (CONFIG, WEIGHTS)]
        beside = {filename: _hub_text(name, filename, hub) for filename in _BESIDE}
    except Exception as error:  # the hub's client raises several families
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{name} is no local folder and could not be had from the Hugging Face hub ({reason}); "
            "check the name, the connection and your access.",
            path=name,
        ) from error
    found = {filename: text for filename, text in beside.items() if text is not None}
    return _read_files(files[0], files[1], name, beside=found)


def _hub_text(name: str, filename: str, hub: dict[str, Any]) -> str | None:
    """A text file of a model on the hub, None where it has none; without a connection that must be known already."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return _read_text(Path(hf_hub_download(name, filename, **hub)))
    except LocalEntryNotFoundError:
        where = {key: hub[key] for key in ("cache_dir", "revision") if hub.get(key) is not None}
        if isinstance(try_to_load_from_cache(name, filename, **where), str | None):
            raise
        return None
    except EntryNotFoundError:
        return None


@contextlib.contextmanager
def _built_beside(folder: Path) -> Iterator[Path]:
    """A new folder to fill; its files move to `folder` when all are there, and nothing stays behind on failure."""
    beside = folder if folder.is_dir() else folder.parent
    beside.mkdir(parents=True, exist_ok=True)
    temporary = beside / f".{folder.name}.part"
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed process left
    temporary.mkdir()
    try:
        yield temporary
        if beside == folder:
            for name in (WEIGHTS, CONFIG, *_BESIDE):
                if (temporary / name).exists():
                    os.replace(temporary / name, folder / name)
        else:
            os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_folder(
    folder: str | os.PathLike,
    config: dict[str, Any],
    state_dict: Mapping[str, Tensor],
    beside: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write config.json, model.safetensors and the texts `beside`, complete or not at all; UserError if it cannot.

    Other files there stay, also a card; thresholds that belong to the model replaced go. UserError too where the
    weights are such that nobody could load them.
    """
    path = Path(folder)
    check_weights(state_dict, f"the model for {path}")
    tensors = {key: value.detach().cpu().contiguous() for key, value in state_dict.items()}
    try:
        with _built_beside(path) as temporary:
            save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
            (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            shutil.copymode(temporary / CONFIG, temporary / WEIGHTS)  # safetensors lets only the owner read
            for name, text in beside.items():
                if name != CARD or not os.path.lexists(path / CARD):
                    (temporary / name).write_text(text, encoding="utf-8")
            if THRESHOLDS not in beside:
                (path / THRESHOLDS).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the model cannot be written to {path} ({error}); free space, or give a folder you can write to.",
            path=path,
        ) from error


class FolderMixin:
    """`save_pretrained`, `from_pretrained` and `push_to_hub` for a model that keeps its `config`.

    `beside` are the texts that came with it from a folder or the hub and go with it: thresholds.json, README.md.
    """

    config: dict[str, Any]
    beside: Mapping[str, str] = MappingProxyType({})
    _home: Path | None = None

    def save_pretrained(self, save_directory: str | os.PathLike, **hub: Any) -> str | None:
        """Write the model's own folder: config.json (class, sizes, labels, frontend), model.safetensors, and `beside`.

        Complete or not at all: the files are made beside their place and moved there; other files of the folder stay.
        With `push_to_hub=True` and a `repo_id` (default: the folder's name) it goes to the hub as well, and the
        commit's address comes back. UserError: a folder that cannot be written.
        """
        beside = {**self.beside, **self._own_card()}
        config = {"class": type(self).__name__, **self.config}
        write_folder(save_directory, config, self.state_dict(), beside)  # type: ignore[attr-defined]
        if not hub.pop("push_to_hub", False):
            return None
        repo_id = hub.pop("repo_id", None) or Path(save_directory).name
        return str(self.push_to_hub(repo_id, **hub))

    def _own_card(self) -> dict[str, str]:
        """The card that the run recorded in its folder fills; empty where it has a card already, or no run."""
        if CARD in self.beside or self._home is None or not (self._home / _RECORD).is_file():
            return {}
        return {CARD: model_card(self.config, self._home)}

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Send the model with its thresholds and its card to `repo_id` (organisation/model) on the Hugging Face hub.

        The card is README.md of the folder that the model was loaded from, or else filled from the run recorded there.
        The licence is left open. `hub` are the further options of `huggingface_hub` (private, token, branch,
        commit_message ...); the commit's address comes back. UserError where the hub takes nothing.
        """
        from huggingface_hub import PyTorchModelHubMixin

        kept = self.beside
        beside = {CARD: model_card(self.config), **kept, **self._own_card()}
        self.beside = {**beside, CARD: beside[CARD].replace(ADDRESS, repo_id)}
        try:
            return str(PyTorchModelHubMixin.push_to_hub(self, repo_id, **hub))  # type: ignore[arg-type]
        except Exception as error:  # the hub's client raises several families
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"{repo_id} could not be sent to the Hugging Face hub ({reason}); check the name, log in with "
                "`hf auth login`, and that you may write there.",
                path=repo_id,
            ) from error
        finally:
            self.beside = kept

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **changes: Any,
    ) -> Self:
        """The model of a folder that `save_pretrained` wrote, in evaluation mode and float32, on the CPU.

        A name of two plain parts whose first is no folder here (`organisation/model`) is taken from the Hugging Face
        hub, with the options of its client; anything else is local and needs no network. `changes` replace entries of
        config.json; another length or stride refits the positions. UserError: no such folder, a foreign, incomplete or
        damaged one, one of another class, an unknown entry.
        """
        name = os.fspath(pretrained_model_name_or_path)
        if not os.path.exists(name) and looks_like_hub_name(name):
            hub = {"force_download": force_download, "token": token, "cache_dir": cache_dir}
            checkpoint = read_hub(name, **hub, local_files_only=local_files_only, revision=revision)
        else:
            checkpoint = read_folder(name)
        return cls.from_checkpoint(checkpoint, **changes)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **changes: Any) -> Self:
        """The whole model of a checkpoint of this class, in evaluation mode; UserError where anything differs."""
        config = dict(checkpoint.config)
        kind = config.pop("class")
        if kind != cls.__name__:
            raise UserError(
                f"{checkpoint.source} holds a {_KINDS.get(kind, 'foreign')} model ({brief(kind)}), but a "
                f"{_KINDS[cls.__name__]} one ({cls.__name__}) was expected; give the folder of such a model, "
                f"or start from its encoder with {_FROM_ENCODER[cls.__name__]}.",
                path=checkpoint.source,
            )
        unknown = sorted(set(config | changes) - set(inspect.signature(cls).parameters))
        if unknown:
            raise UserError(
                f"{checkpoint.source} comes with settings that {cls.__name__} does not know: "
                f"{', '.join(map(brief, unknown[:5]))}; remove them, or use the version of ssast that wrote it.",
                path=checkpoint.source,
            )
        with torch.device("meta"):  # no weights are drawn that the file would replace at once
            model: Any = cls(**{**config, **changes})
        encoder_state = checkpoint.encoder_state(model.v)
        state = checkpoint.state_dict | {f"v.{key}": value for key, value in encoder_state.items()}
        load_exactly(model, state, checkpoint.source)
        model.beside, model._home = dict(checkpoint.beside), checkpoint.home
        return model.eval()
