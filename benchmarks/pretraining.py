"""Pretrain tiny models by several ways for equal processor time, and probe them on people whom none has heard.

    python benchmarks/corpora.py speechocean762 CLONE CORPUS; python benchmarks/corpora.py digits CLONE DIGITS
    python benchmarks/pretraining.py CORPUS --calibrate 600      # once: the steps of so many seconds, for each way
    python benchmarks/pretraining.py CORPUS --ratings CSV ... --digits DIGITS    # what has no result yet
    python benchmarks/pretraining.py CORPUS --ratings CSV ... --digits DIGITS --table

A way is `published` (two passes and the published code's initial weights) or the depth at which hidden patches enter
(--mask_layer), joint, or of one objective alone (`10 mpc`), or depth 10 with one thing changed (TRIALS). The steps are
written down in pretraining_results/steps.json and repeated, so a result depends on no machine's load; each way and seed
is a small file beside it, and what was stopped begins with the first that is missing or was made with other steps.
--times takes so many times the steps, --steps the same number of all. --begin_with FOLDER goes on from a model that was
kept, and --unprobed keeps models without asking them anything, so that a corpus without test people serves too:

    python benchmarks/corpora.py mboshi CLONE MBOSHI
    python benchmarks/pretraining.py MBOSHI --ways 10 --times 4 --seeds 0 --unprobed --models MODELS/mboshi
    python benchmarks/pretraining.py CORPUS ... --ways 10 --times 4 --seeds 0 --begin_with MODELS/mboshi/10_x4-0

Random weights (0 steps) and the mean and
deviation of the fbank stand beside. A GPU takes the steps of the two cores in seconds, several cells side by side
(--device cuda --processes 8 --minutes 4); each result says by which device it was made. eGeMAPS stands beside them
where benchmarks/egemaps.py was run; --against egemaps has the table's intervals say what lies over that.

Probes (benchmarks/probes.py), on the test people: female, child and (with --ratings) fluent, speaker, and (with
--digits) which digit is spoken, by people of another corpus.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from objectives import Objective
from probes import Probe, fbank_statistics, interval, probe, probes_of, scored_probe, states, stretch
from published import our_step, published_step
from safetensors.torch import load_file
from starts import STARTS
from torch import Tensor

from ssast import AudioDataset, Frontend, SSASTForPreTraining
from ssast.data.tables.splits import read_split
from ssast.engine.hardware import Engine, engine
from ssast.engine.optimiser import TrainingSettings, optimiser

LENGTH, BATCH = 204, 32
PATCHES = LENGTH // 2


@dataclass(frozen=True)
class Way:
    """How a model is trained: a depth and an objective, and what a trial changes of the rest.

    `hidden` of 102 patches are hidden, in runs of `run_length` patches. The learning rate is constant, or it rises over
    a tenth of the steps and falls as a cosine (`course`). Stretches are random, or the start. `scaled` brings the fbank
    of this corpus to mean 0 and deviation 0.5. `start` says from which weights (benchmarks/starts.py), and `changed`
    what is other in the joint loss (benchmarks/objectives.py).
    """

    depth: int = 10
    objective: str = "joint"
    is_published: bool = False
    size: str = "tiny"
    hidden: int = 76
    run_length: int = 1
    rate: float = 5e-4
    course: str = "constant"
    optim: str = "adamw"
    batch: int = BATCH
    crop: str = "random"
    scaled: bool = False
    start: str = "ours"
    changed: Objective | None = None


WAYS = {
    "published": Way(0, is_published=True, start="published"),
    **{str(depth): Way(depth) for depth in (0, 4, 8, 10)},
    "10 mpc": Way(objective="mpc"),
    "10 mpg": Way(objective="mpg"),
}
TRIALS = {
    "10 cosine": Way(rate=1e-3, course="cosine"),
    "10 rate 1e-3": Way(rate=1e-3),
    "10 hides 50 %": Way(hidden=51),
    "10 hides 60 %": Way(hidden=61),
    "10 hides 90 %": Way(hidden=92),
    "10 runs of 3": Way(run_length=3),
    "10 runs of 6": Way(run_length=6),
    "10 start": Way(crop="start"),
    "10 scaled": Way(scaled=True),
    "10 batch of 128": Way(batch=4 * BATCH),
    "10 muon": Way(rate=1e-3, course="cosine", optim="muon"),
    "10 muon 3e-3": Way(rate=3e-3, course="cosine", optim="muon"),
    "0 muon 3e-3": Way(0, rate=3e-3, course="cosine", optim="muon"),
    "10 temperature 0.25": Way(changed=Objective(temperature=0.25)),
    "10 temperature 4": Way(changed=Objective(temperature=4.0)),
    "10 negatives of 4 clips": Way(changed=Objective(clips=4)),
    "10 gain and noise": Way(changed=Objective(is_altered=True)),
    "0 low positions": Way(0, start="positions x 0.3"),
    "0 high positions": Way(0, start="high positions in a sixteenth"),
    "0 high positions small outputs": Way(0, start="small outputs, high positions in a sixteenth"),
    "0 published start": Way(0, start="published"),
    "base 0": Way(0, size="base", rate=2e-4),
    "base 10": Way(size="base", rate=2e-4),
}
UNTRAINED = {
    "random": Way(),
    "published random": Way(0, is_published=True, start="published"),
    "base random": Way(size="base"),
    "published positions": Way(start="published positions"),
    "high positions": Way(start="high positions in a sixteenth"),
}
KNOWN = {**WAYS, **TRIALS, **UNTRAINED}
SEEDS = (0, 1, 2)
RESULTS = Path(__file__).with_name("pretraining_results")
SPLITS = ("train", "test")
TRAITS, KINDS = ("female", "child", "fluent"), ("digit",)
CLIPS_A_PERSON = 8
LOOKED_AT = 512
"""So many stretches of unheard people is the pretext task judged on."""
LOOKS = (0.1, 0.25, 0.5, 1.0)
"""Shares of the steps after which it is."""
TIMED = 6
"""Steps that calibration takes of each way, in turn."""


def fbanks(root: Path, split: str) -> list[Tensor]:
    """The normalised fbank (T, F) of every clip of a split, read once and kept beside the corpus."""
    kept = root / f"{split}.fbanks.pt"
    if not kept.exists():
        frontend = Frontend(target_length=LENGTH)
        frame = read_split(root / "splits" / f"{split}.csv")
        data = AudioDataset(frame, None, {"target_length": LENGTH}, str(root / "audio"), with_fbank=False)
        clips = (data[index]["waveform"][:1] for index in range(len(data)))
        torch.save([frontend.normalise(frontend.fbank(clip))[0].half() for clip in clips], kept)
    return torch.load(kept)


def stretches(clips: list[Tensor], seed: int, batch: int = BATCH, crop: str = "random") -> Iterator[Tensor]:
    """Batches of random stretches, or of the starts, of random clips, without end."""
    rng = np.random.default_rng(seed)
    while True:
        chosen = rng.integers(len(clips), size=batch)
        last = [max(1, len(clips[index]) - LENGTH + 1) if crop == "random" else 1 for index in chosen]
        starts = [int(rng.integers(most)) for most in last]
        yield torch.stack([stretch(clips[index], start, LENGTH) for index, start in zip(chosen, starts, strict=True)])


def run_masks(model: SSASTForPreTraining, length: int, batch: int, *_: object, **__: object) -> Tensor:
    """Masks (B, M) that hide runs of so many patches: the runs come in random order, and the first M patches count."""
    device, count = model.mask_embed.device, model.mask_patch
    shift_B1 = torch.randint(length, (batch, 1), device=device)
    runs_BP = (torch.arange(PATCHES, device=device) + shift_B1) // length
    order_BP = torch.rand(batch, PATCHES // length + 2, device=device).gather(1, runs_BP)
    return order_BP.argsort(dim=1, stable=True)[:, :count]


class Training:
    """A model on its way through `steps` steps."""

    def __init__(
        self, way: Way, seed: int, clips: list[Tensor], machine: Engine, steps: int, begin_with: Path | None = None
    ):
        self.way, self.machine, self.steps, self.taken = way, machine, steps, 0
        self.model = SSASTForPreTraining(
            way.size,
            target_length=LENGTH,
            mask_patch=way.hidden,
            mask_layer=way.depth,
            objective=f"pretrain_{way.objective}",
            seed=seed,
        ).train()
        torch.manual_seed(seed)
        STARTS[way.start].draw(self.model)
        if begin_with:
            self.model.load_state_dict(load_file(begin_with / "model.safetensors"))
        if way.run_length > 1:
            self.model.draw_masks = partial(run_masks, self.model, way.run_length)
        self.model.to(machine.device)
        settings = TrainingSettings(optim=way.optim, learning_rate=way.rate)
        self.optimizer = optimiser(self.model, settings, torch.bfloat16 if machine.bf16 else None)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.batches = stretches(clips, seed, way.batch, way.crop)
        self.mean, self.deviation = _moments(clips) if way.scaled else (0.0, 0.5)
        self.captured = Captured(self) if machine.device.type == "cuda" and _can_be_captured(way) else None

    def share(self) -> float:
        """The learning rate of the next step, as a share of the highest."""
        rising = max(1, self.steps // 10)
        if self.way.course == "constant":
            return 1.0
        if self.taken < rising:
            return (self.taken + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (self.taken - rising) / max(1, self.steps - rising)))

    def step(self) -> float:
        """Take one step; the processor time [s] that it used, of all threads."""
        began = time.process_time()
        fbank_BTF = (next(self.batches) - self.mean) * (0.5 / self.deviation)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            if torch.is_tensor(group["lr"]):
                group["lr"].fill_(rate * self.share())
            else:
                group["lr"] = rate * self.share()
        (self.captured or self.learn)(fbank_BTF.to(self.machine.device, non_blocking=True))
        self.taken += 1
        return time.process_time() - began

    def learn(self, fbank_BTF: Tensor) -> None:
        """Change the weights by these clips."""
        if self.way.is_published:
            published_step(self.model, self.optimizer, fbank_BTF, self.way.hidden)
        else:
            loss = None if self.way.changed is None else self.way.changed.loss
            our_step(self.model, self.optimizer, fbank_BTF, self.way.hidden, self.machine.bf16, loss)


def _can_be_captured(way: Way) -> bool:
    return not way.is_published and way.optim == "adamw"


class Captured:
    """A training step as one CUDA graph: the first steps are taken one by one, the others by the captured one."""

    FIRST = 3

    def __init__(self, training: Training):
        self.training, self.seen, self.beside = training, 0, torch.cuda.Stream()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.fbank = torch.zeros(training.way.batch, LENGTH, 128, device=training.machine.device)
        for group in training.optimizer.param_groups:
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=training.machine.device)

    def __call__(self, fbank_BTF: Tensor) -> None:
        """Change the weights by these clips."""
        self.fbank.copy_(fbank_BTF)
        self.seen += 1
        if self.seen <= self.FIRST:
            self.beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.beside):
                self.training.learn(self.fbank)
            torch.cuda.current_stream().wait_stream(self.beside)
            return
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.training.learn(self.fbank)
        self.graph.replay()


def _moments(clips: list[Tensor]) -> tuple[float, float]:
    """Mean and deviation of every tenth clip's values."""
    values = torch.cat([clip.float().flatten() for clip in clips[::10]])
    return float(values.mean()), float(values.std())


def seconds_a_step(names: Iterable[str], clips: list[Tensor], machine: Engine) -> dict[str, float]:
    """Processor time [s] of a step of each way, timed in turn."""
    trainings = {name: Training(KNOWN[name], 0, clips, machine, TIMED) for name in names}
    used: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(TIMED + 1):
        for name, training in trainings.items():
            used[name].append(training.step())
    return {name: float(np.median(times[1:])) for name, times in used.items()}


@torch.no_grad()
def judge(model: SSASTForPreTraining, clips: list[Tensor]) -> dict[str, float]:
    """Losses and accuracy of the pretext task on always the same stretches and masks."""
    model.eval()
    device = model.mask_embed.device
    several, generator = stretches(clips, seed=0), torch.Generator(device).manual_seed(0)
    rows = [model.loss({"fbank": next(several).to(device)}, generator) for _ in range(LOOKED_AT // BATCH)]
    model.train()
    return {name: round(float(torch.stack([row[name].float() for row in rows]).mean()), 6) for name in rows[0]}


def test_people(root: Path, ratings: list[Path]) -> pd.DataFrame:
    """Some clips of each test person, by `number`, and all with a rating, with `fluent` (above the median rating)."""
    table = pd.read_csv(root / "splits" / "test.csv", dtype={"uid": str, "speaker": str})
    table["number"] = range(len(table))
    rated = [pd.read_csv(path, dtype={"uid": str})[["uid", "fluency"]] for path in ratings]
    if rated:
        table = table.drop(columns="fluency", errors="ignore").merge(pd.concat(rated), on="uid", how="left")
    if "fluency" in table:
        table["fluent"] = (table["fluency"] > table["fluency"].median()).where(table["fluency"].notna()).astype(float)
    is_rated = table["fluent"].notna() if "fluent" in table else False
    return table[(table.groupby("speaker").cumcount() < CLIPS_A_PERSON) | is_rated]


def digit_people(root: Path) -> pd.DataFrame:
    """Eight clips of each person and digit, by `number` through both splits, with `digit`."""
    table = pd.concat([pd.read_csv(root / "splits" / f"{split}.csv", dtype={"speaker": str}) for split in SPLITS])
    names = [name for name in table if name not in ("uid", "speaker")]
    table = table.assign(number=range(len(table)), digit=table[names].idxmax(axis=1)).drop(columns=names)
    return table[table.groupby(["speaker", "digit"]).cumcount() < CLIPS_A_PERSON]


def digit_clips(root: Path) -> list[Tensor]:
    """The fbanks of these."""
    clips = [clip for split in SPLITS for clip in fbanks(root, split)]
    return [clips[number] for number in digit_people(root)["number"]]


def probes_by_corpus(given: argparse.Namespace) -> list[dict[str, Probe]]:
    """The probes on the test people and, where they are given, on the digits."""
    found = [probes_of(test_people(given.corpus, given.ratings), TRAITS)]
    if given.digits:
        spoken = probes_of(digit_people(given.digits), (), KINDS)
        found.append({name: spoken[name] for name in KINDS})
    return found


def all_probes(given: argparse.Namespace) -> dict[str, Probe]:
    """All probes by name."""
    return {name: one for probes in probes_by_corpus(given) for name, one in probes.items()}


@dataclass(frozen=True)
class Questions:
    """What every model is asked: probes of clips, corpus by corpus."""

    corpora: list[tuple[list[Tensor], dict[str, Probe]]]

    @classmethod
    def of(cls, given: argparse.Namespace) -> "Questions":
        """Those on the test people, and on the digits where they are given."""
        numbers, unheard = test_people(given.corpus, given.ratings)["number"], fbanks(given.corpus, "test")
        clips = [[unheard[number] for number in numbers]]
        clips += [digit_clips(given.digits)] if given.digits else []
        return cls(list(zip(clips, probes_by_corpus(given), strict=True)))

    def ask(self, model: SSASTForPreTraining | None) -> dict[str, dict[str, Any]]:
        """The answers that the states of a model give, or without one those that the fbank gives."""
        found: dict[str, dict[str, Any]] = {}
        for clips, probes in self.corpora:
            found |= probe(fbank_statistics(clips) if model is None else states(model.eval(), clips), probes)
        return found


@dataclass(frozen=True)
class Cell:
    """One way from one seed, `times` the steps that were calibrated, or so many `steps`."""

    name: str
    seed: int
    steps: int
    suffix: str = ""
    begin_with: Path | None = None

    @property
    def path(self) -> Path:
        """Where its result lies."""
        return RESULTS / f"{self.name.replace(' ', '_').replace('%', 'percent')}{self.suffix}-{self.seed}.json"

    @property
    def is_done(self) -> bool:
        """Whether a result is there that was made with so many steps."""
        return self.path.exists() and json.loads(self.path.read_text())["steps"] == self.steps

    def run(self, heard: list[Tensor], asked: Questions | None, machine: Engine) -> SSASTForPreTraining:
        """Train, looking at the pretext task on the way, probe the result and write it; the model comes back.

        Where nothing is asked, nothing is written.
        """
        training = Training(KNOWN[self.name], self.seed, heard, machine, self.steps, self.begin_with)
        if asked is None:
            for _ in range(self.steps):
                training.step()
            return training.model
        curve = []
        looks = {max(1, round(share * self.steps)) for share in LOOKS}
        began = time.monotonic()
        for number in range(1, self.steps + 1):
            training.step()
            if number in looks:
                curve.append({"step": number, **judge(training.model, asked.corpora[0][0])})
        print(f"{self.path.stem}: {time.monotonic() - began:.0f} s, {curve[-1:]}", flush=True)
        probes = asked.ask(training.model)
        write(self.path, {"steps": self.steps, "device": device_name(machine), "curve": curve, "probes": probes})
        return training.model


def device_name(machine: Engine) -> str:
    """What a model was trained on, and in which arithmetic."""
    name = torch.cuda.get_device_name() if machine.device.type == "cuda" else machine.device.type
    return f"{name}, {'bf16' if machine.bf16 else 'fp32'}"


def write(path: Path, found: dict[str, Any]) -> None:
    """A cell's result, and one line on the screen."""
    path.write_text(json.dumps(found) + "\n")
    print(path.name, {name: round(one["score"], 3) for name, one in found["probes"].items()}, flush=True)


def cells(given: argparse.Namespace) -> list[Cell]:
    """All that is asked for and has no result yet."""
    calibrated = json.loads((RESULTS / "steps.json").read_text())
    suffix = f"_after_{given.steps}" if given.steps else f"_x{given.times}" if given.times > 1 else ""
    suffix += f"_from_{given.begin_with.parent.name}" if given.begin_with else ""
    found = []
    for seed in given.seeds:
        for name in given.ways:
            depth = name if name in calibrated else str(KNOWN[name].depth)
            steps = 0 if name in UNTRAINED else given.steps or given.times * calibrated[depth]
            found.append(Cell(name, seed, steps, "" if name in UNTRAINED else suffix, given.begin_with))
    return [one for one in found if given.unprobed or not one.is_done]


def work(given: argparse.Namespace, next_cell: Callable[[], Cell | None], until: float) -> None:
    """Take cells from the queue until none is left, or no time to begin another."""
    torch.set_num_threads(1 if given.processes > 1 else torch.get_num_threads())
    machine = engine(given.device)
    heard, asked = fbanks(given.corpus, "train"), None if given.unprobed else Questions.of(given)
    while time.time() < until and (one := next_cell()) is not None:
        model = one.run(heard, asked, machine)
        if given.models:
            model.cpu().save_pretrained(given.models / one.path.stem)


def next_of(queue: Any) -> Any:
    """The next cell of a queue that several processes share."""
    from queue import Empty

    try:
        return queue.get(timeout=2)
    except Empty:
        return None


def run(given: argparse.Namespace, several: list[Any], work: Callable[..., None]) -> None:
    """Every cell by `work`, one after the other or by several processes."""
    until = time.time() + 60 * given.minutes
    if given.processes <= 1:
        left = iter(several)
        work(given, lambda: next(left, None), until)
        return
    context = get_context("spawn")
    queue = context.Queue()
    for one in several:
        queue.put(one)
    arguments = (given, partial(next_of, queue), until)
    workers = [context.Process(target=work, args=arguments) for _ in range(given.processes)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()


def results(folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """The results of each way in a folder, one a seed."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for path in sorted(folder.glob("*-*.json")):
        found.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text()))
    return found


def show(probes: Mapping[str, Probe], against: str) -> None:
    """All results as a Markdown table: mean scores, and in brackets the interval of what lies over one of the ways."""
    ways = results(RESULTS)
    print("| way | seeds | steps | loss | accuracy | " + " | ".join(probes) + " |")
    print("|---" * (5 + len(probes)) + "|")
    for way, rows in ways.items():
        last = [row["curve"][-1] for row in rows if row.get("curve")]
        pretext = [_mean([one[name] for one in last if name in one]) for name in ("loss", "accuracy")]
        line = [way, str(len(rows)), str(rows[0]["steps"]), *pretext]
        others = ways["base_random" if way.startswith("base") and against == "random" else against]
        print(f"| {' | '.join([*line, *(shown(probes, name, rows, others) for name in probes)])} |", flush=True)


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.3f}" if values else ""


def shown(probes: Mapping[str, Probe], name: str, rows: list[Mapping], others: list[Mapping]) -> str:
    score = _mean([row["probes"][name]["score"] for row in rows])
    if rows is others:
        return score
    ours, theirs = ([row["probes"][name]["answers"] for row in several] for several in (rows, others))
    _, low, high = interval(scored_probe(probes[name]), ours, theirs)
    return f"{score} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--calibrate", type=float, metavar="SECONDS")
    parser.add_argument("--timed", action="store_true", help="print the processor time [s] of a step of each of --ways")
    parser.add_argument("--ratings", type=Path, nargs="*", default=[], help="tables with uid and fluency")
    parser.add_argument("--digits", type=Path, help="a second corpus, of spoken digits")
    parser.add_argument("--ways", nargs="*", default=["random", *WAYS], choices=KNOWN, metavar="WAY")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="only these")
    parser.add_argument("--times", type=int, default=1, help="so many times the processor time")
    parser.add_argument("--steps", type=int, help="so many for every way, instead of equal processor time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="so many cells side by side; on a GPU only")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no cell after so many")
    parser.add_argument("--models", type=Path, help="where the models are kept, in a folder each")
    parser.add_argument("--begin_with", type=Path, help="folder of a kept model to go on from, named by its parent")
    parser.add_argument("--unprobed", action="store_true", help="keep the models and ask them nothing")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--against", default="random", metavar="WAY", help="what the table's intervals are over")
    given = parser.parse_args()
    if given.unprobed and not given.models:
        parser.error("--unprobed needs --models, where the models are kept")
    RESULTS.mkdir(exist_ok=True)
    if given.calibrate:
        taken = seconds_a_step(WAYS, fbanks(given.corpus, "train"), engine("cpu"))
        steps = {name: round(given.calibrate / one) for name, one in taken.items()}
        (RESULTS / "steps.json").write_text(json.dumps({"seconds": given.calibrate, **steps}, indent=1) + "\n")
        print(steps)
        return
    if given.timed:
        print(seconds_a_step(given.ways, fbanks(given.corpus, "train"), engine("cpu")))
        return
    path = RESULTS / "fbank-0.json"
    if given.table:
        show(all_probes(given), given.against)
        return
    if not path.exists() and not given.unprobed:
        write(path, {"steps": 0, "probes": Questions.of(given).ask(None)})
    run(given, cells(given), work)


if __name__ == "__main__":
    main()
