"""Threads that fit the machine: they sleep soon while they wait, and there are no more than may run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssast import processors

BARE = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}


def told(code: str, **environ: str) -> tuple[str, str]:
    """What a new process prints and complains of."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=BARE | environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


SPIN = "import os, {}; print(*(os.environ.get(name, '-') for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')))"


@pytest.mark.parametrize("module", ["ssast", "ssast.cli", "ssast.audio.decode"])
def test_every_door_shortens_the_spin_before_torch_can_load(module):
    assert told(SPIN.format(module)) == ("1000 1", "")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("GOMP_SPINCOUNT", "7", "7 -"), ("OMP_WAIT_POLICY", "ACTIVE", "- -"), ("KMP_BLOCKTIME", "200", "- 200")],
)
def test_what_the_user_has_set_stays(name, value, shown):
    assert told(SPIN.format("ssast"), **{name: value})[0] == shown


def test_torch_before_ssast_is_said_once_and_only_where_it_matters(warm_process):
    process = warm_process("torch")
    code = 'import warnings; warnings.simplefilter("default", UserWarning); import torch; '
    code += "torch.set_num_threads({}); import ssast, ssast.cli; import ssast.model.encoder"
    said = process.run(code.format(2), BARE).stderr
    assert said.count("torch was imported before ssast") == 1
    assert "import ssast first, or set GOMP_SPINCOUNT=1000" in said
    one, passive = process.run(code.format(1), BARE), process.run(code.format(2), BARE | {"OMP_WAIT_POLICY": "PASSIVE"})
    assert (one.returncode, one.stderr) == (0, ""), "one thread waits for nobody"
    assert (passive.returncode, passive.stderr) == (0, "")
    process.end()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes")
def test_a_process_bound_to_one_processor_computes_on_one_thread():
    first = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{first}}}); import ssast, torch; print(torch.get_num_threads())"
    assert told(code)[0] == "1"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_limits_of_version_2_count_from_the_group_up(tmp_path):
    tree = tmp_path / "cgroup"
    write(tmp_path / "self", "0::/slurm/job7\n")
    write(tree / "cpu.max", "max 100000\n")
    write(tree / "slurm" / "cpu.max", "400000 100000\n")
    write(tree / "slurm" / "job7" / "cpu.max", "150000 100000\n")
    assert list(processors.quotas(tmp_path / "self", tree)) == [1.5, 4.0]


def test_limits_of_version_1_count_and_in_a_container_the_root_does(tmp_path):
    """Docker shows the host's path of the group in /proc, and mounts the group itself as the root."""
    tree = tmp_path / "cgroup"
    write(tmp_path / "self", "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/\n0::/\n")
    write(tree / "cpu,cpuacct" / "cpu.cfs_quota_us", "300000\n")
    write(tree / "cpu,cpuacct" / "cpu.cfs_period_us", "100000\n")
    assert list(processors.quotas(tmp_path / "self", tree)) == [3.0]


def test_no_limit_and_no_control_groups_are_no_limit(tmp_path):
    tree = tmp_path / "cgroup"
    write(tmp_path / "self", "4:cpu:/\nan odd line\n")
    write(tree / "cpu" / "cpu.cfs_quota_us", "-1\n")
    write(tree / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert list(processors.quotas(tmp_path / "self", tree)) == []
    assert list(processors.quotas(tmp_path / "missing", tmp_path)) == []


@pytest.fixture
def eight_cores(monkeypatch):
    """A machine of eight cores of two processors each, all of it for this process."""
    monkeypatch.setattr(processors, "_affinity", lambda: set(range(16)))
    monkeypatch.setattr(processors, "_cores", lambda: 8)
    monkeypatch.setattr(processors, "quotas", lambda *_: iter(()))
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


@pytest.mark.usefixtures("eight_cores")
def test_a_whole_machine_is_left_to_torch_and_a_part_is_counted(monkeypatch):
    assert processors.wanted_threads({}) is None
    monkeypatch.setattr(processors, "quotas", lambda *_: iter((2.5, 12.0)))
    assert processors.wanted_threads({}) == 2
    assert processors.wanted_threads({"OMP_NUM_THREADS": "5"}) is None, "the user's number stays"
    monkeypatch.setattr(processors, "quotas", lambda *_: iter((0.5,)))
    assert processors.wanted_threads({}) == 1


@pytest.mark.usefixtures("eight_cores")
def test_the_processes_of_a_run_share_the_cores(monkeypatch):
    ours = {"LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none", "OMP_NUM_THREADS": "1"}
    monkeypatch.setattr(processors, "_text", lambda path: "HOME=/root\0PATH=/bin")
    assert processors.wanted_threads(ours) == 2, "the 1 is torchrun's own"
    monkeypatch.setattr(processors, "_text", lambda path: "HOME=/root\0OMP_NUM_THREADS=1\0PATH=/bin")
    assert processors.wanted_threads(ours) is None, "the 1 is the user's"
    assert processors.wanted_threads({"LOCAL_WORLD_SIZE": "100"}) == 1


def test_auto_takes_a_worker_for_each_processor_but_one(monkeypatch):
    for usable, beside, expected in ((8, "", 7), (2, "", 1), (1, "", 0), (64, "", 16), (64, "4", 15), (2, "4", 0)):
        monkeypatch.setattr(processors, "usable_processors", lambda usable=usable: usable)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", beside)
        assert processors.worker_count("auto") == expected
    assert processors.worker_count(3) == 3
