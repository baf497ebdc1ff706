"""Probe models on a corpus that nothing was chosen by: talk shows in Urdu, by people whom none has heard.

    python benchmarks/corpora.py urdu CLONE URDU
    python benchmarks/pretraining.py CORPUS --ways 0 10 --times 16 --models MODELS ...   # makes the models
    python benchmarks/confirming.py URDU --models MODELS
    python benchmarks/confirming.py URDU --table

The probes (benchmarks/probes.py): who speaks, which of four emotions, and sex. MODELS holds WAY-SEED.safetensors files
or folders as pretraining.py keeps them. Random weights of three seeds, ours and those of the published code, and mean
and deviation of the fbank stand beside. Each result is a small file in confirming_results/, and is not made twice.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
from pretraining import LENGTH, SEEDS, SPLITS, UNTRAINED, Training, fbanks, results, shown, write
from probes import Probe, fbank_statistics, probe, probes_of, states
from safetensors.torch import load_file
from torch import Tensor

from ssast import SSASTForPreTraining
from ssast.engine.hardware import engine

RESULTS = Path(__file__).with_name("confirming_results")
EMOTIONS = ["angry", "happy", "neutral", "sad"]


def questions(root: Path) -> tuple[list[Tensor], dict[str, Probe]]:
    """The fbanks of all clips, and the probes on them."""
    table = pd.concat([pd.read_csv(root / "splits" / f"{split}.csv", dtype={"speaker": str}) for split in SPLITS])
    table = table.assign(emotion=table[EMOTIONS].idxmax(axis=1))
    clips = [clip for split in SPLITS for clip in fbanks(root, split)]
    return clips, probes_of(table, ["female"], ["emotion"])


def kept_model(place: Path) -> SSASTForPreTraining:
    """A pretrained tiny model from its file or folder."""
    weights = load_file(place / "model.safetensors" if place.is_dir() else place)
    model = SSASTForPreTraining("tiny", target_length=LENGTH, seed=0)
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    return model.eval()


def models(folder: Path | None) -> Iterator[tuple[str, Callable[[], SSASTForPreTraining | None]]]:
    """The name of each result, and what makes its model; None is the fbank."""
    yield "fbank-0", lambda: None
    for name, way in UNTRAINED.items():
        for seed in SEEDS if way.size == "tiny" else ():
            yield (
                f"{name.replace(' ', '_')}-{seed}",
                lambda way=way, seed=seed: Training(way, seed, [], engine("cpu"), 0).model.eval(),
            )
    for place in sorted(folder.iterdir()) if folder else ():
        yield place.stem, lambda place=place: kept_model(place)


def show(probes: Mapping[str, Probe], against: str) -> None:
    """Mean scores of each way, and in brackets the interval of what lies over one of the ways."""
    ways = results(RESULTS)
    print("| way | seeds | " + " | ".join(probes) + " |")
    print("|---" * (2 + len(probes)) + "|")
    for way, rows in ways.items():
        cells = [way, str(len(rows)), *(shown(probes, name, rows, ways[against]) for name in probes)]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=Path, help="folder of pretrained tiny models")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--against", default="random", metavar="WAY", help="what the table's intervals are over")
    given = parser.parse_args()
    clips, probes = questions(given.corpus)
    if given.table:
        show(probes, given.against)
        return
    RESULTS.mkdir(exist_ok=True)
    for name, make in models(given.models):
        path = RESULTS / f"{name}.json"
        if not path.exists():
            model = make()
            found = probe(fbank_statistics(clips) if model is None else states(model, clips), probes)
            write(path, {"probes": found})


if __name__ == "__main__":
    main()
