"""What the one wrapper around the modes promises: an end in one sentence, and nothing half-written."""

import numpy as np
import pytest
import torch

from ssast.cli import main
from ssast.errors import UserError
from ssast.model.pretraining import SSASTForPreTraining
from ssast.runs.wrapping.wrapper import Mode

torch.set_num_threads(1)


ALLOCATIONS = {
    "torch": lambda: torch.empty(1 << 50),
    "numpy": lambda: np.empty(1 << 55),
    "python": lambda: "a" * (1 << 62),
}


@pytest.mark.parametrize("allocate", ALLOCATIONS.values(), ids=ALLOCATIONS)
def test_memory_that_is_not_there_is_one_sentence_with_what_to_make_smaller(allocate, tmp_path):
    def stats(options):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "run.yaml").write_text("")
        allocate()

    given = {"prefix": "a", "data_split_root": "b", "exp_dir": str(tmp_path / "out"), "batch_size": 512}
    with pytest.raises(UserError, match=r"not enough memory for stats with --batch_size 512, --target"):
        Mode(stats)(**given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("freeze", ["True", "False"])
def test_a_learning_rate_that_no_training_survives_is_one_sentence_and_leaves_no_model(
    freeze, still_corpus, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("SSAST_CACHE", str(tmp_path / "cache"))
    data = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits), "-l", str(still_corpus.label_txt)]
    how = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--target_length", "32", "--device", "cpu"]
    words = ["finetune", *data, *how, "--freeze", freeze, "--learning_rate", "1e25", "--batch_size", "16"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "ssast: the training diverged in epoch 1: " in said
    assert "lower --learning_rate or --max_lr" in said
    assert not (tmp_path / "out").exists()


def test_extract_says_which_table_it_replaces_and_that_others_stay(still_corpus, tmp_path, capsys):
    """It said that it was replacing results which stayed beside the new ones."""
    SSASTForPreTraining("tiny", target_length=32, mask_patch=2, seed=0).save_pretrained(tmp_path / "model")
    data = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits / "test.csv"), "--target_length", "32"]
    words = ["extract", *data, "--pretrained_mdl_path", str(tmp_path / "model"), "--embedding_type", "pt"]

    def said(*more: str) -> str:
        assert main([*words, "-o", str(tmp_path / "out"), "--device", "cpu", *more]) == 0
        return capsys.readouterr().out

    first, second = (f"splits_test_tiny_layer{layer}_ft_cls_pt_embeddings.pqt" for layer in (1, 2))
    assert "tables that extract left" not in said("--layer", "1", "--precision", "fp32")
    assert f"stay, and {second} comes beside them; run.yaml will tell" in said("--layer", "2", "--precision", "fp32")
    assert f"replacing {first} in" in said("--layer", "1", "--precision", "bf16")
    assert {path.name for path in (tmp_path / "out").glob("*.pqt")} == {first, second}
