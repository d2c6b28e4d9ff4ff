"""Average precision (AP) of each class, and its macro mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from actionrec.errors import UserError


def average_precision(scores: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """AP of each class: sum over thresholds of (R_n - R_n-1) P_n; tied scores are one threshold.

    scores (N, C), targets (N, C) of 0 and 1. Returns (C,) float64, NaN where no clip has the class.
    Raises UserError for other shapes, NaN or infinite scores, and targets neither 0 nor 1.
    The definition is that of sklearn.metrics.average_precision_score.
    """
    scores, positive = checked(np.asarray(scores), np.asarray(targets))
    ap = np.full(scores.shape[1], np.nan)
    for c in np.flatnonzero(positive.any(axis=0)):
        ranked = np.sort(scores[:, c])
        hits = np.sort(scores[positive[:, c], c])
        # Each positive adds 1 / #positives to the recall at its own score, so the sum over
        # thresholds is the mean, over positives, of the precision at that score.
        ap[c] = np.mean(_num_at_least(hits, hits) / _num_at_least(ranked, hits))
    return ap


def get_map(preds: ArrayLike, labels: ArrayLike) -> float:
    """Macro mean AP, from 0 to 1, over the classes that have a positive; 0.0 when none has.

    preds and labels (N, C). Raises UserError as `average_precision` does: a NaN is no mAP of 0.
    """
    ap = average_precision(preds, labels)
    measurable = ap[~np.isnan(ap)]
    return float(measurable.mean()) if len(measurable) else 0.0


def _num_at_least(ascending: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return len(ascending) - np.searchsorted(ascending, thresholds, side="left")


def checked(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores (N, C), and the targets as booleans. Raises UserError: see average_precision."""
    if scores.ndim != 2 or scores.shape != targets.shape:
        raise UserError(
            f"scores have the shape {scores.shape} and targets {targets.shape}; "
            "both must be (clips, classes)"
        )
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"scores: {len(bad)} of {scores.size} are NaN or infinite, the first is "
            f"{scores[row, column]} at row {row}, class {column}; "
            "the model has diverged, or a clip was never scored"
        )
    positive = targets == 1
    bad = np.argwhere(~positive & (targets != 0))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"targets: {targets[row, column]} at row {row}, class {column} is neither 0 nor 1"
        )
    return scores, positive
