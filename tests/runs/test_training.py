"""Training with padding kept out: batches of one length, and the same ones for a run that goes on."""

import json

import numpy as np
import pytest
import torch

import ssast
from ssast.data.prepare import Prepare
from ssast.engine import train
from ssast.errors import UserError
from ssast.runs import training

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)


@pytest.fixture
def usual(still_corpus, tmp_path):
    """Clips of 48 to 73 frames in an input of 160: they go through at 64 or 128."""
    return {
        "prefix": str(still_corpus.audio),
        "data_split_root": str(still_corpus.splits),
        "pretrained_mdl_path": None,
        "model_size": "tiny",
        "target_length": 160,
        "mask_padding": True,
        "epochs": 2,
        "batch_size": 4,
        "save_every_seconds": 0,
        "device": "cpu",
        "precision": "fp32",
        "exp_dir": str(tmp_path / "run"),
    }


PRETRAIN = {"mask_patch": 60}


def weights(folder):
    return dict(ssast.SSASTForPreTraining.from_pretrained(folder).state_dict())


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def heard(monkeypatch):
    """The length of the fbank and the own frames of each batch that is prepared."""
    seen, forward = [], Prepare.forward

    def watched(self, batch, generator=None):
        made = forward(self, batch, generator)
        seen.append((made["fbank"].shape[1], made["frames"].tolist()))
        return made

    monkeypatch.setattr(Prepare, "forward", watched)
    return seen


def test_batches_hold_clips_of_one_length_and_go_through_at_it(usual, heard):
    ssast.pretrain(**usual, **PRETRAIN)
    assert {length for length, _ in heard} == {64, 128}
    mixed = [frames for _, frames in heard if len({frames_to_length(own) for own in frames}) > 1]
    assert len(mixed) <= 4, "one a pass over the clips, where the short ones end"
    assert all(length == max(map(frames_to_length, frames)) for length, frames in heard)


def frames_to_length(frames):
    return 64 if frames <= 64 else 128


def test_without_masked_padding_no_length_is_looked_for_and_nothing_is_kept(usual, heard, tmp_path):
    ssast.pretrain(**usual | {"mask_padding": False}, **PRETRAIN)
    assert {length for length, _ in heard} == {160}
    assert not (tmp_path / "run" / "checkpoints" / training.LENGTHS).exists()


def test_a_run_that_goes_on_has_the_batches_it_began_with(usual, tmp_path, dies, monkeypatch):
    """Also where the headers can no longer be read, or the cache has let go of recordings."""
    whole = weights(ssast.pretrain(**usual | {"exp_dir": str(tmp_path / "whole")}, **PRETRAIN))
    with dies(train.Run, "step", after=4):
        ssast.pretrain(**usual, **PRETRAIN)
    monkeypatch.setattr(training, "known_frames", lambda root, uids, audio: [None] * len(uids))
    assert same(whole, weights(ssast.pretrain(**usual, **PRETRAIN)))


def test_a_run_that_an_older_version_began_goes_on_with_its_batches(usual, tmp_path, dies, monkeypatch):
    plain = usual | {"exp_dir": str(tmp_path / "plain")}
    with monkeypatch.context() as patched:
        patched.setattr(training.ClipLengths, "found", None)
        whole = weights(ssast.pretrain(**plain, **PRETRAIN))
        with dies(train.Run, "step", after=2):
            ssast.pretrain(**usual, **PRETRAIN)
    assert same(whole, weights(ssast.pretrain(**usual, **PRETRAIN)))


def test_lengths_that_were_damaged_end_a_run_in_a_sentence(usual, tmp_path, dies):
    with dies(train.Run, "step", after=2):
        ssast.pretrain(**usual, **PRETRAIN)
    (tmp_path / "run" / "checkpoints" / training.LENGTHS).write_text("[[64], ")
    with pytest.raises(UserError, match=r"lengths.json is damaged.*--resume never"):
        ssast.pretrain(**usual, **PRETRAIN)


def test_clips_of_unknown_length_are_told_apart_when_they_are_decoded(usual, heard, monkeypatch):
    monkeypatch.setattr(training, "known_frames", lambda root, uids, audio: [None] * len(uids))
    ssast.pretrain(**usual, **PRETRAIN)
    assert all(length == max(map(frames_to_length, frames)) for length, frames in heard)


def test_a_batch_in_pieces_has_the_losses_of_the_whole_batch_but_for_its_chance(usual, tmp_path, still_corpus):
    how = usual | {
        "label_txt": str(still_corpus.label_txt),
        "freeze": False,
        "resamples": 0,
        "final_dropout": 0.0,
        "epochs": 1,
    }
    losses = []
    for pieces in (4, 3):
        folder = ssast.finetune(**how | {"exp_dir": str(tmp_path / str(pieces))}, micro_batch=pieces)
        losses.append([line["train_loss"] for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines())])
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)


def test_kept_states_train_the_head_as_recordings_do(usual, tmp_path, still_corpus):
    how = usual | {"label_txt": str(still_corpus.label_txt), "resamples": 0, "final_dropout": 0.0, "epochs": 1}
    kept, read = (
        ssast.finetune(**how | {"exp_dir": str(tmp_path / features)}, features=features)
        for features in ("auto", "never")
    )
    one, other = ((folder / "predictions.csv").read_text().splitlines() for folder in (kept, read))
    assert [line.split(",")[0] for line in one] == [line.split(",")[0] for line in other]
    one, other = (np.array([line.split(",")[1:] for line in lines[1:]], float) for lines in (one, other))
    np.testing.assert_allclose(one, other, atol=1e-4)
