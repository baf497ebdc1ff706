"""The command line: one mode runs, a user's mistake is one sentence and exit code 2, help shows what matters."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssast import __version__, cli
from ssast.errors import UserError
from ssast.options.options import SPECS
from ssast.options.records import ALIASES, MODES

ROOT = Path(__file__).resolve().parents[1]
DATA = ["-i", "audio", "-d", "splits"]


@pytest.fixture
def ran(monkeypatch):
    """The modes replaced by ones that note what they were called with."""
    calls: list[tuple[str, object]] = []

    def noting(name):
        return SimpleNamespace(run=lambda options: calls.append((name, options)))

    monkeypatch.setattr(cli, "mode_named", noting)
    return calls


def complaint(capsys, *words, prog="ssast"):
    """The one line on standard error that these words lead to."""
    assert cli.main(list(words), prog=prog) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ssast: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_mode_runs_with_the_options_given(ran):
    words = ["finetune", *DATA, "--freeze", "False", "--layer", "-1", "--dataset_mean", "-1e-3", "--exp_dir=out"]
    assert cli.main(words) == 0
    ((mode, options),) = ran
    assert mode == "finetune"
    assert (options.prefix, options.freeze, options.layer, options.exp_dir) == ("audio", False, -1, "out")
    assert options.dataset_mean == -0.001
    assert options.given == {"prefix", "data_split_root", "freeze", "layer", "dataset_mean", "exp_dir"}


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--dataset_mean", "-1e-3"], "dataset_mean", -0.001),
        (["--dataset_mean", "-.5"], "dataset_mean", -0.5),
        (["--uids", "-1,-2"], "uids", "-1,-2"),
        (["--uids", "-x7"], "uids", "-x7"),
        (["-s", "-4"], "study", "-4"),
    ],
)
def test_values_that_start_with_a_minus_are_values(ran, words, name, value):
    assert cli.main(["finetune", *DATA, *words]) == 0
    assert getattr(ran[0][1], name) == value


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (DATA, "finetune"),
        (["-m", "train", *DATA], "finetune"),
        ([*DATA, "--task", "pretrain_joint", "-m", "train"], "pretrain"),
        ([*DATA, "-m", "eval", "--finetuned_mdl_path", "x"], "evaluate"),
        ([*DATA, "-m", "eval-only", "--finetuned_mdl_path", "x"], "evaluate"),
        ([*DATA, "--mode", "extraction", "--embedding_type", "pt"], "extract"),
        (["-m", "demo"], "demo"),
    ],
)
def test_run_py_takes_the_seeds_modes_before_or_after_the_options(ran, words, mode):
    assert cli.main(words, prog="run.py") == 0
    assert [name for name, _ in ran] == [mode]


def test_the_seeds_names_work_as_first_word_too(ran):
    assert cli.main(["train", "--task", "pretrain_mpc", *DATA]) == 0
    assert [name for name, _ in ran] == ["pretrain"]


def test_a_record_repeats_the_run_and_given_options_win(ran, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "mode: extract\nprefix: audio\ndata_split_root: splits\nembedding_type: pt\nlayer: 3\nrecord: {clips: 1}"
    )
    assert cli.main(["--config", str(file), "--layer", "5"]) == 0
    ((mode, options),) = ran
    assert (mode, options.layer, options.embedding_type) == ("extract", 5, "pt")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fintune"], "there is no mode fintune; did you mean finetune?"),
        (["xyz"], "the modes are arrange, pretrain"),
        (["finetune", "--lerning_rate", "1"], "there is no option --lerning_rate; did you mean --learning_rate?"),
        (["finetune", "--learning-rate=1"], "there is no option --learning-rate; did you mean --learning_rate?"),
        (["finetune", "--epoch", "1"], "there is no option --epoch; did you mean --epochs?"),
        (["finetune", "-prefix", "x"], "there is no option -prefix; did you mean --prefix?"),
        (["finetune", "--qqq"], "--help-all` lists them all"),
        (["finetune", "word"], "'word' belongs to no option"),
        (["finetune", "--freeze"], "--freeze has no value, expected True or False"),
        (["finetune", "-i"], "-i/--prefix has no value"),
        (["finetune", "--epochs", "--seed", "1"], "--epochs has no value"),
        (
            ["finetune", "--dataset_mean", "-4,2"],
            "is -4,2, expected a number from -1000000 to 1000000; write it with a point, -4.2",
        ),
        (["finetune", "--dataset_std", "4,5"], "write it with a point, 4.5"),
        (["finetune", "--dataset_mean", "-inf"], "--dataset_mean is -inf, expected a number"),
        (["finetune", "--epochs", "-1"], "--epochs is -1, expected a whole number"),
        (["finetune", "--seed", "-1-5"], "--seed is -1-5, expected a whole number"),
        (["finetune", "--layer", "99"], "--layer is 99, expected a whole number from -1 to 13"),
        (["finetune", "--task", "ft_cl"], "did you mean ft_cls?"),
        (["finetune", "--config", "missing.yaml"], "missing.yaml"),
        (["finetune", *DATA, "--task", "pretrain_joint"], "use the mode pretrain"),
        (["finetune", "-m", "evaluate"], "the mode is named twice"),
        (["--epochs", "3"], "no mode is named"),
        (["evaluate", *DATA], "evaluate needs --finetuned_mdl_path"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(ran, capsys, words, sentence):
    assert sentence in complaint(capsys, *words)
    assert ran == []


def test_run_py_without_anything_says_what_fine_tuning_needs(ran, capsys):
    assert "finetune needs -i/--prefix" in complaint(capsys, prog="run.py")


def test_a_user_error_inside_a_mode_is_one_line(capsys, monkeypatch):
    def fail(options):
        raise UserError("clip 17 has 0 samples;\nremove it")

    monkeypatch.setattr(cli, "mode_named", lambda name: SimpleNamespace(run=fail))
    assert "clip 17 has 0 samples; remove it" in complaint(capsys, "demo")


def test_an_interrupted_mode_leaves_with_130_and_a_sentence(capsys, monkeypatch):
    def stop(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "mode_named", lambda name: SimpleNamespace(run=stop))
    assert cli.main(["demo"]) == 130
    assert "ssast: interrupted" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(options):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "mode_named", lambda name: SimpleNamespace(run=fail))
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_front_page_lists_the_modes_with_what_goes_in_and_out(capsys, words):
    assert cli.main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, mode in MODES.items():
        assert f"{name} {mode.summary} {mode.takes} -> {mode.gives}" in shown


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_help_of_a_mode_shows_its_options_and_fits_the_screen(capsys, monkeypatch, mode, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert cli.main([mode, "--help"]) == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= int(columns)
    assert page.count("\n") <= (100 if columns == "120" else 150), "two screens"
    for spec in SPECS.values():
        is_listed = any(line.startswith("  -") and f"--{spec.name} " in line for line in page.splitlines())
        assert is_listed == (spec.name in MODES[mode].options and not spec.is_rare), spec.name
        assert f"--{spec.name}" in page or spec.name not in MODES[mode].options, "the rest is named at the end"


@pytest.mark.parametrize("spelling", [*ALIASES, "train"])
def test_the_seeds_other_names_of_modes_have_help_too(capsys, spelling):
    """`ssast train --help`, which is of no mode alone, was a traceback."""
    assert cli.main([spelling, "--help"]) == 0
    assert " ".join(capsys.readouterr().out.split()).endswith("the options that other modes use.")


def test_help_shows_unit_range_choices_and_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    cli.main(["finetune", "--help-all"])
    page = " ".join(capsys.readouterr().out.split())
    assert "-o, --exp_dir PATH" in page
    assert "(probability a clip, 0 to 1; default 0.0)" in page
    assert "(relu, gelu, silu, tanh; default relu)" in page
    assert "(Hz, 1000 to 384000; default 16000)" in page
    assert "(onecycle or none; default none)" in page
    assert "--freeze True|False" in page


@pytest.mark.parametrize(
    ("words", "prog"), [(["-h"], "run.py"), (["finetune", "--help-all"], "ssast"), (["--help-all"], "ssast")]
)
def test_the_whole_help_shows_every_option(capsys, words, prog):
    assert cli.main(words, prog=prog) == 0
    page = capsys.readouterr().out
    assert all(f"--{name} " in page for name in SPECS)


def test_an_option_of_another_mode_is_accepted(ran):
    assert cli.main(["finetune", *DATA, "--mask_patch", "10", "--speakers", "12"]) == 0


def test_the_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ssast {__version__}\n"


def test_run_py_and_the_module_start_the_same_command_line():
    for command in ([str(ROOT / "run.py")], ["-m", "ssast"]):
        done = subprocess.run([sys.executable, *command, "-m", "finetune"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("ssast: finetune needs -i/--prefix")


def test_a_reader_that_goes_away_is_no_error():
    """`ssast --help-all | head -1` once ended in a traceback of BrokenPipeError."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ssast", "--help-all"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
