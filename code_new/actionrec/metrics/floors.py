"""What scorers that never look at the video reach: a figure means something well above them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from actionrec.metrics.protocols import MapSummary, summarize, summarize_classes
from actionrec.metrics.segments import Segments


def random_floor(targets: ArrayLike, segments: Segments) -> MapSummary:
    """The exact expectation of AP when every order of the clips is equally likely.

    targets (N, C) of 0 and 1. With P positives, rank k holds one with probability P / N, and then
    (P - 1)(k - 1) / (N - 1) of the k - 1 above it are expected to be positives too. Summed over the
    ranks, with H = 1 + 1/2 + ... + 1/N: E[AP] = (H + (P - 1) / (N - 1) (N - H)) / N.
    """
    targets = np.asarray(targets)
    num_clips = len(targets)
    positives = np.count_nonzero(targets, axis=0)
    harmonic = np.sum(1 / np.arange(1, num_clips + 1))
    others = (positives - 1) / max(num_clips - 1, 1)
    expected = (harmonic + others * (num_clips - harmonic)) / max(num_clips, 1)
    return summarize_classes(np.where(positives > 0, expected, np.nan), segments)


def prior_floor(train_counts: ArrayLike, targets: ArrayLike, segments: Segments) -> MapSummary:
    """AP of a scorer that gives every clip the class frequencies of the training set.

    train_counts (C,) clips, targets (N, C) of 0 and 1. All clips tie, so the AP of a class is the
    share of clips that have it, whatever the counts: AP sees only the order within a class.
    """
    targets = np.asarray(targets)
    counts = np.asarray(train_counts, dtype=np.float64)
    prior = counts / max(counts.sum(), 1)
    return summarize(np.broadcast_to(prior, targets.shape), targets, segments)
