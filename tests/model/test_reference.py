"""The published model's own numbers, made again from its weights."""

import numpy as np
import torch

from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining


def fbank(config, side, length):
    draw = np.random.default_rng(config["input_seed"] + side).standard_normal((config["batch"], length, 128))
    return torch.from_numpy(draw.astype(np.float32))


def assert_close(found, expected, share):
    expected = np.asarray(expected)
    assert np.abs(np.asarray(found.detach()) - expected).max() <= share * np.abs(expected).max()


def test_states_and_attention_are_the_published_ones(case):
    config, arrays, path = case
    model = SSASTForAudioClassification.from_published(
        path,
        num_labels=2,
        fstride=config["fstride"],
        tstride=config["tstride"],
        target_length=config["finetune_tdim"],
    )
    clips = fbank(config, 0, config["finetune_tdim"])
    with torch.no_grad():
        states, attentions = model.hidden_states(clips), model.attentions(clips)
    assert states[0].shape[1] == config["num_tokens"]
    prefix = model.v.num_prefix
    assert_close(torch.stack([state[:, :prefix].mean(1) for state in states]), arrays["hidden_cls"], 2e-4)
    assert_close(torch.stack([state[:, prefix:].mean(1) for state in states]), arrays["hidden_avg"], 2e-4)
    assert_close(attentions[0][:, :, 0], arrays["attn_cls_first"], 2e-4)
    assert_close(attentions[11][:, :, 0], arrays["attn_cls_last"], 2e-4)


def test_losses_and_their_gradients_are_the_published_ones(case):
    config, arrays, path = case
    model = SSASTForPreTraining.from_published(path)
    output = model(fbank(config, 1, config["pretrain_tdim"]), mask_index=torch.from_numpy(arrays["mask_index"]))
    output.loss.backward()
    assert_close(output.nce, arrays["mpc_nce"], 2e-4)
    assert_close(output.mse, arrays["mpg_mse"], 2e-4)
    assert_close(output.accuracy, arrays["mpc_acc"], 2e-4)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, norm in config["grad_norm"].items():
        assert_close(gradients[name].norm(), norm, 3e-3)
