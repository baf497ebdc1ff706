"""A user's mistake, in any mode: one sentence that says what came and what to do, exit code 2, nothing half-written."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ssast import cli
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)

TRAIN, LABELLED = ("pretrain", "finetune"), ("finetune", "evaluate")
USE, ALL = ("evaluate", "extract"), ("pretrain", "finetune", "evaluate", "extract")


@dataclass(frozen=True)
class Desk:
    """A corpus, a pretrained and a fine-tuned folder, and a place for bad files."""

    corpus: Any
    pretrained: Path
    finetuned: Path
    place: Path

    def file(self, name: str, text: str = "") -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    def splits(self, change: Callable[[str], str], names: tuple[str, ...] = ("train", "test")) -> Path:
        """The corpus's csv files, altered."""
        folder = self.place / "splits"
        folder.mkdir()
        for name in names:
            (folder / f"{name}.csv").write_text(change((self.corpus.splits / f"{name}.csv").read_text()))
        return folder

    def damaged(self, name: str, change: Callable[[bytes], bytes]) -> Path:
        """The fine-tuned folder with one file altered."""
        folder = self.place / "damaged"
        shutil.copytree(self.finetuned, folder)
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return folder

    def usual(self, mode: str) -> dict[str, Any]:
        """Options that run in the mode."""
        options: dict[str, Any] = {"prefix": self.corpus.audio, "data_split_root": self.corpus.splits}
        options |= {"device": "cpu", "precision": "fp32", "target_length": 32, "exp_dir": self.place / "out"}
        if mode == "pretrain":
            return options | {"model_size": "tiny", "mask_patch": 8}
        if mode == "finetune":
            return options | {"label_txt": self.corpus.label_txt, "pretrained_mdl_path": self.pretrained}
        return options | {"finetuned_mdl_path": self.finetuned}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    sizes = {"model_size": "tiny", "target_length": 32}
    pretrained = SSASTForPreTraining(**sizes, mask_patch=8, seed=0)
    pretrained.save_pretrained(folder / "pretrained")
    finetuned = SSASTForAudioClassification(2, **sizes, labels=["high", "loud"], seed=0)
    finetuned.save_pretrained(folder / "finetuned")
    return folder


@pytest.fixture
def desk(models, still_corpus, tmp_path):
    return Desk(still_corpus, models / "pretrained", models / "finetuned", tmp_path)


def words(mode: str, options: Mapping[str, Any]) -> list[str]:
    """A command line; an option of None is left out."""
    pairs = ((f"--{name}", str(value)) for name, value in options.items() if value is not None)
    return [mode, *(word for pair in pairs for word in pair)]


def complaint(capsys, desk: Desk, mode: str, changes: Mapping[str, Any]) -> str:
    """The one sentence that a command leads to; nothing else may have come of it."""
    before = sorted(desk.place.rglob("*"))
    code = cli.main(words(mode, desk.usual(mode) | dict(changes)))
    said = capsys.readouterr().err
    assert code == 2, said
    assert said.startswith("ssast: ")
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    assert sorted(desk.place.rglob("*")) == before, "something was left behind"
    return said


def check_all(cases):
    """Parametrize by mode and case; each case is (title, modes, changes of a desk, words of the sentence)."""
    rows = [
        pytest.param(mode, changes, sentence, id=f"{mode}: {title}")
        for title, modes, changes, sentence in cases
        for mode in modes
    ]
    return pytest.mark.parametrize(("mode", "changes", "sentence"), rows)


@check_all(
    [
        ("no prefix", ALL, lambda d: {"prefix": None}, "needs -i/--prefix"),
        ("missing folder", ALL, lambda d: {"prefix": d.place / "no"}, "no does not exist; check --prefix"),
        ("file for a folder", ALL, lambda d: {"prefix": d.file("a")}, "a is a file, not a folder; check --prefix"),
        ("another study", ALL, lambda d: {"study": "no"}, "no does not exist; check --prefix, --study"),
        ("the folder above", ALL, lambda d: {"prefix": d.corpus.folder}, "no uid of"),
        (
            "missing recordings",
            ALL,
            lambda d: {"data_split_root": d.splits(lambda text: text + "gone,s,0,1\nlost,s,0,1\n")},
            "2 of the",
        ),
        (
            "zeros that a spreadsheet ate",
            ("evaluate",),
            lambda d: {"data_split_root": d.splits(lambda text: text.replace("\n00", "\n"))},
            "; import uids as text into a spreadsheet); check --prefix",
        ),
        (
            "uid that leads out",
            ALL,
            lambda d: {"data_split_root": d.splits(lambda text: text + "../gone,s,0,1\n")},
            "'../gone' is not a plain folder name",
        ),
    ]
)
def test_recordings_that_are_not_there(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


def test_missing_recordings_are_counted_before_hours_of_training(capsys, desk):
    """A uid without a folder once ended the run when its batch came, and left run.yaml and log.jsonl behind."""
    splits = desk.splits(lambda text: text + "gone,s,0,1\n")
    said = complaint(capsys, desk, "finetune", {"data_split_root": splits})
    assert "1 of the 13 uids of" in said
    assert "the first is gone; put the recordings there, remove the rows, or pass --on_bad_audio skip" in said


@pytest.fixture
def recordings(desk):
    """A copy of the recordings, to be damaged."""
    shutil.copytree(desk.corpus.audio, desk.place / "audio")
    return desk.place / "audio"


@pytest.mark.parametrize("mode", ALL)
@pytest.mark.parametrize("number", [0, 3])
def test_a_recording_that_cannot_be_used_leaves_nothing_behind(capsys, desk, recordings, mode, number):
    """When not the first but a later one was damaged, run.yaml, log.jsonl and empty parts once stayed in the folder."""
    rows = desk.corpus.frame("train" if mode in TRAIN else "test")
    (recordings / rows.index[number] / "waveform.wav").write_bytes(b"RIFF")
    before = sorted(desk.place.rglob("*"))
    changes = {"prefix": recordings, "exp_dir": desk.place / "new" / "out"}
    assert cli.main(words(mode, desk.usual(mode) | changes)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"ssast: clip {rows.index[number]}: ")
    assert said.endswith("or pass --on_bad_audio skip.")
    assert sorted(desk.place.rglob("*")) == before


@pytest.mark.parametrize("mode", ALL)
def test_what_was_in_the_folder_before_stays(capsys, desk, recordings, mode):
    rows = desk.corpus.frame("train" if mode in TRAIN else "test")
    (recordings / rows.index[3] / "waveform.wav").write_bytes(b"RIFF")
    out = desk.place / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert cli.main(words(mode, desk.usual(mode) | {"prefix": recordings})) == 2
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_recordings_none_of_which_can_be_used_leave_nothing_behind(capsys, desk, recordings):
    for path in recordings.glob("*/waveform.wav"):
        path.write_bytes(b"RIFF")
    for mode in ALL:
        before = sorted(desk.place.rglob("*"))
        changes = {"prefix": recordings, "on_bad_audio": "skip"}
        assert cli.main(words(mode, desk.usual(mode) | changes)) == 2
        assert "recordings can be used; the first: clip" in capsys.readouterr().err
        assert sorted(desk.place.rglob("*")) == before


@pytest.mark.parametrize("mode", TRAIN)
def test_a_loss_that_is_not_finite_names_no_state_that_is_not_there(capsys, desk, mode):
    """In the first epoch there is no checkpoint yet, and the sentence once sent people to look for one."""
    assert cli.main(words(mode, desk.usual(mode) | {"learning_rate": 1e30, "epochs": 3})) == 2
    said = capsys.readouterr().err
    assert "the loss became" in said
    assert ("the last good state is in" in said) == (desk.place / "out" / "checkpoints" / "last.pt").exists()


@check_all(
    [
        ("no splits", ALL, lambda d: {"data_split_root": None}, "needs -d/--data_split_root"),
        ("missing splits", ALL, lambda d: {"data_split_root": d.place / "no"}, "no does not exist; give"),
        ("no train.csv", TRAIN, lambda d: {"data_split_root": d.splits(str, ("test",))}, "train.csv does not exist"),
        (
            "no test.csv",
            ("finetune", *USE),
            lambda d: {"data_split_root": d.splits(str, ("train",))},
            "test.csv does not exist",
        ),
        (
            "no uid",
            ALL,
            lambda d: {"data_split_root": d.splits(lambda text: text.replace("uid", "clip"))},
            "has no column uid, only clip, speaker, high, loud",
        ),
        ("empty csv", ALL, lambda d: {"data_split_root": d.splits(lambda text: "")}, "is empty"),
        (
            "header only",
            ALL,
            lambda d: {"data_split_root": d.splits(lambda text: text.splitlines()[0])},
            "has a header but no rows",
        ),
        (
            "uid twice",
            ALL,
            lambda d: {"data_split_root": d.splits(lambda text: text + text.splitlines()[1])},
            "more than once",
        ),
        (
            "one row",
            TRAIN,
            lambda d: {"data_split_root": d.splits(lambda text: "\n".join(text.splitlines()[:2]))},
            "at least 2 are needed to hold one out",
        ),
    ]
)
def test_a_csv_that_cannot_be_used(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


def test_fine_tuning_on_one_csv_is_refused(capsys, desk):
    """It once trained and tested on the same rows, without a word."""
    said = complaint(capsys, desk, "finetune", {"data_split_root": desk.corpus.splits / "train.csv"})
    assert "is one csv; give the folder with train.csv and test.csv, or --folds 5" in said


@check_all(
    [
        ("missing label file", LABELLED, lambda d: {"label_txt": d.place / "no.txt"}, "no.txt does not exist"),
        ("empty label file", LABELLED, lambda d: {"label_txt": d.file("l.txt", "\n \n")}, "holds no label"),
        ("folder for a label file", LABELLED, lambda d: {"label_txt": d.place}, "it is a folder"),
        ("label twice", LABELLED, lambda d: {"label_txt": d.file("l.txt", "high\nhigh\n")}, "more than once"),
        (
            "label not in csv",
            ("finetune",),
            lambda d: {"label_txt": d.file("l.txt", "high\nnasal\n")},
            "train.csv, whose columns are speaker, high, loud; correct --label_txt",
        ),
        (
            "labels of another model",
            ("evaluate",),
            lambda d: {"label_txt": d.file("l.txt", "nasal\n")},
            "names nasal, but the model was fine-tuned for high, loud",
        ),
        (
            "label missing in csv",
            ("finetune",),
            lambda d: {"data_split_root": d.splits(lambda text: text.replace("loud", "quiet"))},
            "the label 'loud' is not in",
        ),
        (
            "no label of the model in csv",
            ("evaluate",),
            lambda d: {"data_split_root": d.splits(lambda text: text.replace("loud", "a").replace("high", "b"))},
            "none of the model's labels (high, loud) is a column of",
        ),
        (
            "label 2",
            LABELLED,
            lambda d: {"data_split_root": d.splits(lambda text: text.replace(",1,", ",2,"))},
            "is '2'",
        ),
        (
            "label text",
            LABELLED,
            lambda d: {"data_split_root": d.splits(lambda text: text.replace(",1,", ",yes,"))},
            "is 'yes'",
        ),
    ]
)
def test_labels_that_do_not_fit(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


def test_a_label_without_any_value_is_refused(capsys, desk):
    """Nothing can be learned of it; such a run once ended with a loss of 0."""
    splits = desk.splits(lambda text: text.replace(",1\n", ",\n").replace(",0\n", ",\n"))
    said = complaint(capsys, desk, "finetune", {"data_split_root": splits})
    assert "the label 'loud' is empty in every row of" in said


def test_a_test_csv_that_does_not_fit_is_found_before_training(capsys, desk):
    splits = desk.splits(str)
    test = splits / "test.csv"
    test.write_text(test.read_text().replace(",1,", ",2,"))
    said = complaint(capsys, desk, "finetune", {"data_split_root": splits})
    assert "expected 0 or 1 (or between) under --loss BCE" in said


def of_another_size(config: bytes) -> bytes:
    return json.dumps(json.loads(config) | {"model_size": "small"}).encode()


@check_all(
    [
        ("none given", ("evaluate",), lambda d: {"finetuned_mdl_path": None}, "evaluate needs --finetuned_mdl_path"),
        ("missing", USE, lambda d: {"finetuned_mdl_path": d.place / "no"}, "no does not exist; give --finetuned"),
        ("like a hub's name", USE, lambda d: {"finetuned_mdl_path": "runs/frist"}, "runs/frist does not exist; give"),
        ("a pretrained one", USE, lambda d: {"finetuned_mdl_path": d.pretrained}, "holds a pretrained model"),
        ("an empty folder", USE, lambda d: {"finetuned_mdl_path": d.place}, "has no config.json"),
        (
            "cut off weights",
            USE,
            lambda d: {"finetuned_mdl_path": d.damaged("model.safetensors", lambda content: content[:9000])},
            "cannot be read",
        ),
        (
            "empty weights",
            USE,
            lambda d: {"finetuned_mdl_path": d.damaged("model.safetensors", lambda content: b"")},
            "cannot be read",
        ),
        (
            "damaged config",
            USE,
            lambda d: {"finetuned_mdl_path": d.damaged("config.json", lambda content: b"{")},
            "config.json of",
        ),
        (
            "another size in config",
            USE,
            lambda d: {"finetuned_mdl_path": d.damaged("config.json", of_another_size)},
            "do not fit the model they should fill",
        ),
        ("with a fine-tuned one", TRAIN, lambda d: {"finetuned_mdl_path": d.finetuned}, "cannot have --finetuned"),
        ("ft without", ("extract",), lambda d: {"finetuned_mdl_path": None}, "--embedding_type ft needs a fine-tuned"),
        (
            "wt without",
            ("extract",),
            lambda d: {"finetuned_mdl_path": None, "embedding_type": "wt"},
            "--embedding_type wt needs a fine-tuned model",
        ),
        (
            "wt of an unweighted",
            ("extract",),
            lambda d: {"embedding_type": "wt"},
            "this model was made with weighted False",
        ),
    ]
)
def test_fine_tuned_models_that_cannot_be_used(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


@check_all(
    [
        ("missing", TRAIN, lambda d: {"pretrained_mdl_path": d.place / "no.pth"}, "no.pth does not exist"),
        (
            "not a checkpoint",
            TRAIN,
            lambda d: {"pretrained_mdl_path": d.file("a.pth", "text")},
            "is not a checkpoint that torch can read",
        ),
        ("data folder", TRAIN, lambda d: {"pretrained_mdl_path": d.corpus.folder}, "has no config.json"),
        (
            "another size",
            TRAIN,
            lambda d: {"pretrained_mdl_path": d.pretrained, "model_size": "base"},
            "was pretrained with model_size tiny, but model_size base was asked for",
        ),
        (
            "another patch",
            TRAIN,
            lambda d: {"pretrained_mdl_path": d.pretrained, "model_size": "tiny", "tshape": 4},
            "was pretrained with tshape 2, but tshape 4 was asked for",
        ),
        (
            "fine-tuned",
            ("pretrain",),
            lambda d: {"pretrained_mdl_path": d.finetuned},
            "holds a fine-tuned model, which has no pretraining heads",
        ),
        (
            "fewer mel bins",
            ("finetune",),
            lambda d: {"num_mel_bins": 64},
            "num_mel_bins is 64, less than the 128 mel bins of one patch",
        ),
    ]
)
def test_pretrained_models_that_cannot_be_used(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


def test_the_default_model_that_cannot_be_fetched_is_explained(capsys, desk, monkeypatch):
    """A first run without --pretrained_mdl_path once only said that a file nobody had named does not exist."""
    monkeypatch.chdir(desk.place)
    said = complaint(capsys, desk, "finetune", {"pretrained_mdl_path": None})
    assert "SSAST-Base-Frame-400 is not on this machine" in said
    assert "open that address in a browser" in said


@check_all(
    [
        ("file in the way", ALL, lambda d: {"exp_dir": d.file("out")}, "cannot write"),
        ("inside a file", ALL, lambda d: {"exp_dir": d.file("a") / "out"}, "not a directory"),
    ]
)
def test_output_folders_that_cannot_be_written(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


@pytest.mark.parametrize("mode", [*ALL, "demo"])
def test_an_output_folder_that_cannot_be_read_is_one_sentence(capsys, desk, monkeypatch, mode):
    """A folder of another user's, or below one, once ended in a traceback of PermissionError."""

    def locked(path):
        raise PermissionError(13, "Permission denied", path)

    out = desk.place / "out"
    out.mkdir()
    monkeypatch.setattr("ssast.runs.output.earlier_results.os.listdir", locked)
    options = {"exp_dir": out} if mode == "demo" else desk.usual(mode)
    assert cli.main(words(mode, options)) == 2
    assert capsys.readouterr().err == (
        f"ssast: --exp_dir {out} cannot be read (Permission denied); change the rights or give another folder.\n"
    )


@check_all(
    [
        ("layer 99", ALL, {"layer": 99}, "--layer is 99, expected a whole number from -1 to 13"),
        ("layer 14", ALL, {"layer": 14}, "--layer is 14"),
        ("layer -2", ALL, {"layer": -2}, "--layer is -2"),
        ("layer last", ("extract",), {"layer": "last"}, "--layer is last"),
        ("no frames", ALL, {"target_length": 0}, "--target_length is 0"),
        ("shorter than a patch", ALL, {"target_length": 1}, "shorter than a patch of 2 frames; give at least 2"),
        ("all hidden", ("pretrain",), {"mask_patch": 16}, "--mask_patch 16 leaves none of a clip's 16 patches"),
        ("more hidden", ("pretrain",), {"mask_patch": None}, "--mask_patch 400 leaves none of a clip's 16 patches"),
        ("batch of none", ALL, {"batch_size": 0}, "--batch_size is 0"),
        ("epochs below 0", ALL, {"epochs": -1}, "--epochs is -1"),
        ("workers below 0", ALL, {"num_workers": -1}, "--num_workers is -1"),
        ("rate 0", TRAIN, {"learning_rate": 0}, "--learning_rate is 0"),
        ("rate nan", TRAIN, {"learning_rate": "nan"}, "--learning_rate is nan"),
        ("clip below a window", ALL, {"clip_length": 0.01}, "--clip_length 0.01 is shorter than one window"),
        ("all held out", TRAIN, {"val_share": 1}, "--val_share is 1"),
        ("precision", ALL, {"precision": "fp8"}, "--precision is fp8, expected one of auto, fp32, bf16"),
        ("device", ALL, {"device": "tpu"}, "--device is tpu"),
        ("loss", ("finetune",), {"loss": "XE"}, "--loss is XE, expected one of BCE, MSE"),
        ("task", ALL, {"task": "ft_all"}, "--task is ft_all"),
        ("task of pretraining", ("finetune", *USE), {"task": "pretrain_mpc"}, "cannot have --task pretrain_mpc"),
        ("task of fine-tuning", ("pretrain",), {"task": "ft_cls"}, "cannot have --task ft_cls"),
        ("embedding", ("extract",), {"embedding_type": "xx"}, "--embedding_type is xx, expected one of ft, pt, wt"),
        ("boolean", ("finetune",), {"freeze": "no"}, "--freeze is no, expected True or False"),
        ("unknown", ALL, {"lerning_rate": 1}, "there is no option --lerning_rate; did you mean --learning_rate?"),
        ("stride", ("pretrain",), {"tstride": 1}, "pretraining patches lie side by side"),
        ("patch too high", ("pretrain",), {"fshape": 129}, "--fshape 129 is higher than the 128 mel bins"),
        ("bucket with gs://", ALL, {"bucket_name": "gs://b"}, "expected the bare name without gs://"),
    ]
)
def test_values_that_cannot_be_meant(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes)


def test_mask_patch_is_held_against_the_model_that_is_gone_on_with(capsys, desk):
    changes = {"pretrained_mdl_path": desk.pretrained, "mask_patch": 16}
    assert "mask_patch is 16, but a clip has 16 patches" in complaint(capsys, desk, "pretrain", changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys, desk):
    assert "PyTorch sees only" in complaint(capsys, desk, "evaluate", {"device": "cuda"})


@check_all(
    [
        ("missing", ALL, lambda d: {"config": d.place / "no.yaml"}, "no.yaml does not exist"),
        ("not YAML", ALL, lambda d: {"config": d.file("a.yaml", "a: [1")}, "a.yaml cannot be read as YAML (line 2)"),
        ("no lines", ALL, lambda d: {"config": d.file("a.yaml", "- 1")}, "expected lines of `option: value`"),
        ("unknown", ALL, lambda d: {"config": d.file("a.yaml", "epohcs: 3")}, "did you mean epochs?"),
        ("value", ALL, lambda d: {"config": d.file("a.yaml", "epochs: three")}, "a.yaml: epochs is three"),
    ]
)
def test_a_config_that_cannot_be_used(capsys, desk, mode, changes, sentence):
    assert sentence in complaint(capsys, desk, mode, changes(desk))


def test_a_demo_that_cannot_be_written_is_one_sentence(capsys, desk):
    blocked = desk.file("out")
    assert cli.main(["demo", "--exp_dir", str(blocked)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
