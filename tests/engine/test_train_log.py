"""A log that a run goes on with is one that a run wrote, and lies in the run's own folder."""

import json

import pytest

from ssast.data.storage.atomic_writes import staying_in
from ssast.engine.train import RunLog
from ssast.errors import UserError


def test_the_lines_of_whole_epochs_stay_whatever_else_is_there(tmp_path):
    """The line of an epoch is written before its checkpoint: a run that was killed in between writes it again."""
    lines = [{"epoch": 1, "step": 2, "loss": 2.0}, {"epoch": 2, "step": 4, "loss": 1.0}]
    odd = ["[" * 5000, '{"step": "x"}', '{"epoch": 1, "step": NaN}', "\x00", '{"epoch": 1, "step": 2, "loss":', "7"]
    (tmp_path / "log.jsonl").write_text("\n".join([json.dumps(lines[0]), *odd, json.dumps(lines[1])]) + "\n")
    RunLog(tmp_path, epochs=1)
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
        RunLog(home, epochs=1)
    assert outside.read_text() == "precious"


def test_tensorboard_shows_each_epoch_once_after_a_run_went_on(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for done, reported in ((0, (1, 2)), (1, (2, 3))):
        log = RunLog(tmp_path, epochs=done, tensorboard=True)
        for epoch in reported:
            log.report(epoch=epoch, step=2 * epoch, loss=0.5)
        log.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in shown.Scalars("loss")] == [2, 4, 6]
