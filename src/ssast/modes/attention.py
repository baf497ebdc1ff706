"""Show what a model's answer rests on in chosen clips: a picture and a file of values for each, and one page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ssast import redaction
from ssast.data.batch import Batch
from ssast.data.prepare import AudioSettings
from ssast.data.storage.atomic_writes import atomic_file
from ssast.data.storage.disk_names import apart
from ssast.data.tables.ratings import Ratings, columns_of, with_raters
from ssast.errors import UserError
from ssast.model.explain.occlusion import SHARES
from ssast.model.label_kinds import LabelKinds
from ssast.model.pretraining import SSASTForPreTraining
from ssast.options.options import Options
from ssast.pages.attention_page import attention_page
from ssast.pages.html import write_page
from ssast.pages.maps import BY_LABEL, ClipGroup, attention_summary, bin_hz, can_draw, clip_figure, frame_seconds
from ssast.pages.tables import counted
from ssast.runs.batches import ClipReader
from ssast.runs.context import Paths, RunContext, say
from ssast.runs.explaining.clips import Chosen, chosen
from ssast.runs.explaining.explainer import ClipExplainer, Explanation, Finetuned, Pretrained
from ssast.runs.models import Model, ModelSettings, audio_settings, finetuned_model, model_settings
from ssast.runs.output.folder import fingerprint, open_folder
from ssast.runs.output.notes import note_recordings
from ssast.runs.wrapping.wrapper import Mode
from ssast.safe_reading import some

_MOST_LABELS = 10


@Mode
def attention(options: Options) -> Path:
    """Show what a model looks at in chosen clips; the folder `attention` with a page, pictures and values.

    A fine-tuned model gets relevance, input x gradient, occlusion, rollout and raw attention, each tested by removal;
    a pretrained one rollout, raw attention and its guesses at hidden patches. Takes the command line's options by name.
    """
    context = RunContext.of(options)
    paths = context.paths
    model, audio = _model(options, paths)
    reader = ClipReader.of(context, audio)
    clips = chosen(reader, paths, files=options.files, uids=options.uids, max_clips=options.max_clips)
    files = fingerprint(paths.model_source(_address(paths)), *clips.used)
    root = open_folder(context.record, clips={"attention": len(clips.frame)}, files=files, trains=False)
    folder = root / "attention"
    folder.mkdir(exist_ok=True)
    draws = can_draw()
    if not draws:
        say("no PNG pictures: they need matplotlib, pip install 'ssast[report]'; the page and the values need none")
    stems = _stems(clips.names.values())
    model.eval().to(context.engine.device)
    explainer = _explainer(reader, model, clips)
    found = []
    bar = tqdm(_batches(reader, clips), "attention", len(clips.frame), unit="clip", dynamic_ncols=True)
    for batch in bar:
        found.append(explainer(batch))
        _write_clip(folder / stems[found[-1].clip.uid], found[-1], draws=draws)
    _write_tables(folder, found, explainer)
    write_page(
        folder / "attention.html",
        _page(explainer, found, {"model": _address(paths), "seed": options.seed}, {**clips.told, **audio.entries()}),
    )
    note_recordings(context.record, context.skipped, root, clips.frame.index)
    say(
        f"{counted(len(found), 'clip')} in {folder / 'attention.html'}, which opens in any browser and needs no network"
    )
    return folder


def _model(options: Options, paths: Paths) -> tuple[Model, AudioSettings]:
    asked = audio_settings(options)
    model: Model
    if options.finetuned_mdl_path:
        model = finetuned_model(paths, ModelSettings.of(options), asked)
    else:
        given = {name: getattr(options, name) for name in ("num_mel_bins", "target_length") if name in options.given}
        with paths.local_model(_address(paths)) as path:
            model = SSASTForPreTraining.from_published(path, **given)
    return model, model_settings(asked, model, options.given)


def _address(paths: Paths) -> str:
    address = paths.finetuned_mdl_path or paths.pretrained_mdl_path
    if not address:
        raise UserError("attention needs a model; give --finetuned_mdl_path, or --pretrained_mdl_path.")
    return address


def _batches(reader: ClipReader, clips: Chosen) -> Iterator[Batch]:
    """One prepared clip after the other, under its output's name; those that cannot be used are noted."""
    made = reader.prepare()
    for batch in reader.load(clips.data, batch_size=1):
        if batch["uid"]:
            uid = batch["uid"][0]
            yield {**made(batch), "sample_rate": reader.audio.sample_rate, "name": clips.names[uid]}


def _explainer(reader: ClipReader, model: Model, clips: Chosen) -> ClipExplainer:
    seed = reader.seed
    if isinstance(model, SSASTForPreTraining):
        return Pretrained(model, seed)
    labels, kinds = model.labels or [], model.label_kinds
    explained = kinds.asked
    if len(explained) > _MOST_LABELS:
        best = [model.predict_scores(batch["fbank"], batch["frames"])[0] for batch in _batches(reader, clips)]
        top = torch.stack(best).amax(dim=0)[explained].topk(_MOST_LABELS).indices.tolist()
        say(f"{_MOST_LABELS} of {len(explained)} labels are explained, those with the highest scores in these clips")
        explained = sorted(explained[at] for at in top)
    answers = _answers(kinds, clips.frame) if labels else np.empty((len(clips.frame), 0))
    targets = pd.DataFrame(answers, index=clips.frame.index)
    return Finetuned(model, seed, explained, lambda uid: dict(enumerate(targets.loc[uid].to_numpy())))


def _answers(kinds: LabelKinds, frame: pd.DataFrame) -> NDArray[np.float64]:
    """What the csv says of each of the model's outputs (clips, outputs), NaN where it has no such column."""
    columns = [str(column) for column in frame.columns]
    kinds = with_raters(kinds, columns, kept=False)
    known = [label.name for label in kinds.labels if all(name in columns for name in columns_of(label))]
    answers_NW = np.full((len(frame), kinds.width), np.nan)
    answers_NW[:, kinds.columns(known)] = Ratings.of(frame, kinds.some(known)).targets()
    _say_lacking(kinds.names, known)
    return answers_NW


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


def _groups(explainer: ClipExplainer, found: Sequence[Explanation]) -> list[tuple[ClipGroup, ClipGroup]]:
    """For each label the mean of the clips that have it and of those that have not; of numbers, by their median."""
    pairs = []
    for label in explainer.explained:
        by_clip = [(one, one.clip.targets.get(label, np.nan)) for one in found]
        known = [(one, value) for one, value in by_clip if not np.isnan(value)]
        is_number = label in explainer.numbers
        cut = float(np.median([value for _, value in known])) if is_number and known else 0.5
        sides = [one for one, value in known if value >= cut], [one for one, value in known if value < cut]
        if all(sides):
            words = (f"at least {cut:g}", f"below {cut:g}") if is_number else ("csv says yes", "csv says no")
            first, second = (
                _mean(explainer, label, f"{explainer.labels[label]}: {word}", side)
                for word, side in zip(words, sides, strict=True)
            )
            pairs.append((first, second))
    return pairs


def _mean(explainer: ClipExplainer, label: int, title: str, found: Sequence[Explanation]) -> ClipGroup:
    """The group's mean, as long as its longest clip; each clip's relevance counts as 1 in all, padding left out."""
    frames, bins = max(one.clip.frames for one in found), found[0].clip.picture.shape[1]
    pictures, shares, count_T1 = np.zeros((frames, bins)), np.zeros((frames, bins)), np.zeros((frames, 1))
    for one in found:
        own = one.clip.frames
        relevance = one.relevance[label][:own]
        pictures[:own] += one.clip.picture[:own]
        shares[:own] += relevance / max(float(relevance.sum()), 1e-12) / len(found)
        count_T1[:own] += 1
    return ClipGroup(title, len(found), pictures / np.maximum(count_T1, 1), explainer.grid(shares))


def _write_clip(path: Path, found: Explanation, *, draws: bool) -> None:
    """Write `path` with .png and with .npz behind it, each moved into place whole."""
    clip = found.clip
    if draws:
        with atomic_file(f"{path}.png") as unfinished:
            Path(unfinished).write_bytes(clip_figure(clip, found.panels))
    frames, bins = clip.picture.shape
    axes = {"hz_edges": bin_hz(clip.sample_rate, bins), "seconds_edges": frame_seconds(frames)}
    values: dict[str, Any] = {"own_frames": np.array(clip.frames), **axes, **found.values}
    with atomic_file(f"{path}.npz") as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(file, **values)


def _write_tables(folder: Path, found: Sequence[Explanation], explainer: ClipExplainer) -> None:
    """faithfulness.csv: how far each tested map of each clip moves each label's logit, beside chance."""
    if not explainer.explained:
        return
    lines = [
        {"uid": one.clip.uid, "map": key, "label": explainer.labels[label], "removed": share}
        | {"drop": drops[at], "random_drop": one.clip.random[label][at]}
        for one in found
        for key, by_label in one.clip.drops.items()
        for label, drops in by_label.items()
        for at, share in enumerate(SHARES)
    ]
    table = pd.DataFrame(lines)
    method = table["map"].str.split("/").str[0]
    table["map"] = table["map"].where(~method.isin(BY_LABEL), method)
    with atomic_file(folder / "faithfulness.csv") as unfinished:
        table.to_csv(unfinished, index=False)
    for one in attention_summary([each.clip for each in found], SHARES, explainer.blocks):
        if one["method"] == "relevance":
            wins = f"{one['beats_random']:.0%} of clips"
            say(f"relevance: removing its top {one['share']:.0%} moves the highest label more than chance in {wins}")


def _page(
    explainer: ClipExplainer, found: Sequence[Explanation], made_by: Mapping[str, object], told: Mapping[str, object]
) -> str:
    sizes = {name: explainer.model.config[name] for name in ("model_size", "fshape", "tshape")}
    facts = {**made_by, **sizes, **told}
    return attention_page(
        [one.clip for one in found],
        title="What the model looks at",
        labels=explainer.labels,
        explained=explainer.explained,
        layers=explainer.blocks,
        heads=explainer.encoder.heads,
        shares=SHARES,
        groups=_groups(explainer, found) if explainer.explained else (),
        facts=[(name, str(value)) for name, value in facts.items()],
    )
