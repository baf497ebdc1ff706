"""Describe checkpoints of any kind: what they are, how large, what they hear, and what can be done with them."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ssast import redaction
from ssast.errors import UserError
from ssast.model.checkpoints.detect import (
    FINETUNED,
    FOREIGN,
    KIND_TITLES,
    OLDER_FILE,
    OWN_FINETUNED,
    OWN_PRETRAINED,
    PUBLISHED_FILE,
    STATE,
    Detected,
    checkpoints_in,
    detect,
)
from ssast.model.checkpoints.legacy import ARGUMENTS, lengths_for, read_sizes
from ssast.model.checkpoints.model_folder import CONFIG, WEIGHTS, read_folder
from ssast.model.checkpoints.published import read_checkpoint
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.encoder import DEPTH, NUM_STATES, SIZES
from ssast.model.finite import check_weights
from ssast.model.head import PUBLISHED_HEAD
from ssast.model.label_kinds import LabelKinds
from ssast.options.options import Options
from ssast.runs.context import Paths, say
from ssast.runs.legacy_models import remembered_arguments
from ssast.runs.output.folder import fingerprint
from ssast.runs.thresholds import read_thresholds
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import brief, some

UNKNOWN = 1
"""The exit code where nothing of it can be used here."""
FRAMES_A_SECOND = 100
MOST_NAMED = 12
DATA = "-i RECORDINGS -d SPLITS"
Facts = Iterator[tuple[str, str]]


@Mode
def inspect(options: Options) -> int:
    """Describe checkpoints and what can be done with them; returns 0 where at least one can be used, else 1."""
    address, paths = options.checkpoint or "", Paths.of(options)
    several = [address] if os.path.exists(address) else address.split(",")
    return min(_show(paths, one) for one in several)


def _show(paths: Paths, address: str) -> int:
    with paths.local_model(address) as local:
        path = Path(local)
        if path.is_dir() and not _holds_model(path):
            return _show_folder(paths, path)
        found = detect(path)
        facts = list(_facts(paths, found))
    say(address)
    for name, value in facts:
        say(f"  {name:<13}{value}")
    commands = list(_commands(found, address.removesuffix(f"/{WEIGHTS}")))
    if commands:
        say("  what can be done with it:")
        for command in commands:
            say(f"    {command}")
    return UNKNOWN if found.kind == FOREIGN else 0


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, "pytorch_model.bin"))


def _show_folder(paths: Paths, folder: Path) -> int:
    """One line for each checkpoint in a folder that is no model itself."""
    places = [*checkpoints_in(folder), *checkpoints_in(folder / "checkpoints")]
    if not places:
        raise UserError(
            f"{folder} holds no checkpoint; give a file such as x.pth, or the folder of a model.", path=folder
        )
    say(f"{folder} is no model itself; it holds")
    known = 0
    for place in places:
        try:
            found = detect(place)
            known += found.kind != FOREIGN
            text = KIND_TITLES[found.kind] + (f": {found.looks_like}" if found.looks_like else "")
        except UserError as error:
            redaction.know(error.names)
            text = f"cannot be read: {str(error).removeprefix(f'{place} ')}"
        say(f"  {place.relative_to(folder)}: {text}")
    return 0 if known else UNKNOWN


def _facts(paths: Paths, found: Detected) -> Facts:
    looks = f", but looks like {found.looks_like}" if found.looks_like else ""
    yield "kind", KIND_TITLES[found.kind] + looks
    if found.kind == FOREIGN:
        yield from _listed(found)
    elif found.kind == STATE:
        yield from _state(found)
    else:
        yield from _model(found)
    size = found.weights.stat().st_size
    yield "size", f"{size / 1e6:.1f} MB in {found.weights.name}"
    yield "SHA-256", next(iter(fingerprint(paths.at(str(found.weights))).values()))


def _listed(found: Detected) -> Facts:
    """What there is in a file that is none of ours."""
    tensors = found.shapes
    yield "tensors", f"{len(tensors)}"
    shown = [f"{brief(name)} {shape}" for name, shape in list(tensors.items())[:4]]
    if shown:
        yield "the first", ", ".join(shown)
    rest = [f"{brief(name)} ({value})" for name, value in found.listing.items() if isinstance(value, str)]
    if rest:
        yield "besides", ", ".join(rest[:4]) + (" and others" if len(rest) > 4 else "")


def _state(found: Detected) -> Facts:
    progress = {name: brief(found.listing.get(f"progress.{name}", "?"), 20) for name in ("epoch", "step", "best_epoch")}
    best = str(int(progress["best_epoch"]) + 1) if progress["best_epoch"].isdecimal() else "none yet"
    yield "stands at", f"{progress['epoch']} whole epochs, step {progress['step']}; best epoch: {best}"
    yield "trains", f"{sum(name.startswith('model.') for name in found.shapes)} tensors of the model"


def _model(found: Detected) -> Facts:
    config, count = _config(found)
    size = SIZES[config["model_size"]]
    yield (
        "model",
        (
            f"{config['model_size']}: {DEPTH} blocks of width {size.width}, {size.heads} heads, {size.prefix} class "
            f"token{'s' if size.prefix > 1 else ''}; {count:,} parameters"
        ),
    )
    yield from _extent(config, found)
    if found.kind in (OWN_FINETUNED, OLDER_FILE, FINETUNED):
        yield from _head(config, found)
    yield "precision", ", ".join(sorted(_precisions(found)))
    if config.get("frontend"):
        yield "heard as", ", ".join(f"{name} {value}" for name, value in config["frontend"].items())


def _config(found: Detected) -> tuple[dict[str, Any], int]:
    """What is known of the model, and how many parameters it has."""
    if found.kind in (OLDER_FILE, FINETUNED):
        tensors, sizes = read_sizes(found.path)
        record = found.path.parent / ARGUMENTS
        kept = remembered_arguments(record) if record.is_file() else {}
        sizes |= {"labels": kept.pop("labels", None), "patches": tensors["v.pos_embed"].shape[1]}
        names = ("task", "layer", "weighted", "target_length", "fstride", "tstride", "num_mel_bins", "loss")
        kept = {name: kept[name] for name in names if name in kept}
        return {**sizes, **kept}, sum(value.numel() for value in tensors.values())
    checkpoint = read_checkpoint(found.path) if found.kind == PUBLISHED_FILE else read_folder(found.path)
    return checkpoint.config, sum(value.numel() for value in checkpoint.state_dict.values())


def _extent(config: dict[str, Any], found: Detected) -> Facts:
    """Patches, and the length that they cover."""
    shape = (config["fshape"], config["tshape"])
    steps = tuple(config.get(name) or own for name, own in zip(("fstride", "tstride"), shape, strict=True))
    known = "target_length" in config
    step = f", a step of {steps[0]} x {steps[1]}" if known else ""
    yield "patches", f"{shape[0]} mel bins x {shape[1]} frames{step}"
    if known:
        frames = int(config["target_length"])
        yield "length", f"{frames} frames, {frames / FRAMES_A_SECOND:.2f} seconds"
        return
    patches = config["patches"] - SIZES[config["model_size"]].prefix
    fitting = [
        f"{one['target_length']} frames ({one['target_length'] / FRAMES_A_SECOND:.2f} seconds) with a step of "
        f"{one['fstride']} x {one['tstride']}"
        for one in lengths_for(patches, *shape)
    ]
    yield "length", f"not in the file; its {patches} patches fit {', or '.join(fitting) or 'no usual setting'}"


def _head(config: dict[str, Any], found: Detected) -> Facts:
    """What a fine-tuned model answers, and from what."""
    labels = config.get("labels")
    more = ", ..." if labels and len(labels) > MOST_NAMED else ""
    shown = f": {', '.join(map(brief, labels[:MOST_NAMED]))}{more}" if labels else ", without names"
    yield "labels", f"{config['num_labels']}{shown}"
    for label in LabelKinds.of_entries(config.get("loss", "BCE"), labels or [], config.get("kinds")).labels[
        :MOST_NAMED
    ]:
        if label.has_levels:
            cut = f", present from {label.cut:g}" if label.is_cut else ""
            yield "levels", f"{brief(label.name)}: {label.kind}, {some(label.shown_levels, 12)}{cut}"
    if "task" in config:
        layer = config.get("layer", -1)
        state = "the last state" if layer in (-1, NUM_STATES - 1) else f"state {layer}"
        of = "the learned sum of states 0 to 12" if config.get("weighted") else state
        yield "pooled", f"{config['task']}, {of}; loss {config.get('loss', 'BCE')}"
    elif found.kind == OLDER_FILE:
        yield "pooled", f"not in the file, and there is no {ARGUMENTS} beside it"
    else:
        yield "pooled", "not in the file: ft_avgtok or ft_cls, of the last state"
    yield "head", "LayerNorm, output layer" if config.get("head") == PUBLISHED_HEAD else "dense layer, output layer"
    thresholds = read_thresholds(found.path if found.path.is_dir() else found.path.parent)
    if thresholds:
        own = [f"{brief(label)} {value:.3g}" for label, value in thresholds.items()]
        yield "thresholds", ", ".join(own[:MOST_NAMED])


def _precisions(found: Detected) -> set[str]:
    if found.weights.suffix == ".safetensors":
        with safe_open(found.weights, framework="pt") as opened:
            found_here = {str(opened.get_slice(name).get_dtype()) for name in opened.keys()}  # noqa: SIM118 - no dict
        return {re.sub(r"^F(?=\d)", "float", name).replace("BF16", "bfloat16") for name in found_here}
    tensors = load_tensors(found.weights)
    check_weights(tensors, str(found.path))
    return {str(value.dtype).removeprefix("torch.") for value in tensors.values() if value.is_floating_point()}


def _commands(found: Detected, address: str) -> Iterator[str]:
    """What to type, for each mode that takes it."""
    path = shlex.quote(address)
    if found.kind == STATE:
        run = found.path.parent.parent / "run.yaml"
        yield f"ssast finetune --config {shlex.quote(str(run))}    (or pretrain: goes on with the run)"
    elif found.kind in (PUBLISHED_FILE, OWN_PRETRAINED):
        wanted = f"--pretrained_mdl_path {path} {DATA}"
        yield f"ssast finetune {wanted} -l labels.txt -o OUT"
        yield f"ssast pretrain {wanted} -o OUT"
        yield f"ssast extract {wanted} --embedding_type pt -o OUT"
        yield f"ssast attention {wanted} -o OUT"
    elif found.kind in (OLDER_FILE, FINETUNED, OWN_FINETUNED):
        wanted = f"--finetuned_mdl_path {path} {DATA}"
        has_no_ft = found.kind == FINETUNED or found.config.get("head") == PUBLISHED_HEAD
        kind = " --embedding_type pt" if has_no_ft else ""
        yield f"ssast evaluate {wanted} -l labels.txt -o OUT"
        yield f"ssast extract {wanted}{kind} -o OUT"
        yield f"ssast attention {wanted} -o OUT"
        yield f"ssast predict {path} FILES"
    if found.kind not in (STATE, FOREIGN):
        yield f"ssast export {path} OUT    (as ONNX, or --format ast)"
    if found.kind in (PUBLISHED_FILE, OLDER_FILE, FINETUNED):
        yield f"ssast convert {path} OUT    (a folder that knows its own settings)"
