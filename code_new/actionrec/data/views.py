"""From a decoded frame to the pixels of a view: scale, crop and flip in one step.

Scaling is bilinear with half-pixel centres and no smoothing, as torch's
interpolate(align_corners=False), which SlowFast's checkpoints were trained with. DATA.RESAMPLE says
how close: `exact` gives its float32 grey levels (at most 1e-3 off), `fast` whole ones (uint8, 0.25
to 0.27 off on average). Nothing else differs between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from actionrec.errors import UserError
from actionrec.types import DataSettings

MAX_SIDE_PX = 32_766  # what cv2.remap takes


@dataclass(frozen=True)
class Window:
    """A rectangle of a scaled frame. All in pixels; `scaled` is (height, width) of the frame."""

    scaled: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    flip: bool = False

    def is_whole(self) -> bool:
        """Whether it is the scaled frame itself."""
        return (self.height, self.width) == self.scaled and not self.flip


class Cutter:
    """Cuts the same window out of all frames of a clip: `each` of FrameSource.read.

    `choose` gets height and width of the clip's frames, once. A call takes a frame (H, W, 3) uint8
    and gives the window (h, w, 3), uint8 where `resample` is `fast`, float32 in 0..255 where it is
    `exact`. Raises UserError for frames too large to scale.
    """

    def __init__(self, choose: Callable[[int, int], Window], resample: str) -> None:
        self.choose = choose
        self.exact = resample == "exact"
        self._cut: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if self._cut is None:
            self._cut = self._prepare(frame.shape[0], frame.shape[1])
        return self._cut(frame)

    def _prepare(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        window = self.choose(height, width)
        if window.is_whole() and not self.exact:
            # Four times as fast as the general way, and 0.27 grey levels off instead of 0.25.
            return lambda frame: cv2.resize(frame, window.scaled[::-1])
        if max(height, width, window.height, window.width) > MAX_SIDE_PX:
            raise UserError(
                f"frames of {width}x{height} px cannot be scaled: they or the view have a side of "
                f"more than {MAX_SIDE_PX} px; scale or cut them first"
            )
        y = _source_positions(height, window.scaled[0], window.top, window.height)
        x = _source_positions(width, window.scaled[1], window.left, window.width)
        rows, columns = _covering(y), _covering(x)
        map_x, map_y = np.meshgrid(x[::-1] if window.flip else x, y)
        map_x -= columns.start
        map_y -= rows.start

        def cut(frame: np.ndarray) -> np.ndarray:
            source = frame[rows, columns]
            if self.exact:
                source = source.astype(np.float32)
            return cv2.remap(
                source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )

        return cut


def scaled_size(height: int, width: int, short_px: int) -> tuple[int, int]:
    """(height, width) when the shorter side becomes `short_px`; the longer one is rounded down."""
    if min(height, width) == short_px:
        return height, width
    # The order of the arithmetic is SlowFast's: another one rounds some sizes to another pixel.
    if width < height:
        return math.floor(height / width * short_px), short_px
    return short_px, math.floor(width / height * short_px)


def whole_window(height: int, width: int, short_px: int) -> Window:
    """All of the frame, with a shorter side of `short_px`."""
    scaled = scaled_size(height, width, short_px)
    return Window(scaled, 0, 0, *scaled)


def centre_window(height: int, width: int, short_px: int, crop_px: int) -> Window:
    """The square in the middle of the frame with a shorter side of `short_px`."""
    scaled = scaled_size(height, width, short_px)
    top, left = crop_offsets(*scaled, crop_px, num_crops=1)[0].tolist()
    return Window(scaled, top, left, crop_px, crop_px)


def train_window(
    height: int, width: int, settings: DataSettings, rng: np.random.Generator
) -> Window:
    """A random scale, crop and flip.

    The shorter side is drawn from `train_jitter_px`, uniformly or so that its inverse is uniform.
    """
    crop_px = settings.train_crop_px
    scaled = scaled_size(height, width, _draw_short_side(settings, rng))
    top, left = (_draw_offset(side - crop_px, rng) for side in scaled)
    flip = settings.random_flip and bool(rng.uniform() < 0.5)
    return Window(scaled, top, left, crop_px, crop_px, flip)


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


def _draw_short_side(settings: DataSettings, rng: np.random.Generator) -> int:
    low, high = settings.train_jitter_px
    if settings.inverse_uniform:
        return round(1.0 / rng.uniform(1.0 / high, 1.0 / low))
    return round(rng.uniform(low, high))


def _draw_offset(room: int, rng: np.random.Generator) -> int:
    # As in SlowFast the last place is never drawn; a frame that just fits has only one.
    return int(rng.integers(0, room)) if room > 0 else 0


def _source_positions(num_in: int, num_out: int, first: int, count: int) -> np.ndarray:
    """Where `count` pixels of a scaled side, from `first` on, lie on the source's: float32.

    (i + 1/2) num_in / num_out - 1/2, kept on the side. Rounded as torch does it, the ratio and then
    the whole: otherwise a view of an HD frame is up to 0.05 grey levels off.
    """
    ratio = float(np.float32(num_in) / np.float32(num_out))
    positions = ratio * (np.arange(first, first + count) + 0.5) - 0.5
    return np.clip(positions, 0, num_in - 1).astype(np.float32)


def _covering(positions: np.ndarray) -> slice:
    """The pixels of a side that the interpolation at `positions`, rising, needs."""
    return slice(int(positions[0]), int(positions[-1]) + 2)
