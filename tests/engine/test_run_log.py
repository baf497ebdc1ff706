"""A log that a run goes on with is one that a run wrote, and lies in the run's own folder."""

import json

import pytest

from ssast.data.storage.atomic_writes import staying_in
from ssast.engine.run_log import RunLog
from ssast.errors import UserError


def test_lines_up_to_the_step_stay_whatever_else_is_there(tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 3, "loss": 1.0}]
    odd = ["[" * 5000, '{"step": "x"}', '{"step": NaN}', "\x00", '{"step": 2, "loss":']
    (tmp_path / "log.jsonl").write_text("\n".join([json.dumps(lines[0]), *odd, json.dumps(lines[1])]) + "\n")
    RunLog(tmp_path, resume_step=2)
    assert (tmp_path / "log.jsonl").read_text() == json.dumps(lines[0]) + "\n"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None, "link"])
def test_a_log_that_no_run_wrote_is_one_sentence(tmp_path, content, pipe):
    """A pipe of that name would never have ended, and a link led out of the folder."""
    home, outside = tmp_path / "out", tmp_path / "outside"
    home.mkdir()
    outside.write_text("precious")
    if content == "link":
        (home / "log.jsonl").symlink_to(outside)
    elif content is None:
        pipe(home / "log.jsonl")
    else:
        (home / "log.jsonl").write_bytes(content)
    with staying_in(home), pytest.raises(UserError, match=r"log\.jsonl (is a|cannot be read)"):
        RunLog(home, resume_step=2)
    assert outside.read_text() == "precious"
