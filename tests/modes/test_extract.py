"""`ssast extract --over_time True`: an embedding for each step of time of each recording, however long."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import ssast
from ssast import SSASTForAudioClassification, cli
from ssast.data.dataset import AudioDataset, collate
from ssast.engine import inference

torch.set_num_threads(1)
SHAPE = {"model_size": "tiny", "fshape": 16, "tshape": 8, "num_mel_bins": 32, "target_length": 48}
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 48, "mean": -4.0, "std": 4.0}
FRONTEND |= {"reduce": True, "clip_length": 0.0}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "fine"
    kept = {"labels": ["high", "loud"], "frontend": FRONTEND, "task": "ft_avgtok", "weighted": True, "seed": 0}
    SSASTForAudioClassification(2, **SHAPE, **kept).save_pretrained(folder)
    return folder


def extract(corpus, model, out, **options):
    where = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "finetuned_mdl_path": str(model)}
    how = {"device": "cpu", "precision": "fp32", "over_time": True}
    path = ssast.extract(**{**where, **how, **options}, exp_dir=str(out))
    return path, pd.read_parquet(path)


def expected(corpus, model_folder, uid, kind, layer=None):
    """A short clip's steps that begin before it ends, by hand."""
    conf = {**FRONTEND, "resample_rate": 16000}
    conf.pop("sample_rate")
    data = AudioDataset(corpus.frame("test"), [], conf, str(corpus.audio))
    item = data[data.uids.index(uid)]
    frames = int(ssast.Frontend().frames(torch.tensor([item["waveform"].shape[1]])))
    model = SSASTForAudioClassification.from_pretrained(model_folder)
    steps, middles = model.frame_embeddings(collate([item])["fbank"], layer, kind)
    own = torch.arange(6) * 8 < frames
    return steps[0][own].numpy(), (0.01 * middles[own] + 0.0125).numpy()


@pytest.mark.parametrize(("kind", "layer"), [("ft", None), ("wt", None), ("pt", 4)])
def test_a_row_is_a_step_and_padding_has_none(corpus, model_folder, tmp_path, kind, layer):
    samples, rate = soundfile.read(corpus.audio / "0013" / "waveform.wav")
    soundfile.write(corpus.audio / "0013" / "waveform.wav", samples[:4000], rate)
    chosen = {"embedding_type": kind} | ({} if layer is None else {"layer": layer})
    path, table = extract(corpus, model_folder, tmp_path / "out", **chosen)
    assert path.name == f"splits_tiny_layer{layer or 'NA'}_ft_avgtok_{kind}_embeddings_over_time.pqt"
    assert list(table.columns) == ["uid", "time", "embedding"]
    values, times = expected(corpus, model_folder, "0013", kind, layer)
    own = table[table["uid"] == "0013"]
    assert len(own) == 3
    np.testing.assert_allclose(np.stack(own["embedding"]), values, atol=1e-4)
    np.testing.assert_allclose(own["time"], times, atol=1e-6)


def test_a_long_recording_has_a_step_at_every_patch_to_its_end(corpus, model_folder, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * 16000)
    soundfile.write(corpus.audio / "0012" / "waveform.wav", noise, 16000)
    _, table = extract(corpus, model_folder, tmp_path / "out", window_overlap=0.3)
    own = table[table["uid"] == "0012"]
    np.testing.assert_allclose(np.diff(own["time"]), 0.08, atol=1e-9)
    assert own["time"].iloc[0] == pytest.approx(0.0475)
    assert own["time"].iloc[-1] > 4.9


def test_neighbours_change_nothing_and_a_killed_pass_goes_on(still_corpus, model_folder, tmp_path, dies):
    _, whole = extract(still_corpus, model_folder, tmp_path / "whole", batch_size=16)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inference, "BYTES_A_PART", 0)
        with dies(inference, "values", after=1):
            extract(still_corpus, model_folder, tmp_path / "out", batch_size=8)
        _, table = extract(still_corpus, model_folder, tmp_path / "out", batch_size=8)
    pd.testing.assert_frame_equal(table[["uid", "time"]], whole[["uid", "time"]])
    np.testing.assert_allclose(np.stack(table["embedding"]), np.stack(whole["embedding"]), atol=1e-5)


def test_a_pretrained_model_gives_them_too(still_corpus, tmp_path):
    options = {"finetuned_mdl_path": None, "pretrained_mdl_path": "none", "embedding_type": "pt", "model_size": "tiny"}
    options |= {"fshape": 16, "tshape": 16, "num_mel_bins": 32, "target_length": 48, "layer": 3}
    _, table = extract(still_corpus, None, tmp_path / "out", **options)
    assert np.stack(table["embedding"]).shape[1] == 192
    assert table["time"].iloc[0] == pytest.approx(0.0125 + 0.075)


def test_a_head_that_knows_class_tokens_alone_is_one_sentence(still_corpus, tmp_path, capsys):
    model = SSASTForAudioClassification(2, **SHAPE, labels=["high", "loud"], frontend=FRONTEND, task="ft_cls", seed=0)
    model.save_pretrained(tmp_path / "m")
    words = ["embed", "-i", str(still_corpus.audio), "-d", str(still_corpus.splits), "--over_time", "True"]
    words += ["--finetuned_mdl_path", str(tmp_path / "m"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(words) == 2
    assert "class tokens alone; take pt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.main([*words, "--embedding_type", "pt"]) == 0
