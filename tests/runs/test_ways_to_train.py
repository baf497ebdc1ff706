"""The ways to train beside the plain one, each from the command's options to the saved folder."""

import json

import pytest
import torch

import ssast
from ssast import cli
from ssast.errors import UserError
from ssast.runs.thresholds import weighed_sentence, weighed_training

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def usual(still_corpus, tmp_path):
    return {
        "prefix": str(still_corpus.audio),
        "data_split_root": str(still_corpus.splits),
        "label_txt": str(still_corpus.folder / "labels.txt"),
        "pretrained_mdl_path": None,
        "model_size": "tiny",
        "target_length": 32,
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.01,
        "resamples": 0,
        "device": "cpu",
        "precision": "fp32",
        "exp_dir": str(tmp_path / "run"),
    }


def encoder(folder):
    model = ssast.SSASTForAudioClassification.from_pretrained(folder)
    return dict(model.v.state_dict())


def moved(one, other):
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_lora_changes_attention_alone_and_leaves_a_plain_folder(usual, tmp_path):
    frozen = encoder(ssast.finetune(**usual | {"exp_dir": str(tmp_path / "frozen")}))
    adapted = encoder(ssast.finetune(**usual, lora_rank=2))
    changed = moved(frozen, adapted)
    assert changed
    assert all(".attn." in name and name.endswith("weight") for name in changed)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    again = ssast.evaluate(
        **{name: usual[name] for name in ("prefix", "data_split_root", "device", "precision", "resamples")},
        finetuned_mdl_path=str(tmp_path / "run"),
        exp_dir=str(tmp_path / "again"),
    )
    assert json.loads((again / "metrics.json").read_text()) == scores


def test_the_last_blocks_train_and_no_other(usual, tmp_path):
    frozen = encoder(ssast.finetune(**usual | {"exp_dir": str(tmp_path / "frozen")}))
    changed = moved(frozen, encoder(ssast.finetune(**usual, unfreeze_last=2)))
    assert {name.split(".")[1] for name in changed if name.startswith("blocks.")} == {"10", "11"}
    assert {name.split(".")[0] for name in changed} == {"blocks", "norm"}


def test_micro_batches_are_recorded_and_seed_the_same_run(usual, tmp_path):
    folder = ssast.finetune(**usual, freeze=False, micro_batch=2)
    assert "micro_batch: 2\n" in (folder / "run.yaml").read_text()
    whole = ssast.finetune(**usual | {"exp_dir": str(tmp_path / "whole")}, freeze=False)
    assert "micro_batch: 4\n" in (whole / "run.yaml").read_text()


def test_rare_labels_can_be_weighed_and_drawn_more_often(usual, capsys):
    """Both together, rare labels counted twice over, and the page took their scores for chances."""
    folder = ssast.finetune(**usual, pos_weight=True, balanced=True, head_lr=0.02, clip_grad=1.0, patience=1)
    shown = capsys.readouterr().out
    assert "each yes counts: " in shown
    assert "rare answers count for more twice over; one of them is enough" in shown
    assert "trained with --pos_weight and --balanced, so its scores of rare labels are higher" in shown
    assert "so its scores of rare labels are higher than their chances" in (folder / "report.html").read_text()


def test_scores_of_a_training_that_weighed_nothing_are_not_doubted(tmp_path):
    (tmp_path / "run.yaml").write_text("pos_weight: false\nbalanced: 'True'\n")
    assert weighed_training(tmp_path) == weighed_training(tmp_path / "nowhere") == weighed_sentence({}) == ""
    (tmp_path / "run.yaml").write_text("pos_weight: [")
    assert weighed_training(tmp_path) == ""
    (tmp_path / "run.yaml").write_text("balanced: true\n")
    assert "trained with --balanced, so" in weighed_training(tmp_path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"lora_rank": 2, "freeze": False}, "--lora_rank belongs to a frozen base, but --freeze is False"),
        ({"unfreeze_last": 2, "freeze": False}, "--unfreeze_last belongs to a frozen base"),
        (
            {"optim": "muon"},
            "--optim muon trains the matrices of the blocks, which a frozen base keeps; give --freeze False",
        ),
        (
            {"optim": "muon", "lora_rank": 2},
            "which a frozen base keeps; give --freeze False, --unfreeze_last or another",
        ),
        ({"micro_batch": 9}, "--micro_batch 9 is more than the 4 clips of a batch"),
        ({"pos_weight": True, "loss": "MSE"}, "--pos_weight True belongs to yes/no labels, but --loss is MSE"),
        ({"balanced": True, "loss": "MSE"}, "--balanced True belongs to yes/no labels"),
        ({"compile": True}, "--compile True needs a C\\+\\+ compiler"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_read(usual, tmp_path, monkeypatch, how, said):
    monkeypatch.setattr("ssast.runs.models.shutil.which", lambda name: None)
    with pytest.raises(UserError, match=said):
        ssast.finetune(**usual | how)
    assert not (tmp_path / "run").exists()


def test_an_interrupted_training_leaves_with_a_sentence_and_goes_on(usual, monkeypatch, capsys):
    """It once left a traceback: nothing caught what the loop raised."""
    import os
    import signal

    from ssast.engine import train

    step = train.Run.step

    def interrupted(run, pieces, **how):
        if run.progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(run, pieces, **how)

    words = [f"--{name}={value}" for name, value in usual.items()]
    with monkeypatch.context() as patched:
        patched.setattr(train.Run, "step", interrupted)
        assert cli.main(["finetune", *words]) == 130
    assert "stopped after step 2; the same command goes on from there" in capsys.readouterr().err
    assert cli.main(["finetune", *words]) == 0
    assert "going on in epoch 1, after 2 of" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.compile about itself
def test_workers_that_are_spawned_and_blocks_that_are_compiled_train_the_same(usual, tmp_path):
    plain = encoder(ssast.finetune(**usual | {"exp_dir": str(tmp_path / "plain")}, freeze=False))
    spawned = ssast.finetune(**usual, freeze=False, num_workers=2, worker_start="spawn")
    assert not moved(plain, encoder(spawned))
    how = usual | {"exp_dir": str(tmp_path / "compiled"), "freeze": False, "compile": True, "epochs": 1}
    compiled, whole = (
        json.loads((folder / "log.jsonl").read_text().splitlines()[0])
        for folder in (ssast.finetune(**how), tmp_path / "plain")
    )
    # Other kernels, other last digits, which Adam makes larger in a few steps.
    assert compiled["train_loss"] == pytest.approx(whole["train_loss"], rel=0.02)
