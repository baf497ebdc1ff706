"""`ssast.SpeechEmbedder`: scikit-learn's habits, and the embeddings of `ssast extract`."""

import pickle

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from ssast import SpeechEmbedder, SSASTForAudioClassification, SSASTForPreTraining
from ssast.errors import UserError
from ssast.modes.extract import extract

FRONTEND = {"sample_rate": 16000, "num_mel_bins": 128, "target_length": 64, "mean": -4.0, "std": 4.5, "reduce": True}
SIZES = {"model_size": "tiny", "fshape": 128, "tshape": 8, "target_length": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "fine"
    SSASTForAudioClassification(2, **SIZES, labels=["high", "loud"], frontend=FRONTEND, seed=0).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "pre"
    SSASTForPreTraining(**SIZES, mask_patch=2, seed=0).save_pretrained(path)
    return str(path)


def files(corpus, split="train"):
    return [corpus.audio / uid / "waveform.wav" for uid in corpus.frame(split).index]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
@pytest.mark.parametrize("kind", ["ft", "pt"])
def test_rows_are_what_extract_writes(folder, still_corpus, tmp_path, kind, precision):
    how = {"layer": 5} if kind == "pt" else {}
    table = extract(
        prefix=str(still_corpus.audio),
        data_split_root=str(still_corpus.splits / "test.csv"),
        finetuned_mdl_path=folder,
        embedding_type=kind,
        exp_dir=str(tmp_path),
        device="cpu",
        precision=precision,
        **how,
    )
    wanted = np.stack(pd.read_parquet(table)["embedding"])
    given = {} if precision == "fp32" else {"precision": precision}  # fp32 is what Python takes unasked
    embedder = SpeechEmbedder(folder, embedding_type=kind, device="cpu", **how, **given)
    found = embedder.fit_transform(files(still_corpus, "test"))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("asked", [False, True], ids=["the model's own", "asked"])
def test_whole_recordings_are_what_extract_writes_of_them(tmp_path, still_corpus, asked):
    """A model that was fine-tuned on whole recordings was given beginnings here."""
    share = {} if asked else {"window_overlap": 0.25}
    model = SSASTForAudioClassification(2, **SIZES, labels=["high", "loud"], frontend=FRONTEND | share, seed=0)
    model.save_pretrained(tmp_path / "model")
    table = extract(
        prefix=str(still_corpus.audio),
        data_split_root=str(still_corpus.splits / "test.csv"),
        finetuned_mdl_path=str(tmp_path / "model"),
        exp_dir=str(tmp_path / "out"),
        device="cpu",
        precision="fp32",
        embedding_type="ft",
        **({"whole_recording": True} if asked else {}),
    )
    wanted = np.stack(pd.read_parquet(table)["embedding"])
    embedder = SpeechEmbedder(str(tmp_path / "model"), device="cpu", **({"whole_recording": True} if asked else {}))
    paths = files(still_corpus, "test")
    np.testing.assert_array_equal(embedder.transform(paths), wanted)
    twice = embedder.transform([paths[0], paths[0], paths[1]])
    np.testing.assert_allclose(twice, wanted[[0, 0, 1]], atol=1e-5)
    beginnings = embedder.set_params(whole_recording=False).transform(paths)
    assert np.abs(beginnings - wanted).max() > 1e-3


def test_waveforms_give_what_their_files_give_in_any_batch(pretrained, still_corpus):
    paths = files(still_corpus, "test")
    waves = [soundfile.read(path, dtype="float32")[0] for path in paths]
    from_files = SpeechEmbedder(pretrained, layer=3, device="cpu").transform(np.array([str(path) for path in paths]))
    from_waves = SpeechEmbedder(pretrained, layer=3, device="cpu", sample_rate=16000, batch_size=3).transform(waves)
    np.testing.assert_array_equal(from_files, from_waves)


def test_it_searches_layers_in_a_pipeline(pretrained, still_corpus):
    pipeline = make_pipeline(SpeechEmbedder(pretrained, device="cpu"), LogisticRegression(max_iter=2000))
    paths, high = files(still_corpus), still_corpus.frame()["high"].to_numpy()
    assert len(cross_val_score(pipeline, paths, high, cv=2)) == 2
    search = GridSearchCV(pipeline, {"speechembedder__layer": [0, 13]}, cv=2).fit(paths, high)
    assert search.best_params_["speechembedder__layer"] in (0, 13)
    assert search.predict(paths).shape == (12,)
    names = search.best_estimator_[0].get_feature_names_out()
    assert (names[0], len(names)) == ("speechembedder0", 192)


def test_it_can_be_cloned_and_pickled_without_its_weights(folder, still_corpus):
    embedder = SpeechEmbedder(folder, layer=4, embedding_type="pt", device="cpu")
    before = embedder.transform(files(still_corpus, "test")[:2])
    assert clone(embedder).get_params() == embedder.get_params()
    kept = pickle.dumps(embedder)
    assert len(kept) < 2000
    np.testing.assert_array_equal(pickle.loads(kept).transform(files(still_corpus, "test")[:2]), before)


def test_a_model_that_was_trained_anew_in_its_folder_is_read_anew(folder, still_corpus, tmp_path):
    rows = []
    for seed in (0, 1):
        SSASTForAudioClassification(1, **SIZES, labels=["a"], seed=seed).save_pretrained(tmp_path / "m")
        rows.append(SpeechEmbedder(tmp_path / "m", device="cpu").transform(files(still_corpus)[:1]))
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_a_model_itself_serves_too_and_a_recording_may_come_twice(folder, still_corpus):
    model = SSASTForAudioClassification.from_pretrained(folder)
    rows = SpeechEmbedder(model, device="cpu").transform([files(still_corpus)[0]] * 2)
    np.testing.assert_array_equal(rows[0], rows[1])


@pytest.mark.parametrize(
    ("how", "given", "said"),
    [
        ({}, "a.wav", "str came where a list of audio files or of waveforms was expected"),
        ({"window_overlap": 1.5}, ["a.wav"], "window_overlap is 1.5; expected a share from 0 to 0.95"),
        ({}, ["nowhere.wav"], "nowhere.wav is no file; give one audio file for each row"),
        ({}, ["a.wav", np.zeros(9, np.float32)], "files and waveforms came mixed"),
        ({}, [np.zeros(9000, np.float32)], "waveforms came with the sample_rate None"),
        ({"layer": 14}, [], "layer 14 does not exist"),
        ({"embedding_type": "wt"}, [], "made with weighted False"),
        ({"device": "tpu"}, [], "device 'tpu' is unknown"),
    ],
)
def test_a_slip_is_one_sentence(folder, how, given, said):
    with pytest.raises(UserError, match=said):
        SpeechEmbedder(folder, **how).transform(given)


def test_no_model_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        SpeechEmbedder(tmp_path / "nothing").fit([])


def test_no_recordings_make_no_rows(folder):
    assert SpeechEmbedder(folder, device="cpu").transform([]).shape == (0, 192)


def test_bf16_leaves_the_model_that_was_given_as_it_was_and_differs_from_fp32_in_the_third_digit(folder, still_corpus):
    model = SSASTForAudioClassification.from_pretrained(folder)
    paths = files(still_corpus, "test")
    whole = SpeechEmbedder(model, device="cpu").transform(paths)
    coarse = SpeechEmbedder(model, device="cpu", precision="bf16").transform(paths)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    np.testing.assert_array_equal(SpeechEmbedder(model, device="cpu").transform(paths), whole)
    assert 0 < np.abs(coarse - whole).max() < 0.05 * np.abs(whole).max()


def test_an_unknown_precision_is_one_sentence(folder, still_corpus):
    with pytest.raises(UserError, match="precision 'fp16' is unknown; give --precision auto, fp32 or bf16"):
        SpeechEmbedder(folder, precision="fp16").transform(files(still_corpus))
