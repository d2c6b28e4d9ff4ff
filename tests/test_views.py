"""Scaling, crops and flips, against torch and against SlowFast's rules written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actionrec.data import views
from actionrec.data.views import Cutter, Window
from actionrec.errors import UserError
from actionrec.types import DataSettings

SIZES = [(360, 640), (640, 360), (1080, 1920), (37, 53), (64, 64), (120, 90)]


def noise(height, width, num_frames=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def settings(tmp_path, **changes):
    return DataSettings(
        annotation_dir=tmp_path, num_classes=3, num_frames=2, sampling_rate=1, **changes
    )


def scaled_by_torch(frame, size):
    """The whole frame in float32: (h, w, 3)."""
    planes = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    scaled = torch.nn.functional.interpolate(
        planes, size=size, mode="bilinear", align_corners=False
    )
    return scaled[0].permute(1, 2, 0).numpy()


def cut(frames, window, resample):
    cutter = Cutter(lambda height, width: window, resample)
    return np.stack([cutter(frame) for frame in frames])


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("short_px", [32, 64, 100, 289])
@pytest.mark.parametrize("flip", [False, True])
def test_a_window_is_that_of_the_frame_scaled_by_torch(height, width, short_px, flip):
    """Noise: the hardest picture to scale."""
    frame = noise(height, width)[0]
    scaled = views.scaled_size(height, width, short_px)
    top, left, crop_px = scaled[0] // 9, scaled[1] // 7, short_px * 3 // 4
    expected = scaled_by_torch(frame, scaled)[top : top + crop_px, left : left + crop_px]
    expected = expected[:, ::-1] if flip else expected
    window = Window(scaled, top, left, crop_px, crop_px, flip)
    exact, fast = (cut([frame], window, resample)[0] for resample in ("exact", "fast"))
    assert (exact.dtype, fast.dtype) == (np.float32, np.uint8)
    assert np.abs(exact - expected).max() <= 1e-3
    assert np.abs(fast - expected).max() <= 0.52
    assert np.abs(fast - expected).mean() <= 0.3


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("short_px", [32, 64, 100])
def test_a_whole_frame_is_the_one_scaled_by_torch(height, width, short_px):
    frame, window = noise(height, width)[0], views.whole_window(height, width, short_px)
    expected = scaled_by_torch(frame, window.scaled)
    assert min(window.scaled) == short_px
    assert np.abs(cut([frame], window, "exact")[0] - expected).max() <= 1e-3
    fast = np.abs(cut([frame], window, "fast")[0] - expected)
    assert fast.max() <= 1.0 and fast.mean() <= 0.3


@pytest.mark.parametrize("resample", ["exact", "fast"])
@pytest.mark.parametrize("size", [(48, 64), (49, 67), (64, 48)])
def test_frames_of_the_wanted_size_are_left_alone(size, resample):
    frames = noise(*size)
    window = views.whole_window(*size, short_px=min(size))
    np.testing.assert_array_equal(cut(frames, window, resample), frames)


@given(height=st.integers(1, 2000), width=st.integers(1, 2000), short_px=st.integers(1, 400))
def test_the_longer_side_is_rounded_down(height, width, short_px):
    size = views.scaled_size(height, width, short_px)
    if (width <= height and width == short_px) or (height <= width and height == short_px):
        assert size == (height, width)
    elif width < height:
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
    assert views.centre_window(40, 61, 40, 16) == Window((40, 61), 12, 23, 16, 16)


def test_the_window_is_chosen_once_for_all_frames_of_a_clip():
    asked = []

    def choose(height, width):
        asked.append((height, width))
        return Window((height, width), 1, 2, 4, 4)

    frames, cutter = noise(9, 12, num_frames=3), Cutter(choose, "fast")
    found = np.stack([cutter(frame) for frame in frames])
    np.testing.assert_array_equal(found, frames[:, 1:5, 2:6])
    assert asked == [(9, 12)]


def train_cuts(tmp_path, frames, count=300, **changes):
    options = settings(tmp_path, **changes)
    height, width = frames.shape[1:3]
    rngs = [np.random.default_rng(i) for i in range(count)]
    windows = [views.train_window(height, width, options, rng) for rng in rngs]
    return [cut(frames, window, options.resample) for window in windows]


@pytest.mark.parametrize("resample", ["exact", "fast"])
def test_a_train_view_is_a_window_of_the_frames_flipped_half_the_time(tmp_path, resample):
    frames = noise(40, 60)
    changes = {"train_jitter_px": (40, 40), "train_crop_px": 38, "resample": resample}
    drawn = [view.astype(np.uint8) for view in train_cuts(tmp_path, frames, **changes)]
    windows = {
        frames[:, top : top + 38, left : left + 38][:, :, ::turn].tobytes(): turn
        for top in range(3)
        for left in range(23)
        for turn in (1, -1)
    }
    flipped = [windows[view.tobytes()] == -1 for view in drawn]
    assert 0.4 < np.mean(flipped) < 0.6


def test_no_flip_when_it_is_switched_off(tmp_path):
    frames = noise(8, 8)
    options = {"train_jitter_px": (8, 8), "train_crop_px": 8, "random_flip": False}
    for view in train_cuts(tmp_path, frames, count=20, **options):
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
    options = settings(tmp_path, train_jitter_px=(40, 60), train_crop_px=32)
    first, second, other = (
        views.train_window(50, 70, options, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("resample", ["exact", "fast"])
def test_a_frame_of_one_pixel_fills_the_view(tmp_path, resample):
    changes = {"train_jitter_px": (32, 40), "train_crop_px": 32, "resample": resample}
    (view,) = train_cuts(tmp_path, noise(1, 1), count=1, **changes)
    assert view.shape == (2, 32, 32, 3)
    assert len(np.unique(view[0, ..., 0])) == 1


def test_frames_too_large_to_scale_are_one_line():
    cutter = Cutter(lambda height, width: views.centre_window(height, width, 32, 32), "fast")
    with pytest.raises(UserError, match="frames of 40000x2 px cannot be scaled: .*; scale or cut"):
        cutter(np.zeros((2, 40_000, 3), np.uint8))
