"""The attention mode: from recordings and a model folder to a page, pictures and values."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

import ssast
from ssast.cli import main
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow")

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


@pytest.fixture
def undrawn(monkeypatch):
    """No PNG pictures, which take half of the time: for tests that do not look at any."""
    monkeypatch.setattr("ssast.modes.attention.can_draw", lambda: False)


@pytest.fixture
def hardly_drawn(monkeypatch):
    """PNG files without a picture: for tests that look at the names of files alone."""
    monkeypatch.setattr("ssast.modes.attention.clip_figure", lambda clip, panels: b"")


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
        for name in ("relevance", "published", "integrated_gradients", "input_x_gradient", "occlusion"):
            assert values[name].shape == (2, 48, 32)
        assert values["relevance_patches"].shape == (2, 1, 6)
        assert values["attention"].shape == (2, 3, 1, 6)  # two blocks run for layer 2
        assert values["labels"].tolist() == ["high", "loud"]
        assert values["fbank"].shape == (48, 32)
        assert values["own_frames"] == 48


def test_each_map_comes_with_its_test(looked):
    table = pd.read_csv(looked / "faithfulness.csv", dtype={"uid": str})
    by_label = {"relevance", "integrated", "gradient", "occlusion", "published"}
    assert set(table["map"]) == by_label | {"rollout", "attention/1/mean", "attention/2/mean"}
    assert len(table) == 3 * 8 * 2 * 3
    assert table.notna().all().all()


def test_groups_are_shown_for_each_label_with_both_classes(looked):
    assert len(data_of(looked)["groups"]) == 4


def test_the_sound_is_what_the_model_heard(looked):
    clip = data_of(looked)["clips"][0]
    assert clip["sound"].startswith("data:audio/wav;base64,")
    seconds = len(clip["sound"]) * 3 / 4 / 2 / 16000
    assert seconds == pytest.approx(0.495, abs=0.01)


@pytest.mark.usefixtures("undrawn")
def test_the_same_seed_gives_the_same_page(still_corpus, finetuned, looked, tmp_path):
    again = look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), max_clips=3)
    assert data_of(again) == data_of(looked)


@pytest.mark.usefixtures("undrawn")
def test_chosen_clips_come_in_the_order_asked_for(still_corpus, finetuned, tmp_path):
    out = look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), uids="0016, 0012")
    assert [clip["uid"] for clip in data_of(out)["clips"]] == ["0016", "0012"]


def test_an_unknown_uid_is_named(still_corpus, finetuned, tmp_path):
    with pytest.raises(UserError, match="nobody"):
        look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), uids="0012,nobody")


@pytest.mark.usefixtures("undrawn")
def test_clips_need_no_labels(corpus, finetuned, tmp_path):
    table = corpus.splits / "some.csv"
    pd.DataFrame({"uid": ["0001"]}).to_csv(table, index=False)
    where = {"prefix": str(corpus.audio), "data_split_root": str(table), "exp_dir": str(tmp_path / "out")}
    data = data_of(ssast.attention(**where, finetuned_mdl_path=str(finetuned), device="cpu"))
    assert data["groups"] == []
    assert "relevance/0" in data["clips"][0]["maps"]


@pytest.mark.usefixtures("undrawn")
def test_a_pretrained_model_shows_its_guesses(still_corpus, pretrained, tmp_path):
    out = look(still_corpus, tmp_path, pretrained_mdl_path=str(pretrained), max_clips=1)
    clip = data_of(out)["clips"][0]
    assert list(clip["pictures"]) == ["as it is", "hidden patches blank", "hidden patches as guessed"]
    assert {"rollout", "told", "attention/12/mean", "attention/1/3"} <= set(clip["maps"])
    with np.load(out / "0012.npz") as values:
        assert values["guessed"].shape == (48, 32)
        assert len(values["hidden_patches"]) == 2


@pytest.mark.usefixtures("undrawn")
def test_a_recording_that_cannot_be_used_is_left_out_and_named(corpus, finetuned, tmp_path):
    (corpus.audio / "0012" / "waveform.wav").write_bytes(b"nothing")
    chosen = {"finetuned_mdl_path": str(finetuned), "uids": "0012,0013"}
    with pytest.raises(UserError, match="0012"):
        look(corpus, tmp_path / "a", **chosen)
    out = look(corpus, tmp_path / "b", **chosen, on_bad_audio="skip")
    assert [clip["uid"] for clip in data_of(out)["clips"]] == ["0013"]
    assert "0012" in (tmp_path / "b" / "bad_audio.csv").read_text()


@pytest.mark.usefixtures("hardly_drawn")
def test_uids_that_differ_in_capitals_do_not_overwrite_one_another(tmp_path, record, finetuned, capsys):
    """On disks that take A.npz and a.npz for one, the second once replaced the first."""
    rng = np.random.default_rng(0)
    for uid in ("a", "A", "a-2"):
        record(tmp_path / "audio" / uid, 0.1 * rng.standard_normal(8000), 16000)
    pd.DataFrame({"uid": ["a", "A", "a-2"]}).to_csv(tmp_path / "some.csv", index=False)
    where = {"prefix": str(tmp_path / "audio"), "data_split_root": str(tmp_path / "some.csv"), "device": "cpu"}
    out = ssast.attention(**where, finetuned_mdl_path=str(finetuned), exp_dir=str(tmp_path / "out"))
    names = {path.name for path in out.iterdir()}
    assert {f"{stem}.{ending}" for stem in ("a", "A-3", "a-2") for ending in ("png", "npz")} <= names
    assert len({name.casefold() for name in names}) == len(names)
    assert [clip["uid"] for clip in data_of(out)["clips"]] == ["a", "A", "a-2"]
    assert set(pd.read_csv(out / "faithfulness.csv")["uid"]) == {"a", "A", "a-2"}
    assert "the files of 1 clip are not called as the clip" in capsys.readouterr().out


@pytest.mark.usefixtures("hardly_drawn")
def test_uids_that_windows_keeps_for_devices_get_other_file_names_there(tmp_path, record, finetuned, monkeypatch):
    stems = {"CON": "CON_", "nul.left": "nul_.left", "COM1": "COM1_"}
    for uid in stems:
        record(tmp_path / "audio" / uid, 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    pd.DataFrame({"uid": [*stems]}).to_csv(tmp_path / "some.csv", index=False)
    where = {"prefix": str(tmp_path / "audio"), "data_split_root": str(tmp_path / "some.csv"), "device": "cpu"}
    monkeypatch.setattr("ssast.data.storage.disk_names.atomic_writes", SimpleNamespace(ON_WINDOWS=True))
    out = ssast.attention(**where, finetuned_mdl_path=str(finetuned), exp_dir=str(tmp_path / "out"))
    made = {path.name for path in out.iterdir()}
    assert {f"{stem}.{ending}" for stem in stems.values() for ending in ("png", "npz")} <= made
    assert [clip["uid"] for clip in data_of(out)["clips"]] == [*stems]


# Audio files by themselves


def tone(path, seconds=0.4, hz=440):
    time = np.arange(int(16000 * seconds)) / 16000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * time), 16000)
    return path


@pytest.mark.usefixtures("hardly_drawn")
def test_files_need_no_csv(finetuned, tmp_path):
    files = [
        tone(tmp_path / "a" / "one.wav"),
        tone(tmp_path / "b" / "One.wav", hz=880),
        tone(tmp_path / "long.wav", 1.2),
    ]
    out = ssast.attention(files=files, finetuned_mdl_path=str(finetuned), exp_dir=str(tmp_path / "o"), device="cpu")
    clips = data_of(out)["clips"]
    assert [clip["uid"] for clip in clips] == ["one", "One-2", "long"]
    assert all((out / f"{clip['uid']}.{ending}").exists() for clip in clips for ending in ("npz", "png"))
    assert set(pd.read_csv(out / "faithfulness.csv")["uid"]) == {"one", "One-2", "long"}
    assert clips[0]["frames"] == 38  # own frames; the rest is padding
    text = (out / "attention.html").read_text(encoding="utf-8")
    assert re.search(r"The model hears the first 0\.(49|50) s; 0\.7. s more are not shown", text)
    assert str(tmp_path) not in text.replace(str(finetuned), "")


@pytest.mark.usefixtures("undrawn")
def test_a_pretrained_model_looks_at_files(pretrained, tmp_path):
    where = {"files": str(tone(tmp_path / "one.wav")), "exp_dir": str(tmp_path / "out"), "device": "cpu"}
    out = ssast.attention(**where, pretrained_mdl_path=str(pretrained))
    assert list(data_of(out)["clips"][0]["pictures"])[-1] == "hidden patches as guessed"
    assert data_of(out)["groups"] == []


@pytest.mark.usefixtures("undrawn")
def test_bare_words_on_the_command_line_are_files(finetuned, tmp_path, capsys):
    paths = [str(tone(tmp_path / "in" / name)) for name in ("b, c.wav", "a.wav")]
    options = ["--finetuned_mdl_path", str(finetuned), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["attention", *paths, *options, "--max_clips", "1"]) == 0
    assert "the first 1 of 2 recordings" in capsys.readouterr().out
    assert [clip["uid"] for clip in data_of(tmp_path / "out" / "attention")["clips"]] == ["b, c"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"files": "nowhere.wav"}, "nowhere.wav does not exist"),
        ({"files": " "}, "names nothing"),
        ({"files": "a.wav", "uids": "0012"}, "one of the two"),
        ({}, "ssast attention FILES"),
    ],
)
def test_files_that_cannot_be_used_are_said_in_a_sentence(options, words, finetuned, tmp_path):
    with pytest.raises(UserError, match=words):
        ssast.attention(**options, finetuned_mdl_path=str(finetuned), exp_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_there_are_no_pictures_and_all_else(still_corpus, finetuned, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ssast.modes.attention.can_draw", lambda: False)
    out = look(still_corpus, tmp_path, finetuned_mdl_path=str(finetuned), max_clips=1)
    assert sorted(path.name for path in out.iterdir()) == ["0012.npz", "attention.html", "faithfulness.csv"]
    said = capsys.readouterr().out
    assert said.index("pip install 'ssast[report]'") < said.index("attention.html")


@pytest.mark.usefixtures("undrawn")
def test_a_recording_in_its_own_folder_is_called_as_that(finetuned, still_corpus, tmp_path):
    where = {"files": str(still_corpus.audio / "0012"), "exp_dir": str(tmp_path), "device": "cpu"}
    out = ssast.attention(**where, finetuned_mdl_path=str(finetuned))
    assert [clip["uid"] for clip in data_of(out)["clips"]] == ["0012"]


def test_the_page_counts_every_tested_map(looked):
    text = (looked / "attention.html").read_text(encoding="utf-8")
    shown = re.findall(r"<tr><td>([^<]+)</td><td>\d+%</td>", text)
    assert shown == [
        "gradient-weighted relevance",
        "integrated gradients",
        "input x gradient",
        "occlusion",
        "relevance as published",
        "attention rollout",
        "raw attention",
    ]
