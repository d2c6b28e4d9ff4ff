"""What the choice of test clips does to mAP: the clips drawn again and again, with replacement.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 13. Two sets of scores
are compared on the same draws: what makes a draw hard for one makes it hard for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from actionrec.metrics.average_precision import average_precision, checked
from actionrec.metrics.segments import Segments

NUM_DRAWS = 1000
SEGMENTS = ("overall", "head", "middle", "tail")


@dataclass(frozen=True, eq=False)
class Interval:
    """A mean AP with the limits between which `level` of the draws lie, all from 0 to 1."""

    value: float
    low: float
    high: float


def draw_clips(num_clips: int, num_draws: int = NUM_DRAWS, seed: int = 0) -> np.ndarray:
    """How often each of K clips is in each of D draws of K clips: (K, D) float32."""
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(num_clips, np.full(num_clips, 1 / num_clips), size=num_draws)
    return np.ascontiguousarray(draws.T, dtype=np.float32)


def drawn_ap(scores: ArrayLike, targets: ArrayLike, draws: np.ndarray) -> np.ndarray:
    """AP of each class in each draw, (D, C) float64; NaN where a draw has no clip of the class.

    scores and targets (K, C); draws (K, D) as `draw_clips` gives them. Equal to `average_precision`
    of the clips repeated as drawn; raises UserError as it does.
    """
    scores, positive = checked(np.asarray(scores), np.asarray(targets))
    ap = np.full((draws.shape[1], scores.shape[1]), np.nan)
    for c in np.flatnonzero(positive.any(axis=0)):
        ap[:, c] = _drawn_ap_of_class(scores[:, c], positive[:, c], draws)
    return ap


def _drawn_ap_of_class(scores: np.ndarray, positive: np.ndarray, draws: np.ndarray) -> np.ndarray:
    # Precision matters at the scores of positives alone: between two of them, clips are one heap.
    thresholds = np.unique(scores[positive])
    heap = np.searchsorted(thresholds, scores, side="right")  # 0: below every positive
    all_drawn = _sum_by_heap(heap, len(thresholds), draws)
    hits = _sum_by_heap(heap[positive], len(thresholds), draws[positive])
    num_hits = hits.sum(axis=0)
    # From the highest score down; float64, as a sum of float32 counts may be large.
    precision = np.cumsum(hits[::-1], axis=0) / np.maximum(np.cumsum(all_drawn[::-1], axis=0), 1)
    with np.errstate(invalid="ignore"):
        return (hits[::-1] * precision).sum(axis=0) / num_hits


def _sum_by_heap(heap: np.ndarray, num_heaps: int, draws: np.ndarray) -> np.ndarray:
    """(heaps, D) float64: the clips drawn of each heap, those of heap 0 left out."""
    # torch adds row to row, 15 times as fast as numpy's reduceat; counts are exact in float32.
    sums = torch.zeros(num_heaps + 1, draws.shape[1])
    sums.index_add_(0, torch.from_numpy(heap), torch.from_numpy(draws))
    return sums[1:].numpy().astype(np.float64)


def segment_means(ap: np.ndarray, segments: Segments) -> np.ndarray:
    """The macro means of AP (..., C) over all, head, middle and tail classes: (..., 4).

    Classes that are NaN are left out of the mean they belong to.
    """
    every = np.arange(ap.shape[-1])
    parts = (every, segments.head, segments.middle, segments.tail)
    return np.stack([_nanmean(ap[..., part]) for part in parts], axis=-1)


def _nanmean(ap: np.ndarray) -> np.ndarray:
    measurable = ~np.isnan(ap)
    count = measurable.sum(axis=-1)
    total = np.where(measurable, ap, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def intervals(
    scores: ArrayLike,
    targets: ArrayLike,
    segments: Segments,
    draws: np.ndarray,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The macro means by segment with their percentile intervals."""
    values = segment_means(average_precision(scores, targets), segments)
    drawn = segment_means(drawn_ap(scores, targets, draws), segments)
    return {
        name: Interval(float(value), *limits(of_segment, level))
        for name, value, of_segment in zip(SEGMENTS, values, drawn.T, strict=True)
    }


def verdict(differences: np.ndarray, level: float = 0.95) -> str:
    """`better`, `worse` or `no evidence` by the differences (D,) to a baseline in each draw.

    Better: the interval of `level` is above 0; NaN where a segment could not be measured.
    """
    low, high = limits(differences, level)
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no evidence"


def limits(drawn: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Between which `level` of the draws (D,) lie; NaN where none could be measured."""
    measured = drawn[~np.isnan(drawn)]
    if not len(measured):
        return float("nan"), float("nan")
    low, high = np.quantile(measured, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
