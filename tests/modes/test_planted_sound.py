"""The whole way to a known truth: recordings whose label is one sound at a known time and band, and what is shown."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import ssast

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RATE, SECONDS, FRAMES = 16000, 0.655, 64
SOUND = 0.08  # [s] of the planted sound
BAND = (2000, 4000)  # [Hz]
TRAINED, SHOWN = 240, 20
SQUARE = {"fshape": 16, "tshape": 16, "task": "ft_avgtok", "layer": 4, "epochs": 6}
KINDS = {
    "frames, mean of all": {"fshape": 128, "tshape": 2, "task": "ft_avgtok", "epochs": 3},
    "frames, class tokens": {"fshape": 128, "tshape": 4, "task": "ft_cls", "epochs": 4},
    "squares": SQUARE,
    "overlapping squares": SQUARE | {"fstride": 10, "tstride": 10},
}


def hiss(rng):
    """Noise between two frequencies, swelling and fading."""
    samples = int(SOUND * RATE)
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * ((hz > BAND[0]) & (hz < BAND[1])), samples)
    return 0.1 * np.hanning(samples) * noise / noise.std()


def hum(rng):
    """A low tone, swelling and fading."""
    time = np.arange(int(SOUND * RATE)) / RATE
    return 0.1 * np.hanning(len(time)) * np.sin(2 * np.pi * rng.uniform(300, 900) * time)


def a_clip(rng, start, *, has):
    """Faint noise with a hum anywhere, and at `start` [s] a hiss where it has the label."""
    wave = 0.003 * rng.standard_normal(int(SECONDS * RATE))
    wave[int(rng.uniform(0, SECONDS - SOUND) * RATE) :][: int(SOUND * RATE)] += hum(rng)
    if has:
        wave[int(start * RATE) :][: int(SOUND * RATE)] += hiss(rng)
    return wave


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A corpus of noise and hums, with a hiss in half of its clips; its folder and its table."""
    root, rng, rows = tmp_path_factory.mktemp("planted"), np.random.default_rng(0), []
    for number in range(TRAINED + 2 * SHOWN):
        start = rng.uniform(0.01, SECONDS - SOUND - 0.01)
        has = number % 2
        folder = root / "audio" / f"c{number:03d}"
        folder.mkdir(parents=True)
        soundfile.write(folder / "waveform.wav", a_clip(rng, start, has=has), RATE)
        (folder / "metadata.json").write_text(json.dumps({"encoding": "WAV", "sample_rate_hz": RATE}))
        rows.append({"uid": f"c{number:03d}", "hiss": has, "start": start})
    table = pd.DataFrame(rows)
    (root / "splits").mkdir()
    table[:TRAINED].to_csv(root / "splits" / "train.csv", index=False)
    table[TRAINED:].to_csv(root / "splits" / "test.csv", index=False)
    (root / "labels.txt").write_text("hiss\n", encoding="utf-8")
    return root, table.set_index("uid")[TRAINED:].query("hiss == 1")


@dataclass(frozen=True)
class Seen:
    """What `ssast attention` wrote of a model of one kind, and where the sounds are."""

    folder: Path
    truth: pd.DataFrame
    by_band: bool

    def values(self, uid):
        return arrays(self.folder / f"{uid}.npz")

    def ratios(self, name):
        """For each clip the share of a map inside the planted sound over that sound's share of the clip."""
        found = []
        for uid, start in self.truth["start"].items():
            values = self.values(uid)
            own, seconds, hz = int(values["own_frames"]), values["seconds_edges"], values["hz_edges"]
            plane_TF = np.clip(plane_of(values, name), 0, None)[:own]
            inside_T = (seconds[1 : own + 1] > start) & (seconds[:own] < start + SOUND)
            inside_F = (hz[1:] > BAND[0]) & (hz[:-1] < BAND[1]) | (not self.by_band)
            inside_TF = np.outer(inside_T, inside_F)
            found.append(plane_TF[inside_TF].sum() / plane_TF.sum() / inside_TF.mean())
        return np.array(found)

    def peaks(self):
        """The time [s] of each clip's strongest relevance."""
        planes = [(values, plane_of(values, "relevance")) for values in map(self.values, self.truth.index)]
        middles = [(values["seconds_edges"][1:] + values["seconds_edges"][:-1]) / 2 for values, _ in planes]
        at = [plane_TF.sum(axis=1) >= plane_TF.sum(axis=1).max() * 0.999 for _, plane_TF in planes]
        return np.array([middle[where].mean() for middle, where in zip(middles, at, strict=True)])

    def wins(self, name, shares=(0.1, 0.2, 0.3)):
        """The share of clips where removing the top of a map moves the logit more than removing at random."""
        table = pd.read_csv(self.folder / "faithfulness.csv")
        table = table[(table["map"] == name) & table["removed"].isin(shares)]
        drops = table.groupby("uid")[["drop", "random_drop"]].mean()
        assert len(drops) == SHOWN
        return (drops["drop"] > drops["random_drop"]).mean()


@cache
def arrays(path):
    with np.load(path) as values:
        return dict(values)


def plane_of(values, name):
    """A map on the plane; rollout and raw attention of the last layer, kept by patches, spread over theirs."""
    if name in values and values[name].ndim == 3:
        return values[name][0]
    rows_RC = values["rollout"] if name == "rollout" else values["attention"][-1].mean(axis=0)
    frames, bins = values["fbank"].shape
    across, up = (
        np.arange(size) * count // size for size, count in zip((frames, bins), rows_RC.shape[::-1], strict=True)
    )
    return rows_RC[np.ix_(up, across)].T


@pytest.fixture
def seen(planted, tmp_path_factory):
    """What a tiny model of a kind, fine-tuned on the planted corpus, is shown to look at."""
    root, truth = planted
    where = {"prefix": str(root / "audio"), "data_split_root": str(root / "splits"), "device": "cpu"}
    how = {"pretrained_mdl_path": "none", "model_size": "tiny", "freeze": False, "target_length": FRAMES}
    how |= {"dataset_mean": -7.7, "dataset_std": 3.3, "optim": "adamw", "learning_rate": 3e-4, "resamples": 0}
    how |= {"label_txt": str(root / "labels.txt"), "precision": "fp32", "batch_size": 8}

    def of(kind):
        out = tmp_path_factory.mktemp("seen")
        model = ssast.finetune(**where, **how, **KINDS[kind], exp_dir=str(out / "model"))
        chosen = {"uids": ",".join(truth.index), "exp_dir": str(out), "precision": "fp32"}
        with pytest.MonkeyPatch.context() as patched:  # PNG pictures, which nobody looks at here, take half of the time
            patched.setattr("ssast.modes.attention.can_draw", lambda: False)
            folder = ssast.attention(**where, finetuned_mdl_path=str(model), **chosen)
        return Seen(folder, truth, KINDS[kind]["fshape"] < 128)

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_relevance_lies_on_the_planted_sound_and_every_kind_of_model_agrees_on_when(seen, kind):
    """Three times its share of the time (frames) or the area (squares); faithful; on the page; others beside it.

    The strongest lies within a square's width of the middle of the sound, overlapping strides or not.
    """
    found = seen(kind)
    for name in ("relevance", "published", "integrated_gradients", "input_x_gradient", "rollout", "attention"):
        print(f"{kind}: {name} {found.ratios(name).mean():.1f} times its fair share")
    last = f"attention/{KINDS[kind].get('layer', 12)}/mean"
    for name in ("relevance", "published", "integrated", "gradient", "rollout", last):
        each = ", ".join(f"{found.wins(name, (share,)):.0%}" for share in (0.1, 0.2, 0.3))
        print(f"{kind}: {name} beats random in {found.wins(name):.0%}; removing 10, 20, 30 %: {each}")
    assert found.ratios("relevance").mean() >= 3
    assert found.wins("relevance") >= 0.95
    text = (found.folder / "attention.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert [clip["uid"] for clip in data["clips"]] == list(found.truth.index)
    shown = re.search(r"<td>gradient-weighted relevance</td>(?:<td>\d+%</td>){3}<td>(\d+)%</td>", text)
    assert int(shown.group(1)) >= 95
    off = np.abs(found.peaks() - found.truth["start"].to_numpy() - SOUND / 2)
    print(f"{kind}: strongest relevance {off.mean():.3f} s from the middle of the sound, at most {off.max():.3f} s")
    assert (off < 0.16).mean() >= 0.9
