"""The attention mode: from recordings and a model folder to a page, pictures and values."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import ssast
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

SHAPE = {"model_size": "tiny", "fshape": 32, "tshape": 8, "num_mel_bins": 32, "target_length": 48}
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 48, "mean": -4.0, "std": 4.0}
FRONTEND |= {"reduce": True, "clip_length": 0.0}


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "finetuned"
    kept = {"labels": ["high", "loud"], "frontend": FRONTEND, "task": "ft_avgtok", "layer": 2, "seed": 0}
    SSASTForAudioClassification(2, **SHAPE, **kept).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    SSASTForPreTraining(**SHAPE, mask_patch=2, frontend=FRONTEND, seed=0).save_pretrained(folder)
    return folder


def look(corpus, out, **options):
    where = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "exp_dir": str(out), "device": "cpu"}
    return ssast.attention(**where, **options)


def data_of(folder):
    text = (folder / "attention.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))


@pytest.fixture(scope="module")
def looked(still_corpus, finetuned, tmp_path_factory):
    out = tmp_path_factory.mktemp("attention")
    return look(still_corpus, out, finetuned_mdl_path=str(finetuned), max_clips=3)


def test_a_fine_tuned_model_gets_a_page_pictures_and_values(looked):
    uids = ["0012", "0013", "0014"]
    assert looked.name == "attention"
    assert [clip["uid"] for clip in data_of(looked)["clips"]] == uids
    assert all((looked / f"{uid}.png").exists() and (looked / f"{uid}.npz").exists() for uid in uids)
    assert (looked.parent / "run.yaml").exists()


def test_values_come_with_axes_in_hz_and_seconds(looked):
    with np.load(looked / "0012.npz") as values:
        assert values["hz_edges"].shape == (33,)
        assert values["seconds_edges"].shape == (49,)
        assert values["relevance"].shape == values["input_x_gradient"].shape == values["occlusion"].shape == (2, 48, 32)
        assert values["relevance_patches"].shape == (2, 1, 6)
        assert values["attention"].shape == (2, 3, 1, 6)  # two blocks run for layer 2
        assert values["labels"].tolist() == ["high", "loud"]
        assert values["fbank"].shape == (48, 32)
        assert values["own_frames"] == 48


def test_each_map_comes_with_its_test(looked):
    table = pd.read_csv(looked / "faithfulness.csv", dtype={"uid": str})
    assert set(table["map"]) == {
        "relevance",
        "gradient",
        "occlusion",
        "rollout",
        "attention/1/mean",
        "attention/2/mean",
    }
    assert len(table) == 3 * 6 * 2 * 3
    assert table.notna().all().all()


def test_groups_are_shown_for_each_label_with_both_classes(looked):
    assert len(data_of(looked)["groups"]) == 4


def test_the_sound_is_what_the_model_heard(looked):
    clip = data_of(looked)["clips"][0]
    assert clip["sound"].startswith("data:audio/wav;base64,")
    seconds = len(clip["sound"]) * 3 / 4 / 2 / 16000
    assert seconds == pytest.approx(0.495, abs=0.01)


def test_the_same_seed_gives_the_same_page(still_corpus, finetuned, looked, tmp_path):
    again = look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), max_clips=3)
    assert data_of(again) == data_of(looked)


def test_chosen_clips_come_in_the_order_asked_for(still_corpus, finetuned, tmp_path):
    out = look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), uids="0016, 0012")
    assert [clip["uid"] for clip in data_of(out)["clips"]] == ["0016", "0012"]


def test_an_unknown_uid_is_named(still_corpus, finetuned, tmp_path):
    with pytest.raises(UserError, match="nobody"):
        look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), uids="0012,nobody")


def test_clips_need_no_labels(corpus, finetuned, tmp_path):
    table = corpus.splits / "some.csv"
    pd.DataFrame({"uid": ["0001"]}).to_csv(table, index=False)
    where = {"prefix": str(corpus.audio), "data_split_root": str(table), "exp_dir": str(tmp_path / "out")}
    data = data_of(ssast.attention(**where, finetuned_mdl_path=str(finetuned), device="cpu"))
    assert data["groups"] == []
    assert "relevance/0" in data["clips"][0]["maps"]


def test_a_pretrained_model_shows_its_guesses(still_corpus, pretrained, tmp_path):
    out = look(still_corpus, tmp_path, pretrained_mdl_path=str(pretrained), max_clips=1)
    clip = data_of(out)["clips"][0]
    assert list(clip["pictures"]) == ["as it is", "hidden patches blank", "hidden patches as guessed"]
    assert {"rollout", "told", "attention/12/mean", "attention/1/3"} <= set(clip["maps"])
    with np.load(out / "0012.npz") as values:
        assert values["guessed"].shape == (48, 32)
        assert len(values["hidden_patches"]) == 2


def test_a_recording_that_cannot_be_used_is_left_out_and_named(corpus, finetuned, tmp_path):
    (corpus.audio / "0012" / "waveform.wav").write_bytes(b"nothing")
    chosen = {"finetuned_mdl_path": str(finetuned), "uids": "0012,0013"}
    with pytest.raises(UserError, match="0012"):
        look(corpus, tmp_path / "a", **chosen)
    out = look(corpus, tmp_path / "b", **chosen, on_bad_audio="skip")
    assert [clip["uid"] for clip in data_of(out)["clips"]] == ["0013"]
    assert "0012" in (tmp_path / "b" / "bad_audio.csv").read_text()
