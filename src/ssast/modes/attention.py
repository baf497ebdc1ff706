"""Show what a model looked at in chosen clips: a picture and a file of values for each, and one page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ssast import redaction
from ssast.data.loader import loader
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.disk_names import apart
from ssast.data.tables.splits import check_targets, label_values, some
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.explain.occlusion import SHARES
from ssast.model.pretraining import SSASTForPreTraining
from ssast.options.options import Options
from ssast.pages.attention_page import attention_page
from ssast.pages.clip_figure import can_draw, clip_figure
from ssast.pages.html import write_page
from ssast.pages.maps import BY_LABEL, ClipGroup, attention_summary, bin_hz, frame_seconds
from ssast.pages.tables import counted
from ssast.runs.audio_settings import Settings, model_settings
from ssast.runs.batches import loading, prepare
from ssast.runs.context import RunContext, say
from ssast.runs.explaining.clips import Chosen, chosen
from ssast.runs.explaining.explainer import ClipExplainer, Explanation, Finetuned, Pretrained
from ssast.runs.models import finetuned_model
from ssast.runs.output.folder import fingerprint, nothing_half_written, open_folder
from ssast.runs.output.lock import alone
from ssast.runs.output.notes import note_recordings
from ssast.runs.output.uploads import uploaded
from ssast.runs.paths import local_model, model_source

_MOST_LABELS = 10
_Model = SSASTForAudioClassification | SSASTForPreTraining


@alone("attention")
@uploaded("attention")
@nothing_half_written
def attention(options: Options | None = None, /, **overrides: Any) -> Path:
    """Show what a model looks at in chosen clips; the folder `attention` with a page, pictures and values.

    A fine-tuned model gets relevance, input x gradient, occlusion, rollout and raw attention, each tested by removal;
    a pretrained one rollout, raw attention and its guesses at hidden patches. Takes the command line's options by name.
    """
    context = RunContext.of(options, "attention", overrides)
    options = context.options
    model = _model(options)
    settings = model_settings(options, model.frontend)
    clips = chosen(options, settings)
    files = fingerprint(model_source(options, _address(options)), *clips.used)
    root = open_folder(options, clips={"attention": len(clips.frame)}, files=files, trains=False)
    folder = root / "attention"
    folder.mkdir(exist_ok=True)
    draws = can_draw()
    if not draws:
        say("no PNG pictures: they need matplotlib, pip install 'ssast[report]'; the page and the values need none")
    stems = _stems(clips.names.values())
    model.eval().to(context.accelerator.device)
    look = _looker(context, model, clips, settings)
    found = []
    bar = tqdm(_batches(context, clips, settings), "attention", len(clips.frame), unit="clip", dynamic_ncols=True)
    for batch in bar:
        found.append(look(batch))
        _write_clip(folder / stems[found[-1].clip.uid], found[-1], draws=draws)
    _write_tables(folder, found, look)
    write_page(folder / "attention.html", _page(options, look, found, {**clips.told, **settings}))
    note_recordings(context, root, clips.frame.index)
    say(
        f"{counted(len(found), 'clip')} in {folder / 'attention.html'}, which opens in any browser and needs no network"
    )
    return folder


def _model(options: Options) -> _Model:
    if options.finetuned_mdl_path:
        return finetuned_model(options)
    given = {name: getattr(options, name) for name in ("num_mel_bins", "target_length") if name in options.given}
    with local_model(options, _address(options)) as path:
        return SSASTForPreTraining.from_published(path, **given)


def _address(options: Options) -> str:
    address = options.finetuned_mdl_path or options.pretrained_mdl_path
    if not address:
        raise UserError("attention needs a model; give --finetuned_mdl_path, or --pretrained_mdl_path.")
    return address


def _batches(context: RunContext, clips: Chosen, settings: Settings) -> Iterator[dict[str, Any]]:
    """One prepared clip after the other, under its output's name; those that cannot be used are noted."""
    options = context.options
    made = prepare(options, settings, context.accelerator.device, augment=False)
    for batch in loader(clips.data, batch_size=1, **loading(context)):
        if batch["uid"]:
            uid = batch["uid"][0]
            yield {**made(batch), "sample_rate": settings["sample_rate"], "name": clips.names[uid]}


def _looker(context: RunContext, model: _Model, clips: Chosen, settings: Settings) -> ClipExplainer:
    seed = context.options.seed
    if isinstance(model, SSASTForPreTraining):
        return Pretrained(model, seed)
    labels = model.labels or []
    explained = list(range(model.num_labels))
    if len(explained) > _MOST_LABELS:
        best = [
            model.predict_scores(batch["fbank"], batch["frames"])[0] for batch in _batches(context, clips, settings)
        ]
        explained = sorted(torch.stack(best).amax(dim=0).topk(_MOST_LABELS).indices.tolist())
        say(f"{_MOST_LABELS} of {model.num_labels} labels are explained, those with the highest scores in these clips")
    known = [label for label in labels if label in clips.frame.columns]
    check_targets(clips.frame, known, model.config["loss"])
    _say_lacking(labels, known)
    table = pd.DataFrame(label_values(clips.frame, known), index=clips.frame.index, columns=known)
    told = table.reindex(columns=labels)
    return Finetuned(model, seed, explained, lambda uid: dict(enumerate(told.loc[uid].to_numpy())))


def _say_lacking(labels: Sequence[str], known: Sequence[str]) -> None:
    """Of labels that a csv knows in part, those that it lacks."""
    lacking = [label for label in labels if label not in known]
    if known and lacking:
        say(f"the csv has no column {some(lacking)}, so the page cannot show the true answers of these labels")


def _stems(names: Iterable[str]) -> Mapping[str, str]:
    """What the files of each clip are called, by its name as it may be shown."""
    shown = [redaction.shown_name("uid", name) for name in names]
    stems = dict(zip(shown, apart(shown), strict=True))
    if others := [f"{name} as {stem}" for name, stem in stems.items() if name != stem]:
        say(
            f"the files of {counted(len(others), 'clip')} are not called as the clip, since disks may take two names "
            f"that differ in capital letters for one, and Windows refuses some: {some(others)}"
        )
    return stems


def _groups(look: ClipExplainer, found: Sequence[Explanation]) -> list[tuple[ClipGroup, ClipGroup]]:
    """For each label the mean of the clips that have it and of those that have not; of numbers, by their median."""
    pairs = []
    for label in look.explained:
        by_clip = [(one, one.clip.targets.get(label, np.nan)) for one in found]
        known = [(one, value) for one, value in by_clip if not np.isnan(value)]
        is_number = look.model.config["loss"] == "MSE"
        cut = float(np.median([value for _, value in known])) if is_number and known else 0.5
        sides = [one for one, value in known if value >= cut], [one for one, value in known if value < cut]
        if all(sides):
            words = (f"at least {cut:g}", f"below {cut:g}") if is_number else ("csv says yes", "csv says no")
            first, second = (
                _mean(look, label, f"{look.labels[label]}: {word}", side)
                for word, side in zip(words, sides, strict=True)
            )
            pairs.append((first, second))
    return pairs


def _mean(look: ClipExplainer, label: int, title: str, found: Sequence[Explanation]) -> ClipGroup:
    """The group's mean, as long as its longest clip; each clip's relevance counts as 1 in all, padding left out."""
    frames, bins = max(one.clip.frames for one in found), found[0].clip.picture.shape[1]
    pictures, shares, count_T1 = np.zeros((frames, bins)), np.zeros((frames, bins)), np.zeros((frames, 1))
    for one in found:
        own = one.clip.frames
        relevance = one.relevance[label][:own]
        pictures[:own] += one.clip.picture[:own]
        shares[:own] += relevance / max(float(relevance.sum()), 1e-12) / len(found)
        count_T1[:own] += 1
    return ClipGroup(title, len(found), pictures / np.maximum(count_T1, 1), look.grid(shares))


def _write_clip(path: Path, found: Explanation, *, draws: bool) -> None:
    """Write `path` with .png and with .npz behind it, each moved into place whole."""
    clip = found.clip
    if draws:
        with atomic_file(f"{path}.png") as beside:
            Path(beside).write_bytes(clip_figure(clip, found.panels))
    frames, bins = clip.picture.shape
    axes = {"hz_edges": bin_hz(clip.sample_rate, bins), "seconds_edges": frame_seconds(frames)}
    values: dict[str, Any] = {"own_frames": np.array(clip.frames), **axes, **found.values}
    with atomic_file(f"{path}.npz") as beside, open(beside, "wb") as file:
        np.savez_compressed(file, **values)


def _write_tables(folder: Path, found: Sequence[Explanation], look: ClipExplainer) -> None:
    """faithfulness.csv: how far each tested map of each clip moves each label's logit, beside chance."""
    if not look.explained:
        return
    lines = [
        {"uid": one.clip.uid, "map": key, "label": look.labels[label], "removed": share}
        | {"drop": drops[at], "random_drop": one.clip.random[label][at]}
        for one in found
        for key, by_label in one.clip.drops.items()
        for label, drops in by_label.items()
        for at, share in enumerate(SHARES)
    ]
    table = pd.DataFrame(lines)
    method = table["map"].str.split("/").str[0]
    table["map"] = table["map"].where(~method.isin(BY_LABEL), method)
    with atomic_file(folder / "faithfulness.csv") as beside:
        table.to_csv(beside, index=False)
    for one in attention_summary([each.clip for each in found], SHARES, look.blocks):
        if one["method"] == "relevance":
            wins = f"{one['beats_random']:.0%} of clips"
            say(f"relevance: removing its top {one['share']:.0%} moves the highest label more than chance in {wins}")


def _page(options: Options, look: ClipExplainer, found: Sequence[Explanation], told: Settings) -> str:
    sizes = {name: look.model.config[name] for name in ("model_size", "fshape", "tshape")}
    facts = {"model": _address(options), "seed": options.seed, **sizes, **told}
    return attention_page(
        [one.clip for one in found],
        title="What the model looks at",
        labels=look.labels,
        explained=look.explained,
        layers=look.blocks,
        heads=look.encoder.heads,
        shares=SHARES,
        groups=_groups(look, found) if look.explained else (),
        facts=[(name, str(value)) for name, value in facts.items()],
    )
