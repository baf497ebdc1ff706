"""Fine-tune all layers on 5, 20 and 100 % of the labels, from pretrained and from random weights, by people unheard.

    python benchmarks/pretraining.py CORPUS --ways 10 --times 16 --models MODELS ...      # what to begin with
    python benchmarks/finetuning.py CORPUS --models MODELS --starts random 10_x16 --ratings CSV ... --digits DIGITS
    python benchmarks/finetuning.py CORPUS --ratings CSV ... --digits DIGITS --table

What is asked, of whom, and how an answer is scored is as in the probes (benchmarks/probes.py): female, child, fluent,
speaker, digit, on the people who chose no layer there. The labels are those of the training split, and for digits, of
which there is none, those of the other people, fold by fold. A share of the labels is a share of the people of each
class for a trait, and of the clips of each speaker or digit: at least one of each. Speakers of the training split are
told apart in training; then each clip's speaker is that of the nearest other clip among the unheard.

A start is `random` or a file WAY-SEED.safetensors (or folder) of MODELS; where it has fewer seeds than are asked for,
they come in turn. Each cell is a small file in finetuning_results/ and says what it began with and was computed by;
what was stopped begins with the first that is missing. --device cuda --processes 8 --minutes 4 as in pretraining.py;
benchmarks/packed_fbanks.py makes the corpora small enough to travel (57 and 25 MB, and 11 MB a model in bf16).
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pretraining import LENGTH, TRAITS, Questions, all_probes, device_name, fbanks, run, test_people
from probes import Probe, interval, scored_probe, stretch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn import functional as F

from ssast import SSASTForAudioClassification
from ssast.engine.hardware import Engine, engine
from ssast.engine.optimiser import TrainingSettings, optimiser, schedule

SHARES, SEEDS = (5, 20, 100), (0, 1, 2)
BATCH, LEAST_STEPS, PASSES = 16, 100, 4
"""So many clips a step; as many steps as so many passes over the labelled clips take, but at least so many."""
SETTINGS = TrainingSettings(optim="adamw", learning_rate=5e-4, scheduler="onecycle", max_lr=5e-4)
AT_ONCE = 64
RESULTS = Path(__file__).with_name("finetuning_results")
Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Lesson:
    """One task: clips to learn from and to be asked about, whose order is that of the probe's answers.

    `truth` and `people` are of `clips`, which hold what is learned from and what is asked; each fold is (rows learned
    from, rows asked about).
    """

    probe: Probe
    clips: list[Tensor]
    truth: NDArray[np.str_]
    people: NDArray[np.str_]
    folds: list[tuple[Numbers, Numbers]]

    def labelled(self, rows: Numbers, share: int, seed: int) -> Numbers:
        """These rows' labelled ones: so many percent of the people of each class, or of the clips of each."""
        units = self.people if self.probe.is_trait else np.arange(len(self.clips)).astype(str)
        rng, kept = np.random.default_rng(seed), list[str]()
        for kind in np.unique(self.truth[rows]):
            own = np.unique(units[rows][self.truth[rows] == kind])
            kept.extend(rng.permutation(own)[: max(1, round(share * len(own) / 100))])
        return rows[np.isin(units[rows], kept)]


def words(values: Any) -> NDArray[np.str_]:
    """Classes by name: a trait's 0 and 1, a digit, a person."""
    return np.asarray([str(int(one)) if isinstance(one, float) else str(one) for one in np.asarray(values).tolist()])


def lessons(given: argparse.Namespace, asked: Questions) -> dict[str, Lesson]:
    """All tasks by name, for which there are labels."""
    found = {}
    table = training_people(given)
    heard = fbanks(given.corpus, "train") if {*TRAITS, "speaker"} & {*given.probes} else []
    for clips, probes in asked.corpora:
        for name, probe in probes.items():
            if name in given.probes and (name in table or name not in (*TRAITS, "speaker")):
                found[name] = lesson(probe, clips, table, heard)
    return found


def training_people(given: argparse.Namespace) -> pd.DataFrame:
    """All clips of the training split, with `fluent` by the same bound as in the probes where ratings are given."""
    table = pd.read_csv(given.corpus / "splits" / "train.csv", dtype={"uid": str, "speaker": str})
    rated = [pd.read_csv(path, dtype={"uid": str})[["uid", "fluency"]] for path in given.ratings]
    if rated:
        table = table.drop(columns="fluency", errors="ignore").merge(pd.concat(rated), on="uid", how="left")
    bound = test_people(given.corpus, given.ratings).get("fluency", pd.Series(dtype=float)).median()
    if "fluency" in table:
        table["fluent"] = (table["fluency"] > bound).where(table["fluency"].notna()).astype(float)
    return table


def lesson(probe: Probe, clips: list[Tensor], table: pd.DataFrame, heard: list[Tensor]) -> Lesson:
    """The task of one probe: learned from the training split, or fold by fold from the other people."""
    known_N = np.ones(len(probe.people), bool) if not probe.is_trait else ~np.isnan(probe.truth)
    scored_N = known_N & ~probe.chooses()
    scored, asked = scored_probe(probe), [clips[row] for row in np.flatnonzero(scored_N)]
    if probe.name not in (*TRAITS, "speaker"):
        split = GroupKFold(len(np.unique(scored.people))).split(scored.people, groups=scored.people)
        return Lesson(scored, asked, words(scored.truth), scored.people, list(split))
    rows = np.flatnonzero(table[probe.name].notna())
    truth = np.concatenate([words(table[probe.name].iloc[rows]), words(scored.truth)])
    people = np.concatenate([table["speaker"].iloc[rows].to_numpy(dtype=str), scored.people])
    folds = [(np.arange(len(rows)), np.arange(len(rows), len(truth)))]
    return Lesson(scored, [heard[row] for row in rows] + asked, truth, people, folds)


def encoder_weights(models: Path, start: str, seed: int) -> tuple[str, dict[str, Tensor]]:
    """The encoder's weights of the model that this seed begins with, and what it is; the models come in turn."""
    names = sorted({path.name.removesuffix(".safetensors") for path in models.glob(f"{start}-[0-9]*")})
    if not names:
        raise SystemExit(f"{models} holds no {start}-SEED.safetensors; pretraining.py --models makes them.")
    name = names[seed % len(names)]
    path = models / f"{name}.safetensors"
    path = path if path.is_file() else models / name / "model.safetensors"
    with safe_open(path, "pt") as file:
        kind = file.get_slice("v.pos_embed").get_dtype()
    held = load_file(path)
    return f"{name}, {kind}", {key[2:]: value.float() for key, value in held.items() if key.startswith("v.")}


def batch_of(pieces: list[Tensor], model: SSASTForAudioClassification) -> tuple[Tensor, Tensor]:
    """Pieces as one fbank (B, T, F), as short as the longest allows, and their own frames (B,)."""
    frames = [len(piece) for piece in pieces]
    length, device = model.v.rounded(max(frames)), model.v.pos_embed.device
    fbank_BTF = torch.stack([stretch(piece, 0, length) for piece in pieces])
    return fbank_BTF.to(device), torch.tensor(frames, device=device)


def trained(
    lesson: Lesson, rows: Numbers, classes: list[str], weights: dict[str, Tensor] | None, seed: int, machine: Engine
) -> SSASTForAudioClassification:
    """A model whose layers have all learned these classes from random stretches of these clips."""
    how: dict[str, Any] = {
        "target_length": LENGTH,
        "task": "ft_avgtok",
        "freeze": False,
        "mask_padding": True,
        "seed": seed,
    }
    model = SSASTForAudioClassification(len(classes), "tiny", **how).train()
    if weights:
        model.v.load_state_dict(weights)
    model.to(machine.device)
    torch.manual_seed(seed)
    rng, optimizer, steps = np.random.default_rng(seed), optimiser(model, SETTINGS), steps_of(len(rows))
    course = schedule(optimizer, SETTINGS, steps)
    for chosen in batches(rows, steps, rng):
        clips = [lesson.clips[row] for row in chosen]
        starts = [int(rng.integers(max(1, len(clip) - LENGTH + 1))) for clip in clips]
        pieces = [clip[start : start + LENGTH] for clip, start in zip(clips, starts, strict=True)]
        truth_B = torch.tensor([classes.index(lesson.truth[row]) for row in chosen], device=machine.device)
        with machine.autocast():
            logits_BN = model(*batch_of(pieces, model))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits_BN.float(), truth_B).backward()
        optimizer.step()
        course.step()
    return model.eval()


def steps_of(clips: int) -> int:
    """How many steps are taken with so many labelled clips."""
    return max(LEAST_STEPS, -(-PASSES * clips // BATCH))


def batches(rows: Numbers, steps: int, rng: np.random.Generator) -> Iterator[Numbers]:
    """So many batches: every clip once, in random order, then again."""
    size = min(BATCH, len(rows))
    order: Numbers = rows[:0]
    for _ in range(steps):
        if len(order) < size:
            order = np.concatenate([order, rng.permutation(rows)])
        yield order[:size]
        order = order[size:]


@torch.no_grad()
def said(model: SSASTForAudioClassification, clips: list[Tensor], of_people: bool) -> NDArray[np.float32]:
    """Each clip's logits, or with `of_people` its pooled state: the mean over its windows by their own frames."""
    pieces = [(at, clip[start : start + LENGTH]) for at, clip in enumerate(clips) for start in starts_of(clip)]
    pieces.sort(key=lambda piece: len(piece[1]))
    sums: dict[int, Any] = {}
    for first in range(0, len(pieces), AT_ONCE):
        part = pieces[first : first + AT_ONCE]
        fbank_BTF, frames_B = batch_of([piece for _, piece in part], model)
        values = model.pooled_states(fbank_BTF, frames_B)[:, 0] if of_people else model(fbank_BTF, frames_B)
        for (at, piece), value in zip(part, values.float().cpu().numpy(), strict=True):
            sums[at] = sums.get(at, 0) + value * (len(piece) / len(clips[at]))
    return np.stack([sums[at] for at in range(len(clips))])


def starts_of(clip: Tensor) -> range:
    """Where a clip's windows begin; a last one of less than a tenth of a window is left out."""
    return range(0, max(1, len(clip) - LENGTH // 10), LENGTH)


@dataclass(frozen=True)
class Cell:
    """One task, a share of its labels, what is begun with, and a seed."""

    name: str
    share: int
    start: str
    seed: int

    @property
    def path(self) -> Path:
        """Where its result lies."""
        return RESULTS / f"{self.name}_{self.share}_percent_{self.start}-{self.seed}.json"

    def run(self, lesson: Lesson, models: Path, machine: Engine) -> None:
        """Train as many models as there are folds, and write what they answer."""
        began = time.process_time()
        begun, weights = ("random", None) if self.start == "random" else encoder_weights(models, self.start, self.seed)
        answers_N, labelled = np.zeros(len(lesson.probe.people)), []
        for heard, asked in lesson.folds:
            rows = lesson.labelled(heard, self.share, self.seed)
            labelled.append(len(rows))
            classes = sorted(set(lesson.truth[rows]))
            model = trained(lesson, rows, classes, weights, self.seed, machine)
            place = asked - (len(lesson.clips) - len(answers_N))
            answers_N[place] = self.answers(lesson, model, classes, asked, place)
        found = {
            "begun_with": begun,
            "device": device_name(machine),
            "labelled_clips": labelled,
            "steps": [steps_of(count) for count in labelled],
            "score": lesson.probe.score(answers_N),
            "answers": np.round(answers_N, 4).tolist(),
        }
        self.path.write_text(json.dumps(found) + "\n")
        print(f"{self.path.name}: {found['score']:.3f}, {time.process_time() - began:.0f} s of processor", flush=True)

    def answers(
        self, lesson: Lesson, model: SSASTForAudioClassification, classes: list[str], asked: Numbers, place: Numbers
    ) -> NDArray[Any]:
        """What the probe's own answers would be, from this model."""
        values_AN = said(model, [lesson.clips[row] for row in asked], lesson.probe.is_speaker)
        if lesson.probe.is_speaker:
            return replace(lesson.probe, people=lesson.probe.people[place]).answers(values_AN)
        if lesson.probe.is_trait:
            return values_AN[:, 1] - values_AN[:, 0]
        return (np.asarray(classes)[values_AN.argmax(axis=1)] == lesson.truth[asked]).astype(float)


def work(given: argparse.Namespace, next_cell: Callable[[], Cell | None], until: float) -> None:
    """Take cells until none is left, or no time to begin another; a task without labels is left out."""
    torch.set_num_threads(1 if given.processes > 1 else torch.get_num_threads())
    machine, tasks = engine(given.device), lessons(given, Questions.of(given))
    while time.time() < until and (one := next_cell()) is not None:
        if one.name in tasks:
            one.run(tasks[one.name], given.models, machine)


def results() -> dict[tuple[str, int, str], list[dict[str, Any]]]:
    """What lies there by task, share and start, one a seed."""
    found: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*-*.json")):
        name, share, _, start = path.stem.rpartition("-")[0].split("_", maxsplit=3)
        found.setdefault((name, int(share), start), []).append(json.loads(path.read_text()))
    return dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] != "random")))


def show(probes: dict[str, Probe], against: str) -> None:
    """A Markdown table: mean scores, and the 95 % interval, by people, of what lies over one of the starts."""
    print(f"| task | labels | clips with a label | begun with | seeds | score | over {against} |\n" + "|---" * 7 + "|")
    found = results()
    for (name, share, start), rows in found.items():
        clips = f"{np.mean([np.mean(row['labelled_clips']) for row in rows]):.0f}"
        score, over = f"{np.mean([row['score'] for row in rows]):.3f}", ""
        others = found.get((name, share, against), [])
        if start != against and others:
            ours, theirs = ([row["answers"] for row in several] for several in (rows, others))
            over = "{:+.3f} ({:+.3f} to {:+.3f})".format(*interval(scored_probe(probes[name]), ours, theirs))
        print(f"| {name} | {share} % | {clips} | {start} | {len(rows)} | {score} | {over} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=Path, help="pretrained models, WAY-SEED.safetensors or WAY-SEED/")
    parser.add_argument("--starts", nargs="*", default=["random", "10_x16"], metavar="WAY")
    parser.add_argument("--probes", nargs="*", default=[*TRAITS, "speaker", "digit"], metavar="TASK")
    parser.add_argument("--shares", type=int, nargs="*", default=SHARES, metavar="PERCENT")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--ratings", type=Path, nargs="*", default=[], help="tables with uid and fluency")
    parser.add_argument("--digits", type=Path, help="a second corpus, of spoken digits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="so many cells side by side; on a GPU only")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no cell after so many")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--against", default="random", metavar="WAY", help="what the table's intervals are over")
    given = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if given.table:
        show(all_probes(given), given.against)
        return
    if given.models is None and set(given.starts) != {"random"}:
        parser.error("--models, the folder of the pretrained models, is needed for every start but random")
    order = [(seed, share, name) for share in given.shares for seed in given.seeds for name in given.probes]
    several = [Cell(name, share, start, seed) for seed, share, name in order for start in given.starts]
    run(given, [one for one in several if not one.path.exists()], work)


if __name__ == "__main__":
    main()
