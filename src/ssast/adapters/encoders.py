"""Load the encoder of any model that can be named, as a classifier from which embeddings can be taken."""

import os
from pathlib import Path
from typing import Any

from ssast.data.storage.download import weights_file
from ssast.errors import UserError
from ssast.model.checkpoints.checkpoint import looks_like_hub_name
from ssast.model.checkpoints.detect import OWN_FINETUNED, OWN_PRETRAINED, PUBLISHED_FILE, detect
from ssast.model.checkpoints.published import PUBLISHED_ENDING, published_name, read_checkpoint
from ssast.model.classification import SSASTForAudioClassification

DEFAULT = "SSAST-Base-Frame-400"


def embedding_model(source: Any, **sizes: Any) -> SSASTForAudioClassification:
    """The model of a folder, a published file or name, or a hub name; or the model that was given. In evaluation mode.

    A pretrained one comes with a head that is never used. `sizes` such as target_length replace its own. UserError:
    nothing is there, or it must be converted first.
    """
    if isinstance(source, SSASTForAudioClassification):
        return source
    name = os.fspath(source)
    known = published_name(name)
    if known and not os.path.exists(name):
        path = Path(f"{known}{PUBLISHED_ENDING}")
        name = str(path if path.exists() else weights_file(known))
    elif not os.path.exists(name) and looks_like_hub_name(name):
        return SSASTForAudioClassification.from_pretrained(name, **sizes)
    found = detect(name)
    if found.kind == OWN_FINETUNED:
        return SSASTForAudioClassification.from_pretrained(found.path, **sizes)
    if found.kind not in (OWN_PRETRAINED, PUBLISHED_FILE):
        raise UserError(
            f"{name} is no model that gives embeddings as it is; run `ssast convert {name} OUT`, give OUT.", path=name
        )
    checkpoint = read_checkpoint(found.path)
    kept = {"target_length": checkpoint.config["target_length"], "frontend": checkpoint.config.get("frontend")}
    kept["mask_padding"] = bool(checkpoint.config.get("mask_padding"))
    return SSASTForAudioClassification.from_published(found.path, num_labels=1, seed=0, **{**kept, **sizes})


def is_pretrained(model: SSASTForAudioClassification) -> bool:
    """Whether the head is the unused one that `embedding_model` made: it names no labels and has one output."""
    return model.labels is None and model.num_labels == 1
