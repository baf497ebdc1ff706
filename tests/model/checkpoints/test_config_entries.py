"""What config.json of a model folder says is checked once, for every reader of it."""

import json

import pytest

from ssast.errors import UserError
from ssast.model.checkpoints.config_entries import check_entries
from ssast.model.checkpoints.model_folder import read_folder
from ssast.model.classification import SSASTForAudioClassification

CONFIG = {"class": "SSASTForAudioClassification", "model_size": "tiny", "num_labels": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation": "eval"}, "says activation 'eval', expected one of relu, gelu, silu, tanh"),
        ({"loss": "XX"}, "says loss 'XX', expected one of BCE, MSE"),
        ({"task": "pretrain_joint"}, "says task 'pretrain_joint', expected one of ft_cls, ft_avgtok"),
        ({"head": "linear"}, "says head 'linear', expected one of dense, published"),
        ({"objective": "mpc"}, "says objective 'mpc', expected one of pretrain_mpc, pretrain_mpg, pretrain_joint"),
        ({"final_dropout": 2}, "says final_dropout '2', expected a number from 0 to 1"),
        ({"labels": ["a", "b"]}, "names 2 labels and says num_labels 1"),
        ({"num_labels": 2, "labels": ["a", "a"]}, "names the label 'a' twice"),
        ({"fshape": 200}, "cannot be meant: num_mel_bins is 128, less than the 200 mel bins of one patch"),
        ({"target_length": 10**6, "tstride": 500_000}, "cannot be meant: tstride is 500000, more than 16 patches of 2"),
        ({"num_mel_bins": 10**6, "fstride": 10**6}, "cannot be meant: fstride is 1000000, more than 16 patches of 128"),
        ({"frontend": {"sample_rate": 5}}, "says sample_rate 5 of the spectrogram, expected a whole number from 100"),
        ({"frontend": {"std": 1e-300}}, "says std 1e-300 of the spectrogram, expected a number of at least 0.000001"),
    ],
)
def test_what_no_model_can_be_made_of_is_one_sentence(change, said):
    """`inspect` told a stranger's model that `predict` refused; a million frames fitted two positions."""
    with pytest.raises(UserError) as caught:
        check_entries(CONFIG | change, "x")
    assert said in str(caught.value)


def test_what_a_folder_of_a_model_says_is_checked_before_anything_is_made_of_it(tmp_path):
    SSASTForAudioClassification(1, "tiny", target_length=32, labels=["a"], seed=0).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert read_folder(tmp_path).config["activation"] == "relu"
    (tmp_path / "config.json").write_text(json.dumps(config | {"activation": "eval"}))
    with pytest.raises(UserError, match="activation 'eval', expected one of"):
        read_folder(tmp_path)


def test_a_stride_that_leaves_gaps_of_a_few_patches_is_taken():
    check_entries(CONFIG | {"tstride": 32, "fshape": 16, "tshape": 16, "fstride": 64}, "x")
