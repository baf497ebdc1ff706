"""Published checkpoints after the recipe of the reference cases: each weight drawn from its own published name."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # tests run side by side; threads that wait for each other would cost ten times the work

REFERENCE = Path(__file__).parents[1] / "reference"
WIDTHS = {"tiny": 192, "small": 384, "base": 768, "base_nokd": 768}


def published_shapes(model_size, fshape, tshape, tdim, fdim=128):
    width = WIDTHS[model_size]
    prefix = ["v.cls_token"] if model_size.endswith("nokd") else ["v.cls_token", "v.dist_token"]
    patches = (fdim // fshape) * (tdim // tshape)
    shapes = {"p_input_fdim": (), "p_input_tdim": (), "mask_embed": (1, 1, width)}
    shapes |= dict.fromkeys(prefix, (1, 1, width))
    shapes |= {"v.pos_embed": (1, len(prefix) + patches, width)}
    shapes |= {"v.patch_embed.proj.weight": (width, 1, fshape, tshape), "v.patch_embed.proj.bias": (width,)}
    linear = {"v.head": (1000, width)} | ({"v.head_dist": (1000, width)} if len(prefix) == 2 else {})
    for block in range(12):
        name = f"v.blocks.{block}."
        linear |= {name + "attn.qkv": (3 * width, width), name + "attn.proj": (width, width)}
        linear |= {name + "mlp.fc1": (4 * width, width), name + "mlp.fc2": (width, 4 * width)}
        for norm in ("norm1", "norm2"):
            shapes |= {f"{name}{norm}.weight": (width,), f"{name}{norm}.bias": (width,)}
    for head in ("cpredlayer", "gpredlayer"):
        linear |= {f"{head}.0": (width, width), f"{head}.2": (fshape * tshape, width)}
    for key, shape in linear.items():
        shapes |= {f"{key}.weight": shape, f"{key}.bias": shape[:1]}
    return shapes | {"v.norm.weight": (width,), "v.norm.bias": (width,)}


def published_state(model_size="tiny", fshape=16, tshape=16, tdim=128, fdim=128):
    state = {}
    for key, shape in published_shapes(model_size, fshape, tshape, tdim, fdim).items():
        draw = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
        weight = np.asarray(draw, dtype=np.float32) * np.float32(0.06)
        if "norm" in key and key.endswith(".weight"):
            weight = weight + np.float32(1)
        state["module." + key] = torch.from_numpy(np.asarray(weight))
    state["module.p_input_fdim"], state["module.p_input_tdim"] = torch.tensor(fdim), torch.tensor(tdim)
    return state


@pytest.fixture
def published(tmp_path):
    """A function that writes a published file of the asked sizes and returns its path."""

    def write(name="published.pth", change=None, **sizes):
        state = published_state(**sizes)
        path = tmp_path / name
        torch.save(state if change is None else change(state), path)
        return path

    return write


@pytest.fixture(params=["tiny-frame", "tiny-frame-short", "tiny-patch-overlap", "base-frame"], scope="session")
def case(request, tmp_path_factory):
    """One reference case: (config, arrays, path of its published file), which is made once."""
    arrays = dict(np.load(REFERENCE / f"{request.param}.npz"))
    config = json.loads(str(arrays.pop("config")))
    sizes = {name: config[name] for name in ("model_size", "fshape", "tshape")}
    path = tmp_path_factory.mktemp("case") / "published.pth"
    torch.save(published_state(**sizes, tdim=config["pretrain_tdim"]), path)
    return config, arrays, path


@pytest.fixture
def noise():
    """A function that gives normal noise of any shape from a seed: a stand-in for normalised fbanks."""
    return lambda *shape, seed=0: torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
