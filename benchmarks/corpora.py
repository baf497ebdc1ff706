"""Lay public clones of open speech out as the product reads them: people disjoint, a licence beside.

    python benchmarks/corpora.py speechocean762 CLONE OUT     # github.com/jimbozhang/speechocean762
    python benchmarks/corpora.py digits CLONE OUT             # github.com/Jakobovski/free-spoken-digit-dataset
    python benchmarks/corpora.py urdu CLONE OUT               # github.com/siddiquelatif/URDU-Dataset
    python benchmarks/corpora.py mboshi CLONE OUT             # github.com/besacier/mboshi-french-parallel-corpus

OUT gets `audio` (copies of the recordings), `splits/train.csv` and `splits/test.csv`, `labels.txt` and `README.md`.
A clone that lacks its large table of ratings gives no ratings. README.md says the licence.
"""

import argparse
import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import soundfile

GROWN_UP = 18
LOW = 7
"""Mean ratings below count as low, of 10, as for speechocean762's own papers."""
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
HELD_OUT = ("theo", "yweweler")
EMOTIONS = ("Angry", "Happy", "Neutral", "Sad")


def two_columns(path: Path) -> dict[str, str]:
    """A Kaldi table: the first word of each line -> the rest."""
    return dict(line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def speechocean762(clone: Path) -> tuple[dict[str, pd.DataFrame], list[str], Path, str]:
    """Its own split, 125 people each, half of them children; mean ratings where the clone has them."""
    scores = clone / "resource" / "scores.json"
    rated = json.loads(scores.read_text(encoding="utf-8")) if scores.is_file() else {}
    frames = {}
    for split in ("train", "test"):
        people = two_columns(clone / split / "utt2spk")
        sex, age = (two_columns(clone / split / name) for name in ("spk2gender", "spk2age"))
        rows = [
            {
                "uid": uid,
                "speaker": person,
                "age": int(age[person]),
                "female": int(sex[person].strip() == "f"),
                "child": int(int(age[person]) < GROWN_UP),
                **({"fluency": rated[uid]["fluency"]} if uid in rated else {}),
                **({"low_fluency": int(rated[uid]["fluency"] < LOW)} if uid in rated else {}),
            }
            for uid, person in sorted(people.items())
        ]
        frames[split] = pd.DataFrame(rows)
    labels = [name for name in ("female", "child", "low_fluency") if name in frames["train"]]
    return frames, labels, clone / "WAVE", "free for commercial and non-commercial use (OpenSLR 101)"


def digits(clone: Path) -> tuple[dict[str, pd.DataFrame], list[str], Path, str]:
    """Six people, two of them held out; one column a digit."""
    rows = []
    for file in sorted((clone / "recordings").glob("*.wav")):
        digit, person, _ = file.stem.split("_")
        own = {name: int(number == int(digit)) for number, name in enumerate(DIGITS)}
        rows.append({"uid": file.stem, "speaker": person, **own})
    frame = pd.DataFrame(rows)
    is_test = frame["speaker"].isin(HELD_OUT)
    return {"train": frame[~is_test], "test": frame[is_test]}, DIGITS, clone / "recordings", "CC BY-SA 4.0"


def urdu(clone: Path) -> tuple[dict[str, pd.DataFrame], list[str], Path, str]:
    """Talk shows in Urdu, 29 people by their names' first part, a third of them held out; one column an emotion."""
    rows = []
    for emotion in EMOTIONS:
        for file in sorted((clone / emotion).glob("*.wav")):
            person = file.stem.split("_")[0]
            own = {name.lower(): int(name == emotion) for name in EMOTIONS}
            rows.append({"uid": file.stem, "speaker": person, "female": int(person.startswith("SF")), **own})
    frame = pd.DataFrame(rows)
    is_test = frame["speaker"].isin(sorted(frame["speaker"].unique())[::3])
    labels = ["female", *(name.lower() for name in EMOTIONS)]
    return {"train": frame[~is_test], "test": frame[is_test]}, labels, clone, "for research only (its README)"


def is_whole(file: Path) -> bool:
    """Whether a wav file holds as many samples as its head says."""
    with wave.open(str(file)) as head:
        return head.getnframes() == soundfile.info(file).frames


def mboshi(clone: Path) -> tuple[dict[str, pd.DataFrame], list[str], Path, str]:
    """Read and elicited sentences in a Bantu language by three people, one of them held out; no labels.

    78 recordings that are cut off are left out.
    """
    recordings = clone / "full_corpus_newsplit" / "all"
    names = [file.stem for file in sorted(recordings.glob("*.wav")) if is_whole(file)]
    frame = pd.DataFrame({"uid": names, "speaker": [name.split("_")[0] for name in names]})
    is_test = frame["speaker"] == "martial"
    return {"train": frame[~is_test], "test": frame[is_test]}, [], recordings, "for research (its README)"


CORPORA: dict[str, Callable[[Path], tuple[dict[str, pd.DataFrame], list[str], Path, str]]] = {
    "speechocean762": speechocean762,
    "digits": digits,
    "urdu": urdu,
    "mboshi": mboshi,
}


def lay_out(name: str, clone: Path, out: Path) -> None:
    """Write the folder of one corpus, its recordings as the seed lays them out."""
    frames, labels, recordings, licence = CORPORA[name](clone)
    (out / "splits").mkdir(parents=True, exist_ok=True)
    found = {file.stem: file for file in recordings.rglob("*") if file.suffix.lower() == ".wav"}
    for split, frame in frames.items():
        frame.to_csv(out / "splits" / f"{split}.csv", index=False)
        for uid in frame["uid"]:
            folder = out / "audio" / uid
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(found[uid], folder / "waveform.wav")
            rate = soundfile.info(found[uid]).samplerate
            (folder / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": rate}))
    (out / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (out / "README.md").write_text(f"{name}: {licence}. Made by benchmarks/corpora.py.\n", encoding="utf-8")
    print({split: (len(frame), frame["speaker"].nunique()) for split, frame in frames.items()}, "clips and people")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("clone", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    lay_out(asked.corpus, asked.clone, asked.out)


if __name__ == "__main__":
    main()
