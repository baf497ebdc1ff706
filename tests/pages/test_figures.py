import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ssast.pages.figures import HEIGHT, WIDTH, Plot, ticks


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ((0, 0.7), [0, 0.2, 0.4, 0.6]),
        ((-1.5, 1.5), [-1, 0, 1]),
        ((1, 20), [5, 10, 15, 20]),
        ((0, 1e-4), [0, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(ends, expected):
    assert ticks(*ends) == pytest.approx(expected)


@pytest.mark.parametrize("end", [1e300, -1e300, 5e17])
def test_an_axis_of_one_absurd_number_can_be_drawn(end):
    drawn = Plot((end, end), (end, end), x_name="x", y_name="y").line((end, end), (end, end)).figure("a", "b")
    assert "nan" not in drawn
    assert ticks(end, end + abs(end) * 1e-16) == []
    assert ticks(-1e308, 1e308) == []


def test_what_is_counted_has_whole_ticks():
    assert ticks(1, 3, is_counted=True) == [1, 2, 3]
    assert ticks(0.5, 1.5, is_counted=True) == [1]


def test_a_figure_is_sound_markup_within_its_frame_whatever_the_names():
    nasty = "<b>&\"'"
    plot = Plot((0, 1), (5, 5), x_name=nasty, y_name=nasty).line([0, 1], [5, 5]).dots(0.5, 5, notes=[nasty])
    text = plot.bars([0, 0.5, 1], [5.2, 0]).mark(0.9, nasty).figure(nasty, nasty, [("first", nasty)])
    ElementTree.fromstring(text)
    assert "<b>" not in text
    for x, y in re.findall(r'cx="(.*?)" cy="(.*?)"', text):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
    assert "nan" not in text


def test_higher_values_stand_higher_and_later_ones_further_right():
    across, up = Plot((0, 10), (-1, 1), x_name="", y_name="").at(np.array([0, 5, 10]), np.array([-1, 0, 1]))
    assert list(across) == sorted(across)
    assert list(up) == sorted(up, reverse=True)
