"""What is declared of an option decides what a card tells the public and what makes a run another run."""

from dataclasses import dataclass

import pytest

from ssast.errors import UserError
from ssast.model.checkpoints.model_card import model_card
from ssast.model.classification import SSASTForAudioClassification
from ssast.options.declaration import option, specs
from ssast.options.options import SPECS, Options
from ssast.options.record import RunRecord
from ssast.options.training_options import TRAINING
from ssast.runs.output.folder import open_folder

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 32, "target_length": 32}


@dataclass(frozen=True)
class Later(Options):
    """The options of a later version."""

    ward: int = option(0, "number of the ward that recorded", TRAINING)
    nurse: str = option("", "who recorded", TRAINING)
    warmup: int = option(0, "steps of growing learning rate", TRAINING, is_public=True)
    shown_every: int = option(1, "steps between two lines", TRAINING, changes_result=False)


@pytest.fixture
def later(monkeypatch):
    for name, spec in specs(Later).items():
        monkeypatch.setitem(SPECS, name, spec)
    return Later


def card_of(options, folder):
    model = SSASTForAudioClassification(1, **SIZES, labels=["breathy"], seed=0)
    model.save_pretrained(folder)
    clips = {"train": 9, "validation": 1, "test": 3}
    open_folder(RunRecord.of(options), clips=clips, files={"/ward/7/train.csv": "3b22"}, trains=True)
    return model_card(model.config, folder)


def test_a_new_option_stays_private_unless_it_is_declared_public(later, tmp_path):
    """A list of what must not be told made it public, whatever it was."""
    given = {"ward": 7, "nurse": "kim", "warmup": 500, "epochs": 12, "prefix": "/ward/7", "mode": "finetune"}
    card = card_of(later(**given, exp_dir=str(tmp_path)), tmp_path)
    assert "epochs 12" in card
    assert "warmup 500" in card
    for word in ("ward", "nurse", "kim", "3b22", "cache_gb", "num_workers", str(tmp_path)):
        assert word not in card


def test_no_path_name_or_place_is_declared_public():
    for name, spec in SPECS.items():
        if spec.is_public:
            assert not spec.is_path
            assert spec.kind is not str or spec.choices or name == "dataset"


def test_a_text_that_is_none_of_an_options_words_is_not_told_by_a_record_that_was_changed(tmp_path):
    card_of(Options(exp_dir=str(tmp_path), optim="adamw"), tmp_path)
    record = tmp_path / "run.yaml"
    config = SSASTForAudioClassification(1, **SIZES, seed=0).config
    record.write_text(record.read_text().replace("optim: adamw", "optim: /ward/7"))
    assert "/ward/7" not in model_card(config, tmp_path)


def test_a_record_that_says_nothing_of_it_tells_no_option(tmp_path):
    card_of(Options(exp_dir=str(tmp_path), epochs=12, dataset="voices"), tmp_path)
    record = tmp_path / "run.yaml"
    record.write_text(record.read_text().replace("public:", "other:"))
    card = model_card(SSASTForAudioClassification(1, **SIZES, seed=0).config, tmp_path)
    assert "epochs" not in card
    assert "voices" not in card
    assert "Made with ssast" in card


def test_a_new_option_makes_another_run_unless_it_is_declared_beside_the_result(later):
    key = RunRecord.of(later()).key({})
    assert RunRecord.of(later(ward=1)).key({}) != key
    assert RunRecord.of(later(shown_every=5)).key({}) == key
    assert RunRecord.of(later(num_workers=3, cache_gb=1.0, exp_dir="elsewhere")).key({}) == key


@pytest.mark.parametrize(
    ("given", "meant"),
    [(True, True), (False, False), ("true", True), ("0", False), ("auto", "auto"), ("Auto", "auto")],
)
def test_a_word_may_stand_in_place_of_a_truth(given, meant):
    assert Options(compile=given).compile == meant


@pytest.mark.parametrize(("given", "meant"), [(0, 0), ("4", 4), (" auto", "auto")])
def test_a_word_may_stand_in_place_of_a_number(given, meant):
    assert Options(num_workers=given).num_workers == meant


def test_another_word_is_refused_with_what_is_allowed():
    with pytest.raises(UserError, match="compile is yes, expected True or False, or auto"):
        Options(compile="yes")
    with pytest.raises(UserError, match="num_workers is many, expected a whole number of at least 0, or auto"):
        Options(num_workers="many")
    with pytest.raises(UserError, match="epochs is auto, expected a whole number"):
        Options(epochs="auto")


def test_a_default_that_was_renewed_goes_on_with_runs_of_the_older_one():
    """compile was False by default and became auto, which means the same; True was and is another run."""
    auto, off, on = (RunRecord.of(Options(compile=value)) for value in ("auto", False, True))
    assert auto.key({}) == off.key({}) != on.key({})
    assert auto.differences(dict(off.values), {}) == off.differences(dict(auto.values), {}) == ""
    assert off.differences(dict(on.values), {}) == "compile True there, False now"
    assert on.differences(dict(auto.values), {}) == "compile auto there, True now"


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("0", 0), (" site ", "site"), ("site 2", "site 2")])
def test_folds_are_a_number_or_the_name_of_a_column(text, value):
    assert SPECS["folds"].check(text, "--folds") == value


@pytest.mark.parametrize("wrong", ["2.5", "-1", "", True])
def test_folds_that_are_neither_are_refused(wrong):
    with pytest.raises(UserError, match=r"expected a whole number from 0 to 10000, or the name of a column"):
        SPECS["folds"].check(wrong, "--folds")
