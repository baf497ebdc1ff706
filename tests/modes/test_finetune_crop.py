"""With `--crop random` training hears another stretch of long recordings each epoch, and a restart changes nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import ssast
from ssast.engine import train
from ssast.errors import UserError

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)
HERE = {"device": "cpu", "precision": "fp32", "resamples": 0, "pretrained_mdl_path": "none", "model_size": "tiny"}
HERE |= {"target_length": 32, "epochs": 2, "batch_size": 4, "val_share": 0.3, "learning_rate": 1e-3}


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def usual(still_corpus, tmp_path):
    """The options of a run on the corpus, whose clips are up to twice as long as the model's input."""

    def of(name: str, **others: Any) -> dict[str, Any]:
        found = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits)}
        found |= {"label_txt": str(still_corpus.label_txt), "exp_dir": str(tmp_path / name)}
        return {**HERE, **found, **others}

    return of


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def unheard(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "run.yaml").read_text())["record"]["unheard"]


def test_pretraining_that_is_cut_off_goes_on_to_the_same_bytes_with_workers_too(usual, dies, capsys):
    how = {"mask_patch": 8, "crop": "random", "save_every_seconds": 0}
    whole = ssast.pretrain(**usual("whole", **how))
    assert "8 of 8 training recordings are longer than the 0.32 s that are heard of each" in capsys.readouterr().out
    with dies(train.Run, "step", after=3):
        ssast.pretrain(**usual("cut", **how))
    cut = ssast.pretrain(**usual("cut", **how, num_workers=2))
    assert weights(cut) == weights(whole)
    assert unheard(cut) == unheard(whole)
    assert weights(ssast.pretrain(**usual("start", mask_patch=8))) != weights(whole)


def test_a_frozen_base_hears_every_stretch_and_keeps_none(usual, pooled, capsys):
    folder = ssast.finetune(**usual("random", crop="random"))
    assert pooled == []
    assert "--crop random takes another stretch of long recordings in each epoch" in capsys.readouterr().out
    start = ssast.finetune(**usual("start"))
    assert pooled
    assert weights(folder) != weights(start)
    with pytest.raises(UserError, match=r"holds another run \(crop random there, start now\)"):
        ssast.finetune(**usual("random"))
    again = ssast.finetune(config=str(folder / "run.yaml"), exp_dir=str(folder.parent / "again"))
    assert weights(again) == weights(folder)


def test_what_training_and_scores_do_not_hear_is_told_apart(usual, tmp_path, capsys):
    folder = ssast.finetune(**usual("start", whole_recording=True))
    said = [line for line in capsys.readouterr().out.splitlines() if "not heard" in line]
    assert len(said) == 1
    assert said[0].startswith("8 of 8 training recordings are longer than the 0.32 s that are heard of each: ")
    assert "unheard" not in json.loads((folder / "metrics.json").read_text())
    assert list(unheard(folder)) == ["training recordings"]
    beginnings = ssast.finetune(**usual("beginnings"))
    seconds = 6 * (0.5 + 0.625 + 0.75)
    facts = {"recordings": 18, "longer": 18, "seconds": seconds, "unheard_seconds": pytest.approx(seconds - 18 * 0.32)}
    assert unheard(beginnings) == {"recordings": facts}
    tested = json.loads((beginnings / "metrics.json").read_text())["unheard"]
    assert tested == {"recordings": 6, "longer": 6, "seconds": 3.75, "unheard_seconds": pytest.approx(3.75 - 6 * 0.32)}
    kept = ssast.finetune(**usual("kept", learning_rate=2e-3))
    assert unheard(kept) == unheard(beginnings), "also where pooled states were kept and nothing was read"


@pytest.mark.parametrize("mode", ["evaluate", "extract"])
def test_modes_that_only_listen_say_it_too(usual, mode, tmp_path, capsys):
    model = {"finetuned_mdl_path": str(ssast.finetune(**usual("model", epochs=1)))}
    capsys.readouterr()
    how = usual("out", **model)
    getattr(ssast, mode)(**how)
    sentence = "6 of 6 recordings are longer than the 0.32 s that are heard of each: 1.8 s of 3.8 s of sound (49 %)"
    assert sentence in capsys.readouterr().out
    assert unheard(tmp_path / "out")["recordings"]["longer"] == 6
    getattr(ssast, mode)(**how | {"exp_dir": str(tmp_path / "whole"), "whole_recording": True})
    assert "not heard" not in capsys.readouterr().out


def test_check_says_what_a_run_of_that_length_would_not_hear(usual, capsys):
    ssast.check(**usual("checked"))
    assert "18 of 18 recordings are longer than the 0.32 s that are heard of each" in capsys.readouterr().out
    ssast.check(**usual("longer", target_length=1024))
    assert "not heard" not in capsys.readouterr().out


def test_a_sweep_leaves_crops_aside(usual, capsys):
    how = {"epochs": 1, "label_txt": usual("x")["label_txt"]}
    paths = [ssast.sweep(**usual(crop, **how, crop=crop)) for crop in ("start", "random")]
    assert "--crop random left aside" in capsys.readouterr().out
    assert np.array_equal(paths[0].read_bytes(), paths[1].read_bytes())
