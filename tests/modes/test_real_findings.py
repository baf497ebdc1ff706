"""What `ssast check` and `ssast audit` say of real recordings is recomputed with numpy and soundfile alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

import ssast
from ssast.modes.check import check

EVERY = 8
"""An eighth of the recordings: some of each kind, and quick."""
FRAMES = 200


@pytest.fixture(params=["fsdd", "speechocean"])
def real(request, shared, tmp_path):
    """Where a part of a real data set lies, its rows and its samples."""
    root = shared / request.param
    (tmp_path / "splits").mkdir()
    tables = [pd.read_csv(root / "splits" / f"{name}.csv", dtype={"uid": str})[::EVERY] for name in ("train", "test")]
    for name, table in zip(("train", "test"), tables, strict=True):
        table.to_csv(tmp_path / "splits" / f"{name}.csv", index=False)
    rows = pd.concat(tables).set_index("uid")
    samples = {
        uid: soundfile.read(next((root / "audio" / uid).glob("waveform.*")), always_2d=True) for uid in rows.index
    }
    where = {"prefix": root / "audio", "data_split_root": tmp_path / "splits", "label_txt": root / "labels.txt"}
    return {name: str(path) for name, path in where.items()} | {"exp_dir": str(tmp_path / "out")}, rows, samples


def stretches(samples, rate):
    """Seconds in stretches of 50 ms or more of one value, found value by value."""
    total, start = 0, 0
    for at in range(1, len(samples) + 1):
        if at == len(samples) or samples[at] != samples[start]:
            total += at - start if at - start >= 0.05 * rate else 0
            start = at
    return total / rate


def recomputed(samples, rate):
    """The kinds of findings that a recording of one channel deserves, with FRAMES frames at 16 kHz."""
    heard = samples[: round((FRAMES - 1) * 0.01 * rate + 0.025 * rate)]
    peak, kinds = 20 * np.log10(np.abs(heard - heard.mean()).max() + 1e-12), set()
    kinds |= {"cut"} if len(samples) / rate >= FRAMES / 100 + 0.025 else set()
    kinds |= {"silent"} if peak < -60 else {"very quiet"} if peak < -40 else set()
    top = np.abs(heard) >= 0.999
    kinds |= {"clipped"} if np.mean(top[1:] & top[:-1] & (heard[1:] * heard[:-1] > 0)) > 0.001 else set()
    kinds |= {"8 bit"} if set(np.unique(heard * 128 % 1)) == {0.0} else set()
    kinds |= {"DC offset"} if abs(heard.mean()) > 0.01 else set()
    return kinds | ({"digital silence"} if stretches(heard, rate) else set())


def test_each_finding_of_check_about_a_recording_is_true_and_none_is_missing(real):
    where, _, samples = real
    check(**where, target_length=FRAMES)
    table = pd.read_csv(Path(where["exp_dir"]) / "check.csv", dtype={"uid": str})
    about = table[table["uid"].notna() & ~table["finding"].isin(["narrow band", "other rate", "not in the csv"])]
    said = about.groupby("uid")["finding"].agg(set).to_dict()
    for uid, (own, rate) in samples.items():
        assert own.shape[1] == 1
        edge = abs(len(own) / rate - FRAMES / 100 - 0.02) < 0.03  # which frame is the last one depends on the rate
        left_out = {"cut"} if edge else set()
        assert said.get(uid, set()) - left_out == recomputed(own[:, 0], rate) - left_out, uid
    for one in table[table["finding"] == "label of one class"].itertuples():
        split = pd.read_csv(Path(where["data_split_root"]) / f"{one.split}.csv")
        assert split[one.detail.split(" is ")[0]].nunique() == 1


def test_what_audit_measures_and_finds_is_what_the_samples_say(real):
    where, rows, samples = real
    ssast.audit(**where, resamples=100)
    traits = pd.read_csv(Path(where["exp_dir"]) / "traits.csv", dtype={"uid": str}).set_index("uid")
    for uid, (own, rate) in list(samples.items())[::5]:
        size = round(0.032 * rate)
        frames = own[: len(own) // size * size, 0].reshape(-1, size)
        power = np.var(frames, axis=1)
        assert traits.loc[uid, "duration"] == pytest.approx(len(own) / rate, abs=1e-4)
        assert traits.loc[uid, "noise_floor"] == pytest.approx(
            max(-120, 10 * np.log10(max(np.quantile(power, 0.1), 1e-12))), abs=0.02
        )
        assert traits.loc[uid, "digital_silence"] == pytest.approx(
            stretches(own[: int(10.255 * rate), 0], rate), abs=0.06
        )
    found = json.loads((Path(where["exp_dir"]) / "audit.json").read_text())
    for label, entry in found["labels"].items():
        for name, one in entry["traits"].items():
            if one["way"] == "amount" and one["value"] is not None:
                known = traits[name].notna().to_numpy()
                has = rows.loc[traits.index, label].to_numpy()[known] >= 0.5
                area = roc_auc_score(has, traits[name][known])
                assert max(area, 1 - area) == pytest.approx(one["value"], abs=1e-6)
                assert (area >= 0.5) == one["rises"] or area == pytest.approx(0.5, abs=1e-6)
                middle = traits[name][known].groupby(has).median()
                if one["is_flagged"] and name == "bandwidth":
                    assert abs(middle[True] - middle[False]) > 31.25 or one["value"] < 0.75
