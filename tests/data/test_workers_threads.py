"""Much asked for at once."""

import threading

from ssast.data.workers import in_threads


def test_answers_come_in_order_and_few_are_asked_for_ahead():
    asked = []
    answers = in_threads(lambda number: asked.append(number) or 2 * number, range(1000), 2)
    assert next(answers) == 0
    assert len(asked) <= 64
    assert list(answers) == list(range(2, 2000, 2))


def test_so_many_run_at_once():
    meeting = threading.Barrier(3, timeout=10)
    assert len(list(in_threads(lambda number: meeting.wait(), range(3), 3))) == 3
