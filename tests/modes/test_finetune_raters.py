"""A trait on a scale that three noisy raters judged: what is planted comes out at the other end."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from tests.conftest import write_recording

import ssast

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow")]
torch.set_num_threads(1)

RATE, CLIPS, TEST, NOISE = 16000, 120, 48, 0.6


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Tones whose height is the trait; three raters hear it with an error of 0.6 levels, and some cells are empty."""
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(4)
    trait = rng.uniform(0.6, 4.4, CLIPS)
    time = np.arange(int(0.33 * RATE)) / RATE
    for number, own in enumerate(trait):
        tone = 0.3 * np.sin(2 * np.pi * 300 * own * time) + 0.01 * rng.standard_normal(len(time))
        write_recording(folder / "audio" / f"{number:04d}", tone.astype(np.float32), RATE)
    table = pd.DataFrame({"uid": [f"{number:04d}" for number in range(CLIPS)], "speaker": np.arange(CLIPS) // 2})
    for rater in (1, 2, 3):
        heard = np.clip(np.round(trait + rng.normal(0, NOISE, CLIPS)), 1, 4)
        table[f"rough_r{rater}"] = np.where(rng.random(CLIPS) < 0.1, np.nan, heard)
    (folder / "splits").mkdir()
    table[TEST:].to_csv(folder / "splits" / "train.csv", index=False)
    table[:TEST].to_csv(folder / "splits" / "test.csv", index=False)
    (folder / "labels.txt").write_text("rough\n")
    return folder, trait[:TEST], table[:TEST]


@pytest.mark.parametrize("way", ["mean", "soft", "draw"])
def test_a_planted_trait_is_recovered_through_the_noise_of_its_raters(planted, tmp_path, way):
    folder, trait, table = planted
    run = ssast.finetune(
        prefix=str(folder / "audio"),
        data_split_root=str(folder / "splits"),
        label_txt=str(folder / "labels.txt"),
        exp_dir=str(tmp_path),
        loss="ordinal",
        raters=way,
        pretrained_mdl_path="none",
        model_size="tiny",
        target_length=32,
        task="ft_avgtok",
        epochs=60,
        learning_rate=1e-2,
        device="cpu",
        precision="fp32",
        resamples=200,
    )
    scored = pd.read_csv(run / "predictions.csv", dtype={"uid": str}).set_index("uid").loc[table["uid"][:TEST]]
    of_model = spearmanr(scored["rough"], trait).statistic
    of_raters = [spearmanr(table[f"rough_r{rater}"], trait, nan_policy="omit").statistic for rater in (1, 2, 3)]
    assert of_model > max(of_raters), "nearer to what was planted than any rater that it learned from"
    found = json.loads((run / "metrics.json").read_text())["labels"]["rough"]["raters"]
    assert found["difference"]["interval"][1] > 0, "no worse than a rater"
    assert found["model_with_rater"]["value"] > found["rater_with_rater"]["value"] - 0.05
