"""The figures of a test: macro mean AP overall and by segment, and what they were taken over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from actionrec.errors import UserError
from actionrec.metrics.average_precision import average_precision
from actionrec.metrics.segments import Segments


@dataclass(frozen=True, eq=False)
class MapSummary:
    """Macro means from 0 to 1, NaN where no class is measurable, that is, has a clip in the split.

    per_class (C,) float64, NaN for the classes of `unmeasurable`, which holds their numbers.
    num_head, num_middle and num_tail count the measurable classes that each mean is taken over.
    """

    overall: float
    head: float
    middle: float
    tail: float
    per_class: np.ndarray
    unmeasurable: np.ndarray
    num_classes: int
    num_measurable: int
    num_head: int
    num_middle: int
    num_tail: int
    definition: str
    cuts: tuple[int, int]


def summarize(scores: ArrayLike, targets: ArrayLike, segments: Segments) -> MapSummary:
    """The summary of scores (N, C) against targets (N, C).

    Raises UserError as `average_precision` and `summarize_classes` do.
    """
    return summarize_classes(average_precision(scores, targets), segments)


def summarize_classes(per_class: np.ndarray, segments: Segments) -> MapSummary:
    """The summary of an AP a class (C,), NaN where it cannot be measured.

    Raises UserError when the segments name a class that the scores do not have.
    """
    named = np.concatenate([segments.head, segments.middle, segments.tail])
    last = int(named.max(initial=-1))
    if last >= len(per_class):
        raise UserError(
            f"scores have {len(per_class)} classes, but the segments name class {last}; "
            "check MODEL.NUM_CLASSES"
        )
    measurable = ~np.isnan(per_class)
    overall, num_measurable = _mean(per_class)
    head, num_head = _mean(per_class[segments.head])
    middle, num_middle = _mean(per_class[segments.middle])
    tail, num_tail = _mean(per_class[segments.tail])
    return MapSummary(
        overall=overall,
        head=head,
        middle=middle,
        tail=tail,
        per_class=per_class,
        unmeasurable=np.flatnonzero(~measurable),
        num_classes=len(per_class),
        num_measurable=num_measurable,
        num_head=num_head,
        num_middle=num_middle,
        num_tail=num_tail,
        definition=segments.definition,
        cuts=segments.cuts,
    )


def _mean(ap: np.ndarray) -> tuple[float, int]:
    """Mean over the measurable classes, and how many they are."""
    measurable = ap[~np.isnan(ap)]
    return (float(measurable.mean()) if len(measurable) else float("nan")), len(measurable)
