"""A disk that is full in the middle of a run: one sentence, nothing half-written, and the same command goes on."""

import pytest

import ssast
from ssast import cli
from ssast.options.privacy import keys

TRAINING = {"model_size": "tiny", "epochs": 2, "batch_size": 8, "mask_patch": 8, "save_every_seconds": 0}
TRAINING |= {"target_length": 32, "device": "cpu"}


@pytest.fixture
def usual(still_corpus, tmp_path):
    return {
        "prefix": str(still_corpus.audio),
        "data_split_root": str(still_corpus.splits),
        "exp_dir": str(tmp_path / "o"),
    }


def hidden(folder):
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


def test_a_checkpoint_that_does_not_fit_ends_the_command_in_a_sentence(usual, tmp_path, room_for, capsys):
    words = [f"--{name}={value}" for name, value in {**usual, **TRAINING}.items()]
    with room_for(500_000):
        assert cli.main(["pretrain", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"ssast: cannot write {tmp_path / 'o' / 'checkpoints'}")
    assert said.endswith(".pt: file too large; free space, change the rights or choose another place.")
    assert not (tmp_path / "o").exists(), "there is nothing to go on from"


def test_a_model_that_does_not_fit_leaves_the_state_and_the_same_command_goes_on(
    usual, tmp_path, monkeypatch, room_for
):
    """The checkpoints are there when the disk is full, and the model is saved beside them later."""
    from ssast.modes import pretrain

    save = pretrain.save

    def in_a_small_room(model, folder):
        with room_for(500_000):
            save(model, folder)

    monkeypatch.setattr(pretrain, "save", in_a_small_room)
    with pytest.raises(ssast.errors.UserError, match=r"the model cannot be written to .*File too large.*; free space"):
        ssast.pretrain(**usual, **TRAINING)
    left = tmp_path / "o"
    assert not hidden(left)
    assert (left / "checkpoints" / "last.pt").exists()
    assert not (left / "model.safetensors").exists()
    monkeypatch.undo()
    assert (ssast.pretrain(**usual, **TRAINING) / "model.safetensors").exists()


def test_shards_that_do_not_fit_end_in_a_sentence_that_is_the_last_line(usual, tmp_path, room_for, capsys):
    """The bar of what had been packed stood below it."""
    with room_for(5_000):
        assert cli.main(["pack", usual["prefix"], usual["data_split_root"], usual["exp_dir"]]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ssast: cannot write")
    assert "file too large; free space" in last
    assert not list((tmp_path / "o").rglob("*.parquet"))


def test_a_log_that_cannot_be_written_is_a_sentence(usual, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(ssast.errors.UserError, match=r"cannot write .*: no space left on device; free space"):
        ssast.pretrain(**usual, **TRAINING)


def test_the_key_file_of_a_private_run_needs_no_hard_links(tmp_path, monkeypatch):
    import os

    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(os, "link", refuse)
    assert keys().digest("uid", "a") == keys().digest("uid", "a")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["keys.csv"]
