"""The scores of a clip from those of its views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from actionrec.errors import UserError, nearest

METHODS = ("max", "mean", "sum")


class ViewEnsemble:
    """Collects the scores of V views of K clips, in any order and in batches of any size.

    Every view has a place of its own, K x V x C float32 in all (102 MB for 6,096 clips, 30 views,
    140 classes), so the result is the same to the bit in any order, and no view counts twice.
    Raises UserError for an unknown method.
    """

    def __init__(self, num_clips: int, num_classes: int, num_views: int, method: str) -> None:
        if method not in METHODS:
            known = ", ".join(nearest(str(method), list(METHODS)))
            raise UserError(f"DATA.ENSEMBLE_METHOD: unknown method {method!r}; known: {known}")
        self.method = method
        self._scores = np.zeros((num_clips, num_views, num_classes), dtype=np.float32)
        self._seen = np.zeros((num_clips, num_views), dtype=bool)

    def add(self, clips: ArrayLike, views: ArrayLike, scores: ArrayLike) -> None:
        """Take the scores (B, C) of the views (B,) of the clips (B,), both numbered from 0.

        A view that comes again with the same scores counts once. Raises UserError when it comes
        with others, and for numbers or shapes that do not fit.
        """
        clips, views = np.asarray(clips), np.asarray(views)
        scores = np.asarray(scores, dtype=np.float32)
        self._check_places(clips, views, scores)
        for clip, view, row in zip(clips, views, scores, strict=True):
            kept = self._scores[clip, view]
            if self._seen[clip, view] and not np.array_equal(kept, row, equal_nan=True):
                raise UserError(
                    f"view {view} of clip {clip} was scored twice, with different scores; "
                    "each view must be scored once"
                )
            self._scores[clip, view] = row
            self._seen[clip, view] = True

    def merge(self, sum_over_processes: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take the views that other processes collected; each view comes from one of them."""
        self._scores = sum_over_processes(self._scores)
        self._seen = sum_over_processes(self._seen)

    def complete(self) -> np.ndarray:
        """(K,) bool: the clips all of whose views were added."""
        return np.asarray(self._seen.all(axis=1))

    def result(self) -> np.ndarray:
        """Scores (K, C) float64: the max, the mean, or the sum over the views of each clip.

        Raises UserError when a view was never added, with how many clips are complete.
        """
        self._require_complete()
        return self.result_of(np.arange(len(self._scores)))

    def result_of(self, clips: np.ndarray) -> np.ndarray:
        """As `result`, of these clips alone, (len(clips), C)."""
        scores = self._scores[clips]
        if self.method == "max":
            return scores.max(axis=1).astype(np.float64)
        total = scores.sum(axis=1, dtype=np.float64)
        return total if self.method == "sum" else total / scores.shape[1]

    def _require_complete(self) -> None:
        missing = np.argwhere(~self._seen)
        if len(missing):
            num_clips, num_views = self._seen.shape
            complete = np.count_nonzero(self._seen.all(axis=1))
            clip, view = missing[0]
            raise UserError(
                f"only {complete} of {num_clips} clips have all their {num_views} views; "
                f"{len(missing)} views were never scored, the first is view {view} of clip {clip}"
            )

    def _check_places(self, clips: np.ndarray, views: np.ndarray, scores: np.ndarray) -> None:
        num_clips, num_views, num_classes = self._scores.shape
        expected = (len(clips), num_classes)
        if clips.ndim != 1 or clips.shape != views.shape or scores.shape != expected:
            raise UserError(
                f"clips {clips.shape}, views {views.shape} and scores {scores.shape} do not fit; "
                f"they must be (B,), (B,) and (B, {num_classes})"
            )
        for name, numbers, limit in (("clip", clips, num_clips), ("view", views, num_views)):
            outside = numbers[(numbers < 0) | (numbers >= limit)]
            if len(outside):
                raise UserError(f"{name} {outside[0]} is outside 0..{limit - 1}")
