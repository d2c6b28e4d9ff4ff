"""Which videos are for training and which for validation: all clips of a video on one side.

Clips of one video look alike (the animals, the place, the light), so a split by clips would test
memory.
"""

from __future__ import annotations

import numpy as np


def choose_validation(counts: np.ndarray, fraction: float) -> np.ndarray:
    """(V,) bool, the videos for validation. counts (V, C): clips of each video and class.

    Greedy: the video whose move to validation helps most goes next, until none helps. It helps when
    the share of each class in validation comes nearer to `fraction` (sum of squares), and above all
    when a class of two or more videos gets its first validation clip. No move takes the last
    training clip of a class. If that leaves no video to move, the one that takes the fewest classes
    from training moves. Equal choices fall to the first video, so the same input is split the same.
    """
    chosen = np.zeros(len(counts), dtype=bool)
    total = counts.sum(axis=0)
    splittable = (counts > 0).sum(axis=0) > 1
    while True:
        best, cost = _best_move(counts, total, splittable, chosen, fraction)
        if best is None or cost >= _cost(counts[chosen].sum(axis=0), total, splittable, fraction):
            break
        chosen[best] = True
    if not chosen.any() and len(counts) > 1:
        lost = ((total - counts == 0) & (counts > 0)).sum(axis=1)
        chosen[int(lost.argmin())] = True
    return chosen


def _best_move(
    counts: np.ndarray,
    total: np.ndarray,
    splittable: np.ndarray,
    chosen: np.ndarray,
    fraction: float,
) -> tuple[int | None, float]:
    in_val = counts[chosen].sum(axis=0) + counts  # (V, C) after the move of each video
    allowed = ~chosen & ((in_val < total) | (counts == 0)).all(axis=1)
    if not allowed.any():
        return None, 0.0
    costs = np.where(allowed, _cost(in_val, total, splittable, fraction), np.inf)
    return int(costs.argmin()), float(costs.min())


def _cost(
    in_val: np.ndarray, total: np.ndarray, splittable: np.ndarray, fraction: float
) -> np.ndarray:
    share = in_val / np.maximum(total, 1)
    return ((share - fraction) ** 2 + (splittable & (in_val == 0))).sum(axis=-1)
