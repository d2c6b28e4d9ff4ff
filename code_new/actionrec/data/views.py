"""From decoded frames to the pixels of a view: scale, crop, flip.

All arrays are (T, H, W, 3) uint8. Scaling is bilinear with half-pixel centres and no smoothing, as
torch's interpolate(align_corners=False), which SlowFast's checkpoints were trained with; it differs
from that by the rounding to whole grey levels.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from actionrec.types import DataSettings


def scaled_size(height: int, width: int, short_px: int) -> tuple[int, int]:
    """(height, width) when the shorter side becomes `short_px`; the longer one is rounded down."""
    # The order of the arithmetic is SlowFast's: another one rounds some sizes to another pixel.
    if width < height:
        return math.floor(height / width * short_px), short_px
    return short_px, math.floor(width / height * short_px)


def scale_short_side(frames: np.ndarray, short_px: int) -> np.ndarray:
    """The frames with a shorter side of `short_px`: (T, h, w, 3) uint8."""
    height, width = scaled_size(frames.shape[1], frames.shape[2], short_px)
    if (height, width) == frames.shape[1:3]:
        return np.ascontiguousarray(frames)
    scaled = np.empty((len(frames), height, width, 3), np.uint8)
    for target, frame in zip(scaled, frames, strict=True):
        target[:] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return scaled


def crop_offsets(height: int, width: int, crop_px: int, num_crops: int) -> np.ndarray:
    """(top, left) of each crop: (num_crops, 2) int64.

    One crop is the centre; more are spread evenly along the longer side, from end to end, centred
    on the other. Half pixels go up, so that 3 crops are SlowFast's left, centre and right (or top
    to bottom).
    """
    parts = num_crops - 1
    steps = [(1, 2)] if num_crops == 1 else [(number, parts) for number in range(num_crops)]
    along = [-(-(max(height, width) - crop_px) * number // of) for number, of in steps]
    across = -(-(min(height, width) - crop_px) // 2)
    pairs = [(at, across) if height > width else (across, at) for at in along]
    return np.array(pairs, np.int64)


def centre_view(frames: np.ndarray, crop_px: int) -> np.ndarray:
    """The crop in the middle: (T, crop_px, crop_px, 3) uint8."""
    top, left = crop_offsets(frames.shape[1], frames.shape[2], crop_px, num_crops=1)[0]
    return np.ascontiguousarray(frames[:, top : top + crop_px, left : left + crop_px])


def train_view(frames: np.ndarray, settings: DataSettings, rng: np.random.Generator) -> np.ndarray:
    """One random scale, crop and flip for all frames: (T, crop, crop, 3) uint8.

    The shorter side is drawn from `train_jitter_px`, uniformly or so that its inverse is uniform.
    """
    crop_px = settings.train_crop_px
    short_px = _draw_short_side(settings, rng)
    height, width = scaled_size(frames.shape[1], frames.shape[2], short_px)
    top, left = _draw_offset(height - crop_px, rng), _draw_offset(width - crop_px, rng)
    flip = settings.random_flip and rng.uniform() < 0.5
    view = np.empty((len(frames), crop_px, crop_px, 3), np.uint8)
    for target, frame in zip(view, frames, strict=True):
        scaled = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        window = scaled[top : top + crop_px, left : left + crop_px]
        target[:] = window[:, ::-1] if flip else window
    return view


def _draw_short_side(settings: DataSettings, rng: np.random.Generator) -> int:
    low, high = settings.train_jitter_px
    if settings.inverse_uniform:
        return round(1.0 / rng.uniform(1.0 / high, 1.0 / low))
    return round(rng.uniform(low, high))


def _draw_offset(room: int, rng: np.random.Generator) -> int:
    # As in SlowFast the last place is never drawn; a frame that just fits has only one.
    return int(rng.integers(0, room)) if room > 0 else 0
