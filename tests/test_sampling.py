"""Which frames a view holds, against the rule written out one frame at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrec.data.sampling import SAMPLERS, Linspace, Stride, frame_sampler
from actionrec.types import DataSettings

LENGTHS = st.integers(1, 100)
FRAMES = st.integers(1, 20)
RATES = st.integers(1, 8)


def window(start: int, length: int, num_frames: int, rate: int) -> list[int]:
    return [max(min(start + i * rate, length - 1), 0) for i in range(num_frames)]


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES, seed=st.integers(0, 2**32))
def test_a_train_window_is_one_of_those_the_rule_allows(length, num_frames, rate, seed):
    span = (num_frames - 1) * rate + 1
    starts = range(min(length - span, 0), max(length - span, 0) + 1)
    drawn = Stride(num_frames, rate).random(length, np.random.default_rng(seed))
    assert drawn.dtype == np.int64
    assert drawn.tolist() in [window(start, length, num_frames, rate) for start in starts]


@pytest.mark.parametrize("length", [20, 9, 4, 1])
def test_every_allowed_train_start_is_drawn_about_equally_often(length):
    num_frames, rate = 3, 4  # a span of 9
    starts = range(min(length - 9, 0), max(length - 9, 0) + 1)
    rng = np.random.default_rng(0)
    draws = [tuple(Stride(num_frames, rate).random(length, rng)) for _ in range(4000)]
    expected = [tuple(window(start, length, num_frames, rate)) for start in starts]
    assert set(draws) == set(expected)
    for frames in set(expected):
        share = expected.count(frames) / len(expected)
        assert draws.count(frames) / len(draws) == pytest.approx(share, abs=0.04)


def test_a_short_train_clip_can_come_late_in_the_view():
    rng = np.random.default_rng(0)
    draws = {tuple(Stride(4, 1).random(2, rng)) for _ in range(200)}
    assert draws == {(0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 1)}


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES, num_views=st.integers(2, 12))
def test_test_views_are_spread_evenly_from_end_to_end(length, num_frames, rate, num_views):
    gap = float(max(length - ((num_frames - 1) * rate + 1), 0)) / (num_views - 1)
    for view in range(num_views):
        frames = Stride(num_frames, rate).spread(length, view, num_views)
        assert frames.tolist() == window(int(round(gap * view)), length, num_frames, rate)
    assert frames[-1] == length - 1  # the last view ends with the clip


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES)
def test_the_only_view_of_one_is_the_middle_one_of_three(length, num_frames, rate):
    sampler = Stride(num_frames, rate)
    np.testing.assert_array_equal(sampler.spread(length, 0, 1), sampler.spread(length, 1, 3))


@pytest.mark.parametrize(("length", "start"), [(10, 0), (11, 0), (12, 1), (13, 2), (15, 2)])
def test_half_frames_go_to_the_even_start(length, start):
    assert Stride(10, 1).spread(length, 0, 1)[0] == start


def test_a_clip_shorter_than_the_span_starts_at_its_first_frame_in_the_test():
    for view in range(3):
        assert Stride(4, 2).spread(3, view, 3).tolist() == [0, 2, 2, 2]


# T = 8 frames, rate 2, 4 views: clips of 1, T - 1, T, the span of 16, and 10 T frames. Renew with
# slowfast.datasets.decoder of the git base: get_start_end_idx(n, 16, view, 4), temporal_sampling.
LINSPACE = {
    1: [[0, 0, 0, 0, 0, 0, 0, 0]] * 4,
    7: [[0, 2, 4, 6, 6, 6, 6, 6]] * 4,
    8: [[0, 2, 4, 6, 7, 7, 7, 7]] * 4,
    16: [[0, 2, 4, 6, 8, 10, 12, 15]] * 4,
    80: [
        [0, 2, 4, 6, 8, 10, 12, 15],
        [16, 18, 20, 22, 24, 26, 28, 31],
        [32, 34, 36, 38, 40, 42, 44, 47],
        [48, 50, 52, 54, 56, 58, 60, 63],
    ],
}


@pytest.mark.parametrize("length", LINSPACE)
def test_linspace_gives_the_indices_of_slowfasts_video_datasets(length):
    found = [Linspace(8, 2).spread(length, view, 4) for view in range(4)]
    assert [frames.tolist() for frames in found] == LINSPACE[length]


def test_linspace_over_32_frames_at_rate_2_takes_one_longer_step():
    frames = Linspace(32, 2).spread(64, 0, 1)
    assert (frames[0], frames[-1]) == (0, 63)
    assert np.diff(frames).tolist() == [2] * 30 + [3]


@given(length=LENGTHS, num_frames=FRAMES, rate=RATES, num_views=st.integers(1, 12))
def test_linspace_views_are_the_formula_within_its_rounding(length, num_frames, rate, num_views):
    span = num_frames * rate
    room = max(length - span, 0)
    for view in range(num_views):
        start = room * view / num_views if num_views > 1 else room // 2
        exact = np.linspace(start, start + span - 1, num_frames).clip(0, length - 1)
        frames = Linspace(num_frames, rate).spread(length, view, num_views)
        assert frames.dtype == np.int64 and frames.shape == (num_frames,)
        assert (np.floor(exact - 1e-4) <= frames).all() and (frames <= exact + 1e-4).all()


@pytest.mark.parametrize("name", SAMPLERS)
@given(num_frames=FRAMES, rate=RATES, seed=st.integers(0, 2**32))
def test_indices_rise_and_stay_in_the_clip(name, num_frames, rate, seed):
    sampler, rng = SAMPLERS[name](num_frames, rate), np.random.default_rng(seed)
    for length in (1, max(num_frames - 1, 1), num_frames, num_frames * rate, 10 * num_frames):
        views = [sampler.spread(length, view, 5) for view in range(5)]
        for frames in [*views, sampler.random(length, rng), sampler.random(length, rng)]:
            assert len(frames) == num_frames
            assert frames.min() >= 0 and frames.max() < length
            assert (np.diff(frames) >= 0).all()


def test_linspace_draws_starts_from_end_to_end():
    rng = np.random.default_rng(0)
    starts = np.array([Linspace(4, 2).random(28, rng)[0] for _ in range(4000)])  # room for 20
    assert (starts.min(), starts.max()) == (0, 19)
    assert np.bincount(starts) / 4000 == pytest.approx(1 / 20, abs=0.02)


def test_the_settings_name_the_sampler(tmp_path):
    for name, kind in SAMPLERS.items():
        options = DataSettings(tmp_path, 3, num_frames=4, sampling_rate=2, frame_sampling=name)
        assert frame_sampler(options) == kind(4, 2)
