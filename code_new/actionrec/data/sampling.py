"""Which frames of a clip a view holds. Indices count from 0 in the clip's own frames.

Below, n is the number of frames of the clip, T = num_frames those of a view, r = sampling_rate.
Indices outside the clip are moved to its nearest end, so a clip shorter than the span repeats its
ends. One view is always the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from actionrec.types import DataSettings


@dataclass(frozen=True)
class Stride:
    """Every r-th frame, as SlowFast's frame datasets (Charades) pick them.

    span = (T - 1) r + 1; indices = clip(start + r (0, 1, ..., T - 1), 0, n - 1).
    """

    num_frames: int
    sampling_rate: int

    def random(self, num_clip_frames: int, rng: np.random.Generator) -> np.ndarray:
        """A window at a random place: (T,) int64. start is uniform in min(n - span, 0)...max(n -
        span, 0).

        These are all places where the window fits. Where the clip is the shorter one, they are all
        places where the window covers the clip, so the clip's frames may come late in the view.
        """
        room = num_clip_frames - self._span()
        start = int(rng.integers(min(room, 0), max(room, 0) + 1))
        return self._window(start, num_clip_frames)

    def spread(self, num_clip_frames: int, view: int, num_views: int) -> np.ndarray:
        """Window number `view` of `num_views` from end to end: (T,) int64.

        start = round(max(n - span, 0) / (num_views - 1) * view); one view: round of the half.
        """
        room = max(num_clip_frames - self._span(), 0)
        # round() takes halves to the even number: SlowFast's published results were made with these
        # starts.
        start = round(room / (num_views - 1) * view) if num_views > 1 else round(room / 2)
        return self._window(start, num_clip_frames)

    def _span(self) -> int:
        return (self.num_frames - 1) * self.sampling_rate + 1

    def _window(self, start: int, num_clip_frames: int) -> np.ndarray:
        indices = start + np.arange(self.num_frames, dtype=np.int64) * self.sampling_rate
        return np.clip(indices, 0, num_clip_frames - 1)


@dataclass(frozen=True)
class Linspace:
    """Both ends of T r frames and T - 2 between, as SlowFast's video datasets (Kinetics) pick them.

    span = T r; indices = trunc(clip(linspace(start, start + span - 1, T), 0, n - 1)) in float32:
    a step of (T r - 1) / (T - 1), 2.03 for 32 frames at a rate of 2. start may be a fraction. These
    are SlowFast's get_start_end_idx and temporal_sampling at 30 frames a second. Where it decodes
    only a part of a video, it begins at the next whole frame, so its indices may be one higher.
    """

    num_frames: int
    sampling_rate: int

    def random(self, num_clip_frames: int, rng: np.random.Generator) -> np.ndarray:
        """A window at a random place: (T,) int64. start is uniform in [0, max(n - span, 0)]."""
        return self._window(rng.uniform(0, self._room(num_clip_frames)), num_clip_frames)

    def spread(self, num_clip_frames: int, view: int, num_views: int) -> np.ndarray:
        """Window number `view` of `num_views`: (T,) int64.

        start = max(n - span, 0) * view / num_views, so the last one ends before the clip does; one
        view: floor of the half, as SlowFast's DATA.USE_OFFSET_SAMPLING.
        """
        room = self._room(num_clip_frames)
        start = room * view / num_views if num_views > 1 else room // 2
        return self._window(start, num_clip_frames)

    def _room(self, num_clip_frames: int) -> int:
        return max(num_clip_frames - self.num_frames * self.sampling_rate, 0)

    def _window(self, start: float, num_clip_frames: int) -> np.ndarray:
        # torch's own linspace: another one rounds some values to another frame.
        end = start + self.num_frames * self.sampling_rate - 1
        places = torch.linspace(start, end, self.num_frames)
        return places.clamp(0, num_clip_frames - 1).long().numpy()


SAMPLERS: dict[str, type[Stride] | type[Linspace]] = {"stride": Stride, "linspace": Linspace}


def frame_sampler(settings: DataSettings) -> Stride | Linspace:
    """The sampler that DATA.FRAME_SAMPLING names."""
    return SAMPLERS[settings.frame_sampling](settings.num_frames, settings.sampling_rate)
