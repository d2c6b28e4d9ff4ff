"""Scaling, crops and flips, against torch and against SlowFast's rules written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actionrec.data import views
from actionrec.types import DataSettings

SIZES = [(360, 640), (640, 360), (37, 53), (64, 64), (120, 90)]


def noise(height, width, num_frames=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def settings(tmp_path, **changes):
    return DataSettings(
        annotation_dir=tmp_path, num_classes=3, num_frames=2, sampling_rate=1, **changes
    )


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("short_px", [32, 64, 100])
def test_scaling_is_torchs_bilinear_within_a_grey_level(height, width, short_px):
    frames = noise(height, width)
    scaled = views.scale_short_side(frames, short_px)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(frames).permute(0, 3, 1, 2).float(),
        size=scaled.shape[1:3],
        mode="bilinear",
        align_corners=False,
    )
    assert scaled.dtype == np.uint8
    assert min(scaled.shape[1:3]) == short_px
    assert np.abs(scaled - expected.permute(0, 2, 3, 1).numpy()).max() <= 1.0


def test_frames_of_the_wanted_size_are_left_alone():
    frames = noise(48, 64)
    np.testing.assert_array_equal(views.scale_short_side(frames, 48), frames)


@given(height=st.integers(1, 2000), width=st.integers(1, 2000), short_px=st.integers(1, 400))
def test_the_longer_side_is_rounded_down(height, width, short_px):
    size = views.scaled_size(height, width, short_px)
    if width < height:
        assert size == (int(math.floor((float(height) / width) * short_px)), short_px)
    else:
        assert size == (short_px, int(math.floor((float(width) / height) * short_px)))
    assert min(size) == short_px


@given(height=st.integers(16, 90), width=st.integers(16, 90), spatial_index=st.integers(0, 2))
def test_three_crops_are_slowfasts(height, width, spatial_index):
    size = 16
    top = int(math.ceil((height - size) / 2))
    left = int(math.ceil((width - size) / 2))
    if height > width:
        top = [0, top, height - size][spatial_index]
    else:
        left = [0, left, width - size][spatial_index]
    assert views.crop_offsets(height, width, size, 3)[spatial_index].tolist() == [top, left]


@given(
    height=st.integers(16, 90), width=st.integers(16, 90), num_crops=st.sampled_from([2, 4, 5, 9])
)
def test_crops_reach_both_ends_in_even_steps(height, width, num_crops):
    offsets = views.crop_offsets(height, width, 16, num_crops)
    along = offsets[:, 0] if height > width else offsets[:, 1]
    assert offsets.shape == (num_crops, 2)
    assert (along[0], along[-1]) == (0, max(height, width) - 16)
    assert np.ptp(np.diff(along)) <= 1


def test_one_crop_is_the_centre():
    assert views.crop_offsets(40, 61, 16, 1).tolist() == [[12, 23]]
    frames = noise(40, 61)
    np.testing.assert_array_equal(views.centre_view(frames, 16), frames[:, 12:28, 23:39])


def train_views(tmp_path, frames, count=300, **changes):
    options = settings(tmp_path, **changes)
    return [views.train_view(frames, options, np.random.default_rng(i)) for i in range(count)]


def test_a_train_view_is_a_window_of_the_scaled_frames_flipped_half_the_time(tmp_path):
    frames = noise(40, 60)
    drawn = train_views(tmp_path, frames, train_jitter_px=(40, 40), train_crop_px=38)
    windows = {
        frames[:, top : top + 38, left : left + 38][:, :, ::turn].tobytes(): turn
        for top in range(3)
        for left in range(23)
        for turn in (1, -1)
    }
    assert all(view.flags.c_contiguous and view.shape == (2, 38, 38, 3) for view in drawn)
    flipped = [windows[view.tobytes()] == -1 for view in drawn]
    assert 0.4 < np.mean(flipped) < 0.6


def test_no_flip_when_it_is_switched_off(tmp_path):
    frames = noise(8, 8)
    options = {"train_jitter_px": (8, 8), "train_crop_px": 8, "random_flip": False}
    for view in train_views(tmp_path, frames, count=20, **options):
        np.testing.assert_array_equal(view, frames)


@pytest.mark.parametrize("inverse", [False, True])
def test_the_short_side_is_uniform_or_its_inverse_is(tmp_path, inverse):
    options = settings(tmp_path, train_jitter_px=(100, 300), inverse_uniform=inverse)
    rng = np.random.default_rng(0)
    sides = np.array([views._draw_short_side(options, rng) for _ in range(5000)])
    assert (sides.min(), sides.max()) == (100, 300)
    evenly = 1 / sides if inverse else sides
    low, high = sorted((evenly.min(), evenly.max()))
    assert np.mean((evenly - low) / (high - low)) == pytest.approx(0.5, abs=0.02)


def test_the_generator_alone_decides(tmp_path):
    frames = noise(50, 70)
    options = settings(tmp_path, train_jitter_px=(40, 60), train_crop_px=32)
    first, second, other = (
        views.train_view(frames, options, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_a_frame_of_one_pixel_fills_the_view(tmp_path):
    options = settings(tmp_path, train_jitter_px=(32, 40), train_crop_px=32)
    view = views.train_view(noise(1, 1), options, np.random.default_rng(0))
    assert view.shape == (2, 32, 32, 3)
    assert len(np.unique(view[0, ..., 0])) == 1
