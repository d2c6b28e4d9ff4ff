"""Head, middle and tail. Animal Kingdom has four definitions, so none is used without its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from actionrec.errors import UserError, nearest


class Definition(NamedTuple):
    """What of a class is counted, and the cuts (h, t): head > h, middle t < n <= h, tail <= t."""

    counted: str
    cuts: tuple[int, int]


DEFINITIONS = {
    "train": Definition("training clips", (500, 100)),
    "workbook": Definition("class table", (500, 100)),
    "all": Definition("training and test clips", (500, 100)),
    "published": Definition("test clips", (300, 50)),
}


@dataclass(frozen=True, eq=False)
class Segments:
    """Which classes are head, middle and tail: ascending class numbers, int64, in each."""

    definition: str
    cuts: tuple[int, int]
    head: np.ndarray
    middle: np.ndarray
    tail: np.ndarray


def segment_classes(
    definition: str,
    *,
    train_counts: ArrayLike | None,
    test_counts: ArrayLike,
    table_counts: ArrayLike | None = None,
    cuts: Sequence[int] | None = None,
) -> Segments:
    """Divide the classes by their counts in clips, (C,); those a definition ignores may be None.

    cuts (h, t): head > h, tail <= t; None is the definition's own. `published` counts test clips,
    so a class without one is in no segment; elsewhere every class is in one. Raises UserError that
    names the METRICS key.
    """
    if definition not in DEFINITIONS:
        known = ", ".join(nearest(str(definition), list(DEFINITIONS)))
        raise UserError(f"METRICS.SEGMENTS: unknown definition {definition!r}; known: {known}")
    counts = _counts(definition, train_counts, np.asarray(test_counts), table_counts)
    high, low = _checked_cuts(definition, cuts)
    tail = counts <= low
    if definition == "published":
        tail &= counts > 0
    return Segments(
        definition=definition,
        cuts=(high, low),
        head=np.flatnonzero(counts > high),
        middle=np.flatnonzero((counts > low) & (counts <= high)),
        tail=np.flatnonzero(tail),
    )


def _counts(
    definition: str,
    train_counts: ArrayLike | None,
    test_counts: np.ndarray,
    table_counts: ArrayLike | None,
) -> np.ndarray:
    """The counts (C,) that the definition divides by."""
    if definition == "published":
        return test_counts
    given = table_counts if definition == "workbook" else train_counts
    if given is None:
        source = (
            "a workbook with counts, METRICS.CLASS_TABLE or df_action.xlsx in DATA.PATH_TO_DATA_DIR"
            if definition == "workbook"
            else "the training annotation, train.csv in DATA.PATH_TO_DATA_DIR"
        )
        raise UserError(
            f"METRICS.SEGMENTS: {definition!r} needs {source}; 'published' needs test clips alone"
        )
    counts = np.asarray(given)
    if counts.shape != test_counts.shape:
        raise UserError(
            f"METRICS.SEGMENTS: {definition!r} has counts of the shape {counts.shape}, the test "
            f"annotation {test_counts.shape}; both must be (MODEL.NUM_CLASSES,)"
        )
    return counts + test_counts if definition == "all" else counts


def _checked_cuts(definition: str, cuts: Sequence[int] | None) -> tuple[int, int]:
    if cuts is None:
        return DEFINITIONS[definition].cuts
    whole = all(isinstance(c, int) and not isinstance(c, bool) for c in cuts)
    if len(cuts) != 2 or not whole or not cuts[0] > cuts[1] >= 0:
        raise UserError(
            f"METRICS.SEGMENT_CUTS: {list(cuts)} is not [h, t], two whole numbers with h > t >= 0"
        )
    return cuts[0], cuts[1]
