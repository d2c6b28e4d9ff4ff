"""Which frames a view holds, against the rule written out one frame at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrec.data import sampling

LENGTHS = st.integers(1, 100)
FRAMES = st.integers(1, 20)
RATES = st.integers(1, 8)


def window(start: int, length: int, num_frames: int, rate: int) -> list[int]:
    return [max(min(start + i * rate, length - 1), 0) for i in range(num_frames)]


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES, seed=st.integers(0, 2**32))
def test_a_train_window_is_one_of_those_the_rule_allows(length, num_frames, rate, seed):
    span = (num_frames - 1) * rate + 1
    starts = range(min(length - span, 0), max(length - span, 0) + 1)
    drawn = sampling.train_frames(length, num_frames, rate, np.random.default_rng(seed))
    assert drawn.dtype == np.int64
    assert drawn.tolist() in [window(start, length, num_frames, rate) for start in starts]


@pytest.mark.parametrize("length", [20, 9, 4, 1])
def test_every_allowed_train_start_is_drawn_about_equally_often(length):
    num_frames, rate = 3, 4  # a span of 9
    starts = range(min(length - 9, 0), max(length - 9, 0) + 1)
    rng = np.random.default_rng(0)
    draws = [tuple(sampling.train_frames(length, num_frames, rate, rng)) for _ in range(4000)]
    expected = [tuple(window(start, length, num_frames, rate)) for start in starts]
    assert set(draws) == set(expected)
    for frames in set(expected):
        share = expected.count(frames) / len(expected)
        assert draws.count(frames) / len(draws) == pytest.approx(share, abs=0.04)


def test_a_short_train_clip_can_come_late_in_the_view():
    rng = np.random.default_rng(0)
    draws = {tuple(sampling.train_frames(2, 4, 1, rng)) for _ in range(200)}
    assert draws == {(0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 1)}


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES, num_views=st.integers(2, 12))
def test_test_views_are_spread_evenly_from_end_to_end(length, num_frames, rate, num_views):
    gap = float(max(length - ((num_frames - 1) * rate + 1), 0)) / (num_views - 1)
    for view in range(num_views):
        frames = sampling.test_frames(length, num_frames, rate, view, num_views)
        assert frames.tolist() == window(int(round(gap * view)), length, num_frames, rate)
    assert frames[-1] == length - 1  # the last view ends with the clip


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES)
def test_the_centre_is_the_only_view_of_one_and_the_middle_one_of_three(length, num_frames, rate):
    centre = sampling.centre_frames(length, num_frames, rate)
    np.testing.assert_array_equal(centre, sampling.test_frames(length, num_frames, rate, 0, 1))
    np.testing.assert_array_equal(centre, sampling.test_frames(length, num_frames, rate, 1, 3))


@pytest.mark.parametrize(("length", "start"), [(10, 0), (11, 0), (12, 1), (13, 2), (15, 2)])
def test_half_frames_go_to_the_even_start(length, start):
    assert sampling.centre_frames(length, 10, 1)[0] == start


def test_a_clip_shorter_than_the_span_starts_at_its_first_frame_in_the_test():
    for view in range(3):
        assert sampling.test_frames(3, 4, 2, view, 3).tolist() == [0, 2, 2, 2]


def test_a_clip_of_one_frame_repeats_it():
    assert sampling.centre_frames(1, 4, 2).tolist() == [0, 0, 0, 0]
    assert sampling.train_frames(1, 4, 2, np.random.default_rng(0)).tolist() == [0, 0, 0, 0]
