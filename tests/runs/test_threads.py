"""The number of threads, on which a result's last bits depend, stands in the record and is repeated from there."""

import pytest
import torch
import yaml

from ssast.engine.hardware import engine
from ssast.options.record import RunRecord, resolve
from ssast.runs.output.folder import open_folder


@pytest.fixture(autouse=True)
def _as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def opened(folder, threads):
    options = resolve(mode="pretrain", exp_dir=str(folder), prefix="audio", data_split_root="splits")
    engine("cpu", threads=threads)
    open_folder(RunRecord.of(options), clips={}, files={}, trains=True)
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "last.pt").touch()
    return yaml.safe_load((folder / "run.yaml").read_text())


def test_the_record_holds_the_threads_that_were_used_and_repeats_them(tmp_path):
    assert opened(tmp_path / "a", 2)["threads"] == 2
    repeated = resolve(config=str(tmp_path / "a" / "run.yaml"), exp_dir=str(tmp_path / "b"))
    assert repeated.threads == 2
    engine("cpu", threads=repeated.threads)
    assert torch.get_num_threads() == 2


def test_a_run_that_goes_on_with_other_threads_says_so(tmp_path, capsys):
    opened(tmp_path, 2)
    assert capsys.readouterr().out == ""
    opened(tmp_path, 2)
    assert capsys.readouterr().out == ""
    opened(tmp_path, 1)
    said = capsys.readouterr().out
    assert "began with --threads 2 and goes on with 1" in said
