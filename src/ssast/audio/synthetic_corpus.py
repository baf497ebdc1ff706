"""Write a labelled corpus of synthetic voices, laid out as every data set is: speakers, clips, splits."""

import csv
import json
import os
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssast.audio.speech_synthesis import Traits, synthesise
from ssast.errors import UserError

__all__ = ["LABELS", "Traits", "synthesise", "write_corpus"]

LABELS = ("breathy", "tremor", "hypernasal", "monopitch", "slow_rate")
SPEAKER_LABELS, CLIP_LABELS = LABELS[:3], LABELS[3:]
SAMPLE_RATE = 16000
TEST_SHARE = 0.25


def write_corpus(folder: str | os.PathLike, *, speakers: int = 48, clips_per_speaker: int = 10, seed: int = 0) -> Path:
    """Write a labelled corpus and return its folder; the same seed gives the same bytes.

    It holds audio/<uid>/waveform.wav (16 kHz, 16 bit, 2 to 3 s) and metadata.json, splits/{train,test}.csv with uid,
    speaker and the five labels, and labels.txt. A quarter of the speakers is in test only; both answers to every label
    are in both splits. The folder appears complete or not at all; one that holds anything already is an error.
    """
    folder = Path(folder)
    if speakers < 4 or clips_per_speaker < 1:
        raise UserError(
            f"{speakers} speakers with {clips_per_speaker} clips asked for; take at least 4 speakers and 1 clip"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} is there already; name a new folder for the synthetic corpus, or remove it", path=folder
        )
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
        _fill(scratch, speakers, clips_per_speaker, seed)
        scratch.replace(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); name a folder that can", path=folder
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _fill(folder: Path, speakers: int, clips_per_speaker: int, seed: int) -> None:
    """Write splits, labels and recordings into the folder."""
    (folder / "splits").mkdir()
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    rng = np.random.default_rng(seed)
    order = rng.permutation(speakers)
    tested = max(2, round(speakers * TEST_SHARE))
    for split, members in (("train", order[tested:]), ("test", order[:tested])):
        clips = _cast(np.sort(members), clips_per_speaker, rng)
        with (folder / "splits" / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["uid", "speaker", *LABELS])
            table.writerows([f"{name}_{clip:02d}", name, *_answers(traits)] for name, _, clip, traits in clips)
        for name, member, clip, traits in clips:
            waveform_S = synthesise(traits, sample_rate=SAMPLE_RATE, seed=[seed, member, clip])
            _write_recording(folder / "audio" / f"{name}_{clip:02d}", waveform_S)


def _answers(traits: Traits) -> list[int]:
    """Return the five labels as 0 or 1."""
    return [int(getattr(traits, label)) for label in LABELS]


def _cast(
    members: NDArray[np.int64], clips_per_speaker: int, rng: np.random.Generator
) -> list[tuple[str, int, int, Traits]]:
    """Return (speaker's name, speaker's number, clip's number, traits) of every clip of a split."""

    def half(count: int) -> list[bool]:
        return [bool(place < (count + 1) // 2) for place in rng.permutation(count)]

    of_speakers = zip(*(half(len(members)) for _ in SPEAKER_LABELS), strict=True)
    of_clips = zip(*(half(len(members) * clips_per_speaker) for _ in CLIP_LABELS), strict=True)
    clips = []
    for place, (member, answers) in enumerate(zip(members, of_speakers, strict=True)):
        voice = _voice(place % 2 == 1, dict(zip(SPEAKER_LABELS, answers, strict=True)), rng)
        for clip in range(clips_per_speaker):
            traits = replace(
                voice,
                **dict(zip(CLIP_LABELS, next(of_clips), strict=True)),
                clip_seconds=round(rng.uniform(2.0, 3.0), 2),
                level_db=voice.level_db + rng.uniform(-2, 2),
            )
            clips.append((f"s{member:02d}", int(member), clip, traits))
    return clips


def _voice(female: bool, labels: dict[str, bool], rng: np.random.Generator) -> Traits:
    """Return one speaker's traits."""
    return Traits(
        **labels,
        f0_hz=rng.uniform(185, 255) if female else rng.uniform(115, 160),
        tract_scale=rng.uniform(1.1, 1.22) if female else rng.uniform(0.94, 1.06),
        level_db=rng.uniform(-30, -20),
        room_db=rng.uniform(-72, -62),
        tilt_hz=rng.uniform(3500, 7000),
        tremor_hz=rng.uniform(4, 6),
    )


def _write_recording(folder: Path, waveform_S: NDArray[np.float32]) -> None:
    """Write waveform.wav (16 bit) and metadata.json into a new folder."""
    folder.mkdir(parents=True)
    with wave.open(str(folder / "waveform.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(waveform_S * 32767).astype("<i2").tobytes())
    (folder / "metadata.json").write_text(
        json.dumps({"encoding": "WAV", "sample_rate_hz": SAMPLE_RATE}), encoding="utf-8"
    )
