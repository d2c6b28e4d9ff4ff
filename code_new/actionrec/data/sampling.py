"""Which frames of a clip a view holds. Indices count from 0 in the clip's own frames.

span = (num_frames - 1) * sampling_rate + 1 frames from the first to the last sampled one. Indices
outside the clip are moved to its nearest end, so a clip shorter than the span repeats its ends.
"""

from __future__ import annotations

import numpy as np


def train_frames(
    num_clip_frames: int, num_frames: int, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A window at a random place: (num_frames,) int64.

    The start is uniform over all places where the window fits. Where the clip is the shorter one,
    it is uniform over all places where the window covers the clip, so the clip's frames may come
    late in the view.
    """
    room = num_clip_frames - _span(num_frames, sampling_rate)
    start = int(rng.integers(min(room, 0), max(room, 0) + 1))
    return _window(start, num_clip_frames, num_frames, sampling_rate)


def test_frames(
    num_clip_frames: int, num_frames: int, sampling_rate: int, view: int, num_views: int
) -> np.ndarray:
    """Window number `view` of `num_views` spread evenly from end to end: (num_frames,) int64.

    One view is the middle. A clip shorter than the span starts at 0 in every view.
    """
    room = max(num_clip_frames - _span(num_frames, sampling_rate), 0)
    # round() takes halves to the even number: SlowFast's published results were made with these
    # starts.
    start = round(room / (num_views - 1) * view) if num_views > 1 else round(room / 2)
    return _window(start, num_clip_frames, num_frames, sampling_rate)


def centre_frames(num_clip_frames: int, num_frames: int, sampling_rate: int) -> np.ndarray:
    """The window in the middle of the clip: (num_frames,) int64."""
    return test_frames(num_clip_frames, num_frames, sampling_rate, view=0, num_views=1)


# pytest would take an imported `test_frames` for a test.
test_frames.__test__ = False  # type: ignore[attr-defined]


def _span(num_frames: int, sampling_rate: int) -> int:
    return (num_frames - 1) * sampling_rate + 1


def _window(start: int, num_clip_frames: int, num_frames: int, sampling_rate: int) -> np.ndarray:
    indices = start + np.arange(num_frames, dtype=np.int64) * sampling_rate
    return np.clip(indices, 0, num_clip_frames - 1)
