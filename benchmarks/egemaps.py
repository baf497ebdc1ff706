"""Probe the 88 functionals of eGeMAPS (openSMILE), a peer for the table of benchmarks/pretraining.py alone.

    python benchmarks/egemaps.py CORPUS --ratings CSV ... --digits DIGITS

The package opensmile is no dependency of this toolkit and is imported where it is installed. Its licence (audEERING
Research License Agreement) allows research that is not commercial, and commercial research that is published or that
evaluates methods before there is a product; a product that uses it, or features or models made with it, needs a licence
of its own. CORPUS and DIGITS need their recordings, and keep what was found of them in SPLIT.egemaps.npz.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pretraining import RESULTS, digit_people, probes_by_corpus, test_people, write
from probes import probe

from ssast import AudioDataset
from ssast.data.tables.splits import read_split

RATE = 16000


def opensmile_functionals() -> Any:
    """openSMILE's extractor of the eGeMAPSv02 functionals; it ends with a sentence where the package is not there."""
    try:
        import opensmile
    except ImportError:
        raise SystemExit(
            "opensmile is not installed; read its licence (research that is not commercial), then run "
            "`pip install opensmile`."
        ) from None
    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)


def functionals(root: Path, split: str, numbers: list[int]) -> NDArray[np.float32]:
    """The functionals (N, 88) of these rows of a split, from 16 kHz mono as the fbank is; kept beside the corpus."""
    kept = root / f"{split}.egemaps.npz"
    if kept.exists():
        with np.load(kept) as found:
            if found["numbers"].tolist() == numbers:
                return found["values"]
    extractor = opensmile_functionals()
    frame = read_split(root / "splits" / f"{split}.csv")
    data = AudioDataset(frame, None, {"resample_rate": RATE}, str(root / "audio"), with_fbank=False)
    rows = [extractor.process_signal(data[number]["waveform"][0].numpy(), RATE).to_numpy()[0] for number in numbers]
    values_ND = np.stack(rows).astype(np.float32)
    np.savez(kept, numbers=numbers, values=values_ND)
    return values_ND


def of_digits(root: Path, numbers: NDArray[np.intp]) -> NDArray[np.float32]:
    """Those of rows that are counted through both splits."""
    first = len(read_split(root / "splits" / "train.csv"))
    in_train, in_test = (numbers[numbers < first].tolist(), (numbers[numbers >= first] - first).tolist())
    return np.concatenate([functionals(root, "train", in_train), functionals(root, "test", in_test)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--ratings", type=Path, nargs="*", default=[], help="tables with uid and fluency")
    parser.add_argument("--digits", type=Path, help="a second corpus, of spoken digits")
    given = parser.parse_args()
    numbers = test_people(given.corpus, given.ratings)["number"].tolist()
    values = [functionals(given.corpus, "test", numbers)]
    values += [of_digits(given.digits, digit_people(given.digits)["number"].to_numpy())] if given.digits else []
    found: dict[str, Any] = {}
    for values_ND, probes in zip(values, probes_by_corpus(given), strict=True):
        found |= probe(values_ND[:, None], probes)
    write(RESULTS / "egemaps-0.json", {"steps": 0, "probes": found})


if __name__ == "__main__":
    main()
