"""`ssast predict` and `model.predict`: any audio files in, tables of scores out, the same scores as `evaluate`'s."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import ssast
from ssast import SSASTForAudioClassification, cli
from ssast.audio.decode import decode
from ssast.data.storage.location import Location
from ssast.engine import inference
from ssast.errors import AudioError, UserError
from ssast.model import classification
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)
SHAPE = {"model_size": "tiny", "fshape": 32, "tshape": 8, "num_mel_bins": 32, "target_length": 48}
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 48, "mean": -4.0, "std": 4.0}
FRONTEND |= {"reduce": True, "clip_length": 0.0}
LABELS = ["high", "loud"]
HERE = {"device": "cpu", "precision": "fp32"}


def save(folder, *, frontend=FRONTEND, thresholds=None, **options):
    kept = {"labels": LABELS, "frontend": frontend, "task": "ft_avgtok", "layer": 2, "seed": 0, **options}
    SSASTForAudioClassification(len(kept["labels"]), **SHAPE, **kept).save_pretrained(folder)
    if thresholds:
        (folder / "thresholds.json").write_text(json.dumps({"thresholds": thresholds}))
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "fine", thresholds={"high": 0.5, "loud": 0.0})


@pytest.fixture
def long_file(tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "long ones" / "übung 1.wav"
    place.parent.mkdir()
    soundfile.write(place, 0.1 * rng.standard_normal(3 * 16000) * np.linspace(0, 1, 3 * 16000), 16000)
    return place


def predict(model, files, out, **options):
    folder = ssast.predict(finetuned_mdl_path=str(model), files=files, exp_dir=str(out), **{**HERE, **options})
    return table(folder)


def table(folder, name="predicted"):
    text = pd.read_csv(folder / f"{name}.csv")
    binary = pd.read_parquet(folder / f"{name}.parquet")
    pd.testing.assert_frame_equal(text, binary, check_dtype=False, rtol=1e-6)
    return text


def short_corpus(corpus):
    """Clips that the model takes whole: 48 frames are half a second."""
    for uid in corpus.frame("test").index:
        place = corpus.audio / uid / "waveform.wav"
        samples, rate = soundfile.read(place)
        soundfile.write(place, samples[: 4000 + 500 * int(uid[-1])], rate)
    return corpus


@pytest.mark.parametrize("masked", [False, True])
def test_scores_are_those_of_evaluate_to_the_byte(corpus, model_folder, tmp_path, masked):
    short_corpus(corpus)
    how = {"finetuned_mdl_path": str(model_folder), "resamples": 0, "mask_padding": masked, **HERE}
    splits = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits)}
    evaluated = pd.read_parquet(ssast.evaluate(**splits, **how, exp_dir=str(tmp_path / "e")) / "predictions.parquet")
    files = [str(corpus.audio / uid / "waveform.wav") for uid in evaluated["uid"]]
    predict(model_folder, files, tmp_path / "p", mask_padding=masked)
    predicted = pd.read_parquet(tmp_path / "p" / "predicted.parquet")
    assert predicted["file"].tolist() == files
    assert predicted[LABELS].to_numpy().tobytes() == evaluated[LABELS].to_numpy().tobytes()
    assert (predicted["windows"] == 1).all()


def test_no_neighbour_and_no_number_of_workers_changes_a_score(still_corpus, model_folder, tmp_path):
    whole = predict(model_folder, str(still_corpus.audio), tmp_path / "a").set_index("file")
    other = predict(model_folder, str(still_corpus.audio), tmp_path / "b", batch_size=3, num_workers=2)
    alone = predict(model_folder, str(still_corpus.audio / "0005"), tmp_path / "c").set_index("file")
    assert len(whole) == 18
    np.testing.assert_allclose(other.set_index("file").loc[whole.index, LABELS], whole[LABELS], atol=1e-6)
    np.testing.assert_allclose(alone[LABELS], whole.loc[alone.index, LABELS], atol=1e-6)


def test_a_long_recording_is_heard_in_windows_each_as_if_it_were_alone(model_folder, long_file, tmp_path):
    row = predict(model_folder, str(long_file), tmp_path / "out").iloc[0]
    windows = table(tmp_path / "out", "predicted_windows")
    assert row["windows"] == len(windows) == 12
    assert windows["start_seconds"].tolist()[:3] == [0.0, 0.24, 0.48]
    assert windows["end_seconds"].iloc[-1] == row["seconds"] == 3.0
    assert list(windows.columns) == ["file", "start_seconds", "end_seconds", *LABELS]
    np.testing.assert_allclose(row[LABELS].astype(float), windows[LABELS].mean(), atol=1e-6)
    samples, rate = soundfile.read(long_file)
    cut = long_file.with_name("cut.wav")
    soundfile.write(cut, samples[3 * 3840 : 3 * 3840 + 7920], rate)
    alone = predict(model_folder, str(cut), tmp_path / "alone").iloc[0]
    np.testing.assert_allclose(alone[LABELS].astype(float), windows[LABELS].iloc[3], atol=1e-5)


def test_overlap_and_pooling_are_options(model_folder, long_file, tmp_path):
    row = predict(model_folder, str(long_file), tmp_path / "out", window_overlap=0, window_pooling="max").iloc[0]
    windows = table(tmp_path / "out", "predicted_windows")
    assert row["windows"] == 7
    np.testing.assert_allclose(row[LABELS].astype(float), windows[LABELS].max(), atol=1e-6)


def test_a_window_is_as_long_as_the_clips_that_the_model_learned_from(long_file, tmp_path):
    model = save(tmp_path / "m", frontend={**FRONTEND, "clip_length": 0.25})
    predict(model, str(long_file), tmp_path / "out", window_overlap=0)
    windows = table(tmp_path / "out", "predicted_windows")
    assert (windows["end_seconds"] - windows["start_seconds"]).iloc[0] == pytest.approx(0.245)


def test_a_model_saved_without_a_frontend_keeps_its_input_and_says_what_is_assumed(long_file, tmp_path, capsys):
    """It ended in a sentence about the shape of an fbank, which no command makes."""
    row = predict(save(tmp_path / "m", frontend=None), str(long_file), tmp_path / "out", dataset_mean=-4.0).iloc[0]
    same = predict(save(tmp_path / "n", frontend=FRONTEND | {"std": 4.5689974}), str(long_file), tmp_path / "same")
    assert row["windows"] == 12
    assert list(row[LABELS]) == list(same.iloc[0][LABELS])
    assert "does not say how it hears: it gets 16000 Hz, less -4" in capsys.readouterr().out


def test_thresholds_of_the_model_make_yes_and_no(model_folder, still_corpus, tmp_path, capsys):
    found = predict(model_folder, str(still_corpus.audio), tmp_path / "out")
    assert (found["loud_call"] == "yes").all()
    assert ((found["high"] >= 0.5) == (found["high_call"] == "yes")).all()
    assert "18 recordings in" in capsys.readouterr().out
    bare = predict(save(tmp_path / "m"), str(still_corpus.audio), tmp_path / "bare")
    assert list(bare.columns) == ["file", "seconds", "windows", *LABELS, "note"]


def test_numbers_get_no_yes_or_no(still_corpus, tmp_path):
    model = save(tmp_path / "m", loss="MSE", thresholds={"high": 0.5})
    assert "high_call" not in predict(model, str(still_corpus.audio / "0000"), tmp_path / "out").columns


def test_same_names_in_different_folders_and_awkward_ones_stay_apart(model_folder, tmp_path):
    names = ["a/x, y.wav", "b/x, y.wav", "ä ö/=1+2.wav", 'b/say "a".wav']
    for number, name in enumerate(names):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, np.full(8000, 0.1 * number), 16000)
    words = ["predict", str(model_folder), *(str(tmp_path / "in" / name) for name in names)]
    assert cli.main([*words, "-o", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert table(tmp_path / "out")["file"].tolist() == [str(tmp_path / "in" / name) for name in names]


def test_the_record_repeats_the_run(model_folder, still_corpus, tmp_path):
    files = [still_corpus.audio / "0003", still_corpus.audio / "0004"]
    first = predict(model_folder, files, tmp_path / "a")
    again = ["predict", "--config", str(tmp_path / "a" / "run.yaml"), "-o", str(tmp_path / "b")]
    assert cli.main(again) == 0
    pd.testing.assert_frame_equal(table(tmp_path / "b"), first)


def test_a_label_that_is_called_like_another_column_is_told_apart(still_corpus, tmp_path):
    model = save(tmp_path / "m", labels=["seconds", "loud"])
    found = predict(model, str(still_corpus.audio / "0000"), tmp_path / "out")
    assert list(found.columns) == ["file", "seconds", "windows", "seconds_score", "loud", "note"]


def test_of_many_labels_the_screen_shows_the_highest(still_corpus, tmp_path, capsys):
    model = save(tmp_path / "m", labels=[f"word {number}" for number in range(12)])
    predict(model, str(still_corpus.audio / "0000"), tmp_path / "out")
    passed_over, header, row = capsys.readouterr().out.splitlines()[:3]
    assert passed_over.startswith("passed over")
    assert header.split() == ["file", "seconds", "windows", "label", "1", "label", "2", "label", "3"]
    assert row.count("word") == 3


def test_a_pass_that_was_killed_goes_on(still_corpus, model_folder, tmp_path, monkeypatch, dies):
    whole = predict(model_folder, str(still_corpus.audio), tmp_path / "whole", batch_size=1)
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)
    with dies(inference, "values", after=2):
        predict(model_folder, str(still_corpus.audio), tmp_path / "out", batch_size=1)
    assert not list((tmp_path / "out").glob("predicted*"))
    values, calls = inference.values, []
    monkeypatch.setattr(inference, "values", lambda *args: (calls.append(args[1]["uid"]), values(*args))[1])
    found = predict(model_folder, str(still_corpus.audio), tmp_path / "out", batch_size=1)
    before = {Path(file).parent.name for uids in calls for file in uids}
    assert len(before) < 18
    np.testing.assert_allclose(found[LABELS], whole[LABELS], atol=1e-6)
    assert found["file"].tolist() == whole["file"].tolist()
    assert not (tmp_path / "out" / ".parts").exists()


def test_what_a_long_recording_spilled_before_a_kill_is_not_counted_twice(model_folder, long_file, tmp_path, dies):
    """Rows of a recording that is not finished go to disk when they are many, and are thrown away by the next pass."""
    whole = predict(model_folder, str(long_file), tmp_path / "whole", window_overlap=0.9)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inference, "BYTES_A_PART", 0)
        with dies(inference, "values", after=3):
            predict(model_folder, str(long_file), tmp_path / "out", window_overlap=0.9)
        assert list((tmp_path / "out").glob(".parts/predict/part-000000000-000000000-*.parquet"))
        found = predict(model_folder, str(long_file), tmp_path / "out", window_overlap=0.9)
    pd.testing.assert_frame_equal(found, whole)


def test_a_recording_that_cannot_be_used_ends_the_run_or_is_left_out_and_named(corpus, model_folder, tmp_path, capsys):
    (corpus.audio / "0003" / "waveform.wav").write_bytes(b"RIFF nothing")
    words = ["predict", str(model_folder), str(corpus.audio), "--device", "cpu", "-o"]
    assert cli.main([*words, str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "0003/waveform.wav" in said
    assert "--on_bad_audio skip" in said
    assert cli.main([*words, str(tmp_path / "b"), "--on_bad_audio", "skip"]) == 0
    assert len(table(tmp_path / "b")) == 17
    assert "0003" in (tmp_path / "b" / "bad_audio.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{model}"], "predict lacks recordings; write `ssast predict MODEL FILES`"),
        ([], "predict lacks a model"),
        (["{model}", "{tmp}/gone.wav"], "gone.wav does not exist"),
        (["{model}", "{tmp}/empty"], "empty holds no audio file"),
        (["{model}", "{tmp}/list.csv"], "list.csv is no audio file by its name"),
        (["{tmp}/nomodel", "{tmp}/a.wav"], "nomodel does not exist"),
        (["{tmp}/pretrained", "{tmp}/a.wav"], "pretrained holds a pretrained model"),
        (
            ["{model}", "{tmp}/a.wav", "--window_overlap", "1"],
            "--window_overlap is 1, expected a number from 0 to 0.95",
        ),
        (["{model}", "{tmp}/broken.wav", "--on_bad_audio", "skip"], "recordings can be used; the first: clip"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_left(model_folder, tmp_path, capsys, words, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("uid\n1\n")
    (tmp_path / "broken.wav").write_text("no sound")
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    SSASTForPreTraining(**SHAPE, mask_patch=2, seed=0).save_pretrained(tmp_path / "pretrained")
    filled = [word.format(model=model_folder, tmp=tmp_path) for word in words]
    assert cli.main(["predict", *filled, "-o", str(tmp_path / "out"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert said in error
    assert not list((tmp_path / "out").glob("predicted*"))


def test_files_and_models_in_a_bucket(still_corpus, model_folder, tmp_path):
    there = Location("memory://ssast-predict")
    sources = {"fine": model_folder, "audio/0001": still_corpus.audio / "0001", "audio/2": still_corpus.audio / "0002"}
    for name, folder in sources.items():
        for path in folder.iterdir():
            with (there / name / path.name).open("wb") as file:
                file.write(path.read_bytes())
    found = predict(f"{there}/fine", f"{there}/audio", tmp_path / "out")
    assert found["file"].tolist() == [f"{there}/audio/{name}/waveform.wav" for name in ("0001", "2")]
    assert "loud_call" in found.columns


def test_an_older_model_predicts_too(still_corpus, model_folder, tmp_path):
    state = SSASTForAudioClassification.from_pretrained(model_folder).state_dict()
    torch.save(state, tmp_path / "old.pt")
    how = {"task": "ft_avgtok", "layer": 2, "num_mel_bins": 32, "target_length": 48}
    how |= {"dataset_mean": -4.0, "dataset_std": 4.0, "fstride": 32, "tstride": 8}
    older = predict(tmp_path / "old.pt", str(still_corpus.audio / "0000"), tmp_path / "a", **how)
    ours = predict(model_folder, str(still_corpus.audio / "0000"), tmp_path / "b")
    np.testing.assert_allclose(older[["label 0", "label 1"]], ours[LABELS], atol=1e-6)


class TestFromPython:
    """model.predict: the same, in memory."""

    @pytest.fixture(scope="class")
    def model(self, model_folder):
        return SSASTForAudioClassification.from_pretrained(model_folder)

    def test_a_file_a_folder_and_a_list_give_the_scores_of_the_mode(self, model, still_corpus, model_folder, tmp_path):
        expected = predict(model_folder, str(still_corpus.audio), tmp_path / "out").set_index("file")
        for given in (still_corpus.audio, str(still_corpus.audio), [still_corpus.audio / "0007", still_corpus.audio]):
            found = model.predict(given)
            assert found.index.name == "file"
            assert len(found) == 18
            np.testing.assert_allclose(found, expected.loc[found.index, LABELS], atol=1e-6)
        (one,) = model.predict(still_corpus.audio / "0001" / "waveform.wav").to_dict("records")
        assert one == pytest.approx(expected.loc[str(still_corpus.audio / "0001" / "waveform.wav"), LABELS].to_dict())

    def test_a_waveform_gives_what_its_file_gives(self, model, long_file):
        recording = decode(long_file, extension="wav")
        by_file = model.predict(long_file).to_numpy()
        for waveform in (recording.waveform, recording.waveform[0], recording.waveform.numpy()):
            found = model.predict(waveform, 16000)
            np.testing.assert_allclose(found.to_numpy(), by_file, atol=1e-6)
        several = model.predict([recording.waveform, recording.waveform[:, :4000]], recording.sample_rate)
        assert several.index.tolist() == [0, 1]
        assert several.index.name == "recording"

    def test_windows_are_a_table_of_their_own(self, model, long_file):
        windows = model.predict(long_file, windows=True, window_overlap=0.25)
        assert list(windows.columns) == ["start_seconds", "end_seconds", *LABELS]
        assert windows["start_seconds"].tolist()[:3] == [0.0, 0.36, 0.72]
        pooled = model.predict(long_file, window_overlap=0.25)
        np.testing.assert_allclose(windows[LABELS].mean(), pooled.iloc[0], atol=1e-6)

    def test_masked_padding_holds_for_one_call(self, model):
        clip = 0.1 * torch.randn(3000, generator=torch.Generator().manual_seed(0))
        plain, masked = model.predict(clip, 16000), model.predict(clip, 16000, mask_padding=True)
        assert not np.allclose(plain, masked, atol=1e-4)
        assert model.mask_padding is False
        np.testing.assert_array_equal(model.predict(clip, 16000), plain)

    def test_the_class_of_ssast_hears_and_the_one_below_knows_no_sound(self):
        assert ssast.ASTModel_finetune is ssast.SSASTForAudioClassification
        assert issubclass(ssast.SSASTForAudioClassification, classification.SSASTForAudioClassification)
        assert not hasattr(classification.SSASTForAudioClassification, "predict")

    def test_a_model_in_training_goes_on_in_training(self, model):
        model.train()
        model.predict(0.1 * torch.randn(16000), 16000)
        assert model.training
        model.eval()

    @pytest.mark.parametrize(
        ("given", "rate", "said"),
        [
            (torch.zeros(16000), None, "sample_rate None"),
            (torch.zeros(16000, 2), 16000, "turn it round"),
            (torch.zeros(16000, dtype=torch.int16), 16000, "give floats"),
            (torch.full((16000,), float("nan")), 16000, "NaN"),
            ([], None, "no recordings"),
            (["a.wav", torch.zeros(3)], 16000, "mixed"),
            ("gone.wav", None, "does not exist"),
        ],
    )
    def test_what_cannot_be_heard_is_one_sentence(self, model, given, rate, said):
        with pytest.raises(UserError, match=said):
            model.predict(given, rate)

    def test_bad_files_are_an_error_or_have_no_row(self, model, still_corpus, tmp_path):
        shutil.copytree(still_corpus.audio / "0001", tmp_path / "in" / "0001")
        (tmp_path / "in" / "bad.wav").write_text("no sound")
        with pytest.raises(AudioError, match=r"bad\.wav"):
            model.predict(tmp_path / "in")
        assert len(model.predict(tmp_path / "in", on_bad_audio="skip")) == 1

    def test_a_model_of_another_length_hears_windows_of_that(self, model_folder, long_file):
        shorter = SSASTForAudioClassification.from_pretrained(model_folder, target_length=24)
        assert len(shorter.predict(long_file, windows=True, window_overlap=0)) == 13


def test_real_speech_of_11_seconds_in_stereo(shared, model_folder, tmp_path):
    row = predict(model_folder, str(shared / "audio" / "jfk.flac"), tmp_path / "out").iloc[0]
    assert row["seconds"] == pytest.approx(11.0, abs=0.01)
    assert row["windows"] == 45


def test_in_python_precision_is_asked_for_and_leaves_the_model_as_it_is(model_folder, still_corpus, tmp_path):
    model = SSASTForAudioClassification.from_pretrained(model_folder)
    files = still_corpus.audio / "0001"
    usual, full, half = (model.predict(files, **how) for how in ({}, {"precision": "fp32"}, {"precision": "bf16"}))
    pd.testing.assert_frame_equal(usual, full)
    assert 0 < np.abs(half.to_numpy() - full.to_numpy()).max() < 0.02
    assert all(one.dtype == torch.float32 for one in model.parameters())
    typed = predict(model_folder, str(files), tmp_path / "out", precision="bf16")
    np.testing.assert_allclose(typed[LABELS].to_numpy(float), half.to_numpy(), atol=1e-6)
    with pytest.raises(UserError, match="precision 'half' is unknown; give --precision auto, fp32 or bf16"):
        model.predict(files, precision="half")
