"""The formulas written down a second time agree with what the published code computed, and so does the model."""

import numpy as np
import torch

from ssast.model import reference
from ssast.model.blocks import fit_positions
from ssast.model.checkpoints.torch_file import load_tensors
from ssast.model.encoder import SIZES


def fitted(case):
    """The tensors of a reference case with positions for its fine-tuning grid, its settings and its fbank."""
    config, arrays, path = case
    tensors = load_tensors(path)
    size = SIZES[config["model_size"]]
    shape, stride = (config["fshape"], config["tshape"]), (config["fstride"], config["tstride"])
    grids = [
        tuple((whole - part) // step + 1 for whole, part, step in zip((128, frames), shape, steps, strict=True))
        for frames, steps in ((config["pretrain_tdim"], shape), (config["finetune_tdim"], stride))
    ]
    tensors["v.pos_embed"] = fit_positions(tensors["v.pos_embed"], *grids, size.prefix)
    rng = np.random.default_rng(config["input_seed"])
    fbank = rng.standard_normal((config["batch"], config["finetune_tdim"], 128)).astype(np.float32)
    return tensors, {"heads": size.heads, "stride": stride}, torch.from_numpy(fbank), arrays


def test_states_are_those_of_the_published_code(case):
    tensors, settings, fbank, arrays = fitted(case)
    with torch.no_grad():
        found = reference.reference_states(tensors, fbank, **settings)
    prefix = sum(name in tensors for name in reference.PREFIX)
    for name, tokens in (("hidden_cls", slice(None, prefix)), ("hidden_avg", slice(prefix, None))):
        pooled = torch.stack([state[:, tokens].mean(dim=1) for state in found]).numpy()
        assert np.abs(pooled - arrays[name]).max() < 1e-4 * np.abs(arrays[name]).max()


def test_pretext_losses_are_those_of_the_published_code(case):
    config, arrays, path = case
    tensors = load_tensors(path)
    rng = np.random.default_rng(config["input_seed"] + 1)
    fbank = torch.from_numpy(rng.standard_normal((config["batch"], config["pretrain_tdim"], 128)).astype(np.float32))
    masks = torch.from_numpy(arrays["mask_index"])
    heads, shape = SIZES[config["model_size"]].heads, (config["fshape"], config["tshape"])
    with torch.no_grad():  # one clip at a time, since each has masks of its own
        found = [
            reference.pretext_losses(tensors, clip[None], mask, heads=heads, shape=shape)
            for clip, mask in zip(fbank, masks, strict=True)
        ]
    nce, mse = (torch.stack(losses).mean().item() for losses in zip(*found, strict=True))
    assert abs(nce - config["mpc_nce"]) < 1e-4 * abs(config["mpc_nce"])
    assert abs(mse - config["mpg_mse"]) < 1e-4 * abs(config["mpg_mse"])
