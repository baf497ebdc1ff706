"""No mode and no adapter gives NaN or infinity for an answer: one sentence names the tensor, or the clip."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ssast
from ssast.adapters import hear
from ssast.adapters.s3prl import UpstreamExpert
from ssast.adapters.scikit_learn import SpeechEmbedder
from ssast.audio.decode import Recording
from ssast.cli import main
from ssast.data.dataset import AudioConf
from ssast.errors import AudioError
from ssast.model.classification import SSASTForAudioClassification

torch.set_num_threads(1)
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 128, "target_length": 32, "mean": -4.0, "std": 4.0}
SIZES = {"model_size": "tiny", "fshape": 128, "tshape": 2, "target_length": 32}
SIZES |= {"frontend": FRONTEND | {"reduce": True, "clip_length": 0.0}}


def altered(folder, place, change):
    shutil.copytree(folder, place)
    save_file(change(load_file(place / "model.safetensors")), place / "model.safetensors")
    return place


def enlarged(state):
    """Finite weights, each of a size that could be, whose answers are not finite."""
    return {name: value * 1e8 / value.abs().max().clamp(min=1e-9) for name, value in state.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "sound"
    SSASTForAudioClassification(2, **SIZES, labels=["high", "loud"], task="ft_avgtok", seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def poisoned(sound, tmp_path_factory):
    """A model folder with one NaN."""
    name = "v.blocks.3.mlp.fc1.weight"

    def change(state):
        state[name].view(-1)[7] = torch.nan
        return state

    return altered(sound, tmp_path_factory.mktemp("models") / "poisoned", change)


@pytest.fixture(scope="module")
def overflowing(sound, tmp_path_factory):
    return altered(sound, tmp_path_factory.mktemp("models") / "overflowing", enlarged)


def command(mode, corpus, model, out):
    data = ["-i", str(corpus.audio), "-d", str(corpus.splits / "test.csv"), "--finetuned_mdl_path", str(model)]
    words = {
        "predict": ["predict", str(model), str(corpus.audio / "0001")],
        "extract": ["extract", *data],
        "over time": ["extract", *data, "--over_time", "True"],
        "evaluate": ["evaluate", *data, "-l", str(corpus.label_txt), "--resamples", "0"],
        "attention": ["attention", *data, "--max_clips", "1"],
    }[mode]
    return [*words, "-o", str(out), "--device", "cpu", "--precision", "fp32"]


MODES = ("predict", "extract", "over time", "evaluate", "attention")


@pytest.mark.parametrize("mode", MODES)
def test_one_nan_in_the_weights_ends_each_mode_with_the_name_of_the_tensor(
    mode, still_corpus, poisoned, tmp_path, capsys
):
    assert main(command(mode, still_corpus, poisoned, tmp_path / "out")) == 2
    assert "v.blocks.3.mlp.fc1.weight holds NaN (1 of its" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", MODES)
def test_finite_weights_that_overflow_end_each_mode_with_the_name_of_the_clip(
    mode, still_corpus, overflowing, tmp_path, capsys
):
    out = tmp_path / "out"
    assert main(command(mode, still_corpus, overflowing, out)) == 2
    clip = str(still_corpus.audio / "0001" / "waveform.wav") if mode == "predict" else "0012"
    assert f" is NaN for the clip {clip}" in capsys.readouterr().err
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_only_the_clip_that_overflows_is_named(still_corpus, sound, tmp_path, monkeypatch):
    whole = SSASTForAudioClassification.score_pooled
    seen = []

    def overflow(self, pooled_BND):
        scores_BN = whole(self, pooled_BND)
        if not seen:
            scores_BN[2] = torch.inf
        seen.append(len(scores_BN))
        return scores_BN

    monkeypatch.setattr(SSASTForAudioClassification, "score_pooled", overflow)
    where = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits / "test.csv")}
    with pytest.raises(AudioError, match="answer is infinite for the clip 0014, since"):
        ssast.evaluate(
            **where,
            label_txt=str(still_corpus.label_txt),
            finetuned_mdl_path=str(sound),
            device="cpu",
            exp_dir=str(tmp_path / "out"),
        )


@pytest.mark.parametrize("mode", ["convert", "export"])
def test_no_other_form_is_made_of_a_model_without_answers(mode, overflowing, published_tiny, tmp_path, capsys):
    source = overflowing
    if mode == "convert":
        state = torch.load(published_tiny, weights_only=True)
        source = tmp_path / "huge.pth"
        torch.save(state | enlarged({name: value for name, value in state.items() if ".blocks." in name}), source)
    else:
        pytest.importorskip("onnxruntime")
    assert main([mode, str(source), str(tmp_path / "new")]) == 2
    assert "gives NaN or infinity for random spectrograms" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_converting_a_poisoned_file_names_the_tensor(published_tiny, tmp_path, capsys):
    state = torch.load(published_tiny, weights_only=True)
    state["module.cpredlayer.0.bias"][5] = torch.nan
    torch.save(state, tmp_path / "bad.pth")
    assert main(["convert", str(tmp_path / "bad.pth"), str(tmp_path / "new")]) == 2
    assert "cpredlayer.0.bias holds NaN (1 of its 192 numbers)" in capsys.readouterr().err


def test_inspect_says_that_the_weights_cannot_be_used(poisoned, capsys):
    assert main(["inspect", str(poisoned)]) == 2
    assert "v.blocks.3.mlp.fc1.weight holds NaN" in capsys.readouterr().err


def test_inspect_says_it_of_a_file_of_torch_too(published_tiny, tmp_path, capsys):
    state = torch.load(published_tiny, weights_only=True)
    state["module.v.norm.weight"][3] = torch.inf
    torch.save(state, tmp_path / "x.pth")
    assert main(["inspect", str(tmp_path / "x.pth")]) == 2
    assert "v.norm.weight holds infinity (1 of its 192 numbers)" in capsys.readouterr().err


def test_the_adapters_and_predict_name_the_recording(overflowing, still_corpus):
    model = SSASTForAudioClassification.from_pretrained(overflowing)
    waveforms = [np.sin(np.arange(8000) / 20).astype(np.float32)] * 2
    with pytest.raises(AudioError, match="answer is NaN for the clip 0 "):
        ssast.SSASTForAudioClassification.from_pretrained(overflowing).predict(waveforms, 16000)
    with pytest.raises(AudioError, match="answer is NaN for the clip 0 "):
        SpeechEmbedder(model, sample_rate=16000, device="cpu").transform(waveforms)
    with pytest.raises(AudioError, match="states over time is NaN for the clip waveform 0"):
        UpstreamExpert(str(overflowing))([torch.from_numpy(wave) for wave in waveforms])
    with pytest.raises(AudioError, match="states over time is NaN for the clip waveform 0"):
        hear.get_scene_embeddings(torch.from_numpy(np.stack(waveforms)), hear.load_model(str(overflowing)))


def test_pooling_for_a_head_names_the_clip_and_keeps_nothing(still_corpus, overflowing, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    words = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits), "-l", str(still_corpus.label_txt)]
    words += ["--pretrained_mdl_path", str(overflowing), "--target_length", "32", "--device", "cpu"]
    assert main(["finetune", *words, "-o", str(tmp_path / "out")]) == 2
    assert "answer is NaN for the clip 00" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "cache" / "files").rglob("*") if path.is_file()]


@pytest.mark.parametrize("largest", [1e13, 3e38])
def test_samples_that_would_overflow_are_refused_for_that_recording(largest):
    waveform = torch.zeros(1, 8000)
    waveform[0, 5] = -largest
    with pytest.raises(AudioError, match=r"its samples reach (1e\+13|3e\+38), expected values from -1 to 1"):
        AudioConf().heard([Recording(waveform, 16000)])
    assert AudioConf().heard([Recording(waveform / largest * 1e9, 16000)]).waveform.abs().max() == 1e9


@pytest.mark.parametrize(
    ("option", "value"), [("dataset_std", "0"), ("dataset_std", "1e-30"), ("dataset_mean", "1e30")]
)
def test_statistics_that_leave_no_finite_spectrogram_are_refused(option, value, capsys):
    assert main(["stats", f"--{option}", value]) == 2
    assert f"{option} is {value}, expected a number from" in capsys.readouterr().err
