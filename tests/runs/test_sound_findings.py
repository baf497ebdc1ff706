"""Every mode counts and names the recordings that its model does not hear rightly, and uses them as they are."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import ssast
from ssast import cli
from ssast.engine.predictor import SSASTForAudioClassification

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)
FRAMES = 64
LONG = ["0002", "0005", "0008", "0011", "0014", "0017"]
"""The corpus' recordings of three quarters of a second."""


@pytest.fixture
def odd(corpus, record):
    """The corpus with channels that cancel (0001), digital silence (0013) and padding (0000)."""
    own = np.sin(np.arange(8000) / 9) + 0.01 * np.random.default_rng(0).standard_normal(8000)
    record(corpus.audio / "0001", 0.1 * np.stack([own, -own], axis=1), 16000)
    record(corpus.audio / "0013", np.zeros(8000), 16000)
    record(corpus.audio / "0000", np.concatenate([0.1 * own, np.zeros(2000)]), 16000)
    return corpus


@pytest.fixture
def usual(odd, tmp_path):
    found = {"prefix": str(odd.audio), "data_split_root": str(odd.splits), "label_txt": str(odd.label_txt)}
    return found | {"device": "cpu", "precision": "fp32", "exp_dir": str(tmp_path / "out")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    how = {"target_length": FRAMES, "labels": ["high", "loud"], "seed": 0}
    SSASTForAudioClassification(2, "tiny", **how, frontend={"target_length": FRAMES}).save_pretrained(folder)
    return str(folder)


SMALL = {"model_size": "tiny", "target_length": FRAMES, "epochs": 1, "batch_size": 4, "resamples": 0}


def named(folder):
    table = pd.read_csv(folder / "heard.csv", dtype=str)
    assert list(table.columns) == ["uid", "finding", "detail"]
    return {kind: list(own["uid"]) for kind, own in table.groupby("finding", sort=False)}


def counts(folder):
    return yaml.safe_load((folder / "run.yaml").read_text())["record"]["heard"]


ALL = {"silent": ["0013"], "channels cancel": ["0001"], "cut": LONG, "digital silence": ["0000"]}


def both(found):
    return {kind: sorted(uids) for kind, uids in found.items()}


@pytest.mark.parametrize("workers", [0, 2])
def test_fine_tuning_names_them_also_where_pooled_states_were_kept(
    usual, workers, tmp_path, capsys, monkeypatch, pooled
):
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    for name, computed in (("first", 18), ("second", 0)):
        own = usual | {"exp_dir": str(tmp_path / name)}
        folder = ssast.finetune(**own, **SMALL, pretrained_mdl_path="none", num_workers=workers)
        assert len(set(pooled)) == computed
        pooled.clear()
        assert both(named(folder)) == ALL
        assert counts(folder) == {"silent": 1, "channels cancel": 1, "cut": 6, "digital silence": 1}
        shown = capsys.readouterr().out
        assert "Careful: 6 of 18 recordings are longer than what the model hears of them" in shown
        assert "Careful: 1 of 18 recordings is silent to the model: 0013 (" in shown
        assert f"every such recording is in {folder / 'heard.csv'}" in shown
        assert json.loads((folder / "metrics.json").read_text())["heard"] == {"silent": 1, "cut": 2}
        page = (folder / "report.html").read_text()
        assert "2 of 6 recordings are longer than what the model hears of them" in page
        assert "4 of 12 training recordings are longer than what the model hears of them" in page
        assert "0.75 s long, of which the first 0.64 s are heard" in page


def test_states_that_were_kept_before_recordings_were_judged_do_not_hide_them(usual, tmp_path, monkeypatch):
    """The cache of an older version holds states without a judgement."""
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    tune = {**usual, **SMALL, "pretrained_mdl_path": "none"}
    with monkeypatch.context() as patched:
        patched.setattr("ssast.data.features.KeptFindings.keep", lambda *_: None)
        ssast.finetune(**tune | {"exp_dir": str(tmp_path / "older")})
    assert both(named(ssast.finetune(**tune))) == ALL


@pytest.mark.parametrize("workers", [0, 2])
def test_pretraining_names_what_it_trains_on_and_holds_out(usual, workers, capsys):
    folder = ssast.pretrain(**usual, **SMALL | {"epochs": 2}, mask_patch=8, num_workers=workers)
    assert both(named(folder)) == {"channels cancel": ["0001"], "cut": LONG[:4], "digital silence": ["0000"]}
    assert capsys.readouterr().out.count("1 of 12 recordings has channels of opposite sign") == 1


@pytest.mark.parametrize("mode", ["evaluate", "extract", "attention", "stats"])
def test_modes_that_only_listen_name_them_too(usual, model, mode, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ssast.modes.attention.can_draw", lambda: False)
    more = {"finetuned_mdl_path": model} if mode != "stats" else {"target_length": FRAMES}
    more |= {"resamples": 0} if mode == "evaluate" else {}
    more |= {"uids": "0013,0014"} if mode == "attention" else {}
    getattr(ssast, mode)(**usual, **more)
    folder = tmp_path / "out"
    split = {"channels cancel": ["0001"], "cut": LONG[:4], "digital silence": ["0000"]}
    expected = split if mode == "stats" else {"silent": ["0013"], "cut": LONG[4:]}
    expected |= {"cut": ["0014"]} if mode == "attention" else {}
    assert both(named(folder)) == expected
    total = {"stats": 12, "attention": 2}.get(mode, 6)
    assert f"{len(expected['cut'])} of {total} recordings" in capsys.readouterr().out
    assert counts(folder) == {kind: len(uids) for kind, uids in expected.items()}


def test_what_is_heard_over_time_is_not_cut(usual, model, tmp_path):
    ssast.extract(**usual, finetuned_mdl_path=model, over_time=True, embedding_type="pt")
    assert named(tmp_path / "out") == {"silent": ["0013"]}


def test_a_run_without_doubts_says_nothing(corpus, model, tmp_path, capsys):
    frame = corpus.frame("test")
    frame.drop(index=LONG[4:]).to_csv(corpus.folder / "short.csv")
    where = {"prefix": str(corpus.audio), "data_split_root": str(corpus.folder / "short.csv")}
    folder = ssast.evaluate(**where, finetuned_mdl_path=model, device="cpu", resamples=0, exp_dir=str(tmp_path / "o"))
    assert "the model hears" not in capsys.readouterr().out
    assert not (folder / "heard.csv").exists()
    assert "heard" not in yaml.safe_load((folder / "run.yaml").read_text())["record"]
    assert json.loads((folder / "metrics.json").read_text())["heard"] == {}


def test_predict_keeps_the_row_of_silence_with_a_note_and_cuts_nothing(odd, model, tmp_path, capsys):
    files = [str(odd.audio / uid) for uid in ("0001", "0002", "0003", "0013")]
    folder = ssast.predict(finetuned_mdl_path=model, files=files, device="cpu", exp_dir=str(tmp_path / "out"))
    table = pd.read_csv(folder / "predicted.csv")
    assert table.columns[-1] == "note"
    assert table["note"].isna().tolist() == [False, True, True, False]
    assert table["note"][0].startswith("channels cancel: channels 1 and 2")
    assert table["note"][3].startswith("silent: its highest sample is 0.000000")
    assert table["high"].notna().all(), "nothing is left out or rescaled"
    shown = capsys.readouterr().out
    assert "Careful: 1 of 4 recordings is silent to the model" in shown
    assert "1 of 4 longer than the model's input, heard whole in windows" in shown
    assert set(named(folder)) == {"silent", "channels cancel"}


def test_predict_from_python_warns(odd, model):
    ready = SSASTForAudioClassification.from_pretrained(model)
    with pytest.warns(UserWarning, match="recording .*0013.* silent: its highest sample"):
        assert len(ready.predict(str(odd.audio / "0013"))) == 1
    with pytest.warns(UserWarning, match="recording 0: beyond full scale"):
        ready.predict(torch.randn(8000) * 1000, sample_rate=16000)


def test_check_is_told_the_length_and_judges_what_is_heard(odd, tmp_path, capsys):
    words = ["check", "-i", str(odd.audio), "-d", str(odd.splits), "-o", str(tmp_path / "out")]
    assert cli.main(words) == 1
    table = pd.read_csv(tmp_path / "out" / "check.csv", dtype=str)
    assert dict(zip(table["finding"], table["uid"], strict=True)) == {
        "silent": "0013",
        "channels cancel": "0001",
        "digital silence": "0000",
    }
    assert cli.main([*words, "--target_length", str(FRAMES)]) == 1
    table = pd.read_csv(tmp_path / "out" / "check.csv", dtype=str)
    assert sorted(table["uid"][table["finding"] == "cut"]) == LONG
    assert "hear the first 0.64 s of each recording" in capsys.readouterr().out
    assert cli.main([*words, "--clip_length", "0.7"]) == 1
    table = pd.read_csv(tmp_path / "out" / "check.csv", dtype=str)
    assert sorted(table["uid"][table["finding"] == "cut"]) == LONG
    assert cli.main([*words, "--clip_length", "0.001"]) == 2


def test_with_private_hashes_stand_in_the_place_of_uids(usual, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    ssast.evaluate(**usual, finetuned_mdl_path=model, private=True, resamples=0)
    shown = capsys.readouterr().out
    assert "1 of 6 recordings is silent to the model: uid-" in shown
    told = shown + "".join(
        (tmp_path / "out" / name).read_text() for name in ("heard.csv", "report.html", "metrics.json", "run.yaml")
    )
    assert not [uid for uid in (*LONG[4:], "0013") if f" {uid}" in told or f"\n{uid}," in told or f">{uid}<" in told]
    assert all(uid.startswith("uid-") for uids in named(tmp_path / "out").values() for uid in uids)
