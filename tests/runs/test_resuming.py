"""Recordings that change between a kill and the next start are named, and never mixed with what they were."""

import os
import shutil

import pyarrow.parquet as pq
import pytest
import soundfile
import torch

import ssast
from ssast.engine import inference, train
from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.modes import finetune
from ssast.runs import features, resuming
from ssast.runs.output import folder

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)
TRAINING = {"model_size": "tiny", "epochs": 2, "batch_size": 4, "mask_patch": 8, "save_every_seconds": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    SSASTForAudioClassification(2, "tiny", target_length=32, labels=["high", "loud"], seed=0).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def usual(corpus, tmp_path):
    found = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    return found | {"target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 0, "batch_size": 1}


@pytest.fixture
def part_by_part(monkeypatch):
    """One clip a step and a part a step, so that a pass can be killed between them."""
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)
    monkeypatch.setattr(inference, "CPU_CLIPS", 1)


def reverse(corpus, *uids):
    """Other content of the same size under the same name."""
    for uid in uids:
        path = corpus.audio / uid / "waveform.wav"
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, samples[::-1], rate)


def copied(corpus):
    """The same recordings as a copy brings them: new times, new places on the disk."""
    shutil.copytree(corpus.audio, corpus.folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(corpus.audio)
    (corpus.folder / "copy").rename(corpus.audio)
    for path in corpus.audio.rglob("waveform.wav"):
        os.utime(path, (1, 1))


def by_extract(usual, model, corpus, out):
    path = ssast.extract(**usual, finetuned_mdl_path=model, exp_dir=str(out))
    return pq.read_table(path).to_pylist()


def by_over_time(usual, model, corpus, out):
    path = ssast.extract(**usual, finetuned_mdl_path=model, exp_dir=str(out), over_time=True, embedding_type="pt")
    return pq.read_table(path).to_pylist()


def by_evaluate(usual, model, corpus, out):
    folder = ssast.evaluate(**usual, finetuned_mdl_path=model, exp_dir=str(out))
    return (folder / "predictions.csv").read_bytes()


def by_predict(usual, model, corpus, out):
    names = ("device", "precision", "batch_size", "resume", "target_length")
    files = [str(path) for path in sorted(corpus.audio.rglob("waveform.wav"))[12:]]
    how = {name: usual[name] for name in names if name in usual}
    folder = ssast.predict(**how, finetuned_mdl_path=model, files=files, exp_dir=str(out))
    return (folder / "predicted.csv").read_bytes()


PASSES = {"extract": by_extract, "over time": by_over_time, "evaluate": by_evaluate, "predict": by_predict}


@pytest.mark.parametrize("way", PASSES)
def test_what_was_computed_of_a_changed_recording_is_computed_again(
    way, usual, model, corpus, tmp_path, dies, part_by_part, monkeypatch, capsys
):
    """0012 and 0013 were done when the kill came, 0016 was not."""
    do = PASSES[way]
    old = do(usual, model, corpus, tmp_path / "old")
    with dies(inference, "values", after=3):
        do(usual, model, corpus, tmp_path / "out")
    reverse(corpus, "0013", "0016")
    capsys.readouterr()
    again, seen = inference.values, []
    monkeypatch.setattr(
        inference, "values", lambda apply, batch, *rest: seen.append(batch["uid"]) or again(apply, batch, *rest)
    )
    found = do(usual, model, corpus, tmp_path / "out")
    said = capsys.readouterr().out
    assert "2 recordings changed since this run began: " in said
    assert said.count("0013") >= 1 <= said.count("0016")
    assert not any("0012" in uid for uids in seen for uid in uids), "what did not change is not computed again"
    assert found == do(usual, model, corpus, tmp_path / "new") != old


def test_copies_of_the_same_recordings_go_on_without_a_word(usual, model, corpus, tmp_path, dies, part_by_part, capsys):
    with dies(inference, "values", after=3):
        by_extract(usual, model, corpus, tmp_path / "out")
    copied(corpus)
    capsys.readouterr()
    found = by_extract(usual, model, corpus, tmp_path / "out")
    assert "changed" not in capsys.readouterr().out
    assert found == by_extract(usual, model, corpus, tmp_path / "new")


def test_resume_never_computes_every_recording_again(usual, model, corpus, tmp_path, dies, part_by_part, capsys):
    with dies(inference, "values", after=3):
        by_extract(usual, model, corpus, tmp_path / "out")
    with dies(inference, "values", after=5):  # six are to be done, not three
        by_extract(usual | {"resume": "never"}, model, corpus, tmp_path / "out")


def test_a_recording_that_was_mended_is_no_longer_left_out(usual, model, corpus, tmp_path, dies, part_by_part):
    whole = (corpus.audio / "0012" / "waveform.wav").read_bytes()
    (corpus.audio / "0012" / "waveform.wav").write_bytes(whole[:100])
    usual |= {"on_bad_audio": "skip"}
    with dies(inference, "values", after=3):
        by_extract(usual, model, corpus, tmp_path / "out")
    (corpus.audio / "0012" / "waveform.wav").write_bytes(whole)
    assert by_extract(usual, model, corpus, tmp_path / "out")[0]["uid"] == "0012"
    assert not (tmp_path / "out" / "bad_audio.csv").exists()


def killed(usual, tmp_path, dies):
    options = usual | TRAINING | {"exp_dir": str(tmp_path / "out")}
    with dies(train.Run, "step", after=4):
        ssast.pretrain(**options)
    return options


def test_training_refuses_recordings_that_changed_and_begins_anew_with_resume_never(usual, corpus, tmp_path, dies):
    options = killed(usual, tmp_path, dies)
    everyone = list(corpus.frame().index)
    reverse(corpus, *everyone)
    first = (tmp_path / "out" / "checkpoints" / "last.pt").read_bytes()
    with pytest.raises(UserError) as caught:
        ssast.pretrain(**options)
    said = str(caught.value)
    assert said.startswith("12 recordings changed since this run began: ")
    assert " and 7 more; restore them, give another --exp_dir, or pass --resume never to train on" in said
    assert (tmp_path / "out" / "checkpoints" / "last.pt").read_bytes() == first
    folder = ssast.pretrain(**options, resume="never")
    fresh = ssast.pretrain(**options | {"exp_dir": str(tmp_path / "fresh")})
    assert (folder / "model.safetensors").read_bytes() == (fresh / "model.safetensors").read_bytes()


def test_training_goes_on_with_copies_and_with_other_test_recordings(usual, corpus, tmp_path, dies):
    """Those are heard after the training, all of them as they are then."""
    usual |= {"pretrained_mdl_path": "none", "freeze": False}
    del usual["batch_size"]
    options = usual | {"exp_dir": str(tmp_path / "out")}
    options |= {name: value for name, value in TRAINING.items() if name != "mask_patch"}
    with dies(train.Run, "step", after=4):
        ssast.finetune(**options)
    copied(corpus)
    reverse(corpus, "0013")
    folder = ssast.finetune(**options)
    assert (folder / "metrics.json").exists()


def test_a_changed_rate_in_metadata_is_a_change(usual, corpus, tmp_path, dies):
    options = killed(usual, tmp_path, dies)
    path = corpus.audio / "0003" / "metadata.json"
    path.write_text(path.read_text().replace("16000", "8000"))
    with pytest.raises(UserError, match=r"^1 recording changed since this run began: 0003; "):
        ssast.pretrain(**options)


def test_another_version_goes_on_and_says_so(usual, tmp_path, dies, monkeypatch, capsys):
    """An upgrade once began anew without a word."""
    options = killed(usual, tmp_path, dies)
    monkeypatch.setattr(folder, "__version__", "9.9")
    began = train.Run.restore
    steps = []
    monkeypatch.setattr(train.Run, "restore", lambda self: (began(self), steps.append(self.progress.step))[0])
    ssast.pretrain(**options)
    assert f"this run began with ssast {ssast.__version__} and goes on with 9.9: its result may differ" in (
        capsys.readouterr().out
    )
    assert steps[0] >= 3


def test_a_state_of_another_run_is_refused_not_replaced(usual, tmp_path, dies):
    """The record is gone, and the state is of other options."""
    options = killed(usual, tmp_path, dies)
    (tmp_path / "out" / "run.yaml").unlink()
    with pytest.raises(UserError, match=r"last\.pt is of a run with other options, data or model"):
        ssast.pretrain(**options | {"learning_rate": 0.5})


def test_a_state_that_this_version_cannot_read_is_refused_in_a_sentence(usual, tmp_path, dies):
    options = killed(usual, tmp_path, dies)
    place = tmp_path / "out" / "checkpoints" / "last.pt"
    state = torch.load(place, weights_only=True)
    torch.save(state | {"progress": state["progress"] | {"lighthouses": 3}}, place)
    with pytest.raises(UserError, match="not a state that this version can go on from"):
        ssast.pretrain(**options)


@pytest.mark.parametrize("given", [None, 3])
def test_a_run_goes_on_in_the_pieces_that_it_began_with_on_another_machine(given, usual, tmp_path, dies, monkeypatch):
    """A GPU that held two clips at once was lent elsewhere; what is given counts."""
    options = usual | TRAINING | {"exp_dir": str(tmp_path / "out")}
    with dies(train.Run, "step", after=4):
        ssast.pretrain(**options | {"micro_batch": 2})
    pieces = []
    whole = train.Run.__init__
    monkeypatch.setattr(
        train.Run,
        "__init__",
        lambda self, model, feed, *rest: (pieces.append(feed.pieces), whole(self, model, feed, *rest))[1],
    )
    ssast.pretrain(**options, **({"micro_batch": given} if given else {}))
    expected = given or 2
    assert pieces == [-(-4 // expected)]
    assert f"micro_batch: {expected}\n" in (tmp_path / "out" / "run.yaml").read_text()


@pytest.mark.parametrize("damage", ["gone", "[", '["a"]', "{}"])
def test_everything_is_computed_again_where_what_was_heard_is_not_known(
    damage, usual, model, corpus, tmp_path, dies, part_by_part, capsys
):
    """Rows of old and new recordings once came together where heard.json was gone."""
    with dies(inference, "values", after=3):
        by_extract(usual, model, corpus, tmp_path / "out")
    harm(tmp_path / "out" / ".parts" / "extract" / "heard.json", damage)
    reverse(corpus, "0012", "0013")
    found = by_extract(usual, model, corpus, tmp_path / "out")
    assert "heard.json is missing or damaged, so recordings may have changed: everything" in capsys.readouterr().out
    assert found == by_extract(usual, model, corpus, tmp_path / "new")


def harm(place, damage):
    if damage == "gone":
        place.unlink()
    else:
        place.write_text(damage)


def test_training_says_where_what_it_heard_is_not_known(usual, tmp_path, dies, capsys):
    options = killed(usual, tmp_path, dies)
    harm(tmp_path / "out" / "checkpoints" / "heard.json", "gone")
    ssast.pretrain(**options)
    assert "heard.json is missing or damaged, so whether recordings changed since this run began is not known" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("content", ["", "5", "{}", "[" * 100_000, '["a", "b", "c"]', '["a"]' + " " * (9 << 20), None])
def test_what_was_heard_is_not_known_from_a_file_that_no_run_wrote(content, tmp_path, pipe):
    place = tmp_path / "heard.json"
    pipe(place) if content is None else place.write_text(content)
    assert resuming.RememberedRecordings(["u"], ["name"]).changed_since(place) is None


@pytest.mark.parametrize("way", PASSES)
def test_a_recording_that_changes_while_it_is_read_ends_the_run_and_is_computed_again(
    way, usual, model, corpus, tmp_path, part_by_part, monkeypatch
):
    """Results of recordings before and after a change were written together, without a word."""
    do, whole, calls = PASSES[way], inference.values, []

    def meanwhile(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            reverse(corpus, "0012")
        return whole(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(inference, "values", meanwhile)
        with pytest.raises(UserError, match=r"^1 recording changed while this run read them: .*0012.*same command"):
            do(usual, model, corpus, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*predict*.csv")) + list((tmp_path / "out").glob("*.pqt"))
    assert do(usual, model, corpus, tmp_path / "out") == do(usual, model, corpus, tmp_path / "new")


def test_states_of_a_recording_that_changed_meanwhile_are_not_kept_as_those_of_another(
    usual, corpus, tmp_path, monkeypatch
):
    """Those of its new content lay in the cache under the old one's name, and every later run took them."""
    options = usual | {"pretrained_mdl_path": "none", "model_size": "tiny", "epochs": 1}
    whole = features.Pooler.compute

    def meanwhile(pooler, source):
        reverse(corpus, "0003")
        return whole(pooler, source)

    with monkeypatch.context() as patched:
        patched.setattr(features.Pooler, "compute", meanwhile)
        with pytest.raises(UserError, match=r"^1 recording changed while this run read them: 0003; "):
            ssast.finetune(**options, exp_dir=str(tmp_path / "out"))
    reverse(corpus, "0003")
    folder = ssast.finetune(**options, exp_dir=str(tmp_path / "out"))
    alone = ssast.finetune(**options, features="never", exp_dir=str(tmp_path / "alone"))
    assert (folder / "model.safetensors").read_bytes() == (alone / "model.safetensors").read_bytes()


@pytest.mark.parametrize("mode", ["pretrain", "finetune"])
def test_a_recording_that_changes_while_a_model_learns_is_said_and_counted(
    mode, usual, corpus, tmp_path, monkeypatch, capsys
):
    """The model had heard two recordings of one name, and nothing told it."""
    options = usual | {"model_size": "tiny", "epochs": 2, "batch_size": 4, "exp_dir": str(tmp_path / "out")}
    options |= {"mask_patch": 8} if mode == "pretrain" else {"pretrained_mdl_path": "none", "freeze": False}
    if mode == "pretrain":
        del options["label_txt"], options["resamples"]
    whole, steps = train.Run.step, []

    def meanwhile(run, pieces, **how):
        steps.append(pieces)
        if len(steps) == 3:
            reverse(corpus, "0003")
        return whole(run, pieces, **how)

    monkeypatch.setattr(train.Run, "step", meanwhile)
    folder = getattr(ssast, mode)(**options)
    assert "Careful: 1 recording changed while this run trained on them: 0003; " in capsys.readouterr().out
    assert "changed_while_training: 1" in (folder / "run.yaml").read_text(encoding="utf-8")


def test_what_was_measured_of_a_recording_before_it_changed_is_not_kept_as_of_after(
    usual, corpus, tmp_path, monkeypatch
):
    """The plain baseline of every later run that had kept states had been that of the earlier content."""
    options = usual | {"pretrained_mdl_path": "none", "model_size": "tiny", "epochs": 1, "batch_size": 4}

    def spoil(model, folder):
        save(model, folder)
        samples, rate = soundfile.read(corpus.audio / "0003" / "waveform.wav")
        soundfile.write(corpus.audio / "0003" / "waveform.wav", samples / 8, rate)

    save = finetune.save
    with monkeypatch.context() as patched:
        patched.setattr(finetune, "save", spoil)
        ssast.finetune(**options, freeze=False, exp_dir=str(tmp_path / "before"))
    ssast.finetune(**options, exp_dir=str(tmp_path / "keeps states"))
    after = ssast.finetune(**options, exp_dir=str(tmp_path / "after"))
    alone = ssast.finetune(**options, features="never", exp_dir=str(tmp_path / "alone"))
    assert (after / "plain_baseline.json").read_bytes() == (alone / "plain_baseline.json").read_bytes()
