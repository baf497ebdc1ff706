"""How much sound a run does not hear is counted and said in one sentence, or nothing is where all is heard."""

import pytest

from ssast.data.prepare import AudioSettings
from ssast.pages.sound_finding_sentences import UnheardSound

TEN = AudioSettings(target_length=1000)


def test_seconds_behind_the_input_of_a_model_are_counted():
    found = UnheardSound.of([4.0, 10.0, 12.0, 30.0], TEN)
    assert found.facts == {"recordings": 4, "longer": 2, "seconds": 56.0, "unheard_seconds": 22.0}
    assert found.sentence == (
        "2 of 4 recordings are longer than the 10 s that are heard of each: 22.0 s of 56.0 s of sound (39 %) are not "
        "heard"
    )


def test_what_does_not_fill_one_more_window_is_not_longer():
    assert UnheardSound.of([10.0, 10.02, 10.024], TEN).longer == 0
    assert UnheardSound.of([10.025], TEN).longer == 1
    assert UnheardSound.of([9.0], TEN).sentence == ""
    assert UnheardSound.of([], TEN).facts["seconds"] == 0


def test_a_clip_length_counts_where_it_is_shorter():
    clip = AudioSettings(target_length=1000, clip_length=3.0)
    assert UnheardSound.of([3.0, 3.5], clip).facts["unheard_seconds"] == 0.5
    assert UnheardSound.of([3.0, 10.5], AudioSettings(target_length=1000, clip_length=60.0)).longer == 1


@pytest.mark.parametrize(("seconds", "said"), [(110.0, "1.7 min of 1.8 min"), (7210.0, "2.00 h of 2.00 h")])
def test_minutes_and_hours_have_their_units(seconds, said):
    assert said in UnheardSound.of([seconds], TEN).sentence


def test_another_stretch_in_each_epoch_is_said():
    found = UnheardSound.of([4.0, 20.0], TEN, what="training recordings", each_epoch=True)
    assert found.sentence.startswith("1 of 2 training recordings is longer than the 10 s that are heard of each")
    assert found.sentence.endswith("(42 %) are not heard in an epoch, which hears another stretch of them each time")
