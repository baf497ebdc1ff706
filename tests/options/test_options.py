"""Options: declared once, checked wherever they come from, recorded and read again."""

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ssast.data.prepare import USUAL_OVERLAP
from ssast.errors import UserError
from ssast.help import options_page
from ssast.model.checkpoints.config_entries import HIGHEST_OVERLAP
from ssast.options.declaration import specs
from ssast.options.options import SPECS, Options
from ssast.options.record import RunRecord, load_config, resolve, yaml_text
from ssast.options.records import MODES
from ssast.safe_reading import yaml_of

ROOT = Path(__file__).resolve().parents[2]
DATA = {"prefix": "audio", "data_split_root": "splits"}

# What the seed and the design promise: name, short form, default.
PROMISED = [
    ("prefix", "i", None),
    ("study", "s", None),
    ("data_split_root", "d", None),
    ("label_txt", "l", "./labels.txt"),
    ("lib", "", False),
    ("pretrained_mdl_path", "", "SSAST-Base-Frame-400.pth"),
    ("finetuned_mdl_path", "", None),
    ("bucket_name", "b", None),
    ("project_name", "p", None),
    ("cloud", "", True),
    ("dataset", "", None),
    ("exp_dir", "o", "./experiments"),
    ("cloud_dir", "", ""),
    ("mode", "m", "finetune"),
    ("task", "", "ft_cls"),
    ("freeze", "", True),
    ("weighted", "", False),
    ("layer", "", -1),
    ("embedding_type", "", "ft"),
    ("dataset_mean", "", -4.2677393),
    ("dataset_std", "", 4.5689974),
    ("resample_rate", "", 16000),
    ("reduce", "", True),
    ("clip_length", "", 0),
    ("num_mel_bins", "", 128),
    ("target_length", "", 1024),
    ("tshift", "", 0),
    ("speed", "", 0),
    ("gauss", "", 0),
    ("pshift", "", 0),
    ("pshiftn", "", 2),
    ("gain", "", 0),
    ("stretch", "", 0),
    ("mixup", "", 0),
    ("freqm", "", 0),
    ("timem", "", 0),
    ("noise", "", False),
    ("cdo", "", False),
    ("shift", "", False),
    ("model_size", "", "base"),
    ("fshape", "", 128),
    ("tshape", "", 2),
    ("fstride", "", None),
    ("tstride", "", None),
    ("mask_padding", "", False),
    ("batch_size", "", 8),
    ("num_workers", "", 0),
    ("learning_rate", "", 0.0003),
    ("epochs", "", 1),
    ("optim", "", "adam"),
    ("weight_decay", "", 0.0001),
    ("loss", "", "BCE"),
    ("scheduler", "", None),
    ("max_lr", "", 0.01),
    ("val_share", "", 0.1),
    ("mask_patch", "", 400),
    ("cluster_factor", "", 3),
    ("activation", "", "relu"),
    ("final_dropout", "", 0.2),
    ("layernorm", "", True),
    ("precision", "", "auto"),
    ("device", "", "auto"),
    ("seed", "", 0),
    ("resume", "", "auto"),
]


@pytest.mark.parametrize(("name", "short", "default"), PROMISED)
def test_promised_options_have_their_name_short_form_and_default(name, short, default):
    assert SPECS[name].short == short
    assert getattr(Options(), name) == default


def test_every_option_says_what_it_means_and_where_it_is_shown():
    for spec in SPECS.values():
        assert spec.help, spec.name
    known = {name for mode in MODES.values() for name in mode.options}
    assert known == SPECS.keys() - {"mode"}


def test_short_forms_are_used_once():
    shorts = [spec.short for spec in SPECS.values() if spec.short]
    assert len(shorts) == len(set(shorts))


def test_every_default_is_itself_allowed():
    for name, spec in SPECS.items():
        assert spec.check(spec.default, name) == spec.default


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("true", True), ("1", True), ("False", False), ("FALSE", False), ("0", False)]
)
def test_booleans_are_written_out(text, value):
    assert resolve(**DATA, freeze=text).freeze is value


@pytest.mark.parametrize("text", ["None", "none"])
def test_none_empties_an_optional_option(text):
    options = resolve(**DATA, scheduler=text, study=text, bucket_name=text, pretrained_mdl_path=text)
    assert (options.scheduler, options.study, options.bucket_name, options.pretrained_mdl_path) == (None,) * 4


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("layer", 99, "a whole number from -1 to 13"),
        ("layer", 1.5, "a whole number"),
        ("layer", True, "a whole number"),
        ("epochs", "many", "a whole number of at least 1"),
        ("learning_rate", 0, "a number above 0"),
        ("learning_rate", "nan", "a number above 0"),
        ("val_share", 1, "a number above 0 and below 1"),
        ("tshift", -0.1, "a number from 0 to 1"),
        ("freeze", "maybe", "True or False"),
        ("freeze", None, "True or False"),
        ("scheduler", "two", "onecycle (or none)"),
        ("loss", "hinge", "one of BCE, MSE"),
        ("model_size", "bse", "did you mean base?"),
        ("prefix", "", "a path (or none)"),
        ("dataset", 2024, "quotes around it make it text"),
    ],
)
def test_a_wrong_value_names_the_option_and_what_is_allowed(name, value, allowed):
    with pytest.raises(UserError, match=name) as caught:
        resolve(**{**DATA, name: value})
    assert allowed in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [os.fsdecode(b"gr\xfc\xdfe"), Path(os.fsdecode(b"gr\xfc\xdfe"))])
def test_a_path_of_other_bytes_than_utf_8_is_refused_before_the_run(value):
    """The run trained, and its run.yaml could not be read when the results were to be written."""
    with pytest.raises(UserError, match=r"prefix is gr\?\?e, which is no text in UTF-8") as caught:
        resolve(**{**DATA, "prefix": value})
    assert caught.value.names == {"path": ("gr??e",)}


def test_values_from_other_libraries_and_paths_are_taken():
    options = resolve(
        prefix=Path("audio"), data_split_root="splits", epochs=np.int64(3), gain=np.float32(0.5), loss="mse"
    )
    assert (options.prefix, options.epochs, options.gain, options.loss) == ("audio", 3, 0.5, "MSE")
    assert type(options.epochs) is int


def test_an_unknown_option_gets_a_suggestion():
    with pytest.raises(UserError, match="lerning_rate; did you mean learning_rate"):
        resolve(lerning_rate=1)


@pytest.mark.parametrize(
    ("mode", "task", "is_mode"),
    [
        ("train", None, "finetune"),
        ("train", "ft_avgtok", "finetune"),
        ("train", "pretrain_mpc", "pretrain"),
        ("eval", None, "evaluate"),
        ("eval-only", None, "evaluate"),
        ("extraction", None, "extract"),
    ],
)
def test_the_seeds_names_of_modes_are_understood(mode, task, is_mode):
    given = {"task": task} if task else {}
    if is_mode in ("evaluate", "extract"):
        given["finetuned_mdl_path"] = "model"
    assert resolve(**DATA, mode=mode, **given).mode == is_mode


def test_pretraining_is_joint_and_starts_from_nothing_unless_said_otherwise():
    options = resolve(**DATA, mode="pretrain")
    assert (options.task, options.pretrained_mdl_path) == ("pretrain_joint", None)
    options = resolve(**DATA, mode="pretrain", task="pretrain_mpg", pretrained_mdl_path="model")
    assert (options.task, options.pretrained_mdl_path) == ("pretrain_mpg", "model")


@pytest.mark.parametrize(
    ("mode", "values", "sentence"),
    [
        ("finetune", {"task": "pretrain_joint"}, "use the mode pretrain"),
        ("pretrain", {"task": "ft_cls"}, "use the mode finetune"),
        ("evaluate", {"task": "pretrain_mpc"}, "give ft_cls or ft_avgtok"),
        ("finetune", {"prefix": None}, "needs -i/--prefix"),
        ("extract", {"data_split_root": None}, "or one csv file"),
        ("finetune", {"label_txt": None}, "needs -l/--label_txt"),
        ("finetune", {"finetuned_mdl_path": "model"}, "give it as --pretrained_mdl_path"),
        ("evaluate", {}, "needs --finetuned_mdl_path"),
        ("extract", {}, "--embedding_type ft needs a fine-tuned model"),
        ("extract", {"embedding_type": "wt"}, "--embedding_type wt needs a fine-tuned model"),
        ("finetune", {"target_length": 1}, "shorter than a patch of 2 frames"),
        ("finetune", {"target_length": 10, "tshape": 16}, "give at least 16"),
        ("finetune", {"freqm": 129}, "--freqm 129"),
        ("finetune", {"timem": 1025}, "--timem 1025"),
        ("finetune", {"bucket_name": "gs://bucket"}, "bare name"),
        ("finetune", {"cloud_dir": "gs://bucket/x"}, "without gs://"),
        ("finetune", {"pretrained_mdl_path": None, "num_mel_bins": 64}, "--fshape 128"),
        ("pretrain", {"mask_patch": 512}, "fewer than 512"),
        ("pretrain", {"fshape": 16, "tshape": 16, "fstride": 10, "tstride": 10}, "give 16 and 16"),
    ],
)
def test_options_that_do_not_go_together_get_one_sentence(mode, values, sentence):
    with pytest.raises(UserError) as caught:
        resolve(mode=mode, **{**DATA, **values})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("extract", {"embedding_type": "pt", "label_txt": None}),
        ("pretrain", {"label_txt": None, "mask_patch": 511}),
        ("finetune", {"num_mel_bins": 64}),
        ("pretrain", {"fshape": 16, "tshape": 16, "fstride": 16, "tstride": 16}),
        ("pretrain", {"pretrained_mdl_path": "model", "mask_patch": 600}),
    ],
)
def test_what_only_the_model_can_tell_is_left_to_it(mode, values):
    assert resolve(mode=mode, **{**DATA, **values}).mode == mode


def test_the_demo_needs_nothing():
    assert resolve(mode="demo").speakers == 48


def test_given_holds_what_was_asked_for_even_when_it_equals_the_default():
    assert resolve(**DATA, layer=-1).given == {"prefix", "data_split_root", "layer"}
    assert Options(layer=3).given == {"layer"}
    assert dataclasses.replace(resolve(**DATA), fshape=16).given == {"prefix", "data_split_root"}


def test_resolving_again_changes_nothing():
    options = resolve(**DATA, mode="pretrain", epochs=3)
    again = resolve(options, mode="pretrain")
    assert again == options
    assert again.given == options.given


def test_options_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().epochs = 2


def test_a_file_gives_options_and_the_call_wins(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 5\nlearning_rate: 1e-4\nfreeze: False\nscheduler: None\nstudy: null\nmode: evaluate\n")
    options = resolve(**DATA, config=file, mode="finetune", epochs=7)
    assert (options.epochs, options.learning_rate, options.freeze, options.scheduler) == (7, 1e-4, False, None)
    assert options.mode == "finetune"
    assert "learning_rate" in options.given


def test_a_yaml_number_without_a_dot_is_still_a_number(tmp_path):
    """YAML 1.1 reads 1e-4 as text, which is what people write for a learning rate."""
    file = tmp_path / "run.yaml"
    file.write_text("learning_rate: 1e-4")
    assert load_config(file)[0] == {"learning_rate": 1e-4}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epoch: 3", "there is no option epoch; did you mean epochs?"),
        ("epochs: three", "epochs is three, expected a whole number"),
        ("layer: yes", "layer is True"),
        ("freeze: 3", "freeze is 3, expected True or False"),
        ("layer: [1, 2]", "layer is [1, 2]"),
        ("dataset: 2024-01-01", "quotes around it make it text"),
        ("config: other.yaml", "there is no option config"),
        ("a: [1", "cannot be read as YAML (line"),
        ("- 1", "holds a list"),
    ],
)
def test_a_wrong_file_gets_a_sentence_with_its_name_and_the_key(tmp_path, content, sentence):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        load_config(file)
    assert "mine.yaml" in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_gets_a_sentence(tmp_path, name):
    with pytest.raises(UserError, match=str(tmp_path)):
        load_config(tmp_path / name)


def test_an_empty_file_has_no_options(tmp_path):
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_config(file)[0] == {}


def test_what_one_reader_does_to_a_record_changes_nothing_for_the_next():
    """Short texts are parsed once and remembered."""
    first = yaml_of("record:\n  clips: [1, 2]\n")
    first["record"]["clips"].append(3)
    assert yaml_of("record:\n  clips: [1, 2]\n") == {"record": {"clips": [1, 2]}}


def test_a_record_has_the_bytes_of_the_slower_writer_of_yaml_whatever_is_in_it():
    """The fast one differs in empty and long keys, and in what is not ASCII: such values must not reach it."""
    chance = random.Random(0)
    letters = "abXY019 _-./:#,[]{}&*!|>'\"%@`~=?\\" + "äß漢😀\u00a0\u2028\n\t\r\x07\x85\ufeff"
    words = [
        "",
        "yes",
        "null",
        "~",
        "1e5",
        "0x1f",
        "1_000",
        "2020-01-01",
        "=",
        "<<",
        "- a",
        "a: b",
        "a #b",
        "1:30",
        "'",
    ]
    numbers = [None, True, 12, -0.0, 1e300, 1e-30, float("inf"), float("nan")]

    def text(most):
        usual = letters[:34] if chance.random() < 0.8 else letters
        return (
            "".join(chance.choices(usual, k=chance.randint(0, most))) if chance.random() < 0.7 else chance.choice(words)
        )

    def value(depth):
        kind = chance.random() if depth < 3 else 1.0
        if kind < 0.2:
            return [value(depth + 1) for _ in range(chance.randint(0, 4))]
        if kind < 0.4:
            return {text(250): value(depth + 1) for _ in range(chance.randint(0, 4))}
        return chance.choice(numbers) if chance.random() < 0.4 else text(300)

    for _ in range(150):
        values = {text(30): value(0) for _ in range(2)}
        values["k" * chance.randint(90, 140)] = text(9)
        values["again"] = next(iter(values.values()))  # an object that comes twice is written as an alias
        assert yaml_text(values) == yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


@pytest.mark.parametrize("mode", ["pretrain", "finetune"])
def test_the_record_repeats_the_run(tmp_path, mode):
    options = resolve(**DATA, mode=mode, epochs=3, learning_rate=1e-5, dataset="2024", study="no", exp_dir="übung")
    RunRecord.of(options).write(tmp_path / "run.yaml", {"versions": {"torch": "2"}, "epochs": "not an option"})
    assert resolve(config=tmp_path / "run.yaml", mode=mode) == dataclasses.replace(
        options, config=str(tmp_path / "run.yaml")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_repeated_run_asks_again_for_what_was_asked_for_at_its_default(tmp_path):
    """A model folder remembers another share, and a default gives way to it: the record has to tell them apart."""
    RunRecord.of(resolve(**DATA, window_overlap=0.5)).write(tmp_path / "run.yaml", {"clips": 3})
    assert "window_overlap" in resolve(config=tmp_path / "run.yaml").given
    assert "window_pooling" not in resolve(config=tmp_path / "run.yaml").given


@pytest.mark.parametrize("noted", ["epochs", "[[1], {2: 3}]", "{epochs: 1}", "[unknown]"])
def test_names_that_a_record_cannot_hold_are_passed_over(tmp_path, noted):
    (tmp_path / "run.yaml").write_text(f"epochs: 1\nrecord: {{given: {noted}}}\n")
    assert resolve(**DATA, config=tmp_path / "run.yaml").given == resolve(**DATA).given


def test_the_record_holds_every_option_and_the_extra_block(tmp_path):
    options = resolve(**DATA)
    RunRecord.of(options).write(tmp_path / "run.yaml", {"clips": 3})
    content = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert content.pop("record") == {"clips": 3}
    assert content == RunRecord.of(options).values
    assert set(content) == set(SPECS) - {"config"}


def test_the_record_of_a_run_can_be_written_over(tmp_path):
    for epochs in (1, 2):
        RunRecord.of(resolve(**DATA, epochs=epochs)).write(tmp_path / "run.yaml", {})
    assert load_config(tmp_path / "run.yaml")[0]["epochs"] == 2


def test_specs_read_kind_and_optionality_from_the_annotation():
    assert SPECS["fstride"].kind is int
    assert SPECS["fstride"].optional
    assert not SPECS["epochs"].optional
    assert specs(Options) == SPECS


def test_the_options_page_is_what_the_code_says():
    """docs/options.md is written by `make docs`; run it when an option changes."""
    assert (ROOT / "docs" / "options.md").read_text() == options_page()


def test_the_options_page_is_printed_by_the_module():
    printed = subprocess.run([sys.executable, "-m", "ssast.help"], capture_output=True, text=True, check=True).stdout
    assert printed == options_page()
    assert all(f"| `--{name}` |" in printed for name in SPECS)


def test_a_missing_table_is_said_without_opening_a_collection(tmp_path, monkeypatch):
    """Which loads torch: seconds, before one reads that -d is missing."""
    monkeypatch.setitem(sys.modules, "ssast.data.shards.collection", None)
    with pytest.raises(UserError, match="check needs -d/--data_split_root"):
        resolve(mode="check", prefix=str(tmp_path))


def test_windows_share_as_much_on_the_command_line_as_in_python_and_in_model_folders():
    asked = SPECS["window_overlap"]
    assert (asked.default, asked.high) == (USUAL_OVERLAP, HIGHEST_OVERLAP)
