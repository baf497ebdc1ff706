from ssast.model.patch_grid import rounded_length

FRAME = {"columns": 512, "tshape": 2, "tstride": 2, "target_length": 1024}


def test_a_clip_is_rounded_up_to_few_lengths_that_hold_all_of_it():
    lengths = [rounded_length(frames, **FRAME) for frames in range(1025)]
    assert all(length >= frames for frames, length in enumerate(lengths))
    assert sorted(set(lengths)) == list(range(64, 1025, 64))
    assert rounded_length(298, **FRAME) == 320


def test_lengths_end_with_a_patch_and_the_last_is_the_whole_input():
    """Overlapping squares: every column that starts within the clip is there, and no half patch is."""
    squares = {"columns": 101, "tshape": 16, "tstride": 10, "target_length": 1024}
    for frames in range(1025):
        length = rounded_length(frames, **squares)
        columns = (length - 16) // 10 + 1
        assert columns == 101 or (columns * 10 >= frames and (length - 16) % 10 == 0)
    assert rounded_length(1005, **squares) == 1024


def test_an_input_shorter_than_a_step_has_one_length():
    assert {rounded_length(frames, 20, 2, 2, 40) for frames in range(41)} == {40}
