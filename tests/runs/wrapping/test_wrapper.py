"""Every mode can be called from Python as from the command line, and gets around it, once, what each run needs."""

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import ssast
from ssast import cli, redaction
from ssast.data.storage.folder_lock import LOCK
from ssast.errors import UserError
from ssast.options import record
from ssast.options.options import Options
from ssast.options.records import BESIDE, INSIDE, MODES, THERE
from ssast.runs.wrapping import wrapper
from ssast.runs.wrapping.terminal import RobustStream, _RedactedStream
from ssast.runs.wrapping.wrapper import Mode

DATA = {"prefix": "audio", "data_split_root": "splits", "label_txt": "labels.txt"}
MODEL, CHECKPOINT = {"finetuned_mdl_path": "model"}, {"checkpoint": "model.pth"}
# What each mode cannot do without; nothing of it has to be there, since the modes' own functions are replaced here.
NEEDS = {
    **dict.fromkeys(("arrange", "pretrain", "finetune", "stats", "check", "sweep", "audit"), DATA),
    **dict.fromkeys(("evaluate", "extract", "attention"), DATA | MODEL),
    **dict.fromkeys(("inspect", "convert", "export"), CHECKPOINT),
    "predict": MODEL | {"files": "a.wav"},
    "compare": {"runs": "a,b"},
    "merge": {"runs": "a"},
    "retest": {"runs": "a", "data_split_root": "sessions.csv"},
    "report": {"runs": "a"},
    "pack": {"prefix": "audio", "data_split_root": "splits"},
    "unpack": {"prefix": "shards"},
    "upload": {},
    "demo": {},
}


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))


@pytest.fixture
def instead(monkeypatch):
    """`instead(mode, function)`: what surrounds a mode stays, and this function runs in place of the mode's own."""
    return lambda mode, function: monkeypatch.setattr(getattr(ssast, mode), "function", function)


@pytest.fixture
def calls(monkeypatch) -> Counter[str]:
    """How often options are checked together, and how often what surrounds a mode is put on."""
    counted: Counter[str] = Counter()

    def watch(owner: Any, name: str) -> None:
        whole = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return whole(*arguments, **named)

        monkeypatch.setattr(owner, name, watched)

    for name in ("check_together", "settled"):
        watch(record, name)
    for name in ("robust_terminal", "check_environment", "_held", "uploading"):
        watch(wrapper, name)
    for name in ("robust_terminal", "check_environment"):
        watch(cli, name)
    return counted


def asked(mode: str, **others: Any) -> dict[str, Any]:
    return {**NEEDS[mode], "exp_dir": "out", **others}


def command(mode: str, **others: Any) -> list[str]:
    return [mode, *(f"--{name}={value}" for name, value in asked(mode, **others).items())]


def test_every_mode_is_tried():
    assert NEEDS.keys() == MODES.keys()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_takes_its_options_by_name_from_python(mode, instead):
    """check, compare, upload and demo could be had from the command line alone."""
    seen: list[Options] = []
    instead(mode, lambda options: seen.append(options) or "its answer")
    assert getattr(ssast, mode)(**asked(mode, seed=3)) == "its answer"
    assert (seen[0].mode, seen[0].seed, seen[0].exp_dir) == (mode, 3, "out")
    assert {"seed", "exp_dir"} <= seen[0].given


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_refuses_what_is_no_option_of_its_own(mode, instead):
    instead(mode, lambda options: pytest.fail("it ran"))
    with pytest.raises(UserError, match="there is no option sed; did you mean"):
        getattr(ssast, mode)(**asked(mode), sed=3)
    with pytest.raises(UserError, match="seed"):
        getattr(ssast, mode)(**asked(mode, seed="three"))


@pytest.mark.parametrize("mode", MODES)
def test_python_and_the_command_line_give_a_mode_the_same_options(mode, instead):
    seen: list[Options] = []
    instead(mode, seen.append)
    getattr(ssast, mode)(**asked(mode, seed=3))
    assert cli.main(command(mode, seed=3)) == 0
    assert seen[0] == seen[1]
    assert seen[0].given == seen[1].given


def test_check_says_from_python_what_its_exit_code_says(corpus, capfd):
    data = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    assert ssast.check(**data, exp_dir="out") == 0
    (corpus.audio / "0001" / "waveform.wav").unlink()
    assert ssast.check(**data, exp_dir="out") == 1
    assert "1 faults" in capfd.readouterr().out


def test_compare_upload_and_demo_run_from_python(still_corpus, monkeypatch, capfd):
    with pytest.raises(UserError, match="gone"):
        ssast.compare(runs="gone,gone too", exp_dir="out")
    with pytest.raises(UserError, match="gone is no folder; give the output folder of a run"):
        ssast.upload(exp_dir="gone")
    steps = ("pretrain", "finetune", "extract", "attention")
    for step in steps:
        monkeypatch.setattr(getattr(ssast, step), "function", lambda options: Path(options.exp_dir))
    assert ssast.demo(exp_dir="out", speakers=4, clips_per_speaker=1) == Path("out")
    assert len(list(Path("out/corpus-4x1-0/audio").iterdir())) == 4
    assert "5/5" in capfd.readouterr().out


@pytest.mark.parametrize("mode", MODES)
def test_options_are_checked_once_from_python_and_from_the_command_line(mode, instead, calls):
    instead(mode, lambda options: None)
    getattr(ssast, mode)(**asked(mode))
    from_python = dict(calls)
    calls.clear()
    assert cli.main(command(mode)) == 0
    assert from_python == calls
    assert (calls["check_together"], calls["settled"], calls["robust_terminal"], calls["check_environment"]) == (1,) * 4
    assert calls["_held"] == bool(MODES[mode].lock)


def test_a_mode_runs_behind_a_screen_that_ends_nothing(instead):
    streams: list[Any] = []
    instead("stats", lambda options: streams.append(sys.stdout))
    before = sys.stdout
    ssast.stats(**asked("stats"))
    assert isinstance(streams[0], RobustStream)
    assert sys.stdout is before


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "inspect"])
def test_a_private_run_from_python_hides_names_on_the_screen_and_in_errors(mode, instead, capfd):
    def tell(options: Options) -> None:
        assert isinstance(sys.stdout, _RedactedStream)
        print(f"read from {options.exp_dir}")
        raise UserError(f"nothing in {options.exp_dir}", path=options.exp_dir)

    instead(mode, tell)
    with pytest.raises(UserError) as raised:
        getattr(ssast, mode)(**asked(mode, exp_dir="geheim"), private=True)
    said = str(raised.value) + "".join(capfd.readouterr())
    assert "nothing in" in said
    assert "read from" in said
    assert "geheim" not in said
    assert not redaction.redaction_in_use()


@pytest.mark.parametrize("mode", MODES)
def test_the_lock_lies_where_the_record_says_while_the_mode_runs(mode, instead, tmp_path):
    found: list[Path] = []
    instead(mode, lambda options: found.extend(path for path in tmp_path.rglob(f"*{LOCK}")))
    getattr(ssast, mode)(**asked(mode))
    expected = {INSIDE: [Path("out") / LOCK], THERE: [Path("out") / LOCK], BESIDE: [Path(f".out{LOCK}")], "": []}
    assert [path.relative_to(tmp_path) for path in found] == expected[MODES[mode].lock]
    assert not list(tmp_path.rglob(f"*{LOCK}"))


@pytest.mark.parametrize("mode", [mode for mode, record in MODES.items() if not record.shared])
def test_a_mode_of_one_process_refuses_to_be_one_of_several(mode, instead, monkeypatch):
    instead(mode, lambda options: pytest.fail("it ran"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=f"{mode} runs in one process; start it without accelerate launch or torchrun"):
        getattr(ssast, mode)(**asked(mode))


def nested() -> Mode[Path]:
    """A mode with finetune's name that runs itself in a folder for each seed, as finetune does."""

    def finetune(options: Options) -> Path:
        folder = Path(options.exp_dir)
        for seed in range(options.seeds if options.seeds > 1 else 0):
            inner(options, seeds=1, seed=seed, exp_dir=str(folder / f"seed-{seed}"))
        return folder

    inner = Mode(finetune)
    return inner


def test_modes_within_a_mode_open_neither_the_screen_nor_the_bucket_again(calls, monkeypatch):
    sent: list[Path] = []

    @contextlib.contextmanager
    def sending(folder: Path, to: object, **_: object) -> Any:
        sent.append(folder)
        yield

    monkeypatch.setattr(wrapper, "uploading", sending)
    nested()(**asked("finetune", seeds=3, bucket_name="bucket", pretrained_mdl_path="none"))
    assert sent == [Path("out")]
    assert (calls["robust_terminal"], calls["check_environment"]) == (1, 1)
    assert (calls["_held"], calls["check_together"]) == (4, 4), "each has a folder, and options, of its own"
    nested()(**asked("finetune", bucket_name="bucket", pretrained_mdl_path="none"))
    assert len(sent) == 2, "the next run opens them anew"


@pytest.mark.slow
def test_the_folds_of_a_run_are_modes_within_it(still_corpus, calls):
    data = {"prefix": str(still_corpus.audio), "data_split_root": str(still_corpus.splits)}
    small = {"target_length": 32, "model_size": "tiny", "pretrained_mdl_path": "none", "device": "cpu", "resamples": 5}
    small |= {"precision": "fp32", "epochs": 1}
    ssast.finetune(**data, **small, label_txt=str(still_corpus.label_txt), folds=2, exp_dir="out")
    assert (calls["robust_terminal"], calls["_held"], calls["check_together"]) == (1, 3, 3)


def test_a_mode_that_fails_ends_what_surrounds_it(instead, tmp_path):
    """The next one from Python gets a screen of its own, and the folder is free."""

    def fail(options: Options) -> None:
        raise ZeroDivisionError

    before = sys.stdout, os.getcwd()
    instead("stats", fail)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            ssast.stats(**asked("stats"))
    assert (sys.stdout, os.getcwd()) == before
    assert not list((tmp_path / "out").iterdir())
